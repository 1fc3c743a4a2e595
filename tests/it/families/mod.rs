//! The seam between the gateway and the API families: a family that the gateway has never seen goes through it end to end.

mod toy;

use std::sync::Arc;

use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::client::{RequestBody, empty, request};
use crate::support::edge::{Edge, Setup, Version, post};
use crate::support::scripted::Scripted;
use crate::support::soon;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const SAY: &str = "event: say\ndata: {\"say\":\"hello\"}\n\n";
const COUNT: &str = "event: count\ndata: {\"in\":7,\"out\":2}\n\n";
const BYE: &str = "event: bye\ndata: {}\n\n";
const THUMP: &str = "event: thump\ndata: {}\n\n";

/// A gateway that takes toys, before an upstream that does this on each connection.
async fn edge(upstream: &Scripted, stream: &str) -> Edge {
    let families = Some(toy::FAMILIES);
    Edge::start(Setup { upstream: Some(upstream.address), stream, families, ..Setup::default() }).await
}

/// An upstream that answers each request with these bytes, and closes the connection.
async fn answering(bytes: String) -> Scripted {
    let bytes: Arc<str> = bytes.into();
    let script = move |mut socket: TcpStream| {
        let bytes = Arc::clone(&bytes);
        async move {
            read_toy(&mut socket).await;
            let _ = socket.write_all(bytes.as_bytes()).await;
        }
    };
    Scripted::start(script).await
}

/// Reads a request, which must be a toy's; gives back its body.
async fn read_toy(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("POST /v1/toys HTTP/1.1\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

fn toy(stream: bool) -> Request<RequestBody> {
    post("/v1/toys", json!({ "ask": "Hi", "model": "demo", "stream": stream }).to_string())
}

/// The error event of a stream that broke after so many words.
fn oops(after: u64, code: &str, request_id: &str) -> String {
    format!("event: oops\ndata: {{\"after\":{after},\"of\":\"{request_id}\",\"oops\":\"{code}\"}}\n\n")
}

fn tokens(edge: &Edge, direction: &str) -> f64 {
    edge.metric(&format!("tokenway_tokens_total{{direction=\"{direction}\",model=\"demo\",source=\"usage\"}}"))
}

#[tokio::test]
async fn a_stream_goes_through_to_its_end_and_its_usage_is_metered() {
    let upstream = answering([STREAM, SAY, SAY, COUNT, BYE].concat()).await;
    let edge = edge(&upstream, "").await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let answer = edge.client(version).await.send(toy(true)).await;
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "demo"));
        // the client has not asked for the counts
        assert_eq!(answer.rest().await, [SAY, SAY, BYE].concat());
        edge.until_ended_on("toys", "demo", 200, "ok", round).await;
    }
    assert_eq!((tokens(&edge, "input"), tokens(&edge, "output")), (14.0, 4.0));
}

#[tokio::test]
async fn a_whole_answer_goes_through_and_its_usage_is_metered() {
    const ANSWER: &str = "{\"say\":\"hello\",\"in\":5,\"out\":1}";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let upstream = answering(format!("{head}content-length: {}\r\n\r\n{ANSWER}", ANSWER.len())).await;
    let edge = edge(&upstream, "").await;
    let answer = edge.client(Version::Http2).await.send(toy(false)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.rest().await, ANSWER);
    edge.until_ended_on("toys", "demo", 200, "ok", 1).await;
    assert_eq!((tokens(&edge, "input"), tokens(&edge, "output")), (5.0, 1.0));
}

#[tokio::test]
async fn the_upstream_gets_the_client_s_body_with_its_own_model() {
    let (asked, body) = (Arc::new(Notify::new()), Arc::new(std::sync::Mutex::new(String::new())));
    let script = {
        let (asked, body) = (Arc::clone(&asked), Arc::clone(&body));
        move |mut socket: TcpStream| {
            let (asked, body) = (Arc::clone(&asked), Arc::clone(&body));
            async move {
                *body.lock().unwrap() = read_toy(&mut socket).await;
                asked.notify_one();
            }
        }
    };
    let upstream = Scripted::start(script).await;
    let edge = edge(&upstream, "").await;
    let request = post("/v1/toys", "{ \"ask\": \"Hi\", \"model\": \"careful\" }");
    let _answer = edge.client(Version::Http2).await.send(request).await;
    soon(asked.notified()).await;
    assert_eq!(*body.lock().unwrap(), "{ \"ask\": \"Hi\", \"model\": \"model-at-one\" }");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_error_event_of_the_family() {
    let upstream = answering([STREAM, SAY, SAY, COUNT].concat()).await;
    let edge = edge(&upstream, "").await;
    let answer = edge.client(Version::Http2).await.send(toy(true)).await;
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.rest().await, [SAY, SAY, &oops(2, "upstream_failure", &id)].concat());
    edge.until_ended_on("toys", "demo", 200, "truncated", 1).await;
    assert_eq!((tokens(&edge, "input"), tokens(&edge, "output")), (7.0, 2.0), "what was counted is paid for");
}

#[tokio::test]
async fn an_error_event_of_the_upstream_is_mapped_and_not_passed_on() {
    let upstream = answering([STREAM, SAY, "event: oops\ndata: {\"secret\":\"sk-1\"}\n\n"].concat()).await;
    let edge = edge(&upstream, "").await;
    let answer = edge.client(Version::Http2).await.send(toy(true)).await;
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.rest().await, [SAY, &oops(1, "overloaded", &id)].concat());
}

#[tokio::test]
async fn silence_is_filled_with_the_heartbeats_of_the_family() {
    let go_on = Arc::new(Notify::new());
    let script = {
        let go_on = Arc::clone(&go_on);
        move |mut socket: TcpStream| {
            let go_on = Arc::clone(&go_on);
            async move {
                read_toy(&mut socket).await;
                go_on.notified().await;
                let _ = socket.write_all([STREAM, SAY].concat().as_bytes()).await;
                go_on.notified().await;
            }
        }
    };
    let upstream = Scripted::start(script).await;
    let edge = edge(&upstream, "commit_after = \"50ms\"\nheartbeat = \"1s\"").await;
    let mut answer = edge.client(Version::Http2).await.send(toy(true)).await;
    let id = answer.header("x-request-id").to_owned();
    // before the first output, and after it
    assert_eq!(answer.take(THUMP.len()).await, THUMP);
    go_on.notify_one();
    let mut text = String::new();
    while !text.ends_with(&[SAY, THUMP].concat()) {
        text.push_str(std::str::from_utf8(&answer.take(1).await).unwrap());
    }
    assert_eq!(text.replace(THUMP, ""), SAY);
    go_on.notify_one();
    let end = String::from_utf8(answer.rest().await.to_vec()).unwrap();
    assert_eq!(end.replace(THUMP, ""), oops(1, "upstream_failure", &id));
}

#[tokio::test]
async fn a_stream_that_fails_after_its_head_and_before_its_output_ends_so_too() {
    let go_on = Arc::new(Notify::new());
    let script = {
        let go_on = Arc::clone(&go_on);
        move |mut socket: TcpStream| {
            let go_on = Arc::clone(&go_on);
            async move {
                read_toy(&mut socket).await;
                go_on.notified().await;
            }
        }
    };
    let upstream = Scripted::start(script).await;
    let edge = edge(&upstream, "commit_after = \"50ms\"").await;
    let mut answer = edge.client(Version::Http2).await.send(toy(true)).await;
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.take(THUMP.len()).await, THUMP);
    go_on.notify_one();
    assert_eq!(answer.rest().await, oops(0, "upstream_failure", &id));
}

#[tokio::test]
async fn a_resumable_stream_is_replayed_with_the_events_of_the_family() {
    let upstream = answering([STREAM, SAY, SAY].concat()).await;
    let edge = edge(&upstream, "").await;
    let mut made = toy(true);
    made.headers_mut().insert("tokenway-resumable", "true".parse().unwrap());
    let answer = edge.client(Version::Http2).await.send(made).await;
    let (id, stream) = (answer.header("x-request-id").to_owned(), answer.header("tokenway-stream-id").to_owned());
    let end = oops(2, "upstream_failure", &id);
    assert_eq!(answer.rest().await, [SAY, SAY, &end].concat());

    let read = request("GET", &format!("/v1/streams/{stream}?from=1"), empty());
    let replay = edge.client(Version::Http2).await.send(read).await.rest().await;
    let replay = String::from_utf8(replay.to_vec()).unwrap();
    assert_eq!(replay.replace(": thump\n", ""), format!("id: 2\nretry: 1000\n{SAY}id: 3\n{end}"));
}

#[tokio::test]
async fn errors_have_the_shape_of_the_family_on_its_paths_and_nowhere_else() {
    let upstream = answering(String::new()).await;
    let edge = edge(&upstream, "").await;
    let mut client = edge.client(Version::Http2).await;
    for (request, status, code) in [
        (post("/v1/toys", "{}"), 400, "invalid_request"),
        (post("/v1/toys", json!({ "ask": "Hi", "model": "unknown" }).to_string()), 404, "model_not_found"),
        (request("GET", "/v1/toys", empty()), 405, "method_not_allowed"),
        (toy(false), 502, "upstream_failure"),
    ] {
        let answer = client.send(request).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json().await, json!({ "of": id, "oops": code }));
    }
    for (path, code) in [("/v1/chat/completions", "invalid_request"), ("/v1/toy", "not_found")] {
        assert_eq!(client.send(post(path, "{}")).await.error_code().await, code);
    }
}

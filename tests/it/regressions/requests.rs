//! Request bodies that come in pieces, slowly, or in vain, and what the head of an early answer may say.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt};

use crate::support::client::{RequestBody, until_closed};
use crate::support::edge::{Edge, Setup, Version, post, streaming, whole};
use crate::support::frames::*;
use crate::support::soon;

const PATH: &str = "/v1/chat/completions";
const WHO: [&str; 3] = ["tokenway-model", "tokenway-upstream", "tokenway-attempts"];

/// The two halves of a body without a length, the second one `later`.
fn halves(body: &Value, later: impl Future<Output = ()> + Send + Sync + 'static) -> RequestBody {
    let mut first = Bytes::from(body.to_string());
    let second = first.split_off(first.len() / 2);
    let second = stream::once(async move {
        later.await;
        second
    });
    BodyExt::boxed(StreamBody::new(stream::iter([first]).chain(second).map(|piece| Ok(Frame::data(piece)))))
}

#[tokio::test]
async fn after_a_chunked_body_the_connection_is_used_again() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http1).await;
    for body in [streaming("demo", json!({})), whole("demo", json!({})), whole("nobody", json!({})), json!({})] {
        let mut request = post(PATH, "");
        *request.body_mut() = halves(&body, async {});
        let answer = client.send(request).await;
        assert_eq!(answer.header("connection"), "", "{}", answer.status());
        answer.rest().await;
    }
    assert_eq!(edge.metrics.connections_active.get(), 1);
}

#[tokio::test]
async fn an_early_answer_to_a_body_that_was_not_read_says_connection_close() {
    let edge = Edge::start(Setup { server: "max_body = \"8KiB\"", ..Setup::default() }).await;
    let body = streaming("demo", json!({}));
    for (status, content_type, length) in [(413, "application/json", Some("8193")), (415, "text/plain", None)] {
        let mut request = post(PATH, "");
        *request.body_mut() = halves(&body, std::future::pending());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        length.map(|length| request.headers_mut().insert("content-length", length.parse().unwrap()));
        let answer = edge.client(Version::Http1).await.send(request).await;
        assert_eq!((answer.status(), answer.header("connection")), (status, "close"));
    }
}

#[tokio::test]
async fn an_early_answer_over_http2_is_not_followed_by_a_reset_when_the_body_is_short() {
    let edge = Edge::start(Setup::default()).await;
    let mut stream = soon(edge.target.tls(&["h2"])).await;
    // static entries 3 (:method POST) and 7 (:scheme https); literals without indexing for names 1, 4 and 31 (RFC 7541 §6)
    let mut block = vec![0x83, 0x87];
    for (name, value) in [(&[0x01][..], "localhost"), (&[0x04], PATH), (&[0x0f, 0x10], "text/plain")] {
        block.extend(name);
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    let ping = |number| frame(PING, 0, 0, &[number; 8]);
    stream.write_all(&[preface(), frame(HEADERS, END_HEADERS, 1, &block), ping(1)].concat()).await.unwrap();
    assert!(soon(until_pong(&mut stream)).await.is_empty(), "answered before its body was there");
    stream.write_all(&frame(DATA, END_STREAM, 1, b"{}")).await.unwrap();
    let mut kinds = Vec::new();
    loop {
        let answer = soon(next_frame(&mut stream)).await.unwrap();
        if answer.stream == 1 {
            kinds.push(answer.kind);
            if answer.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    stream.write_all(&ping(2)).await.unwrap();
    kinds.extend(soon(until_pong(&mut stream)).await);
    assert_eq!(kinds, [HEADERS, DATA]);
}

/// The kinds of the frames of the first stream that come before the answer to a PING.
async fn until_pong(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut kinds = Vec::new();
    loop {
        let frame = next_frame(stream).await.unwrap();
        match (frame.kind, frame.stream) {
            (PING, _) => return kinds,
            (kind, 1) => kinds.push(kind),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_early_answer_to_a_short_body_leaves_the_connection_open() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http1).await;
    for _ in 0..2 {
        let mut request = post(PATH, "");
        *request.body_mut() = halves(&json!({}), async {});
        request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        let answer = client.send(request).await;
        assert_eq!((answer.status(), answer.header("connection")), (415, ""));
        answer.rest().await;
    }
}

#[tokio::test]
async fn who_asks_before_it_sends_is_answered_at_once_and_not_told_to_go_on() {
    let edge = Edge::start(Setup::default()).await;
    let mut stream = soon(edge.target.raw_h1()).await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = soon(until_closed(&mut stream)).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
}

#[tokio::test]
async fn commit_after_counts_from_the_asking_and_not_from_a_head_whose_body_came_slowly() {
    let edge = Edge::start(Setup { stream: "commit_after = \"3s\"", ..Setup::default() }).await;
    let cases = ["status_401", "status_500"].map(|fault| Version::BOTH.map(|version| (fault, version)));
    join_all(cases.into_iter().flatten().map(async |(fault, version)| {
        let mut request = post(PATH, "");
        let slowly = tokio::time::sleep(Duration::from_millis(3500));
        *request.body_mut() = halves(&streaming("demo", json!({ "fault": fault })), slowly);
        let answer = edge.client(version).await.send(request).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"), "{fault} {version:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_head_that_leaves_before_it_is_known_who_answers_does_not_say_who() {
    let edge = Edge::start(Setup { stream: "commit_after = \"50ms\"", ..Setup::default() }).await;
    for version in Version::BOTH {
        for (model, who) in [("careful", ["", "", ""]), ("demo", ["demo", "one", "1"])] {
            let answer = edge.client(version).await.ask(&streaming(model, json!({ "hold": 1 }))).await;
            assert_eq!((answer.status(), WHO.map(|name| answer.header(name))), (200, who), "{model} over {version:?}");
            edge.first.release(1);
            answer.rest().await;
        }
    }
}

//! Answers that are kept and answers that are shared, over real sockets.

mod forms;
mod hits;
mod joining;
mod random;
mod redis;
mod sdk;
mod wishes;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::client::RequestBody;
use crate::support::edge::{Edge, Setup, Version, completion};

/// A gateway that keeps answers, with further lines of `[cache]`.
async fn keeping(lines: &str) -> Edge {
    with_cache(lines, Setup::default()).await
}

async fn with_cache(lines: &str, setup: Setup<'_>) -> Edge {
    let more = format!("{}\n[cache]\nenabled = true\n{lines}\n", setup.more);
    Edge::start(Setup { more: &more, ..setup }).await
}

async fn ask(edge: &Edge, body: &Value) -> Answer {
    edge.client(Version::Http2).await.ask(body).await
}

async fn ask_with(edge: &Edge, body: &Value, name: &'static str, value: &str) -> Answer {
    edge.client(Version::Http1).await.send(with(completion(body), name, value)).await
}

fn with(mut request: Request<RequestBody>, name: &'static str, value: &str) -> Request<RequestBody> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// The `tokenway-cache` of an answer and its whole body.
async fn told(answer: Answer) -> (String, String) {
    assert_eq!(answer.status(), 200, "{}", answer.header("tokenway-cache"));
    let cache = answer.header("tokenway-cache").to_owned();
    (cache, String::from_utf8(answer.rest().await.to_vec()).unwrap())
}

/// A stream as text.
fn text(events: &[Bytes]) -> String {
    events.iter().map(|event| std::str::from_utf8(event).unwrap()).collect()
}

/// The id of each event.
fn ids(stream: &str) -> Vec<String> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    data.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).unwrap()["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The stream with another id, which must be in every event.
fn renamed(stream: &str, id: &str) -> String {
    let own = ids(stream);
    assert!(own.windows(2).all(|pair| pair[0] == pair[1]), "{own:?}");
    stream.replace(&format!("\"id\":\"{}\"", own[0]), &format!("\"id\":\"{id}\""))
}

/// The same answer, each with an id of its own.
#[track_caller]
fn assert_retold(again: &str, first: &str) {
    let (own, other) = (ids(again), ids(first));
    assert_ne!(own[0], other[0]);
    assert_eq!(renamed(again, &other[0]), first);
}

//! Resumable streams over real sockets: made, read from any place, cut, resumed, stopped.

mod cuts;
mod ends;
mod faults;
mod made;

use http::Request;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::client::{RequestBody, get, request};
use crate::support::edge::{Edge, ORIGIN, Version, completion, post};

/// `POST /v1/streams` with this body, by the allowed page.
fn create(body: &Value) -> Request<RequestBody> {
    by_page(post("/v1/streams", body.to_string()))
}

/// `POST /v1/chat/completions` with `tokenway-resumable: true`, by the allowed page.
fn resumable(body: &Value) -> Request<RequestBody> {
    with(by_page(completion(body)), "tokenway-resumable", "true")
}

/// `GET /v1/streams/{id}`, by the allowed page, as an `EventSource` that has this event.
fn read(id: &str, last: Option<u64>) -> Request<RequestBody> {
    let request = by_page(get(&format!("/v1/streams/{id}")));
    match last {
        Some(last) => with(request, "last-event-id", &last.to_string()),
        None => request,
    }
}

/// `DELETE /v1/streams/{id}`, by the allowed page.
fn stop(id: &str) -> Request<RequestBody> {
    by_page(request("DELETE", &format!("/v1/streams/{id}"), crate::support::client::empty()))
}

fn by_page(request: Request<RequestBody>) -> Request<RequestBody> {
    with(request, "origin", ORIGIN)
}

fn with(mut request: Request<RequestBody>, name: &'static str, value: &str) -> Request<RequestBody> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// Makes a stream; its id.
async fn created(edge: &Edge, body: &Value) -> String {
    let answer = edge.client(Version::Http2).await.send(create(body)).await;
    assert_eq!(answer.status(), 201);
    answer.json().await["id"].as_str().unwrap().to_owned()
}

/// Everything that a reader gets who has the event `last`.
async fn read_all(edge: &Edge, id: &str, last: Option<u64>) -> String {
    let answer = edge.client(Version::Http1).await.send(read(id, last)).await;
    assert_eq!(answer.status(), 200);
    text(answer).await
}

async fn text(answer: Answer) -> String {
    String::from_utf8(answer.rest().await.to_vec()).unwrap()
}

/// What an `EventSource` must get of these events of the upstream, of which it has the first `after`.
fn numbered(events: &[bytes::Bytes], after: usize) -> String {
    let mut text = String::new();
    for (number, event) in (1..).zip(events).skip(after) {
        let retry = if number == after + 1 { "retry: 1000\n" } else { "" };
        text += &format!("id: {number}\n{retry}{}", std::str::from_utf8(event).unwrap());
    }
    text
}

/// Without heartbeats, which come where there is nothing to send.
fn without_heartbeats(text: &str) -> String {
    text.replace(": hb\n\n", "").replace(": hb\n", "")
}

/// The same events without the fields that a log adds.
fn without_numbers(text: &str) -> String {
    let is_own = |line: &&str| line.starts_with("id: ") || line.starts_with("retry: ");
    without_heartbeats(text).split_inclusive(['\n', '\r']).filter(|line| !is_own(line)).collect()
}

/// Returns when all completions have come to their end.
async fn until_finished(edge: &Edge, count: u64) {
    crate::support::soon(edge.first.until(|counts| counts.finished == count)).await;
    let begun = Instant::now();
    while edge.metric("tokenway_streams_active") != 0.0 {
        assert!(begun.elapsed() < crate::support::PATIENCE);
        tokio::task::yield_now().await;
    }
}

fn knobs(tokens: u64, hold: Option<u64>) -> Value {
    match hold {
        Some(hold) => json!({ "tokens": tokens, "hold": hold }),
        None => json!({ "tokens": tokens }),
    }
}

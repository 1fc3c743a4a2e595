//! Each request is settled once: counted, logged, and out of the gauges.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::REQUESTS;
use crate::support::child::{Child, Plan, chat, post, with};
use crate::support::client::{get, until_closed};
use crate::support::metrics::Scrape;
use crate::support::soon;
use crate::support::sse::Events;

/// Counts of all requests so far, by outcome and status.
fn settled(metrics: &Scrape) -> Vec<(String, f64)> {
    let mut all: Vec<_> = metrics
        .0
        .iter()
        .filter(|(name, ..)| name == REQUESTS)
        .map(|(_, labels, count)| {
            (["route", "model", "status", "outcome"].map(|label| labels[label].as_str()).join(" "), *count)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[tokio::test]
async fn every_request_is_settled_exactly_once_whatever_its_end() {
    let child = Child::start(Plan::default()).await;
    let mut expected: Vec<(String, f64)> = Vec::new();
    let mut step = 0;
    let cases = [
        (chat(true, json!({ "tokens": 3 })), "chat_completions demo 200 ok"),
        (chat(false, json!({ "tokens": 3 })), "chat_completions demo 200 ok"),
        (chat(true, json!({ "fault": "reset_after_events", "at": 3 })), "chat_completions demo 200 truncated"),
        (chat(true, json!({ "fault": "clean_eof_without_done", "at": 3 })), "chat_completions demo 200 truncated"),
        (chat(true, json!({ "fault": "status_500" })), "chat_completions demo 502 upstream_failure"),
        (chat(false, json!({ "fault": "status_429" })), "chat_completions demo 429 upstream_failure"),
        (
            json!({ "model": "no-such-model", "messages": [{ "role": "user", "content": "x" }] }),
            "chat_completions other 404 rejected",
        ),
        (json!({ "model": "demo" }), "chat_completions other 400 rejected"),
    ];
    for h2 in [true, false] {
        for (body, end) in &cases {
            step += 1;
            let request = with(post(body), "x-request-id", &format!("case-{step}"));
            let response = match h2 {
                true => soon(child.target.h2()).await.send_request(request).await.unwrap(),
                false => soon(child.target.h1()).await.send_request(request).await.unwrap(),
            };
            Events::of(response).rest().await;
            count(&mut expected, end);
            assert_settled(&child, &expected).await;
            child.logged(&format!("case-{step}")).await;
        }
    }
    child.until(|now| now.sum("tokenway_streams_active", &[]) == 0.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_settled_once_and_its_upstream_let_go() {
    let child = Child::start(Plan::default()).await;
    let mut expected: Vec<(String, f64)> = Vec::new();
    let mut left = 0;
    // before any byte came from the upstream, after the role chunk, and in the middle of the text
    for (stream, demo, status) in [
        (true, json!({ "fault": "silent" }), 499),
        (false, json!({ "fault": "silent" }), 499),
        (true, json!({ "fault": "role_delay", "hold": 1 }), 499),
        (true, json!({ "hold": 3 }), 200),
    ] {
        for h2 in [true, false] {
            left += 1;
            let id = format!("left-{left}");
            let request = with(post(&chat(stream, demo.clone())), "x-request-id", &id);
            let answer = match h2 {
                true => {
                    let mut client = soon(child.target.h2()).await;
                    tokio::spawn(async move { client.send_request(request).await })
                }
                false => {
                    let mut client = soon(child.target.h1()).await;
                    tokio::spawn(async move { client.send_request(request).await })
                }
            };
            soon(child.demo.until(|counts| counts.requests == left)).await;
            if status == 200 {
                let mut events = Events::of(soon(answer).await.unwrap().unwrap());
                let first = events.next().await.unwrap();
                assert!(first.json().is_some());
                assert_eq!(child.metrics().await.sum("tokenway_streams_active", &[]), 1.0);
                drop(events);
            } else {
                answer.abort();
            }
            let began = Instant::now();
            soon(child.demo.until(|counts| counts.cancelled == left)).await;
            // at the first heartbeat, after 15 seconds, a write would have failed
            assert!(began.elapsed() < Duration::from_secs(8), "the upstream was let go late");
            count(&mut expected, &format!("chat_completions demo {status} client_gone"));
            assert_settled(&child, &expected).await;
            let log = child.logged(&id).await;
            assert_eq!((&log["outcome"], &log["tokens_from"]), (&json!("client_gone"), &json!("estimate")));
            // what came until then is billed by the provider
            assert_eq!(log["output_tokens"].as_u64().unwrap() > 0, status == 200, "{log}");
        }
    }
    assert_eq!(child.until(|now| now.sum("tokenway_streams_active", &[]) == 0.0).await.sum(REQUESTS, &[]), left as f64);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_settled_once() {
    let child = Child::start(Plan::default()).await;
    // who closes only its own half still reads, and is told
    let mut h1 = soon(child.target.raw_h1()).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-request-id: half\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    h1.write_all(head.as_bytes()).await.unwrap();
    h1.shutdown().await.unwrap();
    let answer = soon(until_closed(&mut h1)).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request"), "{answer}");
    assert_eq!(child.logged("half").await["outcome"], "rejected");

    let mut h2 = soon(child.target.h2()).await;
    let endless = StreamBody::new(stream::once(async { Ok(Frame::data("{".into())) }).chain(stream::pending()));
    let (parts, _) = with(post(&chat(true, json!({}))), "x-request-id", "reset").into_parts();
    let asked = tokio::spawn(h2.send_request(Request::from_parts(parts, BodyExt::boxed(endless))));
    // the same connection answers a later request: the first one is there
    soon(h2.send_request(with(get("/healthz"), "x-request-id", "later"))).await.unwrap();
    asked.abort();
    // nobody reads the same answer here
    let log = child.logged("reset").await;
    assert_eq!((&log["outcome"], &log["status"]), (&json!("rejected"), &json!(400)));
    let metrics = child.metrics().await;
    assert_eq!(metrics.sum(REQUESTS, &[]), 3.0);
    assert!(child.demo.requests().is_empty());
    drop(h2);
    child.until(|now| now.sum("tokenway_connections_active", &[]) == 0.0).await;
}

fn count(expected: &mut Vec<(String, f64)>, end: &str) {
    match expected.iter_mut().find(|(known, _)| known == end) {
        Some((_, count)) => *count += 1.0,
        None => expected.push((end.to_owned(), 1.0)),
    }
    expected.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Not fewer, and not more: the next case would find what was counted late.
async fn assert_settled(child: &Child, expected: &[(String, f64)]) {
    let total: f64 = expected.iter().map(|(_, count)| count).sum();
    let metrics = child.until(|now| now.sum(REQUESTS, &[]) >= total).await;
    assert_eq!(settled(&metrics), expected);
}

//! Whose time it was, and who pays.

use std::time::Duration;

use demo_upstream::{Fault, Knobs};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::child::{Child, Plan, chat, post, with};
use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::metrics::Scrape;
use crate::support::soon;
use crate::support::sse::Events;

/// What the demo upstream takes, in milliseconds.
const SLOW: f64 = 1500.0;

/// The milliseconds of the parts `gateway` and `upstream`.
fn timing(header: &str) -> (f64, f64) {
    let mut parts = header.split(", ").map(|part| part.split_once(";dur=").unwrap());
    let mut part = |name| {
        let (found, value) = parts.next().unwrap();
        assert_eq!(found, name, "{header}");
        value.parse().unwrap()
    };
    (part("gateway"), part("upstream"))
}

#[tokio::test]
async fn server_timing_gives_the_upstreams_time_to_the_upstream() {
    let slow = Duration::from_millis(SLOW as u64);
    let first = Knobs { first_token: slow, ..Knobs::default() };
    let failing = Knobs { fault: Some(Fault::Status500), ..first.clone() };
    for (first, model, status, upstreams) in
        [(first.clone(), "demo", 200, 1.0), (failing.clone(), "demo", 502, 1.0), (failing, "careful", 200, 2.0)]
    {
        let second = Knobs { first_token: slow, ..Knobs::default() };
        let edge = Edge::start(Setup { first, second, ..Setup::default() }).await;
        let requests = [whole(model, json!({})), streaming(model, json!({}))];
        let cases = requests.iter().flat_map(|request| Version::BOTH.map(|version| (request, version)));
        join_all(cases.map(async |(request, version)| {
            let mut client = edge.client(version).await;
            let asked = Instant::now();
            let answer = client.ask(request).await;
            let all = asked.elapsed().as_secs_f64() * 1e3;
            let (gateway, upstream) = timing(answer.header("server-timing"));
            assert_eq!(answer.status(), status);
            // figures are rounded
            assert!(upstream >= upstreams * SLOW - 0.001, "{upstream} ms of {upstreams} upstreams, {status}");
            assert!(gateway < upstream / 2.0, "{gateway} ms beside {upstream} ms, {status}");
            assert!(gateway + upstream <= all + 0.001, "{gateway} + {upstream} > {all} ms, {status}");
        }))
        .await;
    }
}

/// Tokens and dollars so far.
fn booked(metrics: &Scrape) -> (f64, f64) {
    (metrics.sum("tokenway_tokens_total", &[]), metrics.sum("tokenway_cost_dollars_total", &[]))
}

async fn until_ended(child: &Child, outcome: &str, count: f64) -> Scrape {
    child.until(|now| now.sum("tokenway_requests_total", &[("outcome", outcome)]) == count).await
}

/// Asks over HTTP/2 and reads the answer to its end.
async fn read_all(child: &Child, id: &str, demo: Value) {
    let request = with(post(&chat(true, demo)), "x-request-id", id);
    let response = soon(soon(child.target.h2()).await.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200, "{id}");
    Events::of(response).rest().await;
}

#[tokio::test]
async fn what_an_upstream_refused_is_not_paid_for_and_what_it_worked_on_is() {
    let child = Child::start(Plan { stream: "commit_after = \"50ms\"", ..Plan::default() }).await;
    read_all(&child, "failed", json!({ "fault": "status_500", "first_token_ms": 2000 })).await;
    assert_eq!(booked(&until_ended(&child, "truncated", 1.0).await), (0.0, 0.0));
    let log = child.logged("failed").await;
    assert!(log["cost"].is_null(), "{log}");

    // its head and a heartbeat have come, and no output
    let request = post(&chat(true, json!({ "hold": 1 })));
    let response = soon(soon(child.target.h2()).await.send_request(request)).await.unwrap();
    soon(child.demo.until(|counts| counts.held == 1)).await;
    drop(response);
    let prompt = booked(&until_ended(&child, "client_gone", 1.0).await);
    assert!(prompt.0 > 0.0 && prompt.1 > 0.0, "{prompt:?}");

    read_all(&child, "truncated", json!({ "fault": "reset_after_events", "at": 3 })).await;
    let (tokens, dollars) = booked(&until_ended(&child, "truncated", 2.0).await);
    assert!(tokens > prompt.0 && dollars > prompt.1, "{tokens} tokens, {dollars} dollars");
    let log = child.logged("truncated").await;
    assert!(log["cost"].is_string(), "{log}");
}

#[tokio::test]
async fn a_role_chunk_that_is_held_does_not_count_as_an_event_that_waits() {
    let child = Child::start(Plan::default()).await;
    read_all(&child, "held", json!({ "fault": "role_delay", "first_token_ms": 2000, "tokens": 3 })).await;
    let metrics = until_ended(&child, "ok", 1.0).await;
    let waited = metrics.sum("tokenway_event_forward_seconds_sum", &[]);
    // the role alone would add two seconds
    assert!(waited < 1.0, "events waited {waited} s");
    assert!(metrics.sum("tokenway_event_forward_seconds_count", &[]) >= 2.0);
}

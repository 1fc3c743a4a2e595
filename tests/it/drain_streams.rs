//! SIGTERM with streams open: they finish, or end honestly when the time is over.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::child::{ALLOWED, Child, Plan, chat, post, with};
use crate::support::client::until_closed;
use crate::support::soon;
use crate::support::sse::Events;

/// Two streams over HTTP/1.1 and HTTP/2, each at its hold after three events.
async fn hold_two(child: &Child) -> [Events; 2] {
    let held = chat(true, json!({ "tokens": 8, "hold": 3 }));
    let request = || with(post(&held), "origin", ALLOWED);
    let h1 = soon(soon(child.target.h1()).await.send_request(request())).await.unwrap();
    let h2 = soon(soon(child.target.h2()).await.send_request(request())).await.unwrap();
    let mut streams = [Events::of(h1), Events::of(h2)];
    for events in &mut streams {
        for _ in 0..3 {
            assert!(events.next().await.unwrap().json().is_some());
        }
    }
    streams
}

async fn until_the_listener_is_closed(child: &Child) {
    soon(async { while TcpStream::connect(child.target.address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn streams_finish_within_the_drain_and_the_status_is_0() {
    for signal in ["TERM", "INT"] {
        let mut child = Child::start(Plan::default()).await;
        let mut streams = hold_two(&child).await;
        child.server.signal(signal);
        child.until_ready_is(StatusCode::SERVICE_UNAVAILABLE).await;
        until_the_listener_is_closed(&child).await;
        assert_eq!(child.metrics().await.sum("tokenway_streams_active", &[]), 2.0);

        let begun = Instant::now();
        child.demo.release(2);
        for events in &mut streams {
            let rest = events.rest().await;
            assert_eq!(rest.last().unwrap().text, "data: [DONE]\n\n");
            assert_eq!(events.ended_well, Some(true));
        }
        drop(streams);
        assert_eq!(child.server.ended().await.code(), Some(0), "{signal}");
        // as soon as the last stream has ended, and not when the drain of 30 s has
        assert!(begun.elapsed() < Duration::from_secs(15));
        let settled: Vec<String> = outcomes(&child);
        assert_eq!(settled, ["ok", "ok"]);
        assert!(TcpStream::connect(&child.admin).await.is_err());
    }
}

fn outcomes(child: &Child) -> Vec<String> {
    let lines = child.server.output();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let settled = lines.filter(|line| line["target"] == "tokenway::request");
    settled.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_stream_that_outlasts_the_drain_ends_with_one_error_event() {
    let mut child = Child::start(Plan { server: "drain = \"1s\"", ..Plan::default() }).await;
    let mut streams = hold_two(&child).await;
    let begun = Instant::now();
    child.server.signal("TERM");
    for events in &mut streams {
        let rest = events.rest().await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(rest.len(), 1, "{rest:?}");
        let error = rest[0].json().unwrap();
        assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&json!("draining"), &json!("server_error")));
        assert!(error["error"]["request_id"].is_string());
        // the body ends as HTTP wants it to: no reset, no missing last chunk
        assert_eq!(events.ended_well, Some(true));
    }
    drop(streams);
    assert_eq!(child.server.ended().await.code(), Some(0));
    assert_eq!(outcomes(&child), ["truncated", "truncated"]);
    // the upstream's completions were cancelled, not left to run
    soon(child.demo.until(|counts| counts.cancelled == 2)).await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut child = Child::start(Plan::default()).await;
    let streams = hold_two(&child).await;
    child.server.signal("TERM");
    child.until_ready_is(StatusCode::SERVICE_UNAVAILABLE).await;
    let begun = Instant::now();
    child.server.signal("TERM");
    assert_eq!(child.server.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for the drain of 30 s");
    drop(streams);
}

#[tokio::test]
async fn without_streams_it_ends_at_once() {
    let mut child = Child::start(Plan::default()).await;
    let mut idle = soon(child.target.raw_h1()).await;
    let begun = Instant::now();
    child.server.signal("TERM");
    soon(until_closed(&mut idle)).await;
    drop(idle);
    assert_eq!(child.server.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

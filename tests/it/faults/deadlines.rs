//! Silence and length: heartbeats, and the ends of patience. Each is told by the bytes that the peer gets.

use bytes::Bytes;
use serde_json::json;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, expected, streaming, whole};
use crate::support::soon;

const HEARTBEAT: &[u8] = b": hb\n\n";

/// Takes heartbeats out of a stream, from where they may be: between events. Gives back how many there were.
fn heartbeats_between(mut body: &[u8], events: &[Bytes]) -> usize {
    let mut count = 0;
    for event in events {
        while let Some(rest) = body.strip_prefix(HEARTBEAT) {
            body = rest;
            count += 1;
        }
        body = body.strip_prefix(&event[..]).unwrap_or_else(|| {
            panic!("expected {:?}, found {:?}", String::from_utf8_lossy(event), String::from_utf8_lossy(body))
        });
    }
    assert_eq!(body, b"");
    count
}

#[tokio::test]
async fn while_the_upstream_is_silent_heartbeats_are_sent() {
    let edge = Edge::start(Setup { stream: "heartbeat = \"40ms\"", ..Setup::default() }).await;
    for version in Version::BOTH {
        let request = streaming("demo", json!({ "hold": 4 }));
        let events = expected(&request);
        let mut answer = edge.client(version).await.ask(&request).await;
        let mut body = answer.take(events[..4].concat().len() + 3 * HEARTBEAT.len()).await.to_vec();
        edge.first.release(1);
        body.extend(answer.rest().await);
        assert!(heartbeats_between(&body, &events) >= 3);
    }
}

#[tokio::test]
async fn a_heartbeat_never_stands_in_the_middle_of_an_event() {
    // each event takes 100 ms to come in, byte by byte
    let edge = Edge::start(Setup { stream: "heartbeat = \"10ms\"", ..Setup::default() }).await;
    let mut seen = 0;
    for version in Version::BOTH {
        for fault in ["slow_drip", "split_everywhere"] {
            let knobs = json!({ "fault": fault, "tokens": 4, "tokens_per_second": 10 });
            let request = streaming("demo", knobs);
            let body = edge.client(version).await.ask(&request).await.rest().await;
            seen += heartbeats_between(&body, &expected(&request));
        }
    }
    assert!(seen > 3, "{seen} heartbeats");
}

#[tokio::test]
async fn an_upstream_that_falls_silent_is_given_up_after_idle_timeout() {
    let edge = Edge::start(Setup { stream: "idle_timeout = \"1s\"", ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "hold": 4 }));
        let answer = edge.client(version).await.ask(&request).await;
        let id = answer.header("x-request-id").to_owned();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((&before[..], &*code), (&expected(&request)[..4].concat()[..], "upstream_timeout"));
        soon(edge.first.until(|counts| counts.cancelled == round && counts.connections_open == 0)).await;
        edge.until_ended("demo", 200, "truncated", round).await;
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent_after_the_role_is_a_status() {
    let edge = Edge::start(Setup { stream: "idle_timeout = \"1s\"", ..Setup::default() }).await;
    for version in Version::BOTH {
        let answer = edge.client(version).await.ask(&streaming("demo", json!({ "hold": 1 }))).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (504, "upstream_timeout"));
    }
}

#[tokio::test]
async fn first_event_timeout_after_commit_after_is_told_in_the_stream() {
    let stream = "commit_after = \"50ms\"\nfirst_event_timeout = \"2s\"";
    let edge = Edge::start(Setup { stream, ..Setup::default() }).await;
    for version in Version::BOTH {
        let answer = edge.client(version).await.ask(&streaming("demo", json!({ "fault": "silent" }))).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.status(), 200);
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((&before[..], &*code), (HEARTBEAT, "upstream_timeout"));
    }
}

#[tokio::test]
async fn max_duration_ends_a_stream_that_goes_on_and_on() {
    let edge = Edge::start(Setup { stream: "max_duration = \"2s\"", ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "tokens": 1_000_000, "tokens_per_second": 50 }));
        let mut start = request.clone();
        start["demo"]["tokens"] = 100.into();
        let answer = edge.client(version).await.ask(&request).await;
        let id = answer.header("x-request-id").to_owned();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!(code, "upstream_timeout");
        assert!(expected(&start).concat().starts_with(&before) && before.ends_with(b"\n\n"));
        soon(edge.first.until(|counts| counts.cancelled == round)).await;
    }
}

#[tokio::test]
async fn max_duration_counts_from_the_request_also_before_the_commit_point() {
    let stream = "max_duration = \"1s\"";
    let edge = Edge::start(Setup { stream, ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        // comments that keep the upstream from being silent, and no output
        let request = streaming("demo", json!({ "fault": "never_finish", "at": 0 }));
        let answer = edge.client(version).await.ask(&request).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (504, "upstream_timeout"));
        soon(edge.first.until(|counts| counts.cancelled == round)).await;
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_has_the_same_ends_of_patience() {
    for (stream, fault) in [
        ("whole_timeout = \"1s\"", "silent"),
        ("idle_timeout = \"1s\"\nwhole_timeout = \"1s\"", "headers_then_silent"),
        ("max_duration = \"1s\"", "never_finish"),
    ] {
        let edge = Edge::start(Setup { stream, ..Setup::default() }).await;
        for (round, version) in (1..).zip(Version::BOTH) {
            let answer = edge.client(version).await.ask(&whole("demo", json!({ "fault": fault }))).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (504, "upstream_timeout"), "{fault}");
            soon(edge.first.until(|counts| counts.cancelled == round)).await;
        }
    }
}

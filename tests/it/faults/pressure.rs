//! Clients that take nothing and upstreams that never stop: what is held is bounded.

use std::time::Duration;

use demo_upstream::{Fault, Knobs};
use serde_json::json;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, expected, streaming};
use crate::support::soon;

/// Tokens of an answer of some 14 MB.
const LONG: u64 = 60_000;
/// What the upstream may be rid of while the client reads nothing. Most of it is the kernel's, even
/// with narrow buffers: where readers pause, it makes theirs wider.
const HELD: u64 = 4 << 20;

/// Returns when the upstream has not sent a byte for a while.
async fn until_stuck(edge: &Edge) -> u64 {
    let mut sent = 0;
    loop {
        // whoever returns too soon sees less held than there is: this bounds nothing else
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = edge.first.bytes_sent();
        if now == sent {
            return now;
        }
        sent = now;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_upstream_and_loses_nothing() {
    let edge = Edge::start(Setup { narrow: true, ..Setup::default() }).await;
    for version in Version::BOTH {
        let before = edge.first.bytes_sent();
        let request = streaming("demo", json!({ "tokens": LONG }));
        let events = expected(&request).concat();
        assert!(events.len() as u64 > 3 * HELD);
        let mut answer = edge.client(version).await.ask(&request).await;
        let begun = answer.take(1000).await;
        let held = soon(until_stuck(&edge)).await - before;
        eprintln!("{held} bytes held over {version:?}");
        assert!(held < HELD, "{held}");
        assert_eq!(edge.first.counts().open, 1);
        assert!([begun, answer.rest().await].concat() == events, "the bytes differ");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_for_write_timeout_is_cut_and_its_upstream_cancelled() {
    let edge = Edge::start(Setup { server: "write_timeout = \"2s\"", narrow: true, ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let mut client = edge.client(version).await;
        let mut answer = client.ask(&streaming("demo", json!({ "tokens": LONG }))).await;
        let begun = answer.take(1000).await;
        assert!(begun.starts_with(b"data: "));
        soon(edge.first.until(|counts| counts.cancelled == round)).await;
        edge.until_ended("demo", 200, "client_gone", round).await;
        let (rest, end) = answer.until_end().await;
        assert!(end.is_err(), "a whole body of {} bytes over {version:?}", rest.len());
    }
}

#[tokio::test]
async fn max_duration_ends_a_stream_whose_client_is_slower_than_its_upstream() {
    let edge = Edge::start(Setup { stream: "max_duration = \"1s\"", narrow: true, ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "tokens": LONG }));
        let answer = edge.client(version).await.ask(&request).await;
        let id = answer.header("x-request-id").to_owned();
        // there is always more to take
        let body = soon(answer.rest_slowly(Duration::from_millis(2))).await;
        let (before, code) = truncated(&body, &id);
        assert_eq!(code, "upstream_timeout");
        assert!(expected(&request).concat().starts_with(&before));
        soon(edge.first.until(|counts| counts.cancelled == round)).await;
        edge.until_ended("demo", 200, "truncated", round).await;
    }
}

#[tokio::test]
async fn what_never_ends_is_given_up_at_max_event() {
    let stream = "max_event = \"64KiB\"\nidle_timeout = \"10m\"";
    for fault in [Fault::EndlessLine, Fault::EndlessEvent, Fault::EndlessComments] {
        for at in [0, 3] {
            let edge = Edge::start(Setup { stream, narrow: true, ..Setup::default() }).await;
            for (round, version) in (1..).zip(Version::BOTH) {
                let request = streaming("demo", json!({ "fault": fault.to_string(), "at": at }));
                let answer = edge.client(version).await.ask(&request).await;
                let (status, id) = (answer.status(), answer.header("x-request-id").to_owned());
                let body = answer.rest().await;
                match at {
                    0 => assert_eq!(status, 502, "{fault}"),
                    _ => assert_eq!(truncated(&body, &id).0, expected(&request)[..3].concat(), "{fault}"),
                }
                soon(edge.first.until(|counts| counts.cancelled == round && counts.connections_open == 0)).await;
            }
            // what was in the kernel's hands when the gateway had enough
            assert!(edge.first.bytes_sent() < 2 * HELD, "{fault}: {}", edge.first.bytes_sent());
        }
    }
}

#[tokio::test]
async fn an_event_may_have_max_event_bytes_and_not_one_more() {
    let long = "w".repeat(150);
    let request = |tokens: u64| {
        let mut request = streaming("demo", json!({ "tokens": tokens, "script": "tool_call" }));
        request["tools"] = json!([{ "type": "function", "function": { "name": long.repeat(40) } }]);
        request
    };
    let events = expected(&request(5));
    let largest = events.iter().map(|event| event.len()).max().unwrap();
    for (max_event, good) in [(largest, true), (largest - 1, false)] {
        let stream = format!("max_event = \"{max_event}B\"");
        let edge = Edge::start(Setup { stream: &stream, ..Setup::default() }).await;
        for version in Version::BOTH {
            let answer = edge.client(version).await.ask(&request(5)).await;
            match good {
                true => assert_eq!(answer.rest().await, events.concat()),
                false => assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure")),
            }
        }
    }
}

#[tokio::test]
async fn an_answer_s_head_is_bounded_in_lines_and_bytes() {
    for fault in [Fault::ManyHeaders, Fault::HugeHeader] {
        let first = Knobs { fault: Some(fault), ..Knobs::default() };
        let edge = Edge::start(Setup { first, ..Setup::default() }).await;
        for (round, version) in (1..).zip(Version::BOTH) {
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"), "{fault}");
            soon(edge.first.until(|counts| counts.connections == round && counts.connections_open == 0)).await;
        }
    }
}

//! Two hundred streams at once, faults among them.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::assert_nothing_leaks;
use crate::support::answer::{Answer, truncated};
use crate::support::edge::{Edge, Setup, Version, expected, streaming};
use crate::support::soon;

const STREAMS: u64 = 200;

/// Faults that end by themselves, after which a stream's beginning is good, and none.
const FAULTS: [Option<&str>; 12] = [
    None,
    Some("reset_after_events"),
    None,
    Some("disconnect_mid_event"),
    None,
    Some("endless_line"),
    None,
    Some("clean_eof_without_done"),
    Some("split_everywhere"),
    Some("error_event"),
    None,
    Some("bad_chunk"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_streams_at_once_each_good_one_is_whole_and_each_broken_one_says_so() {
    let edge = Arc::new(Edge::start(Setup::default()).await);
    let mut shared = [edge.client(Version::Http2).await, edge.client(Version::Http2).await];
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let fault = FAULTS[(number * 7 % FAULTS.len() as u64) as usize];
        let mut knobs = json!({ "seed": number, "tokens": 60, "tokens_per_second": 200, "jitter_ms": 3, "at": 20 });
        fault.into_iter().for_each(|fault| knobs["fault"] = fault.into());
        let request = streaming("demo", knobs);
        match number % 4 {
            0 => {
                let edge = Arc::clone(&edge);
                streams.spawn(async move {
                    let answer = edge.client(Version::Http1).await.ask(&request).await;
                    check(answer, fault, &request).await;
                });
            }
            _ => {
                let answer = shared[(number % 2) as usize].ask(&request).await;
                streams.spawn(async move { check(answer, fault, &request).await });
            }
        }
    }
    while let Some(checked) = streams.join_next().await {
        checked.unwrap();
    }
    let good =
        (0..STREAMS).filter(|number| is_good(FAULTS[(number * 7 % FAULTS.len() as u64) as usize])).count() as u64;
    edge.until_ended("demo", 200, "ok", good).await;
    edge.until_ended("demo", 200, "truncated", STREAMS - good).await;
    soon(async {
        while edge.metrics.streams_active.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
}

fn is_good(fault: Option<&str>) -> bool {
    matches!(fault, None | Some("split_everywhere"))
}

async fn check(answer: Answer, fault: Option<&str>, request: &serde_json::Value) {
    let (head, id) = (answer.head.clone(), answer.header("x-request-id").to_owned());
    assert_eq!(answer.status(), 200, "{fault:?}");
    let body = answer.rest().await;
    assert_nothing_leaks(&head, &body);
    let events = expected(request);
    if is_good(fault) {
        assert!(body == events.concat(), "{fault:?}: the bytes differ");
    } else {
        assert!(truncated(&body, &id).0 == events[..20].concat(), "{fault:?}: the bytes before the end differ");
    }
}

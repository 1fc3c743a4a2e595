//! Every fault of the upstream, through a log: the request that made the stream sees what it sees without, and a reader
//! sees the same with numbers.

use serde_json::json;

use super::{created, read, read_all, resumable, until_finished, without_heartbeats, without_numbers};
use crate::faults::table::{AT, Outcome, all, events, outcome, patience};
use crate::faults::{assert_holds_no_secret, assert_nothing_leaks};
use crate::support::answer::{error_code, truncated};
use crate::support::edge::{Edge, Setup, Version, streaming};
use crate::support::soon;

/// The upstream's own comments say nothing to a client, and are not kept.
fn without_comments(text: &str) -> String {
    without_heartbeats(text).replace(":\n\n", "").replace(": still here\n\n", "")
}

#[tokio::test]
async fn every_fault_looks_the_same_through_a_log() {
    for (fault, outcome) in all(outcome) {
        let edge = Edge::start(Setup { stream: patience(fault, true), ..Setup::default() }).await;
        for version in Version::BOTH {
            eprintln!("{fault} over {version:?}");
            let request = streaming("demo", json!({ "fault": fault.to_string(), "at": AT }));
            let answer = edge.client(version).await.send(resumable(&request)).await;
            let (head, status) = (answer.head.clone(), answer.status());
            let request_id = answer.header("x-request-id").to_owned();
            let stream = answer.header("tokenway-stream-id").to_owned();
            let body = answer.rest().await;
            assert_nothing_leaks(&head, &body);
            let good = without_comments(std::str::from_utf8(&events(fault, &request).concat()).unwrap());
            match outcome {
                Outcome::Refused(expected, code) => {
                    let seen = error_code(&serde_json::from_slice(&body).unwrap(), &request_id);
                    assert_eq!((status, &*seen, &*stream), (expected, code, ""), "{fault}");
                    assert_eq!(edge.metric("tokenway_streams_resumable "), 0.0);
                    continue;
                }
                Outcome::Truncated(code) => {
                    let (before, seen) = truncated(&body, &request_id);
                    assert!(good.starts_with(std::str::from_utf8(&before).unwrap()), "{fault}");
                    assert_eq!(before.windows(2).filter(|end| end == b"\n\n").count(), AT, "{fault}");
                    assert_eq!(seen, code, "{fault}");
                }
                Outcome::Good => assert_eq!(std::str::from_utf8(&body).unwrap(), good, "{fault}"),
            }
            soon(edge.first.until(|counts| counts.open == 0)).await;
            let replay = read_all_by_request(&edge, &stream).await;
            assert_eq!(without_numbers(&replay), std::str::from_utf8(&body).unwrap(), "{fault}");
            // the end has a number, whatever it is: nobody comes back for ever
            let last = replay.split("id: ").count() as u64 - 1;
            assert_eq!(edge.client(version).await.send(read(&stream, Some(last))).await.status(), 204, "{fault}");
        }
        assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
        assert_holds_no_secret(&edge.metrics.text());
    }
}

async fn read_all_by_request(edge: &Edge, stream: &str) -> String {
    let begun = tokio::time::Instant::now();
    while edge.metric("tokenway_streams_active") != 0.0 {
        assert!(begun.elapsed() < crate::support::PATIENCE);
        tokio::task::yield_now().await;
    }
    read_all(edge, stream, None).await
}

#[tokio::test]
async fn a_stream_that_is_made_tells_its_failure_as_its_only_event() {
    for (fault, code) in
        [("status_429", "rate_limited"), ("status_500", "upstream_failure"), ("reset_before", "upstream_failure")]
    {
        let edge = Edge::start(Setup::default()).await;
        let id = created(&edge, &streaming("demo", json!({ "fault": fault }))).await;
        soon(edge.first.until(|counts| counts.requests > 0 && counts.open == 0)).await;
        let told = without_heartbeats(&read_all(&edge, &id, None).await);
        assert!(told.starts_with("id: 1\nretry: 1000\ndata: {\"error\":{") && told.contains(code), "{told}");
        assert_eq!(edge.client(Version::Http2).await.send(read(&id, Some(1))).await.status(), 204);
    }
}

#[tokio::test]
async fn another_model_is_asked_before_the_first_output_as_ever() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("careful", json!({ "fault": "status_500" }));
    let id = created(&edge, &request).await;
    let told = read_all(&edge, &id, None).await;
    assert!(told.contains("upstream_failure"), "both fail: {told}");
    assert_eq!((edge.first.counts().requests, edge.second.counts().requests), (1, 1));
    until_finished(&edge, 1).await;
}

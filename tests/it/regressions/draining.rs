//! Answers that have no head yet when the time of a drain is over.

use serde_json::json;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, streaming, whole};
use crate::support::soon;

#[tokio::test]
async fn what_has_no_head_when_the_drain_is_over_is_503_and_counted_as_rejected() {
    for version in Version::BOTH {
        for body in [streaming("demo", json!({ "hold": 1 })), whole("demo", json!({ "hold": 0 }))] {
            let edge = Edge::start(Setup::default()).await;
            let mut client = edge.client(version).await;
            let mut request = completion(&body);
            request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
            let (answer, ()) = tokio::join!(client.send(request), async {
                soon(edge.first.until(|counts| counts.held == 1)).await;
                edge.drain.begun.cancel();
                edge.open.cut();
                edge.drain.over.cancel();
            });
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{version:?}");
            assert_eq!(answer.header("vary").to_ascii_lowercase(), "origin");
            assert_ne!(answer.header("retry-after"), "");
            assert_eq!((answer.status(), &*answer.error_code().await), (503, "draining"), "{version:?}");
            edge.until_ended("demo", 503, "rejected", 1).await;
            soon(edge.first.until(|counts| counts.cancelled == 1)).await;
            // and nothing else
            assert_eq!(edge.metric("tokenway_requests_total"), 1.0, "{}", edge.metrics.text());
        }
    }
}

#[tokio::test]
async fn a_stream_that_begins_after_all_were_cut_is_cut_at_once() {
    for version in Version::BOTH {
        let edge = Edge::start(Setup::default()).await;
        let mut client = edge.client(version).await;
        // without the cut it would never end
        let request = streaming("demo", json!({ "hold": 1, "fault": "never_finish", "at": 3 }));
        let (answer, ()) = tokio::join!(client.ask(&request), async {
            soon(edge.first.until(|counts| counts.held == 1)).await;
            edge.drain.begun.cancel();
            edge.open.cut();
            edge.first.release(1);
        });
        let (status, id) = (answer.status(), answer.header("x-request-id").to_owned());
        let (_, code) = truncated(&soon(answer.rest()).await, &id);
        assert_eq!((status, &*code), (200, "draining"), "{version:?}");
        soon(edge.first.until(|counts| counts.cancelled == 1)).await;
        edge.until_ended("demo", 200, "truncated", 1).await;
    }
}

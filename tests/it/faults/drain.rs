//! Streams that are still open when the time of a drain is over.

use serde_json::json;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, expected, streaming};
use crate::support::soon;

#[tokio::test]
async fn a_stream_that_is_cut_says_so_and_its_upstream_is_cancelled() {
    for version in Version::BOTH {
        let edge = Edge::start(Setup::default()).await;
        let request = streaming("demo", json!({ "hold": 4 }));
        let events = expected(&request);
        let mut answer = edge.client(version).await.ask(&request).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.take(events[..4].concat().len()).await, events[..4].concat());
        edge.drain.begun.cancel();
        edge.open.cut();
        edge.drain.over.cancel();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((before.len(), &*code), (0, "draining"));
        soon(edge.first.until(|counts| counts.cancelled == 1)).await;
        edge.until_ended("demo", 200, "truncated", 1).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_its_first_output_asks_no_other_model() {
    for version in Version::BOTH {
        let edge = Edge::start(Setup { stream: "commit_after = \"50ms\"", ..Setup::default() }).await;
        let mut answer = edge.client(version).await.ask(&streaming("careful", json!({ "hold": 1 }))).await;
        let id = answer.header("x-request-id").to_owned();
        answer.take(5).await;
        edge.drain.begun.cancel();
        edge.open.cut();
        assert_eq!(truncated(&answer.rest().await, &id).1, "draining");
        soon(edge.first.until(|counts| counts.cancelled == 1)).await;
        assert_eq!(edge.second.counts().requests, 0);
    }
}

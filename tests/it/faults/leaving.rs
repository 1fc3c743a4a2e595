//! A client that leaves takes its upstream request with it.

use serde_json::{Value, json};

use crate::support::edge::{Edge, Setup, Version, completion, expected, streaming, whole};
use crate::support::soon;

#[tokio::test]
async fn leaving_before_the_first_token_cancels_the_upstream_s_work() {
    let edge = Edge::start(Setup::default()).await;
    let mut left = 0;
    for version in Version::BOTH {
        let asked: [fn(&str, Value) -> Value; 2] = [streaming, whole];
        for request in asked {
            for knobs in [json!({ "fault": "silent" }), json!({ "fault": "headers_then_silent" }), json!({ "hold": 0 })]
            {
                left += 1;
                let client = edge.client(version).await;
                let begun = edge.first.until(|counts| counts.open == 1);
                soon(client.leave_when(completion(&request("demo", knobs)), begun)).await;
                soon(edge.first.until(|counts| counts.cancelled == left && counts.connections_open == 0)).await;
                edge.until_ended("demo", 499, "client_gone", left).await;
            }
        }
    }
}

#[tokio::test]
async fn resetting_one_http_2_stream_leaves_its_neighbours_alone() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http2).await;
    let request = streaming("demo", json!({ "hold": 4 }));
    let events = expected(&request);
    let mut stays = client.ask(&request).await;
    let mut leaves = client.ask(&request).await;
    let begun = stays.take(events[..4].concat().len()).await;
    leaves.take(events[..4].concat().len()).await;
    drop(leaves);
    soon(edge.first.until(|counts| counts.cancelled == 1)).await;
    assert_eq!(edge.first.counts().open, 1);
    edge.first.release(1);
    assert_eq!([begun, stays.rest().await].concat(), events.concat());
}

#[tokio::test]
async fn leaving_in_the_middle_of_a_stream_cancels_the_upstream_s_work() {
    let edge = Edge::start(Setup::default()).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "hold": 4 }));
        let mut client = edge.client(version).await;
        let mut answer = client.ask(&request).await;
        answer.take(expected(&request)[..4].concat().len()).await;
        assert_eq!(edge.metrics.streams_active.get(), 1);
        drop(answer);
        soon(edge.first.until(|counts| counts.cancelled == round && counts.connections_open == 0)).await;
        edge.until_ended("demo", 200, "client_gone", round).await;
        assert_eq!(edge.metrics.streams_active.get(), 0);
    }
}

#[tokio::test]
async fn leaving_after_commit_after_cancels_the_upstream_s_work() {
    let edge = Edge::start(Setup { stream: "commit_after = \"50ms\"", ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let mut client = edge.client(version).await;
        let mut answer = client.ask(&streaming("careful", json!({ "fault": "silent" }))).await;
        answer.take(5).await;
        drop(answer);
        soon(edge.first.until(|counts| counts.cancelled == round && counts.connections_open == 0)).await;
        edge.until_ended("careful", 200, "client_gone", round).await;
    }
    // who has left needs no other model
    assert_eq!(edge.second.counts().requests, 0);
}

//! What has failed is left alone for a while, and found to be well again.

use std::time::Duration;

use serde_json::json;

use super::{Stage, request};
use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::{log, soon};

/// Between two looks at what tells no one that it has changed.
const PAUSE: Duration = Duration::from_millis(20);
const OPEN: f64 = 2.0;
const CLOSED: f64 = 0.0;

fn health(edge: &Edge, model: &str) -> f64 {
    edge.metric(&format!("tokenway_model_health{{model=\"{model}\""))
}

#[tokio::test]
async fn after_five_failures_in_a_row_a_model_is_left_alone_until_a_probe_finds_it_well() {
    let stage = Stage::start("cool_down = \"3s\"", "").await;
    let failing = request("dear", json!({ "dear": { "fault": "status_500" } }));
    for round in 0..5 {
        assert_eq!(health(&stage.edge, "dear"), CLOSED);
        let answer = stage.ask(&format!("fails-{round}"), &failing).await;
        assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "2"));
    }
    assert_eq!(health(&stage.edge, "dear"), OPEN);
    let answer = stage.ask("left-alone", &failing).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "1"));
    assert_eq!(stage.asked("left-alone"), ["middle"]);
    assert_eq!(stage.fallbacks("dear", "middle", "cool_down"), 1);
    let log = log::text();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("request_id=\"left-alone\"")).collect();
    let passed_over: Vec<_> =
        told.iter().filter(|line| line.contains("circuit open: another model is asked")).collect();
    let names = "model=\"dear\" upstream=\"dear\" reason=\"cool_down\" next=\"middle\"";
    assert!(passed_over.len() == 1 && passed_over[0].contains(names), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("attempt failed")), "{told:?}");

    // the cool-down tells nobody of its end: requests find out
    let asked_before = stage.demo("dear").counts().requests;
    let recovered = soon(async {
        while stage.ask("later", &request("dear", json!({}))).await.header("tokenway-model") != "dear" {
            tokio::time::sleep(PAUSE).await;
        }
    });
    recovered.await;
    assert_eq!(stage.demo("dear").counts().requests, asked_before + 1, "the probe alone");
    assert_eq!(health(&stage.edge, "dear"), CLOSED);
}

#[tokio::test]
async fn an_upstream_s_retry_after_is_honoured_after_one_answer() {
    let stage = Stage::start("", "").await;
    let limited = request("dear", json!({ "dear": { "fault": "status_429" } }));
    assert_eq!(stage.ask("limited", &limited).await.header("tokenway-attempts"), "2");
    assert_eq!(health(&stage.edge, "dear"), OPEN);
    assert_eq!(stage.ask("spared", &limited).await.header("tokenway-attempts"), "1");
    assert_eq!(stage.demo("dear").counts().requests, 1);
}

#[tokio::test]
async fn where_everybody_is_to_be_left_alone_the_one_that_was_asked_for_is_asked_all_the_same() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http2).await;
    for _ in 0..12 {
        let answer = client.ask(&whole("demo", json!({ "fault": "status_500" }))).await;
        assert_eq!(answer.status(), 502);
    }
    assert_eq!((edge.first.counts().requests, health(&edge, "demo")), (12, OPEN));
    // and so it is found to be well again without a probe
    assert_eq!(client.ask(&whole("demo", json!({}))).await.status(), 200);
    assert_eq!(health(&edge, "demo"), CLOSED);
}

#[tokio::test]
async fn the_client_s_own_mistakes_say_nothing_of_the_upstream() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http2).await;
    for _ in 0..12 {
        assert_eq!(client.ask(&whole("careful", json!({ "fault": "status_400" }))).await.status(), 400);
    }
    assert_eq!((edge.first.counts().requests, health(&edge, "careful")), (12, CLOSED));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_left_alone_with_all_its_models() {
    let more = "[[upstreams]]\nname = \"dead\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                [[models]]\nname = \"a\"\nupstream = \"dead\"\nfallback = [\"spare\"]\n\
                [[models]]\nname = \"b\"\nupstream = \"dead\"\nfallback = [\"spare\"]\n\
                [fallback]\ncool_down = \"60s\"\nmax_cool_down = \"60s\"\n";
    let edge = Edge::start(Setup { more, ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    for _ in 0..5 {
        let answer = client.ask(&streaming("a", json!({}))).await;
        assert_eq!(answer.header("tokenway-attempts"), "2");
    }
    assert_eq!(edge.metric("tokenway_upstream_health{upstream=\"dead\"}"), OPEN);
    assert_eq!(health(&edge, "a"), CLOSED, "it was never even reached");
    let answer = client.ask(&streaming("b", json!({}))).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("spare", "1"));
}

#[tokio::test]
async fn streams_that_break_after_their_first_output_count_too() {
    let stage = Stage::start("", "").await;
    let breaking = request("dear", json!({ "dear": { "fault": "clean_eof_without_done", "at": 3 } }));
    for round in 0..10 {
        let answer = stage.ask(&format!("breaks-{round}"), &breaking).await;
        assert_eq!(answer.header("tokenway-model"), "dear", "{round}");
        answer.rest().await;
    }
    assert_eq!(health(&stage.edge, "dear"), OPEN);
    assert_eq!(stage.ask("spared", &breaking).await.header("tokenway-model"), "middle");
}

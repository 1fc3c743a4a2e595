//! The commit point: until the first output the status tells the truth and another model may answer; after it, never.

use clap::ValueEnum;
use demo_upstream::{Fault, Knobs};
use serde_json::json;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, expected, streaming, whole};
use crate::support::soon;

const SOON: &str = "commit_after = \"50ms\"";
const HEARTBEAT: &[u8] = b": hb\n\n";

fn failing(fault: Fault, at: u64) -> Knobs {
    Knobs { fault: Some(fault), at, ..Knobs::default() }
}

/// The faults after which another model is asked, with their reason.
fn before_output(fault: Fault) -> Option<&'static str> {
    Some(match fault {
        Fault::Status401 | Fault::Status403 => "credentials",
        Fault::Status404 => "not_found",
        Fault::Status408 => "timeout",
        Fault::Status429 => "rate_limited",
        Fault::Status503 | Fault::Status529 => "overloaded",
        Fault::Status500 | Fault::Redirect | Fault::SwitchProtocols | Fault::ErrorEventBeforeOutput => "other",
        Fault::Html | Fault::Gzip | Fault::NoContentType => "bad_head",
        Fault::Silent | Fault::HeadersThenSilent => "first_event_timeout",
        Fault::ResetBefore | Fault::ResetAfterHead | Fault::ManyHeaders | Fault::HugeHeader => "broken",
        // the role chunk is no output
        Fault::ResetAfterEvents | Fault::DisconnectMidEvent | Fault::CleanEofWithoutDone | Fault::BadChunk => "broken",
        Fault::EofNoEvents => "broken",
        Fault::EndlessLine | Fault::EndlessEvent | Fault::EndlessComments => "bad_body",
        Fault::FinishErrorBeforeOutput => "other",
        Fault::JsonRateLimit | Fault::RetryAfterFraction | Fault::RetryAfterMs => "rate_limited",
        Fault::JsonErrorList => "overloaded",
        Fault::InvalidKeyList => "credentials",
        Fault::NoCredit => "quota_exhausted",
        _ => return None,
    })
}

#[tokio::test]
async fn a_failure_before_the_first_output_is_another_model_s_chance() {
    let mut tried = 0;
    for &fault in Fault::value_variants() {
        let Some(reason) = before_output(fault) else { continue };
        tried += 1;
        // the next model has as long
        let stream = if reason == "first_event_timeout" { "first_event_timeout = \"1500ms\"" } else { "" };
        for version in Version::BOTH {
            // an upstream that asks to be left alone is
            let edge = Edge::start(Setup { stream, first: failing(fault, 1), ..Setup::default() }).await;
            eprintln!("{fault} over {version:?}");
            let request = streaming("careful", json!({}));
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!(answer.status(), 200, "{fault}");
            let who = ["tokenway-model", "tokenway-upstream", "tokenway-attempts"].map(|name| answer.header(name));
            assert_eq!(who, ["spare", "two", "2"], "{fault}");
            assert_eq!(answer.rest().await, expected(&streaming("spare", json!({}))).concat(), "{fault}");
            let counted = edge.metrics.fallbacks.with_label_values(&["careful", "spare", reason]).get();
            assert_eq!(counted, 1, "{fault}: {}", edge.metrics.text());
            edge.until_ended("spare", 200, "ok", 1).await;
            assert_eq!((edge.first.counts().requests, edge.second.counts().requests), (1, 1), "{fault}");
        }
    }
    assert!(tried > 20);
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_output() {
    let edge = Edge::start(Setup::default()).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let mut client = edge.client(version).await;
        // the role has long come in when the error comes: only a head that was not sent can still say 502
        let request = streaming("demo", json!({ "fault": "error_event_before_output", "hold": 1 }));
        let (answer, ()) = tokio::join!(client.ask(&request), async {
            soon(edge.first.until(|counts| counts.held == 1)).await;
            edge.first.release(1);
        });
        assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
        edge.until_ended("demo", 502, "upstream_failure", round).await;
    }
}

#[tokio::test]
async fn after_the_first_output_no_other_model_is_asked() {
    let faults = [Fault::ResetAfterEvents, Fault::CleanEofWithoutDone, Fault::ErrorEvent, Fault::EndlessLine];
    for fault in faults {
        let edge = Edge::start(Setup { first: failing(fault, 2), ..Setup::default() }).await;
        for version in Version::BOTH {
            let request = streaming("careful", json!({}));
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "careful"), "{fault}");
            let id = answer.header("x-request-id").to_owned();
            let (before, code) = truncated(&answer.rest().await, &id);
            assert_eq!(code, "upstream_failure", "{fault}");
            assert_eq!(before, expected(&streaming("model-at-one", json!({})))[..2].concat(), "{fault}");
        }
        assert_eq!(edge.second.counts().requests, 0, "{fault}");
        assert_eq!(edge.metric("tokenway_fallbacks_total"), 0.0, "{fault}");
    }
}

#[tokio::test]
async fn the_client_s_own_mistake_is_no_other_model_s_business() {
    let edge = Edge::start(Setup { first: failing(Fault::Status400, 0), ..Setup::default() }).await;
    for version in Version::BOTH {
        for request in [streaming("careful", json!({})), whole("careful", json!({}))] {
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!(answer.header("tokenway-attempts"), "1");
            assert_eq!((answer.status(), &*answer.error_code().await), (400, "invalid_request"));
        }
    }
    assert_eq!(edge.second.counts().requests, 0);
}

#[tokio::test]
async fn when_every_model_has_failed_the_last_failure_is_told() {
    let (first, second) = (failing(Fault::Status500, 0), failing(Fault::Status429, 0));
    for version in Version::BOTH {
        for request in [streaming("careful", json!({})), whole("careful", json!({}))] {
            let (first, second) = (first.clone(), second.clone());
            let edge = Edge::start(Setup { first, second, ..Setup::default() }).await;
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!((answer.header("tokenway-attempts"), answer.header("retry-after")), ("2", "7"));
            assert_eq!((answer.status(), &*answer.error_code().await), (429, "rate_limited"));
        }
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_falls_back_too() {
    for fault in [Fault::Status500, Fault::ResetBefore, Fault::ShortLength, Fault::CleanEofWithoutDone] {
        let edge = Edge::start(Setup { first: failing(fault, 1), ..Setup::default() }).await;
        for version in Version::BOTH {
            let answer = edge.client(version).await.ask(&whole("careful", json!({}))).await;
            assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "spare"), "{fault}");
            assert_eq!(answer.header("tokenway-attempts"), "2");
            assert_eq!(answer.json().await["model"], "spare");
        }
    }
}

#[tokio::test]
async fn after_commit_after_the_head_and_a_heartbeat_go_out_and_the_stream_follows() {
    let edge = Edge::start(Setup { stream: SOON, ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "hold": 1 }));
        let mut answer = edge.client(version).await.ask(&request).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, "text/event-stream"));
        assert_eq!(answer.header("tokenway-model"), "demo");
        assert_eq!(answer.take(HEARTBEAT.len()).await, HEARTBEAT);
        edge.first.release(1);
        assert_eq!(answer.rest().await, expected(&request).concat());
        edge.until_ended("demo", 200, "ok", round).await;
    }
}

#[tokio::test]
async fn after_commit_after_the_head_goes_out_even_without_heartbeats() {
    let stream = "commit_after = \"50ms\"\nheartbeat = \"0s\"";
    let edge = Edge::start(Setup { stream, ..Setup::default() }).await;
    for version in Version::BOTH {
        let request = streaming("demo", json!({ "hold": 1 }));
        let answer = edge.client(version).await.ask(&request).await;
        assert_eq!(answer.status(), 200);
        edge.first.release(1);
        assert_eq!(answer.rest().await, expected(&request).concat());
    }
}

#[tokio::test]
async fn after_commit_after_a_failure_is_told_in_the_stream() {
    let edge = Edge::start(Setup { stream: SOON, ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", json!({ "fault": "error_event_before_output", "hold": 1 }));
        let answer = edge.client(version).await.ask(&request).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.status(), 200);
        edge.first.release(1);
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((&before[..], &*code), (HEARTBEAT, "upstream_failure"));
        edge.until_ended("demo", 200, "truncated", round).await;
    }
}

#[tokio::test]
async fn a_fallback_after_commit_after_stitches_nothing() {
    let first = Knobs { hold: Some(1), ..failing(Fault::ErrorEventBeforeOutput, 0) };
    let edge = Edge::start(Setup { stream: SOON, first, ..Setup::default() }).await;
    for version in Version::BOTH {
        let mut answer = edge.client(version).await.ask(&streaming("careful", json!({}))).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.take(HEARTBEAT.len()).await, HEARTBEAT);
        edge.first.release(1);
        assert_eq!(answer.rest().await, expected(&streaming("spare", json!({}))).concat());
    }
    assert_eq!(edge.metrics.fallbacks.with_label_values(&["careful", "spare", "other"]).get(), 2);
}

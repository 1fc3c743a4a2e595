//! Every fault of the upstream, and what the client gets: a status, an honestly ended stream, or no difference at all.

use bytes::Bytes;
use clap::ValueEnum;
use demo_upstream::{Fault, expected_stream};
use serde_json::{Value, json};

use super::{assert_holds_no_secret, assert_nothing_leaks};
use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, expected, streaming, whole};
use crate::support::{log, soon};

/// How many events go out before a fault that counts them: the role, and two with output.
pub const AT: usize = 3;

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Status and code, before anything was sent.
    Refused(u16, &'static str),
    /// The first events, then an error event with this code.
    Truncated(&'static str),
    /// The good answer.
    Good,
}

use Outcome::{Good, Refused, Truncated};

const FAILURE: Outcome = Refused(502, "upstream_failure");
const TIMEOUT: Outcome = Refused(504, "upstream_timeout");
const BROKEN: Outcome = Truncated("upstream_failure");

/// What a client gets under a fault. `None`: the fault is a provider's own way, and has a row in [`super::providers`]. No
/// wildcard: a new fault must be thought of.
pub fn outcome(fault: Fault) -> Option<Outcome> {
    Some(match fault {
        Fault::Status400 => Refused(400, "invalid_request"),
        // the gateway's credentials are no affair of the client
        Fault::Status401 | Fault::Status403 | Fault::Status404 | Fault::Status500 => FAILURE,
        Fault::Status408 => TIMEOUT,
        Fault::Status429 => Refused(429, "rate_limited"),
        Fault::Status503 | Fault::Status529 => Refused(503, "overloaded"),
        Fault::Redirect | Fault::Html | Fault::SwitchProtocols | Fault::Gzip | Fault::NoContentType => FAILURE,
        Fault::ManyHeaders | Fault::HugeHeader | Fault::ResetBefore | Fault::ResetAfterHead => FAILURE,
        Fault::EofNoEvents | Fault::ErrorEventBeforeOutput => FAILURE,
        Fault::Silent | Fault::HeadersThenSilent => TIMEOUT,
        Fault::ResetAfterEvents | Fault::DisconnectMidEvent | Fault::CleanEofWithoutDone | Fault::ShortLength => BROKEN,
        Fault::BadChunk | Fault::EndlessLine | Fault::EndlessEvent | Fault::EndlessComments | Fault::ErrorEvent => {
            BROKEN
        }
        Fault::NeverFinish => Truncated("upstream_timeout"),
        Fault::ChunkExtensions | Fault::Http10 | Fault::SlowDrip | Fault::SplitEverywhere => Good,
        Fault::Crlf | Fault::Cr | Fault::Bom | Fault::Comments | Fault::RoleDelay => Good,
        Fault::NoUsage | Fault::UsageNullEverywhere => Good,
        Fault::TrailingGarbageAfterDone | Fault::ExtraAfterDone => Good,
        Fault::ContentTypeWithCharset | Fault::DuplicateHeaders | Fault::CorsHeaders | Fault::Informational => Good,
        Fault::UsageInChoice
        | Fault::UsageXGroq
        | Fault::UsageBesideReasoning
        | Fault::UsageCacheWrite
        | Fault::UsageWithMore
        | Fault::UsageTimings
        | Fault::RefusesStreamOptions
        | Fault::FinishError
        | Fault::FinishErrorBeforeOutput
        | Fault::FinishContentFilter
        | Fault::JsonRateLimit
        | Fault::JsonContextLength
        | Fault::JsonErrorList
        | Fault::JsonCompletion
        | Fault::StreamToWhole
        | Fault::JsonAfterBlanks
        | Fault::InvalidKeyList
        | Fault::PromptTooLong
        | Fault::NoCredit
        | Fault::RetryAfterFraction
        | Fault::RetryAfterMs
        | Fault::LargeImage
        | Fault::NanLogprobs
        | Fault::Progress
        | Fault::CallsWithIndex0
        | Fault::ContentEncodingNone
        | Fault::CharsetUtf8
        | Fault::SpaceBeforeColon
        | Fault::TransferIdentity => return None,
    })
}

/// The same for an answer without `stream`: it was not begun, so that what broke it is a status.
fn whole_outcome(fault: Fault) -> Option<Outcome> {
    Some(match outcome(fault)? {
        // a document must not begin with a byte order mark (RFC 8259 §8.1)
        Good if fault == Fault::Bom => FAILURE,
        Truncated("upstream_timeout") => TIMEOUT,
        Truncated(_) => FAILURE,
        same => same,
    })
}

/// Deadlines that are short where the fault runs into them, and else do not matter. An answer in one piece has no first
/// event: its silence is bounded by `whole_timeout` before its head, and by `idle_timeout` behind it.
pub fn patience(fault: Fault, stream: bool) -> &'static str {
    match fault {
        Fault::Silent | Fault::HeadersThenSilent if stream => "first_event_timeout = \"1s\"",
        Fault::Silent | Fault::HeadersThenSilent => "idle_timeout = \"1s\"\nwhole_timeout = \"1s\"",
        Fault::NeverFinish => "max_duration = \"2s\"",
        _ => "",
    }
}

/// What a good stream looks like under this fault.
pub fn events(fault: Fault, request: &Value) -> Vec<Bytes> {
    let line_ends = |end: &str| {
        let events = expected(request).into_iter();
        events.map(|event| String::from_utf8(event.into()).unwrap().replace('\n', end).into()).collect()
    };
    match fault {
        Fault::Crlf => line_ends("\r\n"),
        Fault::Cr => line_ends("\r"),
        Fault::Comments => std::iter::repeat_n(Bytes::from(":\n\n"), 4).chain(expected(request)).collect(),
        // the upstream's bytes are as if nobody had asked for usage
        Fault::NoUsage => expected_stream(request.to_string().as_bytes()),
        _ => expected(request),
    }
}

/// Every fault of this table, with its outcome.
pub fn all(outcome: fn(Fault) -> Option<Outcome>) -> impl Iterator<Item = (Fault, Outcome)> {
    Fault::value_variants().iter().filter_map(move |fault| Some((*fault, outcome(*fault)?)))
}

#[tokio::test]
async fn every_fault_of_a_stream_is_a_status_an_honest_end_or_no_difference() {
    for (fault, outcome) in all(outcome) {
        let edge = Edge::start(Setup { stream: patience(fault, true), ..Setup::default() }).await;
        for (round, version) in (1..).zip(Version::BOTH) {
            eprintln!("{fault} over {version:?}");
            // a healthy stream that is in its middle while the fault happens
            let healthy = streaming("spare", json!({ "hold": 5, "seed": round }));
            let events_of_healthy = expected(&healthy);
            let mut beside = edge.client(version).await;
            let mut beside = beside.ask(&healthy).await;
            let begun = beside.take(events_of_healthy[..5].concat().len()).await;
            // the deadline that this fault runs into is every stream's
            edge.second.release(usize::from(fault == Fault::NeverFinish));

            let request = streaming("demo", json!({ "fault": fault.to_string(), "at": AT }));
            let answer = edge.client(version).await.ask(&request).await;
            let head = answer.head.clone();
            let id = answer.header("x-request-id").to_owned();
            let status = answer.status();
            let body = answer.rest().await;
            assert_nothing_leaks(&head, &body);
            let good = events(fault, &request);
            match outcome {
                Refused(expected, code) => {
                    let error = serde_json::from_slice(&body).unwrap();
                    let code_seen = crate::support::answer::error_code(&error, &id);
                    assert_eq!((status, &*code_seen), (expected, code), "{fault}");
                    soon(edge.until_ended("demo", status, "upstream_failure", round)).await;
                }
                Truncated(code) => {
                    assert_eq!(status, 200, "{fault}");
                    let (before, code_seen) = truncated(&body, &id);
                    let before = String::from_utf8_lossy(&before).replace(": still here\n\n", "");
                    assert_eq!(before.as_bytes(), good[..AT].concat(), "{fault}");
                    assert_eq!(code_seen, code, "{fault}");
                    soon(edge.until_ended("demo", 200, "truncated", round)).await;
                }
                Good => {
                    assert_eq!(status, 200, "{fault}");
                    assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&good.concat()), "{fault}");
                    soon(edge.until_ended("demo", 200, "ok", round)).await;
                }
            }
            if matches!(fault, Fault::Status429 | Fault::Status503) {
                assert_eq!(head.headers["retry-after"], "7");
            }
            // nothing goes on behind the client's back
            soon(edge.first.until(|counts| counts.open == 0)).await;

            edge.second.release(usize::from(fault != Fault::NeverFinish));
            let rest = beside.rest().await;
            assert_eq!([begun, rest].concat(), events_of_healthy.concat(), "beside {fault}");
        }
        assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
        assert_holds_no_secret(&edge.metrics.text());
    }
    assert!(log::text().contains("reset_after_events") || log::text().contains("broken"), "nothing was logged");
    assert_holds_no_secret(&log::text());
}

#[tokio::test]
async fn every_fault_of_an_answer_in_one_piece_is_a_status_or_no_difference() {
    for (fault, outcome) in all(whole_outcome) {
        let edge = Edge::start(Setup { stream: patience(fault, false), ..Setup::default() }).await;
        for (round, version) in (1..).zip(Version::BOTH) {
            eprintln!("{fault} over {version:?}");
            let request = whole("demo", json!({ "fault": fault.to_string(), "at": AT }));
            let answer = edge.client(version).await.ask(&request).await;
            let (head, status) = (answer.head.clone(), answer.status());
            let id = answer.header("x-request-id").to_owned();
            let body = answer.rest().await;
            assert_nothing_leaks(&head, &body);
            match outcome {
                Refused(expected, code) => {
                    let error = serde_json::from_slice(&body).unwrap();
                    let code_seen = crate::support::answer::error_code(&error, &id);
                    assert_eq!((status, &*code_seen), (expected, code), "{fault}");
                    soon(edge.until_ended("demo", status, "upstream_failure", round)).await;
                }
                Truncated(_) => unreachable!("a document has no events"),
                Good => {
                    assert_eq!(status, 200, "{fault}");
                    let mut good = expected_stream(request.to_string().as_bytes()).remove(0);
                    let usage = match fault {
                        Fault::NoUsage => Some(None),
                        Fault::UsageNullEverywhere => Some(Some(Value::Null)),
                        _ => None,
                    };
                    if let Some(usage) = usage {
                        let mut document: Value = serde_json::from_slice(&good).unwrap();
                        document.as_object_mut().unwrap().remove("usage");
                        usage.into_iter().for_each(|usage| document["usage"] = usage);
                        good = document.to_string().into();
                    }
                    assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&good), "{fault}");
                    soon(edge.until_ended("demo", 200, "ok", round)).await;
                }
            }
            soon(edge.first.until(|counts| counts.open == 0)).await;
        }
        assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
        assert_holds_no_secret(&edge.metrics.text());
    }
    assert_holds_no_secret(&log::text());
}

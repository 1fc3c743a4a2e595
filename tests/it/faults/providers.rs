//! What single providers and servers do differently, and what the client and the operator get: one row a case.

use bytes::Bytes;
use clap::ValueEnum;
use demo_upstream::{Fault, expected_stream, quirky_stream};
use serde_json::{Value, json};

use super::table::{AT, Outcome, outcome};
use super::{assert_holds_no_secret, assert_nothing_leaks};
use crate::support::answer::{error_code, truncated};
use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::{log, soon};

use Outcome::{Good, Refused, Truncated};

/// One case.
pub struct Row {
    /// What a client of a stream gets.
    stream: Outcome,
    /// What a client of a whole answer gets.
    whole: Outcome,
    /// The tokens of a good stream.
    tokens: Tokens,
    /// The `retry-after` of a refusal.
    retry_after: &'static str,
    /// The reason in the operator's log.
    reason: &'static str,
}

/// The source of the tokens that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// The upstream's usage.
    Usage,
    /// The upstream's usage, in which so many tokens of reasoning are beside the completion.
    Beside(u64),
    /// An estimate, because there is no usage.
    Estimate,
}

const FAILURE: Outcome = Refused(502, "upstream_failure");

const GOOD: Row = Row { stream: Good, whole: Good, tokens: Tokens::Usage, retry_after: "", reason: "" };

const fn refused(outcome: Outcome, reason: &'static str) -> Row {
    Row { stream: outcome, whole: outcome, reason, ..GOOD }
}

/// The row of a fault. `None`: the fault is in [`super::table`]. No wildcard: a new fault must be thought of.
pub fn row(fault: Fault) -> Option<Row> {
    Some(match fault {
        Fault::UsageInChoice | Fault::UsageXGroq | Fault::UsageCacheWrite | Fault::UsageTimings => GOOD,
        Fault::UsageWithMore | Fault::FinishContentFilter => GOOD,
        Fault::UsageBesideReasoning => Row { tokens: Tokens::Beside(7), ..GOOD },
        Fault::RefusesStreamOptions => Row { tokens: Tokens::Estimate, ..GOOD },
        Fault::FinishError => Row { stream: Truncated("upstream_failure"), whole: FAILURE, reason: "other", ..GOOD },
        Fault::FinishErrorBeforeOutput => refused(FAILURE, "other"),
        Fault::JsonRateLimit => Row { retry_after: "43", ..refused(Refused(429, "rate_limited"), "rate_limited") },
        Fault::JsonContextLength => refused(Refused(400, "invalid_request"), "context_length_exceeded"),
        Fault::JsonErrorList => Row { retry_after: "5", ..refused(Refused(503, "overloaded"), "overloaded") },
        Fault::JsonCompletion | Fault::StreamToWhole | Fault::JsonAfterBlanks => GOOD,
        Fault::InvalidKeyList => refused(FAILURE, "credentials"),
        Fault::PromptTooLong => refused(Refused(400, "invalid_request"), "context_length_exceeded"),
        Fault::NoCredit => refused(FAILURE, "quota_exhausted"),
        Fault::RetryAfterFraction | Fault::RetryAfterMs => {
            Row { retry_after: "43", ..refused(Refused(429, "rate_limited"), "rate_limited") }
        }
        Fault::LargeImage | Fault::NanLogprobs | Fault::Progress | Fault::CallsWithIndex0 => GOOD,
        Fault::ContentEncodingNone | Fault::CharsetUtf8 | Fault::SpaceBeforeColon | Fault::TransferIdentity => GOOD,
        Fault::Status400
        | Fault::Status401
        | Fault::Status403
        | Fault::Status404
        | Fault::Status408
        | Fault::Status429
        | Fault::Status500
        | Fault::Status503
        | Fault::Status529
        | Fault::Redirect
        | Fault::Html
        | Fault::SwitchProtocols
        | Fault::Silent
        | Fault::HeadersThenSilent
        | Fault::ResetBefore
        | Fault::ResetAfterHead
        | Fault::ResetAfterEvents
        | Fault::DisconnectMidEvent
        | Fault::CleanEofWithoutDone
        | Fault::EofNoEvents
        | Fault::ShortLength
        | Fault::BadChunk
        | Fault::ChunkExtensions
        | Fault::Http10
        | Fault::Gzip
        | Fault::EndlessLine
        | Fault::EndlessEvent
        | Fault::EndlessComments
        | Fault::NeverFinish
        | Fault::ErrorEvent
        | Fault::ErrorEventBeforeOutput
        | Fault::SlowDrip
        | Fault::SplitEverywhere
        | Fault::Crlf
        | Fault::Cr
        | Fault::Bom
        | Fault::Comments
        | Fault::RoleDelay
        | Fault::NoUsage
        | Fault::UsageNullEverywhere
        | Fault::TrailingGarbageAfterDone
        | Fault::ExtraAfterDone
        | Fault::ContentTypeWithCharset
        | Fault::NoContentType
        | Fault::DuplicateHeaders
        | Fault::ManyHeaders
        | Fault::HugeHeader
        | Fault::CorsHeaders
        | Fault::Informational => return None,
    })
}

/// The knobs of a case.
pub fn knobs(fault: Fault) -> Value {
    let script = if fault == Fault::CallsWithIndex0 { "tool_call" } else { "text" };
    json!({ "fault": fault.to_string(), "at": AT, "tokens": 9, "script": script })
}

/// Every case.
fn rows() -> impl Iterator<Item = (Fault, Row)> {
    Fault::value_variants().iter().filter_map(|fault| Some((*fault, row(*fault)?)))
}

/// The events that a client gets of a good stream: the upstream's own, without the chunk that has only the usage.
pub fn events(fault: Fault, request: &Value) -> Vec<Bytes> {
    let mut asked = request.clone();
    if fault != Fault::RefusesStreamOptions {
        asked["stream_options"] = json!({ "include_usage": true });
    }
    let events = quirky_stream(asked.to_string().as_bytes()).into_iter();
    let is_usage = |event: &Bytes| event.windows(13).any(|part| part == br#""choices":[],"#);
    events.filter(|event| fault == Fault::UsageWithMore || !is_usage(event)).collect()
}

/// The text of all chunks of a stream.
fn text_of(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    let chunks = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect()
}

#[test]
fn each_fault_is_in_exactly_one_of_the_two_tables() {
    for &fault in Fault::value_variants() {
        assert!(outcome(fault).is_some() != row(fault).is_some(), "{fault}");
    }
}

#[tokio::test]
async fn every_way_of_a_provider_to_stream_is_understood() {
    for (fault, row) in rows() {
        let edge = Edge::start(Setup::default()).await;
        for version in Version::BOTH {
            eprintln!("{fault} over {version:?}");
            let before = counted(&edge);
            let request = streaming("demo", knobs(fault));
            let answer = edge.client(version).await.ask(&request).await;
            let (head, status) = (answer.head.clone(), answer.status());
            let id = answer.header("x-request-id").to_owned();
            let body = answer.rest().await;
            assert_nothing_leaks(&head, &body);
            match row.stream {
                Refused(expected, code) => {
                    let code_seen = error_code(&serde_json::from_slice(&body).unwrap(), &id);
                    assert_eq!((status, &*code_seen), (expected, code), "{fault}");
                    assert_eq!(
                        head.headers.get("retry-after").map_or("", |value| value.to_str().unwrap()),
                        row.retry_after
                    );
                }
                Truncated(code) => {
                    let (before, code_seen) = truncated(&body, &id);
                    assert_eq!((status, code_seen.as_str()), (200, code), "{fault}");
                    assert_eq!(
                        before,
                        expected_stream(request_with_usage(&request).as_bytes())[..AT].concat(),
                        "{fault}"
                    );
                }
                Good => {
                    assert_eq!(status, 200, "{fault}: {}", String::from_utf8_lossy(&body));
                    if fault == Fault::JsonCompletion {
                        assert_eq!(text_of(&body), text_of(&expected_stream(request.to_string().as_bytes()).concat()));
                        assert!(body.ends_with(b"data: [DONE]\n\n"));
                    } else {
                        let good = events(fault, &request).concat();
                        assert!(body == good, "{fault}: {}\n{}", shown(&body), shown(&good));
                    }
                    soon(edge.until_ended("demo", 200, "ok", 1 + u64::from(version == Version::Http2))).await;
                    let after = counted(&edge);
                    assert_eq!(difference(before, after), expected_tokens(&request, row.tokens), "{fault}");
                }
            }
            soon(edge.first.until(|counts| counts.open == 0)).await;
            if !row.reason.is_empty() {
                // the line of this request alone
                let log = log::text();
                let line = log.lines().find(|line| line.contains(&id) && line.contains("attempt failed"));
                let line = line.or_else(|| log.lines().find(|line| line.contains(&id) && line.contains("duration_ms")));
                assert!(line.is_some_and(|line| line.contains(row.reason)), "{fault}: {line:?}");
            }
        }
        assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
        assert_holds_no_secret(&edge.metrics.text());
    }
    assert_holds_no_secret(&log::text());
}

#[tokio::test]
async fn every_way_of_a_provider_to_answer_in_one_piece_is_understood() {
    for (fault, row) in rows() {
        let edge = Edge::start(Setup::default()).await;
        eprintln!("{fault}");
        let request = whole("demo", knobs(fault));
        let answer = edge.client(Version::Http1).await.ask(&request).await;
        let (head, status) = (answer.head.clone(), answer.status());
        let id = answer.header("x-request-id").to_owned();
        let body = answer.rest().await;
        assert_nothing_leaks(&head, &body);
        let document: Value = serde_json::from_slice(&body).unwrap();
        match row.whole {
            Refused(expected, code) => {
                assert_eq!((status, &*error_code(&document, &id)), (expected, code), "{fault}");
                assert_eq!(
                    head.headers.get("retry-after").map_or("", |value| value.to_str().unwrap()),
                    row.retry_after
                );
            }
            Truncated(_) => unreachable!("a document has no events"),
            Good => {
                assert_eq!(status, 200, "{fault}: {document}");
                let good: Value =
                    serde_json::from_slice(&expected_stream(request.to_string().as_bytes()).remove(0)).unwrap();
                let said = |document: &Value| document["choices"][0]["message"]["content"].clone();
                assert_eq!(said(&document), said(&good), "{fault}");
                let expected = match row.tokens {
                    // a whole answer has usage without being asked for it
                    Tokens::Estimate => Tokens::Usage,
                    tokens => tokens,
                };
                soon(edge.until_ended("demo", 200, "ok", 1)).await;
                assert_eq!(difference([0; 4], counted(&edge)), expected_tokens(&request, expected), "{fault}");
            }
        }
        assert_eq!(edge.metric("tokenway_panics_total"), 0.0);
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(3000).collect()
}

fn request_with_usage(request: &Value) -> String {
    let mut request = request.clone();
    request["stream_options"] = json!({ "include_usage": true });
    request["demo"].as_object_mut().unwrap().remove("fault");
    request.to_string()
}

/// Input and output tokens by usage, then by estimate.
fn counted(edge: &Edge) -> [u64; 4] {
    let tokens = |direction: &str, source: &str| {
        let labels = ["demo", direction, source];
        edge.metrics.tokens.with_label_values(&labels).get()
    };
    [tokens("input", "usage"), tokens("output", "usage"), tokens("input", "estimate"), tokens("output", "estimate")]
}

fn difference(before: [u64; 4], after: [u64; 4]) -> Option<(u64, u64)> {
    let [input, output, estimated_input, estimated_output] = std::array::from_fn(|at| after[at] - before[at]);
    match (estimated_input, estimated_output) {
        (0, 0) => Some((input, output)),
        _ => None,
    }
}

/// What the upstream counts, or `None` where the gateway estimates.
fn expected_tokens(request: &Value, tokens: Tokens) -> Option<(u64, u64)> {
    let mut request = request.clone();
    request["stream"] = false.into();
    request["demo"].as_object_mut().unwrap().remove("fault");
    let document = expected_stream(request.to_string().as_bytes()).remove(0);
    let document: Value = serde_json::from_slice(&document).unwrap();
    let count = |name: &str| document["usage"][name].as_u64().unwrap();
    let beside = match tokens {
        Tokens::Usage => 0,
        Tokens::Beside(reasoning) => reasoning,
        Tokens::Estimate => return None,
    };
    Some((count("prompt_tokens"), count("completion_tokens") + beside))
}

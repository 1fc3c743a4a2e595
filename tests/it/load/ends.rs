//! What the load tester makes of every way in which a stream can go, and what it measures of a good one.

use std::time::Duration;

use bench::report::sample::{Kind, Outcome, Sample};
use demo_upstream::{CANARY, FAKE_KEY, Knobs};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Way, demo, one, url};
use crate::support::ports::Nobody;
use crate::support::scripted::{Scripted, read_request};

fn kind(sample: &Sample) -> Option<Kind> {
    match &sample.outcome {
        Outcome::Failed(failure) => Some(failure.kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_stream_is_measured_from_its_start_to_its_last_event() {
    let (first, gap) = (Duration::from_millis(200), Duration::from_millis(200));
    let demo = demo(Knobs { first_token: first, tokens_per_second: 5.0, tokens: Some(5), ..Knobs::default() }).await;
    let sample = one(Way::default(), &url(&demo), json!({})).await;
    assert_eq!((&sample.outcome, sample.output_tokens, sample.counted), (&Outcome::Whole, 5, true));
    let outputs: Vec<_> = sample.outputs().collect();
    assert_eq!(outputs.len(), 5);
    // a busy machine is late, never early
    for (output, number) in outputs.iter().zip(0..) {
        assert!(*output >= first + gap * number, "{outputs:?}");
    }
    let (head, byte) = (sample.head.unwrap(), sample.first_byte.unwrap());
    assert!(head <= byte && byte <= outputs[0] && outputs[4] <= sample.total, "{sample:?}");
    let connect = sample.connect.unwrap();
    assert!(!connect.tcp.is_zero() && connect.tcp < head && connect.tls.is_none());
    // role, 5 outputs, finish, usage, [DONE]
    assert_eq!(sample.events.len(), 9);
    let reads: std::collections::BTreeSet<_> = sample.events.iter().map(|event| event.read).collect();
    assert!(reads.len() >= 2, "events that are apart come in reads of their own: {:?}", sample.events);
    let body: usize = Knobs { tokens: Some(5), ..Knobs::default() }
        .expected(&demo.requests()[0].body)
        .iter()
        .map(|event| event.len())
        .sum();
    assert_eq!(sample.bytes, body as u64);
}

#[tokio::test]
async fn events_of_one_write_come_in_one_read() {
    let event = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let body = [event("a"), event("b"), event("c"), "data: [DONE]\n\n".to_owned()].concat();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n", body.len());
    let server = Scripted::start(move |mut socket| {
        let (head, body) = (head.clone(), body.clone());
        async move {
            read_request(&mut socket).await.unwrap();
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(body.as_bytes()).await.unwrap();
            // until the client leaves
            let _ = socket.read_u8().await;
        }
    })
    .await;
    let url = format!("http://{}/", server.address);
    let sample = one(Way::default(), &url, json!({})).await;
    assert_eq!((&sample.outcome, sample.output_tokens, sample.counted), (&Outcome::Whole, 3, false));
    assert!(sample.events.iter().all(|event| event.read == sample.events[0].read), "{:?}", sample.events);
}

#[tokio::test]
async fn streams_that_are_only_odd_are_whole() {
    let demo = demo(Knobs { tokens: Some(6), ..Knobs::default() }).await;
    for fault in [
        "chunk_extensions",
        "http10",
        "slow_drip",
        "split_everywhere",
        "crlf",
        "cr",
        "bom",
        "comments",
        "no_usage",
        "usage_null_everywhere",
        "trailing_garbage_after_done",
        "extra_after_done",
        "content_type_with_charset",
        "duplicate_headers",
        "many_headers",
        "huge_header",
        "cors_headers",
        "informational",
        "role_delay",
    ] {
        let sample = one(Way::default(), &url(&demo), json!({ "fault": fault })).await;
        assert_eq!((&sample.outcome, sample.outputs().count()), (&Outcome::Whole, 6), "{fault}");
    }
}

#[tokio::test]
async fn a_stream_that_begins_and_does_not_end_well_is_truncated() {
    let demo = demo(Knobs { tokens: Some(6), ..Knobs::default() }).await;
    for fault in [
        "reset_after_head",
        "reset_after_events",
        "disconnect_mid_event",
        "clean_eof_without_done",
        "eof_no_events",
        "short_length",
        "bad_chunk",
    ] {
        let sample = one(Way::default(), &url(&demo), json!({ "fault": fault, "at": 3 })).await;
        assert_eq!(sample.outcome, Outcome::Truncated, "{fault}");
        assert!(sample.total >= sample.head.unwrap());
    }
}

#[tokio::test]
async fn each_failure_has_its_kind_and_words_that_repeat_nothing() {
    let demo = demo(Knobs::default()).await;
    let statuses =
        [400, 401, 403, 404, 408, 429, 500, 503, 529].map(|status| (format!("status_{status}"), Kind::Status(status)));
    let others = [
        ("redirect", Kind::Status(307)),
        ("switch_protocols", Kind::Status(101)),
        ("html", Kind::NotAnEventStream),
        ("gzip", Kind::NotAnEventStream),
        ("no_content_type", Kind::NotAnEventStream),
        ("reset_before", Kind::ClosedBeforeHead),
        ("error_event", Kind::ErrorEvent),
        ("error_event_before_output", Kind::ErrorEvent),
        ("endless_line", Kind::EventTooLong),
        ("endless_event", Kind::EventTooLong),
        ("endless_comments", Kind::EventTooLong),
    ];
    let others = others.map(|(fault, kind)| (fault.to_owned(), kind));
    for (fault, expected) in statuses.into_iter().chain(others) {
        let sample = one(Way::default(), &url(&demo), json!({ "fault": fault })).await;
        assert_eq!(kind(&sample), Some(expected), "{fault}");
        let Outcome::Failed(failure) = sample.outcome else { unreachable!() };
        let message = failure.message;
        assert!(
            message.starts_with(&url(&demo)) && message.len() < 200 && !message.contains('\n'),
            "{fault}: {message}"
        );
        assert!(!message.contains(CANARY) && !message.contains(FAKE_KEY), "{fault}: {message}");
        if let Kind::Status(status) = expected {
            let known = StatusCode::from_u16(status).unwrap().to_string();
            assert!(message.contains(&known), "{message}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_not_over_in_time_is_given_up_with_what_there_was_of_it() {
    let demo = demo(Knobs::default()).await;
    for (fault, outputs) in [("silent", 0), ("headers_then_silent", 0), ("never_finish", 2)] {
        // what comes at all comes at once
        let timeout = Duration::from_millis(if outputs > 0 { 2000 } else { 200 });
        let way = Way { timeout, ..Way::default() };
        let sample = one(way, &url(&demo), json!({ "fault": fault })).await;
        assert_eq!((kind(&sample), sample.outputs().count()), (Some(Kind::TimedOut), outputs), "{fault}");
        assert_eq!(sample.bytes > 0, outputs > 0);
        assert!(sample.total >= timeout);
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure_of_the_connection() {
    let nobody = Nobody::new();
    let sample = one(Way::default(), &format!("http://{}/", nobody.address), json!({})).await;
    assert_eq!(kind(&sample), Some(Kind::Connect("connection_refused")));
    assert_eq!((sample.connect, sample.head, sample.events.len()), (None, None, 0));
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_a_failure() {
    let demo = demo(Knobs { tokens: Some(0), ..Knobs::default() }).await;
    assert_eq!(kind(&one(Way::default(), &url(&demo), json!({})).await), Some(Kind::NoOutput));
}

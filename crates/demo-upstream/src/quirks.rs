//! What single providers and servers do differently, though they mean well. Pure.

use std::iter;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{DONE, Event};
use super::canned::JSON;
use super::edits::Events;
use super::fault::{CANARY, Fault};
use super::knobs::Knobs;

/// The size of the picture of [`Fault::LargeImage`], in bytes of base64.
const PICTURE: usize = 2_600_000;
/// The number of reports of [`Fault::Progress`].
const REPORTS: u64 = 3;
/// The reasoning tokens of [`Fault::UsageBesideReasoning`].
const REASONING: u64 = 7;

/// A response that replaces the whole answer: status, headers and body.
pub(super) type Replacement = (u16, &'static [(&'static str, &'static str)], Value);

/// The response of a quirk that replaces the whole answer; `None` for the others.
pub(super) fn replaced(fault: Fault, has_stream_options: bool) -> Option<Replacement> {
    let error = |kind: &str, code: Value, message: String| json!({ "error": { "message": format!("{message} {CANARY}"), "type": kind, "param": null, "code": code } });
    let limited = || error("requests", "rate_limit_exceeded".into(), "Slow down.".into());
    let invalid = |message: &str| error("invalid_request_error", Value::Null, message.into());
    Some(match fault {
        Fault::RefusesStreamOptions if has_stream_options => {
            let detail = json!({
                "type": "extra_forbidden",
                "loc": ["body", "stream_options"],
                "msg": "Extra inputs are not permitted",
                "input": { "include_usage": true },
            });
            (422, &[JSON], json!({ "detail": [detail] }))
        }
        Fault::JsonRateLimit => (200, &[JSON, ("retry-after", "42.6")], limited()),
        Fault::JsonContextLength => {
            let message = "This model's maximum context length is 8192 tokens.".into();
            (200, &[JSON], error("invalid_request_error", "context_length_exceeded".into(), message))
        }
        Fault::JsonErrorList => {
            let error = json!({ "code": 503, "message": CANARY, "status": "UNAVAILABLE" });
            (200, &[JSON], json!([{ "error": error }]))
        }
        Fault::InvalidKeyList => {
            let info = json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            });
            let message = format!("API key not valid. Please pass a valid API key. {CANARY}");
            let error = json!({ "code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": [info] });
            (400, &[JSON], json!([{ "error": error }]))
        }
        Fault::PromptTooLong => (400, &[JSON], invalid("prompt is too long: 209353 tokens > 199999 maximum")),
        Fault::NoCredit => (400, &[JSON], invalid("Your credit balance is too low to access the API.")),
        Fault::RetryAfterFraction => (429, &[JSON, ("retry-after", "42.6")], limited()),
        Fault::RetryAfterMs => (429, &[JSON, ("retry-after-ms", "42600")], limited()),
        _ => return None,
    })
}

/// The events of a stream with the changes of the quirk. `usage` is that of the whole answer.
pub(super) fn edited(events: impl Iterator<Item = Event> + Send + 'static, knobs: &Knobs, usage: &Value) -> Events {
    let Some(fault) = knobs.fault else { return Box::new(events) };
    let at = usize::try_from(knobs.at).unwrap_or(usize::MAX);
    let usage = counts(fault, usage);
    match fault {
        Fault::FinishError => Box::new(failed(events, at)),
        Fault::FinishErrorBeforeOutput => Box::new(failed(events, 1)),
        Fault::Progress => Box::new(progress(knobs.first_token).chain(events)),
        Fault::CallsWithIndex0 => Box::new(events.flat_map(called_twice)),
        Fault::LargeImage => {
            let mut pictured = false;
            Box::new(events.map(move |event| {
                rewritten(event, |chunk| {
                    let Some(delta) = chunk.pointer_mut("/choices/0/delta") else { return };
                    if delta["content"].as_str().is_some_and(|text| !text.is_empty()) && !pictured {
                        pictured = true;
                        let url = format!("data:image/png;base64,{}", "A".repeat(PICTURE));
                        *delta = json!({ "images": [{ "type": "image_url", "image_url": { "url": url } }] });
                    }
                })
            }))
        }
        Fault::NanLogprobs => Box::new(events.map(|event| {
            let text = String::from_utf8_lossy(&event.bytes);
            let odd = r#""logprobs":{"content":[{"token":"a","logprob":-Infinity,"top_logprobs":[NaN,Infinity]}]}"#;
            Event { bytes: text.replace(r#""logprobs":null"#, odd).into(), ..event }
        })),
        Fault::FinishContentFilter
        | Fault::UsageInChoice
        | Fault::UsageXGroq
        | Fault::UsageBesideReasoning
        | Fault::UsageCacheWrite
        | Fault::UsageWithMore
        | Fault::UsageTimings => Box::new(events.filter_map(move |event| {
            let keeps_usage =
                matches!(fault, Fault::UsageBesideReasoning | Fault::UsageCacheWrite | Fault::UsageWithMore)
                    || fault == Fault::FinishContentFilter;
            let is_usage = event.bytes.windows(13).any(|part| part == br#""choices":[],"#);
            (keeps_usage || !is_usage).then(|| rewritten(event, |chunk| recount(chunk, fault, &usage)))
        })),
        _ => Box::new(events),
    }
}

/// A whole answer with the changes of the quirk.
pub(super) fn edited_document(document: Event, knobs: &Knobs) -> Event {
    let Some(fault) = knobs.fault else { return document };
    if fault == Fault::JsonAfterBlanks {
        return Event { bytes: [b"\n\n\n", &document.bytes[..]].concat().into(), ..document };
    }
    let Ok(mut whole) = serde_json::from_slice::<Value>(&document.bytes) else { return document };
    let usage = counts(fault, &whole["usage"]);
    match fault {
        Fault::FinishError | Fault::FinishErrorBeforeOutput => whole["choices"][0]["finish_reason"] = "error".into(),
        Fault::UsageInChoice | Fault::UsageXGroq | Fault::UsageTimings => {
            whole.as_object_mut().map(|whole| whole.remove("usage"));
            recount(&mut whole, fault, &usage);
        }
        Fault::FinishContentFilter | Fault::UsageBesideReasoning | Fault::UsageCacheWrite | Fault::UsageWithMore => {
            recount(&mut whole, fault, &usage)
        }
        _ => return document,
    }
    Event { bytes: whole.to_string().into(), ..document }
}

/// The usage of a quirk.
fn counts(fault: Fault, usage: &Value) -> Value {
    let mut usage = usage.clone();
    let total = usage["total_tokens"].as_u64().unwrap_or_default();
    match fault {
        Fault::UsageBesideReasoning => {
            usage["total_tokens"] = (total + REASONING).into();
            usage["completion_tokens_details"]["reasoning_tokens"] = REASONING.into();
        }
        Fault::UsageCacheWrite => usage["prompt_tokens_details"]["cache_write_tokens"] = 1.into(),
        _ => {}
    }
    usage
}

/// Writes usage, or another finish reason, where the quirk has it: in the chunk of usage, or in that of the finish reason.
fn recount(chunk: &mut Value, fault: Fault, usage: &Value) {
    let is_last = chunk["choices"][0]["finish_reason"].is_string();
    match fault {
        Fault::FinishContentFilter if is_last => chunk["choices"][0]["finish_reason"] = "content_filter".into(),
        Fault::UsageInChoice if is_last => chunk["choices"][0]["usage"] = usage.clone(),
        Fault::UsageXGroq if is_last => chunk["x_groq"] = json!({ "id": "req_demo", "usage": usage }),
        Fault::UsageTimings if is_last => {
            let (prompt, said) = (&usage["prompt_tokens"], &usage["completion_tokens"]);
            chunk["timings"] = json!({ "cache_n": 0, "prompt_n": prompt, "prompt_ms": 30.9, "predicted_n": said });
        }
        Fault::UsageBesideReasoning | Fault::UsageCacheWrite if chunk["usage"].is_object() => {
            chunk["usage"] = usage.clone();
        }
        Fault::UsageWithMore if chunk["usage"].is_object() => {
            chunk["timings"] = json!({ "prompt_n": 1 });
            chunk["citations"] = json!(["https://a.example"]);
            chunk["provider"] = "Demo".into();
        }
        _ => {}
    }
}

/// An event whose chunk was changed; any other event as it is.
fn rewritten(event: Event, change: impl FnOnce(&mut Value)) -> Event {
    let data = event.bytes.strip_prefix(b"data: ").and_then(|data| serde_json::from_slice::<Value>(data).ok());
    let Some(mut chunk) = data else { return event };
    change(&mut chunk);
    Event { bytes: format!("data: {chunk}\n\n").into(), ..event }
}

/// The first events, then a finish reason of failure, and the end of a complete stream.
fn failed(events: impl Iterator<Item = Event> + Send, at: usize) -> impl Iterator<Item = Event> + Send {
    let chunk = json!({
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error",
            "error": { "code": 502, "message": CANARY } }],
    });
    let last = Event { due: Duration::ZERO, bytes: format!("data: {chunk}\n\n").into() };
    let done = Event { due: Duration::ZERO, bytes: Bytes::from_static(DONE) };
    events.take(at).chain([last, done])
}

/// Reports of progress until the first token, the first one at once.
fn progress(first_token: Duration) -> impl Iterator<Item = Event> {
    (0..REPORTS).map(move |number| {
        let chunk = json!({
            "id": "chatcmpl-demo",
            "object": "chat.completion.chunk",
            "choices": [{ "index": 0, "delta": { "role": "assistant", "content": null }, "finish_reason": null }],
            "prompt_progress": { "total": REPORTS, "cache": 0, "processed": number, "time_ms": number },
        });
        let due = first_token * u32::try_from(number).unwrap_or(0) / 4;
        Event { due, bytes: format!("data: {chunk}\n\n").into() }
    })
}

/// A tool call, and after its first part a whole second one with the same index.
fn called_twice(event: Event) -> impl Iterator<Item = Event> {
    let mut second = None;
    let first = rewritten(event, |chunk| {
        let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
        if call["id"].is_string() {
            let mut other = chunk.clone();
            let call = &mut other["choices"][0]["delta"]["tool_calls"][0];
            call["id"] = "call_demo1".into();
            call["function"]["arguments"] = "{}".into();
            second = Some(other);
        }
    });
    let due = first.due;
    let second = second.map(|chunk| Event { due, bytes: format!("data: {chunk}\n\n").into() });
    // the second call comes first: the parts that follow continue the one before them
    second.into_iter().chain(iter::once(first))
}

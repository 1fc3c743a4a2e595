//! Response heads, and the responses that do not depend on the request. Pure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::chat::Chat;
use super::edits;
use super::fault::{CANARY, FAKE_KEY, Fault};
use super::knobs::Knobs;
use super::quirks;
use super::steps::{Ending, Step};
use super::wire::{Framing, Head};

/// The head of the response to a chat completion, with the changes of the fault.
pub(super) fn head(knobs: &Knobs, content_type: &str, framing: Framing, keep_alive: bool) -> Bytes {
    let fault = knobs.fault;
    let version = if fault == Some(Fault::Http10) { "HTTP/1.0" } else { "HTTP/1.1" };
    let charset = match fault {
        Some(Fault::ContentTypeWithCharset) => "; charset=utf-8",
        Some(Fault::CharsetUtf8) => "; charset=utf8",
        _ => "",
    };
    let content_type = format!("{content_type}{charset}");
    let named = [("content-type", content_type.as_str())];
    let named = if fault == Some(Fault::NoContentType) { &[][..] } else { &named };
    let common = [("cache-control", "no-cache"), ("x-request-id", "req_demo"), ("openai-version", "2020-10-01")];
    let head = Head::new(version, 200).headers(named).headers(&common);
    let head = match fault {
        Some(Fault::Gzip) => head.header("content-encoding", "gzip"),
        Some(Fault::ContentEncodingNone) => head.header("content-encoding", "none"),
        Some(Fault::SpaceBeforeColon) => head.header("x-space ", "1"),
        Some(Fault::TransferIdentity) => head.header("transfer-encoding", "identity"),
        Some(Fault::DuplicateHeaders) => head.headers(named).headers(&common),
        Some(Fault::ManyHeaders) => {
            (0..500).fold(head, |head, number| head.header(&format!("x-many-{number}"), CANARY))
        }
        Some(Fault::HugeHeader) => head.header("x-huge", &"h".repeat(512 * 1024)),
        Some(Fault::CorsHeaders) => head.headers(&VENDOR),
        _ => head,
    };
    let head = framing.announce(head);
    let head = if keep_alive || framing == Framing::UntilClose { head } else { head.header("connection", "close") };
    match fault {
        Some(Fault::Informational) => [EARLY_HINTS, &head.end()].concat().into(),
        _ => head.end(),
    }
}

const EARLY_HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n";

/// Headers that a gateway must not pass on, or only merged (`vary`).
const VENDOR: [(&str, &str); 14] = [
    ("access-control-allow-origin", ""),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "*"),
    ("access-control-expose-headers", "*"),
    ("access-control-max-age", "31536000"),
    ("set-cookie", "session=canary-7f3e9d-must-not-leave-the-gateway; Path=/"),
    ("server", "demo-vendor/1.0"),
    ("vary", "accept-language"),
    ("x-powered-by", "canary-7f3e9d-must-not-leave-the-gateway"),
    ("openai-organization", "canary-7f3e9d-must-not-leave-the-gateway"),
    ("cf-ray", "canary-7f3e9d-must-not-leave-the-gateway"),
    ("x-ratelimit-remaining-tokens", "149984"),
];

/// A response of one document with its length.
pub(super) fn document(
    status: u16,
    headers: &[(&str, &str)],
    due: Duration,
    body: Bytes,
    keep_alive: bool,
) -> Vec<Step> {
    let head = Head::new("HTTP/1.1", status).headers(headers);
    let head = Framing::Length(body.len() as u64).announce(head);
    let head = if keep_alive { head } else { head.header("connection", "close") };
    vec![
        Step::Write { due, bytes: [&head.end()[..], &body].concat().into() },
        Step::End(if keep_alive { Ending::KeepAlive } else { Ending::Close }),
    ]
}

/// A response of one JSON value, due at once.
pub(super) fn json(status: u16, body: &Value, keep_alive: bool) -> Vec<Step> {
    document(status, &[JSON], Duration::ZERO, body.to_string().into(), keep_alive)
}

pub(super) const JSON: (&str, &str) = ("content-type", "application/json");

/// An error response that explains what is wrong with the request.
pub(super) fn refusal(status: u16, code: &str, message: &str, keep_alive: bool) -> Vec<Step> {
    let body = json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code } });
    json(status, &body, keep_alive)
}

/// The response of a fault that replaces the whole response, due at the first-token time; `None` for the other faults.
pub(super) fn replaced(fault: Fault, chat: &Chat, keep_alive: bool) -> Option<Vec<Step>> {
    let knobs = &chat.knobs;
    let due = knobs.first_token;
    let at = |status: u16, headers: &[(&str, &str)], body: Bytes| document(status, headers, due, body, keep_alive);
    if let Some((status, headers, body)) = quirks::replaced(fault, chat.has_stream_options) {
        return Some(at(status, headers, body.to_string().into()));
    }
    if let Some(status) = fault.status() {
        let retry = [JSON, ("retry-after", "7")];
        let headers = if matches!(fault, Fault::Status429 | Fault::Status503) { &retry[..] } else { &retry[..1] };
        return Some(at(status, headers, status_error(status)));
    }
    Some(match fault {
        Fault::Redirect => {
            let location = format!("http://{}/v1/chat/completions", knobs.redirect_to);
            at(307, &[("location", &location)], Bytes::from_static(CANARY.as_bytes()))
        }
        Fault::Html => {
            let page = format!("<!doctype html><title>Sign in</title><h1>Sign in to go on</h1><p>{CANARY}</p>");
            at(200, &[("content-type", "text/html; charset=utf-8")], page.into())
        }
        Fault::SwitchProtocols => {
            let head = Head::new("HTTP/1.1", 101).headers(&[("connection", "upgrade"), ("upgrade", "demo")]).end();
            let bytes = [&head[..], CANARY.as_bytes()].concat().into();
            vec![Step::Write { due, bytes }, Step::End(Ending::Close)]
        }
        Fault::Silent => vec![Step::End(Ending::Silence)],
        // a write of no bytes only waits
        Fault::ResetBefore => vec![Step::Write { due, bytes: Bytes::new() }, Step::End(Ending::Reset)],
        _ => return None,
    })
}

/// The error of a provider with this status. It repeats a key, as those of some providers do.
fn status_error(status: u16) -> Bytes {
    let (kind, code) = match status {
        401 => ("invalid_request_error", "invalid_api_key"),
        403 => ("permission_error", "country_not_supported"),
        404 => ("invalid_request_error", "model_not_found"),
        408 => ("timeout", "request_timeout"),
        429 => ("requests", "rate_limit_exceeded"),
        503 | 529 => ("overloaded_error", "overloaded"),
        500.. => return edits::error(),
        _ => ("invalid_request_error", "invalid_value"),
    };
    let message = format!("Refused with {status}; the key was {FAKE_KEY}. {CANARY}");
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_headers_contain_the_canary() {
        let held = VENDOR.iter().filter(|(_, value)| value.contains(CANARY)).count();
        assert_eq!(held, 4);
    }
}

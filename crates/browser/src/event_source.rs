//! The responses that `EventSource` accepts: HTML §9.2. Pure.

use http::{StatusCode, header};

use super::head::ResponseHead;
use super::mime;
use super::quirks::Browser;

/// What an `EventSource` does with a response that passed CORS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It reads events, and connects again when the stream ends.
    Open,
    /// It fails the connection: `readyState` is `CLOSED`, and it never connects again.
    Closed(ClosedReason),
}

/// Why it fails the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosedReason {
    /// The status is not 200 (a server sends 204 to stop reconnections).
    Status(StatusCode),
    /// The content type is not `text/event-stream`: its essence, if there is one.
    ContentType(Option<String>),
    /// The charset of the content type is not UTF-8. Only Chromium checks it.
    Charset(String),
}

impl std::fmt::Display for ClosedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClosedReason::Status(status) => write!(f, "the status is {status}, not 200"),
            ClosedReason::ContentType(Some(essence)) => {
                write!(f, "the content type is {essence}, not text/event-stream")
            }
            ClosedReason::ContentType(None) => f.write_str("there is no content type; it must be text/event-stream"),
            ClosedReason::Charset(charset) => write!(f, "the content type's charset is {charset}, not utf-8"),
        }
    }
}

/// HTML §9.2.3: a response that is not 200 with `text/event-stream` fails the connection, also on a reconnection.
pub fn judge(response: &ResponseHead, browser: Browser) -> Verdict {
    if response.status != StatusCode::OK {
        return Verdict::Closed(ClosedReason::Status(response.status));
    }
    let content_type = response.get(header::CONTENT_TYPE);
    let essence = content_type.as_deref().and_then(mime::essence);
    if essence.as_deref() != Some("text/event-stream") {
        return Verdict::Closed(ClosedReason::ContentType(essence));
    }
    match content_type.as_deref().and_then(mime::charset) {
        Some(charset) if charset != "utf-8" && browser.wants_utf8_events() => {
            Verdict::Closed(ClosedReason::Charset(charset))
        }
        _ => Verdict::Open,
    }
}

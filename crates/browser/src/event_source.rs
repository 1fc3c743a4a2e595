//! What `EventSource` demands of an answer: HTML §9.2.

use http::{StatusCode, header};

use super::answer::Answer;
use super::mime;
use super::quirks::Browser;

/// What an `EventSource` does with an answer that passed CORS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It reads events, and connects again when the stream ends.
    Open,
    /// It gives up for good: `readyState` is `CLOSED`, and it never connects again.
    GivesUp(Why),
}

/// Why it gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The status is not 200; 204 is the way to tell a page to stop.
    Status(StatusCode),
    /// The content type is not `text/event-stream`: what it is, where there is one.
    ContentType(Option<String>),
    /// The content type's charset is not UTF-8. Chromium alone cares.
    Charset(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Status(status) => write!(f, "the status is {status}, not 200"),
            Why::ContentType(Some(essence)) => write!(f, "the content type is {essence}, not text/event-stream"),
            Why::ContentType(None) => f.write_str("there is no content type; it must be text/event-stream"),
            Why::Charset(charset) => write!(f, "the content type's charset is {charset}, not utf-8"),
        }
    }
}

/// HTML §9.2.3: an answer that is not 200 with `text/event-stream` fails the connection, also when it is a reconnection.
pub fn judge(answer: &Answer, browser: Browser) -> Verdict {
    if answer.status != StatusCode::OK {
        return Verdict::GivesUp(Why::Status(answer.status));
    }
    let content_type = answer.get(header::CONTENT_TYPE);
    let essence = content_type.as_deref().and_then(mime::essence);
    if essence.as_deref() != Some("text/event-stream") {
        return Verdict::GivesUp(Why::ContentType(essence));
    }
    match content_type.as_deref().and_then(mime::charset) {
        Some(charset) if charset != "utf-8" && browser.wants_utf8_events() => Verdict::GivesUp(Why::Charset(charset)),
        _ => Verdict::Open,
    }
}

//! The responses that `EventSource` accepts: HTML §9.2. Pure.

use http::{StatusCode, header};

use super::block::{Block, Stage, Step};
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

impl ClosedReason {
    /// Chromium's message in the console; `None` where it writes none.
    pub fn console(&self) -> Option<String> {
        let aborted = |what: &str, value: &str, wanted: &str| {
            Some(format!(
                "EventSource's response has a {what} (\"{value}\") that is not {wanted}. Aborting the connection."
            ))
        };
        match self {
            ClosedReason::Status(status) if status.is_client_error() || status.is_server_error() => {
                let (code, phrase) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
                Some(format!("Failed to load resource: the server responded with a status of {code} ({phrase})"))
            }
            ClosedReason::Status(_) => None,
            ClosedReason::ContentType(essence) => {
                // without a type, Chromium guesses one from the body: text is text/plain
                aborted("MIME type", essence.as_deref().unwrap_or("text/plain"), "\"text/event-stream\"")
            }
            ClosedReason::Charset(charset) => aborted("charset", charset, "UTF-8"),
        }
    }

    /// The block: Chromium's message as the reason where Chromium decides and writes one, and else a sentence.
    fn block(&self, browser: Browser, response: &ResponseHead) -> Block {
        let console = self.console().filter(|_| browser == Browser::Chromium);
        let reason = console.unwrap_or_else(|| format!("EventSource fails the connection for good: {self}."));
        let content_type = response.get(header::CONTENT_TYPE);
        let (received, needed) = match self {
            ClosedReason::Status(status) => (format!("status {status}"), "status 200"),
            ClosedReason::ContentType(_) | ClosedReason::Charset(_) => match content_type {
                Some(value) => {
                    let value: String = String::from_utf8_lossy(&value).chars().filter(|c| !c.is_control()).collect();
                    (format!("content-type: {value}"), "content-type: text/event-stream")
                }
                None => (String::new(), "content-type: text/event-stream"),
            },
        };
        Block {
            code: None,
            stage: Stage::Response,
            step: Step::EVENT_SOURCE,
            reason,
            received: Some(received).filter(|line| !line.is_empty()).into_iter().collect(),
            needed: needed.to_owned(),
        }
    }
}

/// HTML §9.2.3 as a step of the request.
///
/// # Errors
/// The response fails the connection.
pub(super) fn check(response: &ResponseHead, browser: Browser) -> Result<(), Block> {
    match judge(response, browser) {
        Verdict::Open => Ok(()),
        Verdict::Closed(reason) => Err(reason.block(browser, response)),
    }
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

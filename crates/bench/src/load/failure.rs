//! Checks the head of a response, and describes failures of connections and requests. Pure.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::report::sample::{Failure, Kind};
use dial::{Error, SendError, Target};

/// Checks that an event stream follows.
///
/// # Errors
/// The status is not 200, the content type is another, or the body is compressed. No message repeats the server's text.
pub(super) fn check_head(target: &Target, status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status != StatusCode::OK {
        let message = format!("{target}: answered {status}; {}", fix(status));
        return Err(Failure { kind: Kind::Status(status.as_u16()), message });
    }
    let wrong = |what: &str| {
        let message = format!(
            "{target}: answered with {what} instead of an event stream; check that the URL is that of chat completions"
        );
        Err(Failure { kind: Kind::NotAnEventStream, message })
    };
    let written = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    match written.as_deref().map(|written| written.split(';').next().unwrap_or_default().trim()) {
        Some("text/event-stream") => {}
        Some("text/html") => return wrong("an HTML page"),
        Some("application/json") => return wrong("one JSON document"),
        Some(_) => return wrong("another content type"),
        None => return wrong("no content type"),
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => wrong("a compressed body, which delays events,"),
        _ => Ok(()),
    }
}

fn fix(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 422 => "check --model, --max-tokens and the prompts",
        401 | 403 => "name the variable that holds the key with --key-env, or send it with --header",
        404 | 405 => "check the URL's path, such as /v1/chat/completions, and --model",
        413 => "send shorter prompts",
        421 => "use a host name that the server answers for",
        429 => "the server limits the rate: lower --rate or --concurrency, or raise its limit",
        300..=399 => "write the URL that it redirects to",
        500..=599 => "look at the server's log",
        _ => "this is no response to a completion",
    }
}

/// The failure of a stream that got no connection.
pub(super) fn no_connection(error: &Error) -> Failure {
    Failure { kind: Kind::Connect(error.kind()), message: error.to_string() }
}

/// The failure of a request that got no response.
pub(super) fn no_response(target: &Target, error: SendError) -> Failure {
    let kind = match error {
        SendError::Unsent | SendError::Broken => Kind::ClosedBeforeHead,
        SendError::NotHttp | SendError::HeadTooLong => Kind::NotHttp,
    };
    Failure { kind, message: format!("{target}: {error}") }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn check(status: u16, content_type: &str, coding: &str) -> Result<(), Failure> {
        let target = Target::parse("http://localhost:1/v1").unwrap();
        let headers = [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, coding)];
        let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_str(value).unwrap())).collect();
        check_head(&target, StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn an_event_stream_is_recognised_in_any_spelling() {
        for content_type in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "text/event-stream ;x"] {
            assert_eq!(check(200, content_type, ""), Ok(()));
        }
        assert_eq!(check(200, "text/event-stream", "identity"), Ok(()));
    }

    #[test]
    fn everything_else_is_a_failure_with_its_kind_and_its_fix() {
        for (status, content_type, coding, kind, part) in [
            (200, "text/html", "", Kind::NotAnEventStream, "an HTML page"),
            (200, "application/json", "", Kind::NotAnEventStream, "one JSON document"),
            (200, "", "", Kind::NotAnEventStream, "no content type"),
            (200, "canary/x", "", Kind::NotAnEventStream, "another content type"),
            (200, "text/event-stream", "gzip", Kind::NotAnEventStream, "compressed"),
            (201, "text/event-stream", "", Kind::Status(201), "201 Created"),
            (401, "text/html", "", Kind::Status(401), "--key-env"),
            (404, "", "", Kind::Status(404), "path"),
            (429, "", "", Kind::Status(429), "lower --rate"),
            (502, "", "", Kind::Status(502), "log"),
        ] {
            let failure = check(status, content_type, coding).unwrap_err();
            assert_eq!(failure.kind, kind);
            let message = failure.message;
            assert!(message.starts_with("http://localhost:1/v1: ") && message.contains(part), "{message}");
            assert!(!message.contains("canary"));
        }
    }

    proptest! {
        #[test]
        fn every_status_has_a_message(status in 100..1000_u16) {
            prop_assert_eq!(check(status, "text/event-stream", "").is_ok(), status == 200);
        }
    }
}

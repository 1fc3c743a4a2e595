//! What the head of an answer says of its body and of the request. Pure.

use std::time::Duration;

use families::refusal;
use http::header::{self, HeaderName};

use super::failure::Failure;
use super::head::Head;

/// The format of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An event stream.
    Events,
    /// One JSON value.
    Json,
}

/// Most bytes of an upstream's request id that are logged.
const MAX_REQUEST_ID: usize = 128;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The second one is Anthropic's.
const REQUEST_IDS: [HeaderName; 2] = [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];

/// Returns the format of the body, which must be in UTF-8 and without a coding.
///
/// # Errors
/// The body cannot be read.
pub(super) fn format(head: &Head) -> Result<Format, Failure> {
    // `none` is not registered, but some servers write it; an empty field has no coding (RFC 9110 §8.4)
    let is_none = |coding: &[u8]| [&b"identity"[..], b"none", b""].iter().any(|none| coding.eq_ignore_ascii_case(none));
    if !head.all(&header::CONTENT_ENCODING).all(|coding| is_none(coding.trim_ascii())) {
        return Err(Failure::BadHead("it is compressed, though identity was asked for"));
    }
    let mut parts = head.first(&header::CONTENT_TYPE).unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let format = if essence.eq_ignore_ascii_case("text/event-stream") {
        Format::Events
    } else if essence.eq_ignore_ascii_case("application/json") {
        Format::Json
    } else {
        return Err(Failure::BadHead("its content type is neither text/event-stream nor application/json"));
    };
    let charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    };
    match parts.filter_map(charset).any(|charset| !is_utf8(&charset)) {
        true => Err(Failure::BadHead("its charset is not UTF-8")),
        false => Ok(format),
    }
}

/// Whether a charset is UTF-8 by its labels (WHATWG Encoding §4.2), or ASCII, which is a part of it.
fn is_utf8(charset: &str) -> bool {
    matches!(
        charset,
        "utf-8"
            | "utf8"
            | "unicode-1-1-utf-8"
            | "unicode11utf8"
            | "unicode20utf8"
            | "x-unicode20utf8"
            | "us-ascii"
            | "ascii"
    )
}

/// Returns how long the upstream asks to wait. Milliseconds are more precise than seconds.
pub(super) fn retry_after(head: &Head) -> Option<Duration> {
    let in_milliseconds = head.first(&RETRY_AFTER_MS).and_then(refusal::asked_for_in_milliseconds);
    let in_seconds = || refusal::asked_for(head.first(&header::RETRY_AFTER)?, head.first(&header::DATE));
    in_milliseconds.or_else(in_seconds)
}

/// Returns the upstream's own id of the request: visible ASCII characters, cut off at [`MAX_REQUEST_ID`].
pub(super) fn request_id(head: &Head) -> Option<String> {
    let id = REQUEST_IDS.iter().find_map(|name| head.first(name))?;
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && !id.is_empty()).then(|| id[..id.len().min(MAX_REQUEST_ID)].to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::head::HeadReader;
    use super::*;

    fn head(fields: &str) -> Head {
        let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        HeadReader::default().read(bytes.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn the_format_is_events_or_json_in_utf_8() {
        for (content_type, expected) in [
            ("text/event-stream", Format::Events),
            ("Text/Event-Stream; charset=utf-8", Format::Events),
            ("text/event-stream;charset=\"UTF8\"; x=y", Format::Events),
            ("text/event-stream; charset=us-ascii", Format::Events),
            ("application/json", Format::Json),
            ("application/json ; Charset = unicode-1-1-utf-8", Format::Json),
        ] {
            assert_eq!(format(&head(&format!("content-type: {content_type}\r\n"))), Ok(expected), "{content_type}");
        }
        for content_type in
            ["", "text/html", "application/x-ndjson", "text/event-streams", "text/event-stream; charset=iso-8859-1"]
        {
            assert!(format(&head(&format!("content-type: {content_type}\r\n"))).is_err(), "{content_type}");
        }
        assert!(format(&head("")).is_err());
    }

    #[test]
    fn codings_that_are_none_are_accepted() {
        let with =
            |coding: &str| format(&head(&format!("content-type: application/json\r\ncontent-encoding:{coding}\r\n")));
        for coding in ["", " ", " identity", " None", " IDENTITY"] {
            assert_eq!(with(coding), Ok(Format::Json), "{coding:?}");
        }
        for coding in [" gzip", " br", " identity, gzip", " none\r\ncontent-encoding: gzip"] {
            assert!(with(coding).is_err(), "{coding:?}");
        }
    }

    #[test]
    fn the_time_to_wait_is_rounded_up_and_milliseconds_come_first() {
        for (fields, seconds) in [
            ("retry-after: 42.6\r\n", Some(43)),
            ("retry-after-ms: 42600\r\n", Some(43)),
            ("retry-after: 99\r\nretry-after-ms: 1500\r\n", Some(2)),
            ("retry-after: 7\r\nretry-after-ms: soon\r\n", Some(7)),
            ("", None),
        ] {
            assert_eq!(retry_after(&head(fields)), seconds.map(Duration::from_secs), "{fields}");
        }
    }

    #[test]
    fn the_upstream_s_id_of_the_request_is_bounded_and_visible() {
        let id = |fields: &str| request_id(&head(fields));
        assert_eq!(id("x-request-id: req_1\r\nrequest-id: other\r\n").as_deref(), Some("req_1"));
        assert_eq!(id("request-id: req_2\r\n").as_deref(), Some("req_2"));
        assert_eq!(id(&format!("x-request-id: {}\r\n", "a".repeat(500))).unwrap().len(), MAX_REQUEST_ID);
        for fields in ["", "x-request-id:\r\n", "x-request-id: a b\r\n", "x-request-id: \u{e9}\r\n"] {
            assert_eq!(id(fields), None, "{fields}");
        }
    }
}

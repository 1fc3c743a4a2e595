//! The framing of a response body and the persistence of its connection (RFC 9112 §6.3 and §9.3). Pure.

use std::time::Duration;

use http::header::{self, HeaderName};
use http::{StatusCode, Version};

use super::head::{BadHead, Head};
use super::transfer::Decoder;

/// Returns the decoder of the body that follows (RFC 9112 §6.3).
///
/// # Errors
/// The end of the body cannot be known.
pub(super) fn decoder(head: &Head) -> Result<Decoder, BadHead> {
    if is_bodiless(head.status) {
        return Ok(Decoder::Length(0));
    }
    let mut codings = head.all(&header::TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(content_length(head)?.map_or(Decoder::UntilClose, Decoder::Length)),
        // the coding of RFC 2616 §3.6 that changes nothing; RFC 9112 has removed it, and some servers still send it
        (Some(only), None) if only.eq_ignore_ascii_case(b"identity") => {
            Ok(content_length(head)?.map_or(Decoder::UntilClose, Decoder::Length))
        }
        // no other coding was requested (§7), and HTTP/1.0 has none (§6.1)
        (Some(only), None) if head.version == Version::HTTP_11 && only.eq_ignore_ascii_case(b"chunked") => {
            Ok(Decoder::chunked())
        }
        _ => Err(BadHead),
    }
}

/// Whether another request may follow on the connection (RFC 9112 §9.3). An HTTP/1.0 connection is closed, as is its
/// default.
pub(super) fn is_persistent(head: &Head) -> bool {
    let close = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
    let closes = |line: &[u8]| line.split(|byte| *byte == b',').any(close);
    // with a length and a coding (§6.3), or either of them without a body (§6.1, RFC 9110 §8.6), another reader of the same
    // bytes may see another end
    let lengths = [header::TRANSFER_ENCODING, header::CONTENT_LENGTH].iter().filter(|name| head.has(name)).count();
    let is_identity = head.all(&header::TRANSFER_ENCODING).any(|coding| coding.eq_ignore_ascii_case(b"identity"));
    head.version == Version::HTTP_11
        && head.status != StatusCode::SWITCHING_PROTOCOLS
        && lengths == usize::from(!is_bodiless(head.status))
        && !is_identity
        && !head.all(&header::CONNECTION).any(closes)
}

/// Returns how long the upstream keeps the connection open while it is idle, less a second, so that no request is sent in the
/// moment of its closing. It is the parameter `timeout` of `keep-alive`, which most servers with such a timeout send.
pub(super) fn keep_alive(head: &Head) -> Option<Duration> {
    let name = HeaderName::from_static("keep-alive");
    let parameters = head.all(&name).flat_map(|line| line.split(|byte| matches!(byte, b',' | b';')));
    let seconds = parameters.filter_map(|parameter| {
        let at = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&parameter[..at], &parameter[at + 1..]);
        name.trim_ascii().eq_ignore_ascii_case(b"timeout").then(|| digits(value.trim_ascii()))?
    });
    seconds.min().map(|seconds| Duration::from_secs(seconds.saturating_sub(1)))
}

/// Whether a response with this status ends with its head.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Returns the one length that all lines and list members name (RFC 9110 §8.6), or `None` without any.
fn content_length(head: &Head) -> Result<Option<u64>, BadHead> {
    let mut found = None;
    for member in head.all(&header::CONTENT_LENGTH).flat_map(|line| line.split(|byte| *byte == b',')) {
        let length = digits(member.trim_ascii()).ok_or(BadHead)?;
        if found.replace(length).is_some_and(|other| other != length) {
            return Err(BadHead);
        }
    }
    Ok(found)
}

/// Parses digits only: `u64::from_str` accepts a sign, too.
fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(None, |value: Option<u64>, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?))
    })?
}

#[cfg(test)]
mod tests {
    use super::super::head::HeadReader;
    use super::*;

    fn head(status_line: &str, fields: &str) -> Head {
        let bytes = format!("{status_line}\r\n{fields}\r\n");
        HeadReader::default().read(bytes.as_bytes()).unwrap().unwrap().0
    }

    fn framing(status_line: &str, fields: &str) -> Result<(Decoder, bool), BadHead> {
        let head = head(status_line, fields);
        decoder(&head).map(|decoder| (decoder, is_persistent(&head)))
    }

    fn of(fields: &str) -> Result<(Decoder, bool), BadHead> {
        framing("HTTP/1.1 200 OK", fields)
    }

    #[test]
    fn a_body_has_a_length_or_chunks_or_ends_with_the_connection() {
        assert_eq!(of("content-length: 5\r\n"), Ok((Decoder::Length(5), true)));
        assert_eq!(of("Transfer-Encoding: Chunked\r\n"), Ok((Decoder::chunked(), true)));
        assert_eq!(of(""), Ok((Decoder::UntilClose, false)));
        assert_eq!(of("content-length: 18446744073709551615\r\n"), Ok((Decoder::Length(u64::MAX), true)));
    }

    #[test]
    fn the_timeout_of_an_idle_connection_is_honoured_less_a_second() {
        for (fields, seconds) in [
            ("", None),
            ("keep-alive: timeout=5\r\n", Some(4)),
            ("Keep-Alive: max=100, Timeout = 5\r\n", Some(4)),
            ("keep-alive: timeout=5; max=100\r\nkeep-alive: timeout=3\r\n", Some(2)),
            ("keep-alive: timeout=1\r\n", Some(0)),
            ("keep-alive: timeout=0\r\n", Some(0)),
            ("keep-alive: timeout=-1\r\n", None),
            ("keep-alive: timeout\r\n", None),
        ] {
            let head = head("HTTP/1.1 200 OK", fields);
            assert_eq!(keep_alive(&head), seconds.map(Duration::from_secs), "{fields}");
        }
    }

    #[test]
    fn the_coding_identity_changes_nothing_and_its_connection_is_not_reused() {
        assert_eq!(of("transfer-encoding: identity\r\n"), Ok((Decoder::UntilClose, false)));
        assert_eq!(of("transfer-encoding: Identity\r\nconnection: close\r\n"), Ok((Decoder::UntilClose, false)));
        assert_eq!(of("transfer-encoding: identity\r\ncontent-length: 5\r\n"), Ok((Decoder::Length(5), false)));
        assert_eq!(of("transfer-encoding: identity, chunked\r\n"), Err(BadHead));
        assert_eq!(framing("HTTP/1.0 200 OK", "transfer-encoding: identity\r\n"), Ok((Decoder::UntilClose, false)));
    }

    #[test]
    fn lengths_that_agree_are_one_and_others_are_an_error() {
        assert_eq!(of("content-length: 5, 5\r\ncontent-length:05\r\n"), Ok((Decoder::Length(5), true)));
        for bad in [
            "5\r\ncontent-length: 6",
            "5, 6",
            "5,",
            ",5",
            "",
            "-5",
            "+5",
            "5 5",
            "0x5",
            "5.0",
            "18446744073709551616",
            "18446744073709551620",
        ] {
            assert_eq!(of(&format!("content-length: {bad}\r\n")), Err(BadHead), "{bad}");
        }
    }

    #[test]
    fn any_coding_but_chunked_alone_is_an_error() {
        for bad in [
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "chunked\r\ntransfer-encoding: chunked",
            "identity, identity",
            "",
        ] {
            assert_eq!(of(&format!("transfer-encoding: {bad}\r\n")), Err(BadHead), "{bad}");
        }
        assert_eq!(framing("HTTP/1.0 200 OK", "transfer-encoding: chunked\r\n"), Err(BadHead));
    }

    #[test]
    fn a_length_beside_chunks_is_ignored_and_the_connection_not_used_again() {
        for length in ["5", "x"] {
            let fields = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n");
            assert_eq!(of(&fields), Ok((Decoder::chunked(), false)));
        }
    }

    #[test]
    fn a_status_without_a_body_has_none_and_one_that_announces_it_all_the_same_is_the_last() {
        for status in ["204 No Content", "304 Not Modified"] {
            let line = format!("HTTP/1.1 {status}");
            assert_eq!(framing(&line, ""), Ok((Decoder::Length(0), true)));
            for fields in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", "transfer-encoding: gzip\r\n"] {
                assert_eq!(framing(&line, fields), Ok((Decoder::Length(0), false)), "{fields}");
            }
        }
    }

    #[test]
    fn after_101_close_or_http_1_0_no_request_follows() {
        assert_eq!(framing("HTTP/1.1 101 Switching Protocols", ""), Ok((Decoder::Length(0), false)));
        let length = "content-length: 5\r\n";
        for fields in ["", "connection: keep-alive\r\n"] {
            let fields = format!("{length}{fields}");
            assert_eq!(framing("HTTP/1.0 200 OK", &fields), Ok((Decoder::Length(5), false)), "{fields}");
        }
        for connection in ["close", "Keep-Alive ,\tCLOSE", "a\r\nconnection: close", "\u{e9}, close"] {
            assert_eq!(of(&format!("{length}connection: {connection}\r\n")), Ok((Decoder::Length(5), false)));
        }
        for connection in ["keep-alive", "closed", "x-close", ""] {
            assert_eq!(of(&format!("{length}connection: {connection}\r\n")), Ok((Decoder::Length(5), true)));
        }
    }
}

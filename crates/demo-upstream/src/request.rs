//! Parses HTTP/1.1 requests, as far as a test server needs. Pure.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The most bytes of a request head.
const MAX_HEAD: usize = 256 * 1024;
/// The most bytes of a request body.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A complete request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path without the query.
    pub path: String,
    /// All headers, in order.
    pub headers: HeaderMap,
    /// The body, without chunk framing.
    pub body: Bytes,
    /// The number of its connection, from 0. Requests with the same number came on the same connection.
    pub connection: u64,
    pub(super) keep_alive: bool,
    pub(super) http10: bool,
}

/// The result of parsing.
#[derive(Debug)]
pub(super) enum Progress {
    /// More bytes are needed; the client may wait for 100 before it sends the body.
    Incomplete { expects_continue: bool },
    /// A request, whose bytes are removed from the buffer.
    Complete(Request),
}

/// The bytes are no valid request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Removes a request from the buffer, if it is complete.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Progress, Malformed> {
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
        return if buffer.len() > MAX_HEAD {
            Err(Malformed)
        } else {
            Ok(Progress::Incomplete { expects_continue: false })
        };
    };
    let head = std::str::from_utf8(&buffer[..end]).map_err(|_| Malformed)?;
    let mut request = parse_head(head)?;
    let after = end + 4;
    let chunked = request.headers.get_all("transfer-encoding").iter().any(|value| value == "chunked");
    let body = if chunked {
        Chunks::find(&buffer[after..])?.map(|chunks| (chunks.body(&buffer[after..]), chunks.end))
    } else {
        let length = content_length(&request.headers)?;
        buffer[after..].get(..length).map(|body| (Bytes::copy_from_slice(body), length))
    };
    let Some((body, length)) = body else {
        let expects_continue = request.headers.get("expect").is_some_and(|value| value == "100-continue");
        return Ok(Progress::Incomplete { expects_continue });
    };
    request.body = body;
    buffer.advance(after + length);
    Ok(Progress::Complete(request))
}

fn parse_head(head: &str) -> Result<Request, Malformed> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().ok_or(Malformed)?.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed);
    };
    let http10 = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(Malformed),
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed)?;
        let value = HeaderValue::from_str(value.trim_matches([' ', '\t'])).map_err(|_| Malformed)?;
        headers.try_append(name, value).map_err(|_| Malformed)?;
    }
    let has_token = |token: &str| {
        let values = headers.get_all("connection").iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    let keep_alive = if http10 { has_token("keep-alive") } else { !has_token("close") };
    Ok(Request {
        method: method.parse().map_err(|_| Malformed)?,
        path: target.split('?').next().unwrap_or_default().to_owned(),
        body: Bytes::new(),
        connection: 0,
        keep_alive,
        http10,
        headers,
    })
}

fn content_length(headers: &HeaderMap) -> Result<usize, Malformed> {
    let Some(value) = headers.get("content-length") else { return Ok(0) };
    let length = value.to_str().ok().and_then(|value| value.parse().ok()).ok_or(Malformed)?;
    if length > MAX_BODY { Err(Malformed) } else { Ok(length) }
}

/// The positions of the chunks of a complete chunked body.
struct Chunks {
    ranges: Vec<std::ops::Range<usize>>,
    end: usize,
}

impl Chunks {
    /// RFC 9112 section 7.1; trailers are ignored. `None`: more bytes are needed.
    fn find(bytes: &[u8]) -> Result<Option<Chunks>, Malformed> {
        let line_end = |from: usize| memchr::memmem::find(bytes.get(from..)?, b"\r\n").map(|length| from + length);
        let mut ranges = Vec::new();
        let mut at = 0;
        loop {
            if at > MAX_BODY {
                return Err(Malformed);
            }
            let Some(end) = line_end(at) else { return Ok(None) };
            let size = bytes[at..end].split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.filter(|size| *size <= MAX_BODY).ok_or(Malformed)?;
            at = end + 2;
            if size == 0 {
                break;
            }
            ranges.push(at..at + size);
            at += size;
            match bytes.get(at..at + 2) {
                None => return Ok(None),
                Some(b"\r\n") => at += 2,
                Some(_) => return Err(Malformed),
            }
        }
        loop {
            let Some(end) = line_end(at) else { return Ok(None) };
            let empty = end == at;
            at = end + 2;
            if empty {
                return Ok(Some(Chunks { ranges, end: at }));
            }
        }
    }

    fn body(&self, bytes: &[u8]) -> Bytes {
        let parts: Vec<&[u8]> = self.ranges.iter().filter_map(|range| bytes.get(range.clone())).collect();
        parts.concat().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complete(bytes: &[u8]) -> (Request, BytesMut) {
        let mut buffer = BytesMut::from(bytes);
        match take(&mut buffer) {
            Ok(Progress::Complete(request)) => (request, buffer),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pipelined_requests_are_parsed_one_by_one() {
        let both = b"POST /a?q HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nconnection: Close\r\n\r\n";
        let (first, rest) = complete(both);
        assert_eq!((first.path.as_str(), &first.body[..], first.keep_alive), ("/a", &b"abc"[..], true));
        let (second, rest) = complete(&rest);
        assert_eq!((second.path.as_str(), second.keep_alive, rest.len()), ("/b", false, 0));
    }

    #[test]
    fn a_chunked_body_is_joined_and_its_trailers_are_ignored() {
        let bytes = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\nrest";
        let (request, rest) = complete(bytes);
        assert_eq!((&request.body[..], &rest[..]), (&b"abcde"[..], &b"rest"[..]));
    }

    #[test]
    fn a_client_that_waits_for_100_is_noticed() {
        let mut buffer = BytesMut::from("POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n");
        assert!(matches!(take(&mut buffer), Ok(Progress::Incomplete { expects_continue: true })));
    }

    #[test]
    fn invalid_requests_are_malformed() {
        for bytes in [
            "PRI * HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert_eq!(take(&mut BytesMut::from(bytes)).err(), Some(Malformed), "{bytes:?}");
        }
        assert_eq!(take(&mut BytesMut::from(&vec![b'x'; MAX_HEAD + 1][..])).err(), Some(Malformed));
    }

    proptest! {
        #[test]
        fn every_prefix_is_incomplete_and_the_whole_is_parsed(body: Vec<u8>, chunk in 1..40usize, chunked: bool) {
            let mut bytes = b"POST /v1 HTTP/1.1\r\nhost: a\r\n".to_vec();
            if chunked {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(chunk) {
                    bytes.extend(format!("{:X}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
                }
                bytes.extend(b"0\r\n\r\n");
            } else {
                bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes().chain(body.iter().copied()));
            }
            for length in 0..bytes.len() {
                let incomplete = matches!(take(&mut BytesMut::from(&bytes[..length])), Ok(Progress::Incomplete { .. }));
                prop_assert!(incomplete, "{}", length);
            }
            prop_assert_eq!(complete(&bytes).0.body, body);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "(GET / HTTP/1.1\r\n(transfer-encoding: chunked|content-length: [0-9]{1,20})\r\n\r\n)?[0-9a-f\r\n;]{0,60}") {
            let _ = take(&mut BytesMut::from(bytes.as_bytes()));
        }
    }
}

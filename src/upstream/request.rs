//! The head of a request to an upstream, from an allow-list. Pure.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use settings::Secret;

/// One request to an upstream.
pub struct Call {
    /// The path behind the upstream's base URL; begins with a slash.
    pub path: &'static str,
    /// The JSON body.
    pub body: Bytes,
    /// Whether an event stream is expected in return, or one JSON object.
    pub streaming: bool,
    /// Sent as `x-request-id`.
    pub request_id: HeaderValue,
    /// Derived from the client's key: see [`super::idempotency`].
    pub idempotency_key: Option<HeaderValue>,
}

/// Writes the heads of the requests to one upstream. Their common part is written once. It contains the provider's key, so
/// it has no `Debug`.
pub(super) struct RequestHead {
    /// The bytes before the path of a call.
    start: Vec<u8>,
    /// The bytes behind that path.
    common: Vec<u8>,
}

const USER_AGENT: &str = concat!("tokenway/", env!("CARGO_PKG_VERSION"));
/// The usual size of the other fields, which is reserved at once.
const MOST_VARIABLE: usize = 256;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl RequestHead {
    /// Makes the heads of `POST` requests to paths behind `prefix` on `host`.
    ///
    /// # Errors
    /// The path, the host or the key has bytes that a head cannot have.
    pub(super) fn new(prefix: &str, host: &str, api_key: Option<&Secret>) -> Result<Self, String> {
        format!("{prefix}/").parse::<PathAndQuery>().map_err(|_| format!("`{prefix}` is not a path"))?;
        let start = format!("POST {prefix}").into_bytes();
        let mut common = b" HTTP/1.1\r\n".to_vec();
        field(&mut common, &header::HOST, &HeaderValue::from_str(host).map_err(|error| error.to_string())?);
        field(&mut common, &header::CONTENT_TYPE, &HeaderValue::from_static("application/json"));
        field(&mut common, &header::ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
        field(&mut common, &header::USER_AGENT, &HeaderValue::from_static(USER_AGENT));
        if let Some(key) = api_key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                .map_err(|_| "the key holds bytes that a header cannot have".to_owned())?;
            field(&mut common, &header::AUTHORIZATION, &value);
        }
        Ok(Self { start, common })
    }

    /// Returns the head of one request.
    pub(super) fn write(&self, call: &Call) -> Vec<u8> {
        let accept = if call.streaming { "text/event-stream" } else { "application/json" };
        let mut head = Vec::with_capacity(self.start.len() + self.common.len() + MOST_VARIABLE);
        for part in [&self.start, call.path.as_bytes(), &self.common] {
            head.extend_from_slice(part);
        }
        field(&mut head, &header::ACCEPT, &HeaderValue::from_static(accept));
        field(&mut head, &header::CONTENT_LENGTH, &HeaderValue::from(call.body.len()));
        field(&mut head, &X_REQUEST_ID, &call.request_id);
        if let Some(key) = &call.idempotency_key {
            field(&mut head, &IDEMPOTENCY_KEY, key);
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Appends a field line. The types guarantee that name and value contain no line end.
fn field(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &'static str, idempotency_key: Option<HeaderValue>) -> Call {
        let request_id = HeaderValue::from_static("req_1");
        Call { path, body: Bytes::from_static(b"{\"a\":1}"), streaming: true, request_id, idempotency_key }
    }

    #[test]
    fn a_head_has_what_is_listed_here_and_no_more() {
        let key = Secret::new("sk-1".to_owned());
        let head = RequestHead::new("/v1", "up.example:8080", Some(&key)).unwrap();
        let expected =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: up.example:8080\r\ncontent-type: application/json\r\n\
            accept-encoding: identity\r\nuser-agent: tokenway/VERSION\r\nauthorization: Bearer sk-1\r\n\
            accept: text/event-stream\r\ncontent-length: 7\r\nx-request-id: req_1\r\nidempotency-key: once\r\n\r\n"
                .replace("VERSION", env!("CARGO_PKG_VERSION"));
        let written = head.write(&call("/chat/completions", Some(HeaderValue::from_static("once"))));
        assert_eq!(String::from_utf8(written).unwrap(), expected);
        let whole = Call { streaming: false, ..call("/chat", None) };
        let written = RequestHead::new("", "h", None).unwrap().write(&whole);
        let expected = expected
            .replace("/v1/chat/completions", "/chat")
            .replace("up.example:8080", "h")
            .replace("authorization: Bearer sk-1\r\n", "")
            .replace("text/event-stream", "application/json")
            .replace("idempotency-key: once\r\n", "");
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_head_has_no_bytes_that_would_end_a_line_and_no_message_shows_a_key() {
        let split = "a\r\nx: y";
        let secret = Secret::new(split.to_owned());
        for made in [
            RequestHead::new(&format!("/{split}"), "h", None),
            RequestHead::new("/", split, None),
            RequestHead::new("/", "h", Some(&secret)),
        ] {
            let message = made.err().unwrap();
            assert!(
                !message.is_empty() && !message.contains(secret.expose()) || message.contains("is not a path"),
                "{message}"
            );
        }
    }
}

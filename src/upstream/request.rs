//! The head of a request to an upstream, from an allow-list. Pure.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use url::form_urlencoded;

use super::settings::Upstream;

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
    /// Which of the upstream's API keys is sent, from 0.
    pub api_key: usize,
    /// The names of the members that the gateway itself has added to the body.
    pub added: &'static [&'static str],
}

/// Writes the heads of the requests to one upstream. Their common part is written once. It contains the provider's key, so
/// it has no `Debug`.
pub(super) struct RequestHead {
    /// The bytes before the path of a call.
    start: Vec<u8>,
    /// The bytes behind that path.
    common: Vec<u8>,
    /// The field line of each API key.
    api_keys: Vec<Vec<u8>>,
}

const USER_AGENT: &str = concat!("tokenway/", env!("CARGO_PKG_VERSION"));
/// The usual size of the other fields, which is reserved at once.
const MOST_VARIABLE: usize = 256;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl RequestHead {
    /// Makes the heads of `POST` requests to paths behind the base URL of this upstream, on `host`.
    ///
    /// # Errors
    /// The path, the host, a header or a key has bytes that a head cannot have.
    pub(super) fn new(upstream: &Upstream, host: &str) -> Result<Self, String> {
        let prefix = &upstream.base.prefix;
        format!("{prefix}/").parse::<PathAndQuery>().map_err(|_| format!("`{prefix}` is not a path"))?;
        let start = format!("POST {prefix}").into_bytes();
        let mut common = Vec::new();
        if !upstream.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&upstream.query).finish();
            common.extend_from_slice(format!("?{query}").as_bytes());
        }
        common.extend_from_slice(b" HTTP/1.1\r\n");
        field(&mut common, &header::HOST, &HeaderValue::from_str(host).map_err(|error| error.to_string())?);
        field(&mut common, &header::CONTENT_TYPE, &HeaderValue::from_static("application/json"));
        field(&mut common, &header::ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
        if !upstream.headers.iter().any(|(name, _)| name == header::USER_AGENT) {
            field(&mut common, &header::USER_AGENT, &HeaderValue::from_static(USER_AGENT));
        }
        for (name, value) in &upstream.headers {
            field(&mut common, name, value);
        }
        let line = |key: &settings::Secret| {
            let bearer = if upstream.api_key_header == header::AUTHORIZATION { "Bearer " } else { "" };
            let value = HeaderValue::from_str(&format!("{bearer}{}", key.expose()))
                .map_err(|_| "the key holds bytes that a header cannot have".to_owned())?;
            let mut line = Vec::new();
            field(&mut line, &upstream.api_key_header, &value);
            Ok(line)
        };
        let api_keys = upstream.api_keys.iter().map(line).collect::<Result<_, String>>()?;
        Ok(Self { start, common, api_keys })
    }

    /// Returns the head of one request.
    pub(super) fn write(&self, call: &Call) -> Vec<u8> {
        let accept = if call.streaming { "text/event-stream" } else { "application/json" };
        let mut head = Vec::with_capacity(self.start.len() + self.common.len() + MOST_VARIABLE);
        let api_key = self.api_keys.get(call.api_key).map(Vec::as_slice).unwrap_or_default();
        for part in [&self.start, call.path.as_bytes(), &self.common, api_key] {
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
    use settings::Secret;

    use super::super::base_url::BaseUrl;
    use super::*;

    fn call(path: &'static str, idempotency_key: Option<HeaderValue>) -> Call {
        let request_id = HeaderValue::from_static("req_1");
        let body = Bytes::from_static(b"{\"a\":1}");
        Call { path, body, streaming: true, request_id, idempotency_key, api_key: 0, added: &[] }
    }

    fn upstream(prefix: &str, keys: &[&str]) -> Upstream {
        Upstream {
            base: BaseUrl { prefix: prefix.to_owned(), ..BaseUrl::default() },
            api_keys: keys.iter().map(|key| Secret::new((*key).to_owned())).collect(),
            ..Upstream::default()
        }
    }

    fn written(upstream: &Upstream, host: &str, call: &Call) -> String {
        String::from_utf8(RequestHead::new(upstream, host).unwrap().write(call)).unwrap()
    }

    #[test]
    fn a_head_has_what_is_listed_here_and_no_more() {
        let expected =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: up.example:8080\r\ncontent-type: application/json\r\n\
            accept-encoding: identity\r\nuser-agent: tokenway/VERSION\r\nauthorization: Bearer sk-1\r\n\
            accept: text/event-stream\r\ncontent-length: 7\r\nx-request-id: req_1\r\nidempotency-key: once\r\n\r\n"
                .replace("VERSION", env!("CARGO_PKG_VERSION"));
        let stream = call("/chat/completions", Some(HeaderValue::from_static("once")));
        assert_eq!(written(&upstream("/v1", &["sk-1"]), "up.example:8080", &stream), expected);
        let whole = Call { streaming: false, ..call("/chat", None) };
        let expected = expected
            .replace("/v1/chat/completions", "/chat")
            .replace("up.example:8080", "h")
            .replace("authorization: Bearer sk-1\r\n", "")
            .replace("text/event-stream", "application/json")
            .replace("idempotency-key: once\r\n", "");
        assert_eq!(written(&upstream("", &[]), "h", &whole), expected);
    }

    #[test]
    fn a_key_can_have_another_header_and_a_request_any_of_several_keys() {
        let azure = Upstream { api_key_header: HeaderName::from_static("api-key"), ..upstream("", &["k0", "k1"]) };
        for (api_key, line) in [(0, "\r\napi-key: k0\r\n"), (1, "\r\napi-key: k1\r\n")] {
            let head = written(&azure, "h", &Call { api_key, ..call("/x", None) });
            assert!(
                head.contains(line) && head.matches("api-key").count() == 1 && !head.contains("authorization"),
                "{head}"
            );
        }
    }

    #[test]
    fn fixed_headers_and_a_query_are_sent_with_each_request() {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let upstream = Upstream {
            headers: vec![header("http-referer", "https://app.example"), header("user-agent", "app/1")],
            query: vec![("api-version".into(), "2026-05-01".into()), ("a b".into(), "c&d=\u{e9}".into())],
            ..upstream("/openai", &[])
        };
        let head = written(&upstream, "h", &call("/chat/completions", None));
        assert!(
            head.starts_with("POST /openai/chat/completions?api-version=2026-05-01&a+b=c%26d%3D%C3%A9 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nhttp-referer: https://app.example\r\n"), "{head}");
        assert!(head.contains("\r\nuser-agent: app/1\r\n") && head.matches("user-agent").count() == 1, "{head}");
    }

    #[test]
    fn a_head_has_no_bytes_that_would_end_a_line_and_no_message_shows_a_key() {
        let split = "a\r\nx: y";
        for (upstream, host) in
            [(upstream(&format!("/{split}"), &[]), "h"), (upstream("", &[]), split), (upstream("", &[split]), "h")]
        {
            let message = RequestHead::new(&upstream, host).err().unwrap();
            assert!(!message.is_empty() && !message.contains(split) || message.contains("is not a path"), "{message}");
        }
    }
}

//! The table itself: one row an answer.

use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokenway::error::Code;

use crate::support::child::{ALLOWED, REFUSED, chat};
use crate::support::client::{RequestBody, empty, full};

/// One answer and how it is had.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    pub method: &'static str,
    pub path: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Sent,
    pub host: &'static str,
    /// The only version in which a client can provoke it.
    pub only: Option<Protocol>,
    pub status: StatusCode,
    /// The code in the body, where there is an error.
    pub code: Option<Code>,
}

#[derive(Clone)]
pub enum Sent {
    Nothing,
    Text(String),
    /// A body whose end never comes.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    H1,
    H2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Page {
    Allowed,
    Refused,
    None,
}

impl Row {
    pub fn new(name: impl Into<String>, method: &'static str, path: &'static str, status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        let name = name.into();
        Self {
            name,
            method,
            path,
            headers: vec![],
            body: Sent::Nothing,
            host: "localhost",
            only: None,
            status,
            code: None,
        }
    }

    pub fn error(name: impl Into<String>, method: &'static str, path: &'static str, code: Code) -> Self {
        Self { code: Some(code), ..Self::new(name, method, path, code.status().as_u16()) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = Sent::Text(body.to_string());
        self.header("content-type", "application/json")
    }

    pub fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.headers.iter().any(|(name, _)| *name == "access-control-request-method")
    }

    pub fn request(&self, protocol: Protocol, page: Page, id: &str) -> Request<RequestBody> {
        let mut request = Request::builder().method(self.method).header("x-request-id", id);
        request = match protocol {
            Protocol::H1 => request.uri(self.path).header("host", self.host),
            Protocol::H2 => request.uri(format!("https://{}{}", self.host, self.path)),
        };
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request = match page {
            Page::Allowed => request.header("origin", ALLOWED),
            Page::Refused => request.header("origin", REFUSED),
            Page::None => request,
        };
        let endless = || StreamBody::new(futures_util::stream::pending::<Result<Frame<bytes::Bytes>, _>>()).boxed();
        let body = match &self.body {
            Sent::Nothing => empty(),
            Sent::Text(text) => full(text.clone()),
            Sent::Endless => endless(),
        };
        request.body(body).unwrap()
    }
}

pub const COMPLETIONS: &str = "/v1/chat/completions";
const NONE_FROM: &str = "/v1/streams/st_0?from=7";

/// The table. The gateway of [`whole_table`] has short deadlines, so that each comes true.
pub fn table() -> Vec<Row> {
    let mut rows = Vec::new();
    routes_and_methods(&mut rows);
    streams(&mut rows);
    completions(&mut rows);
    bad_requests(&mut rows);
    bad_upstreams(&mut rows);
    preflights(&mut rows);
    rows
}

fn routes_and_methods(rows: &mut Vec<Row>) {
    for path in
        [COMPLETIONS, "/v1/chat", "/v1/streams", "/v1/session", "/v1/models", "/healthz", "/nowhere", "/", "/metrics"]
    {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "patch", "PROPFIND"] {
            let post = path == COMPLETIONS || path == "/v1/chat" || path == "/v1/streams";
            let get = path == "/v1/models" || path == "/healthz";
            let name = format!("{method} {path}");
            rows.push(match method {
                "TRACE" | "patch" => Row::error(name, method, path, Code::MethodNotAllowed),
                "OPTIONS" => Row::new(name, method, path, 204),
                // where no sessions are taken, there is nothing behind its methods
                "POST" | "DELETE" if path == "/v1/session" => Row::error(name, method, path, Code::NotFound),
                _ if path == "/v1/session" => Row::error(name, method, path, Code::MethodNotAllowed),
                _ if !post && !get => Row::error(name, method, path, Code::NotFound),
                "GET" | "HEAD" if get => Row::new(name, method, path, 200),
                // which wants a body, so it is another row
                "POST" if post => continue,
                _ => Row::error(name, method, path, Code::MethodNotAllowed),
            });
        }
    }
}

fn streams(rows: &mut Vec<Row>) {
    let asked = chat(false, json!({ "tokens": 5 }));
    rows.push(Row::new("a stream is made", "POST", "/v1/streams", 201).json(&asked));
    rows.push(Row::error("a stream of no messages", "POST", "/v1/streams", Code::InvalidRequest).json(&json!({})));
    let resumable = Row::new("a resumable stream", "POST", COMPLETIONS, 200).header("tokenway-resumable", "true");
    rows.push(resumable.json(&chat(true, json!({ "tokens": 5 }))));
    let document = Row::error("a resumable document", "POST", COMPLETIONS, Code::InvalidRequest);
    rows.push(document.header("tokenway-resumable", "true").json(&asked));
    for path in ["/v1/streams/st_00000000000000000000000000000000", "/v1/streams/none", NONE_FROM] {
        for method in ["GET", "DELETE"] {
            rows.push(Row::error(format!("{method} {path}"), method, path, Code::StreamNotFound));
        }
        for method in ["HEAD", "POST", "PUT", "PATCH"] {
            rows.push(Row::error(format!("{method} {path}"), method, path, Code::MethodNotAllowed));
        }
        rows.push(Row::new(format!("OPTIONS {path}"), "OPTIONS", path, 204));
    }
    let unknown = "/v1/streams/st_00000000000000000000000000000000";
    let place = Row::error("a place that is none", "GET", unknown, Code::InvalidRequest);
    rows.push(place.header("last-event-id", "-1"));
    for path in ["/v1/streams/", "/v1/streams/none/none"] {
        rows.push(Row::error(format!("GET {path}"), "GET", path, Code::NotFound));
    }
}

fn completions(rows: &mut Vec<Row>) {
    let mut post = |name: &str, path, body: &Value| rows.push(Row::new(name, "POST", path, 200).json(body));
    for (name, demo) in [
        ("whole", json!({ "tokens": 5 })),
        ("with an upstream's own CORS headers", json!({ "fault": "cors_headers", "tokens": 5 })),
    ] {
        post(&format!("a stream, {name}"), COMPLETIONS, &chat(true, demo.clone()));
        post(&format!("a document, {name}"), COMPLETIONS, &chat(false, demo));
    }
    post("a stream that breaks", COMPLETIONS, &chat(true, json!({ "fault": "reset_after_events", "at": 3 })));
    let mut short = json!({ "messages": [{ "role": "user", "content": "Hello" }], "model": "demo", "stream": true });
    post("a stream in short form", "/v1/chat", &short);
    short["stream"] = false.into();
    post("a document in short form", "/v1/chat", &short);
}

fn bad_requests(rows: &mut Vec<Row>) {
    let post = |name: &str, code: Code| Row::error(name, "POST", COMPLETIONS, code);
    let good = chat(true, json!({ "tokens": 3 }));
    let body = |row: Row, body: Sent| Row { body, ..row.header("content-type", "application/json") };
    rows.push(body(post("no JSON", Code::InvalidRequest), Sent::Text("{".into())));
    rows.push(post("no messages", Code::InvalidRequest).json(&json!({ "model": "demo" })));
    let mut unknown = good.clone();
    unknown["model"] = "unknown".into();
    rows.push(post("an unknown model", Code::ModelNotFound).json(&unknown));
    rows.push(Row { body: Sent::Text(good.to_string()), ..post("no content type", Code::UnsupportedMediaType) });
    rows.push(post("compressed", Code::UnsupportedMediaType).header("content-encoding", "gzip").json(&good));
    rows.push(body(post("too large a body", Code::BodyTooLarge), Sent::Text(" ".repeat(70 << 10))));
    rows.push(body(post("a body that never ends", Code::RequestTimeout), Sent::Endless));
    rows.push(Row { host: "other.example", ..post("another host", Code::MisdirectedRequest).json(&good) });
    let mut many = post("too many headers", Code::HeadersTooLarge).json(&good);
    many.headers.extend((0..120).map(|number| ("x-filler", number.to_string())));
    // over HTTP/1.1 hyper has the same bound
    rows.push(Row { only: Some(Protocol::H2), ..many });
    let long: &'static str = Box::leak(format!("{COMPLETIONS}?{}", "x".repeat(9 << 10)).into_boxed_str());
    rows.push(Row::error("too long a target", "POST", long, Code::UriTooLong).json(&good));
    // RFC 9113 §8.2.2 has no such header in HTTP/2
    let coded = post("a transfer coding", Code::InvalidRequest).header("transfer-encoding", "gzip, chunked");
    rows.push(Row { only: Some(Protocol::H1), ..coded.json(&good) });
}

fn bad_upstreams(rows: &mut Vec<Row>) {
    for (fault, code) in [
        ("status_400", Code::InvalidRequest),
        ("status_401", Code::UpstreamFailure),
        ("status_403", Code::UpstreamFailure),
        ("status_404", Code::UpstreamFailure),
        ("status_408", Code::UpstreamTimeout),
        ("status_429", Code::RateLimited),
        ("status_500", Code::UpstreamFailure),
        ("status_503", Code::Overloaded),
        ("status_529", Code::Overloaded),
        ("redirect", Code::UpstreamFailure),
        ("html", Code::UpstreamFailure),
        ("gzip", Code::UpstreamFailure),
        ("reset_before", Code::UpstreamFailure),
        ("eof_no_events", Code::UpstreamFailure),
        ("error_event_before_output", Code::UpstreamFailure),
        ("silent", Code::UpstreamTimeout),
        ("headers_then_silent", Code::UpstreamTimeout),
    ] {
        for stream in [true, false] {
            let kind = if stream { "a stream" } else { "a whole answer" };
            let row = Row::error(format!("{fault} for {kind}"), "POST", COMPLETIONS, code);
            rows.push(row.json(&chat(stream, json!({ "fault": fault }))));
        }
    }
}

fn preflights(rows: &mut Vec<Row>) {
    for path in [
        COMPLETIONS,
        "/v1/chat",
        "/v1/streams",
        "/v1/streams/none",
        "/v1/session",
        "/v1/models",
        "/healthz",
        "/nowhere",
    ] {
        let row = |name: &str| {
            let row = Row::new(format!("preflight of {path}, {name}"), "OPTIONS", path, 204);
            row.header("access-control-request-method", "POST")
        };
        rows.push(row("plain").header("access-control-request-headers", "authorization,content-type"));
        rows.push(row("for what is not in the lists").header("access-control-request-headers", "x-strange"));
        // none of these is looked at
        rows.push(Row { host: "other.example", ..row("with another host") });
        rows.push(row("with bad credentials").header("authorization", "Basic broken"));
        rows.push(Row { body: Sent::Text("{".into()), ..row("with a body that is no JSON") });
    }
}

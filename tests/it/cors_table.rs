//! Every answer that Tokenway can produce, to an allowed page, a refused page and no page, over both versions of HTTP.
//!
//! `CONNECT` and doubled `Host` lines, which the clients here cannot send, are covered in `src/head_tests.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokenway::config::Config;
use tokenway::drain::Drain;
use tokenway::error::Code;
use tokenway::gateway::{Gateway, Shared};
use tokenway::live::Live;
use tokenway::metrics::Metrics;
use tokenway::server::{self, Settings, tls};
use tokenway::stream::open::OpenStreams;
use tokio::task::JoinSet;

use crate::support::certs;
use crate::support::child::{ALLOWED, Child, Plan, REFUSED, chat};
use crate::support::client::{RequestBody, Target, empty, exchange, full};
use crate::support::soon;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// One answer and how it is had.
#[derive(Clone)]
struct Row {
    name: String,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Sent,
    host: &'static str,
    /// The only version in which a client can provoke it.
    only: Option<Protocol>,
    status: StatusCode,
    /// The code in the body, where there is an error.
    code: Option<Code>,
}

#[derive(Clone)]
enum Sent {
    Nothing,
    Text(String),
    /// A body whose end never comes.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Protocol {
    H1,
    H2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Page {
    Allowed,
    Refused,
    None,
}

impl Row {
    fn new(name: impl Into<String>, method: &'static str, path: &'static str, status: u16) -> Self {
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

    fn error(name: impl Into<String>, method: &'static str, path: &'static str, code: Code) -> Self {
        Self { code: Some(code), ..Self::new(name, method, path, code.status().as_u16()) }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(mut self, body: &Value) -> Self {
        self.body = Sent::Text(body.to_string());
        self.header("content-type", "application/json")
    }

    fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.headers.iter().any(|(name, _)| *name == "access-control-request-method")
    }

    fn request(&self, protocol: Protocol, page: Page, id: &str) -> Request<RequestBody> {
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

const COMPLETIONS: &str = "/v1/chat/completions";

/// The table. The gateway of [`whole_table`] has short deadlines, so that each comes true.
fn table() -> Vec<Row> {
    let mut rows = Vec::new();
    routes_and_methods(&mut rows);
    completions(&mut rows);
    bad_requests(&mut rows);
    bad_upstreams(&mut rows);
    preflights(&mut rows);
    rows
}

fn routes_and_methods(rows: &mut Vec<Row>) {
    for path in [COMPLETIONS, "/v1/chat", "/v1/models", "/healthz", "/nowhere", "/", "/metrics"] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "patch", "PROPFIND"] {
            let post = path == COMPLETIONS || path == "/v1/chat";
            let get = path == "/v1/models" || path == "/healthz";
            let name = format!("{method} {path}");
            rows.push(match method {
                "TRACE" | "patch" => Row::error(name, method, path, Code::MethodNotAllowed),
                "OPTIONS" => Row::new(name, method, path, 204),
                _ if !post && !get => Row::error(name, method, path, Code::NotFound),
                "GET" | "HEAD" if get => Row::new(name, method, path, 200),
                // which wants a body, so it is another row
                "POST" if post => continue,
                _ => Row::error(name, method, path, Code::MethodNotAllowed),
            });
        }
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
    // RFC 9113 §8.2.2 has no such header in HTTP/2
    let upgrade = post("an upgrade", Code::InvalidRequest).header("upgrade", "h2c").header("connection", "upgrade");
    rows.push(Row { only: Some(Protocol::H1), ..upgrade.json(&good) });
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
    for path in [COMPLETIONS, "/v1/chat", "/v1/models", "/healthz", "/nowhere"] {
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

#[derive(Debug)]
struct Answered {
    row: String,
    protocol: Protocol,
    page: Page,
    id: String,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// Sends a row and reads its answer to the end.
async fn ask(target: Target, row: Row, protocol: Protocol, page: Page, id: String) -> Answered {
    let request = row.request(protocol, page, &id);
    let response = soon(async {
        match protocol {
            Protocol::H1 => target.h1().await.send_request(request).await,
            Protocol::H2 => target.h2().await.send_request(request).await,
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{}, {protocol:?}, {page:?}: {error}", row.name));
    answered(&row, protocol, page, id, response).await
}

async fn answered(row: &Row, protocol: Protocol, page: Page, id: String, response: Response<Incoming>) -> Answered {
    let (head, body) = response.into_parts();
    // a response to a request whose body is still open may be followed by a reset
    let body = soon(body.collect()).await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answered { row: row.name.clone(), protocol, page, id, status: head.status, headers: head.headers, body }
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// Fails where an answer breaks CONTRACT section 3.
fn check(row: &Row, answer: &Answered) {
    let Answered { page, status, headers, body, .. } = answer;
    let of_cors: HashSet<&str> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("access-control-") || *name == "timing-allow-origin")
        .collect();
    assert_eq!(lines(headers, "x-request-id"), [answer.id.as_str()], "{answer:?}");
    let vary = lines(headers, "vary").join(",");
    let varies = vary.split(',').filter(|name| name.trim().eq_ignore_ascii_case("origin")).count();
    assert_eq!(varies, 1, "{answer:?}");

    let (expected, code) = match page {
        Page::Refused => (StatusCode::FORBIDDEN, Some(Code::OriginNotAllowed)),
        _ => (row.status, row.code),
    };
    assert_eq!(*status, expected, "{answer:?}");
    if let Some(code) = code.filter(|_| row.method != "HEAD") {
        let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"));
        assert_eq!(
            (&error["error"]["code"], &error["error"]["request_id"]),
            (&json!(code.as_str()), &json!(answer.id))
        );
        assert_eq!(error["error"].as_object().unwrap().len(), 4, "{answer:?}");
    }

    if *page != Page::Allowed {
        assert!(of_cors.is_empty(), "{answer:?}");
        return;
    }
    assert_eq!(lines(headers, ALLOW_ORIGIN), [ALLOWED], "{answer:?}");
    for name in &of_cors {
        assert_eq!(lines(headers, name).len(), 1, "{name} twice: {answer:?}");
    }
    if row.is_preflight() {
        let whole =
            [ALLOW_ORIGIN, "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"];
        assert_eq!(of_cors, HashSet::from(whole), "{answer:?}");
        let allowed = lines(headers, "access-control-allow-headers")[0];
        assert!(allowed.contains("authorization") && !allowed.contains('*'), "{answer:?}");
        assert_eq!(body, "", "{answer:?}");
    } else {
        let whole = [ALLOW_ORIGIN, "access-control-expose-headers", "timing-allow-origin"];
        assert_eq!(of_cors, HashSet::from(whole), "{answer:?}");
        assert_eq!(lines(headers, "timing-allow-origin"), [ALLOWED]);
        let exposed: HashSet<&str> =
            lines(headers, "access-control-expose-headers")[0].split(',').map(str::trim).collect();
        for name in headers.keys().map(|name| name.as_str()) {
            let ours =
                name.starts_with("tokenway-") || ["x-request-id", "retry-after", "server-timing"].contains(&name);
            assert!(!ours || exposed.contains(name), "{name} is not exposed: {answer:?}");
        }
    }
}

#[tokio::test]
async fn whole_table() {
    let plan = Plan {
        server: "body_timeout = \"1s\"\nmax_body = \"64KiB\"",
        stream: "first_event_timeout = \"2s\"\nidle_timeout = \"2s\"",
        ..Plan::default()
    };
    let child = Child::start(plan).await;
    let rows = table();
    let mut running = JoinSet::new();
    let mut asked = HashMap::new();
    let mut finished = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for protocol in [Protocol::H1, Protocol::H2] {
            if row.only.is_some_and(|only| only != protocol) {
                continue;
            }
            for page in [Page::Allowed, Page::Refused, Page::None] {
                // `OPTIONS` without a page is no preflight, whatever else it says; its host is looked at then
                if page == Page::None && row.is_preflight() && row.host != "localhost" {
                    continue;
                }
                let id = format!("row-{number}-{protocol:?}-{page:?}");
                asked.insert(id.clone(), number);
                running.spawn(ask(child.target.clone(), row.clone(), protocol, page, id));
                // as many at once as a browser would have, so that no deadline is one of the machine's
                if running.len() >= 12 {
                    finished.push(running.join_next().await.unwrap().unwrap());
                }
            }
        }
    }
    finished.extend(running.join_all().await);
    assert_eq!(finished.len(), asked.len());
    for answer in &finished {
        check(&rows[asked[&answer.id]], answer);
    }

    // no token is spent for a page that is refused, nor for a preflight
    let reached: HashSet<String> =
        child.demo.requests().iter().map(|request| request.headers["x-request-id"].to_str().unwrap().into()).collect();
    assert!(reached.len() > 100, "the upstream was asked {} times", reached.len());
    for answer in &finished {
        let row = &rows[asked[&answer.id]];
        let may = answer.page != Page::Refused && !row.is_preflight();
        assert!(may || !reached.contains(&answer.id), "reached the upstream: {answer:?}");
    }
    // every status of the contract that this version has: credentials come with access, draining and panics stand below
    let missing: Vec<Code> = Code::ALL
        .into_iter()
        .filter(|code| !finished.iter().any(|answer| answer.body.contains(&format!("\"code\":\"{}\"", code.as_str()))))
        .collect();
    let elsewhere = [Code::MissingCredentials, Code::InvalidCredentials, Code::Draining, Code::InternalError];
    assert_eq!(missing, elsewhere);
}

#[tokio::test]
async fn a_stream_that_was_committed_before_its_upstream_answered() {
    let stream = "commit_after = \"100ms\"\nfirst_event_timeout = \"600ms\"\nheartbeat = \"0s\"";
    let child = Child::start(Plan { stream, ..Plan::default() }).await;
    let row = Row::new("committed", "POST", COMPLETIONS, 200).json(&chat(true, json!({ "fault": "silent" })));
    for protocol in [Protocol::H1, Protocol::H2] {
        for page in [Page::Allowed, Page::Refused, Page::None] {
            let answer = ask(child.target.clone(), row.clone(), protocol, page, format!("{protocol:?}-{page:?}")).await;
            check(&row, &answer);
            let in_stream = answer.body.starts_with("data: {\"error\":") && answer.body.contains("upstream_timeout");
            assert_eq!(in_stream, page != Page::Refused, "{answer:?}");
            assert!(!answer.body.contains("[DONE]"));
        }
    }
}

#[tokio::test]
async fn a_repeated_or_malformed_origin_is_400_without_any_cors_header() {
    let child = Child::start(Plan::default()).await;
    for origins in [&[ALLOWED, ALLOWED][..], &["https://app.example/"], &["app.example"], &[""]] {
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut row = Row::error("bad origin", "GET", "/v1/models", Code::InvalidRequest);
            row.headers.extend(origins.iter().map(|origin| ("origin", (*origin).to_owned())));
            // no page of the table's: the origins stand in the row
            let answer = ask(child.target.clone(), row.clone(), protocol, Page::None, "bad".into()).await;
            check(&row, &answer);
        }
    }
    assert!(child.demo.requests().is_empty());
}

/// The bare ones: hyper writes them before there is a request that could be decided on. Should it begin to hand such heads
/// on, they belong in the table.
#[tokio::test]
async fn only_a_head_that_could_not_be_read_is_answered_bare() {
    let child = Child::start(Plan::default()).await;
    let line = "x-filler: 0123456789\r\n";
    let head = |rest: &str| format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: {ALLOWED}\r\n{rest}\r\n");
    for (name, sent, status) in [
        ("no HTTP", "\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("a header without a name", head(": x\r\n"), 400),
        ("another version", head("").replace("HTTP/1.1", "HTTP/3.0"), 400),
        ("two lengths", head("content-length: 1\r\ncontent-length: 2\r\n"), 400),
        ("over 100 lines", head(&line.repeat(100)), 431),
        ("over 32 KiB", head(&format!("x-filler: {}\r\n", "x".repeat(40 << 10))), 431),
        ("a target over 32 KiB", head("").replace("/healthz", &format!("/{}", "x".repeat(40 << 10))), 431),
    ] {
        let mut stream = soon(child.target.raw_h1()).await;
        let answer = soon(exchange(&mut stream, sent.as_bytes())).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer:?}");
        assert!(!answer.contains("access-control") && answer.ends_with("\r\n\r\n"), "{name}: {answer:?}");
    }
    let mut large = Row::new("over 32 KiB", "GET", "/healthz", 431).request(Protocol::H2, Page::Allowed, "large");
    large.headers_mut().insert("x-filler", "x".repeat(40 << 10).parse().unwrap());
    let response = soon(soon(child.target.h2()).await.send_request(large)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(!response.headers().contains_key(ALLOW_ORIGIN));
    assert_eq!(child.metrics().await.sum("tokenway_requests_total", &[]), 0.0);
}

/// A panic in the handler, honestly had: `GET /v1/models` looks up the upstream of each model, which the configuration has
/// checked to be there. A configuration without them exists in this test alone.
#[tokio::test]
async fn a_panic_is_an_answer_like_any_other() {
    let certificate = certs::localhost();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nplaintext = true\nhosts = [\"localhost\"]\n[cors]\norigins = [\"{ALLOWED}\"]\n\
         [[upstreams]]\nname = \"gone\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
         [[models]]\nname = \"demo\"\nupstream = \"gone\"\n"
    );
    let mut config = Config::parse(&text, std::path::Path::new(""), &|_| None).unwrap();
    config.upstreams.clear();
    let metrics = Arc::new(Metrics::new().unwrap());
    let drain = Drain::default();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let mut settings = Settings::new(&config.server).unwrap();
    settings.tls = Some(tls::server_config(&certificate.identity).unwrap());
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let shared = Shared { metrics: Arc::clone(&metrics), open, drain: drain.clone() };
    let live = Arc::new(Live::new(Gateway::new(config, shared).unwrap()));
    let listener = server::bind("server.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
    let target = Target { address: listener.local_addr().unwrap(), roots: certificate.roots };
    tokio::spawn(server::serve(listener, settings, live, Arc::clone(&metrics), drain));

    let row = Row::error("a panic", "GET", "/v1/models", Code::InternalError);
    let healthy = Row::new("beside it", "GET", "/healthz", 200);
    for protocol in [Protocol::H1, Protocol::H2] {
        for page in [Page::Allowed, Page::Refused, Page::None] {
            for row in [&row, &healthy] {
                let answer = ask(target.clone(), row.clone(), protocol, page, format!("{protocol:?}-{page:?}")).await;
                check(row, &answer);
            }
        }
    }
    // two versions, by a page that may and by none
    assert_eq!(metrics.panics.get(), 4);
    assert_eq!(metrics.requests.with_label_values(&["models", "other", "500", "rejected"]).get(), 4);
}

#[tokio::test]
async fn credentials_are_allowed_where_the_configuration_says_so_and_only_to_allowed_pages() {
    let child = Child::start(Plan { cors: "credentials = true", ..Plan::default() }).await;
    let preflight = Row::new("preflight", "OPTIONS", "/v1/models", 204).header("access-control-request-method", "GET");
    for row in [Row::new("actual", "GET", "/v1/models", 200), Row::error("404", "GET", "/x", Code::NotFound), preflight]
    {
        for page in [Page::Allowed, Page::Refused, Page::None] {
            let answer = ask(child.target.clone(), row.clone(), Protocol::H2, page, "one".into()).await;
            let allowed = lines(&answer.headers, "access-control-allow-credentials");
            assert_eq!(allowed, if page == Page::Allowed { &["true"][..] } else { &[] }, "{answer:?}");
            let origin = lines(&answer.headers, ALLOW_ORIGIN);
            assert_eq!(origin, if page == Page::Allowed { &[ALLOWED][..] } else { &[] }, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn while_draining_answers_carry_the_headers_of_their_pages() {
    let mut child = Child::start(Plan::default()).await;
    let held = chat(true, json!({ "hold": 3, "tokens": 5 }));
    let mut client = soon(crate::support::patient::h2(&child.target)).await;
    let open = soon(client.send_request(Row::new("held", "POST", COMPLETIONS, 200).json(&held).request(
        Protocol::H2,
        Page::None,
        "held",
    )))
    .await
    .unwrap();
    child.server.signal("TERM");
    child.until_ready_is(StatusCode::SERVICE_UNAVAILABLE).await;

    let completion =
        Row::error("draining", "POST", COMPLETIONS, Code::Draining).json(&chat(true, json!({ "tokens": 3 })));
    let preflight = Row::new("preflight", "OPTIONS", COMPLETIONS, 204).header("access-control-request-method", "POST");
    for row in [completion, preflight, Row::new("health", "GET", "/healthz", 200)] {
        for page in [Page::Allowed, Page::Refused, Page::None] {
            let id = format!("draining-{page:?}");
            let response = soon(client.send_request(row.request(Protocol::H2, page, &id))).await.unwrap();
            let retry_after = response.headers().get("retry-after").cloned();
            let answer = answered(&row, Protocol::H2, page, id, response).await;
            check(&row, &answer);
            assert_eq!(retry_after.is_some(), answer.status == StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        }
    }
    assert_eq!(child.demo.requests().len(), 1);
    child.demo.release(1);
    let held =
        answered(&Row::new("held", "POST", COMPLETIONS, 200), Protocol::H2, Page::None, "held".into(), open).await;
    assert!(held.body.ends_with("data: [DONE]\n\n"), "{held:?}");
    drop(client);
    assert!(tokio::time::timeout(Duration::from_secs(20), child.server.ended()).await.unwrap().success());
}

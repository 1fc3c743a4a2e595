//! Every answer that Tokenway can produce, to an allowed page, a refused page and no page, over both versions of HTTP.
//!
//! `CONNECT` and doubled `Host` lines, which the clients here cannot send, are covered in `src/head_tests.rs`.

mod rows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rows::{COMPLETIONS, Page, Protocol, Row, table};
use serde_json::{Value, json};
use tokenway::config::Config;
use tokenway::drain::Drain;
use tokenway::error::Code;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::metrics::Metrics;
use tokenway::server::{self, Settings, tls};
use tokenway::stream::open::OpenStreams;
use tokio::task::JoinSet;

use crate::support::certs;
use crate::support::child::{ALLOWED, Child, Plan, chat};
use crate::support::client::{Target, exchange};
use crate::support::soon;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

#[derive(Debug)]
struct Answered {
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
    answered(page, id, response).await
}

async fn answered(page: Page, id: String, response: Response<Incoming>) -> Answered {
    let (head, body) = response.into_parts();
    // a response to a request whose body is still open may be followed by a reset
    let body = soon(body.collect()).await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answered { page, id, status: head.status, headers: head.headers, body }
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// Fails where an answer breaks CONTRACT section 3.
fn check(row: &Row, answer: &Answered) {
    let told = || format!("{}: {answer:?}", row.name);
    let Answered { page, status, headers, body, .. } = answer;
    let of_cors: HashSet<&str> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("access-control-") || *name == "timing-allow-origin")
        .collect();
    assert_eq!(lines(headers, "x-request-id"), [answer.id.as_str()], "{}", told());
    let vary = lines(headers, "vary").join(",");
    let varies = vary.split(',').filter(|name| name.trim().eq_ignore_ascii_case("origin")).count();
    assert_eq!(varies, 1, "{}", told());

    let (expected, code) = match page {
        Page::Refused => (StatusCode::FORBIDDEN, Some(Code::OriginNotAllowed)),
        _ => (row.status, row.code),
    };
    assert_eq!(*status, expected, "{}", told());
    if let Some(code) = code.filter(|_| row.method != "HEAD") {
        let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {}", told()));
        assert_eq!(
            (&error["error"]["code"], &error["error"]["request_id"]),
            (&json!(code.as_str()), &json!(answer.id))
        );
        assert_eq!(error["error"].as_object().unwrap().len(), 4, "{}", told());
    }

    if *page != Page::Allowed {
        assert!(of_cors.is_empty(), "{}", told());
        return;
    }
    assert_eq!(lines(headers, ALLOW_ORIGIN), [ALLOWED], "{}", told());
    for name in &of_cors {
        assert_eq!(lines(headers, name).len(), 1, "{name} twice: {}", told());
    }
    if row.is_preflight() {
        let whole =
            [ALLOW_ORIGIN, "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"];
        assert_eq!(of_cors, HashSet::from(whole), "{}", told());
        let allowed = lines(headers, "access-control-allow-headers")[0];
        assert!(allowed.contains("authorization") && !allowed.contains('*'), "{}", told());
        assert_eq!(body, "", "{}", told());
    } else {
        let whole = [ALLOW_ORIGIN, "access-control-expose-headers", "timing-allow-origin"];
        assert_eq!(of_cors, HashSet::from(whole), "{}", told());
        assert_eq!(lines(headers, "timing-allow-origin"), [ALLOWED]);
        let exposed: HashSet<&str> =
            lines(headers, "access-control-expose-headers")[0].split(',').map(str::trim).collect();
        for name in headers.keys().map(|name| name.as_str()) {
            let ours =
                name.starts_with("tokenway-") || ["x-request-id", "retry-after", "server-timing"].contains(&name);
            assert!(!ours || exposed.contains(name), "{name} is not exposed: {}", told());
        }
    }
}

#[tokio::test]
async fn whole_table() {
    let plan = Plan {
        server: "body_timeout = \"3s\"\nmax_body = \"64KiB\"",
        stream: "first_event_timeout = \"5s\"\nidle_timeout = \"5s\"\nwhole_timeout = \"5s\"",
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
    // every status of the contract: those of credentials, of draining and of panics stand below, those of budgets in `cost`, that a
    // stream was stopped or has a gap is told in the stream alone, and that nothing is kept is tested with the cache
    let missing: Vec<Code> = Code::ALL
        .into_iter()
        .filter(|code| !finished.iter().any(|answer| answer.body.contains(&format!("\"code\":\"{}\"", code.as_str()))))
        .collect();
    let credentials = [Code::MissingCredentials, Code::InvalidCredentials];
    let elsewhere =
        [Code::StreamStopped, Code::Gap, Code::BudgetExceeded, Code::Draining, Code::NotCached, Code::InternalError];
    assert_eq!(missing, [&credentials[..], &elsewhere].concat());
}

#[tokio::test]
async fn where_credentials_are_asked_for_their_refusal_is_an_answer_like_any_other() {
    let child =
        Child::start(Plan { more: "[access]\naccept = [\"key\", \"token\"]\nkeys_file = \"key\"", ..Plan::default() })
            .await;
    let preflight = Row::new("preflight", "OPTIONS", COMPLETIONS, 204);
    let mut rows = vec![preflight.header("access-control-request-method", "POST").header("authorization", "Bearer x")];
    for (code, header) in [
        (Code::MissingCredentials, None),
        (Code::InvalidCredentials, Some("Bearer x")),
        (Code::InvalidCredentials, Some("Bearer tw_x")),
        (Code::InvalidCredentials, Some("Basic x")),
    ] {
        for (method, path) in
            [("GET", "/v1/models"), ("HEAD", "/v1/models"), ("POST", COMPLETIONS), ("POST", "/v1/chat")]
        {
            let row = Row::error(format!("{header:?} for {path}"), method, path, code);
            let row = if method == "POST" { row.json(&chat(true, json!({}))) } else { row };
            rows.push(header.into_iter().fold(row, |row, header| row.header("authorization", header)));
        }
    }
    for row in &rows {
        for protocol in [Protocol::H1, Protocol::H2] {
            for page in [Page::Allowed, Page::Refused, Page::None] {
                let id = format!("{protocol:?}-{page:?}");
                check(row, &ask(child.target.clone(), row.clone(), protocol, page, id).await);
            }
        }
    }
    assert!(child.demo.requests().is_empty());
}

#[tokio::test]
async fn a_stream_that_was_committed_before_its_upstream_answered() {
    let stream = "commit_after = \"100ms\"\nfirst_event_timeout = \"2s\"\nheartbeat = \"0s\"";
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
        ("a target over 32 KiB", head("").replace("/healthz", &format!("/{}", "x".repeat(40 << 10))), 414),
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
    let config = Config::parse(&text, std::path::Path::new(""), &|_| None).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let drain = Drain::default();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let mut settings = Settings::new(&config.server).unwrap();
    settings.tls = Some(tls::server_config(&certificate.identity).unwrap());
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let shared = Shared::start(&config, Arc::clone(&metrics), open, drain.clone()).await.unwrap();
    let mut gateway = Gateway::new(config, shared).unwrap();
    gateway.config.upstreams.clear();
    let live = Arc::new(Live::new(gateway));
    let listener = server::bind("server.listen", "127.0.0.1:0".parse().unwrap(), false).unwrap();
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
    // connections that the listener has just accepted are served for a moment: new requests are refused after it
    loop {
        let request =
            Row::new("empty", "POST", COMPLETIONS, 400).json(&json!({})).request(Protocol::H2, Page::None, "yet");
        match soon(client.send_request(request)).await.unwrap().status() {
            StatusCode::BAD_REQUEST => tokio::task::yield_now().await,
            status => break assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    let completion =
        Row::error("draining", "POST", COMPLETIONS, Code::Draining).json(&chat(true, json!({ "tokens": 3 })));
    let preflight = Row::new("preflight", "OPTIONS", COMPLETIONS, 204).header("access-control-request-method", "POST");
    for row in [completion, preflight, Row::new("health", "GET", "/healthz", 200)] {
        for page in [Page::Allowed, Page::Refused, Page::None] {
            let id = format!("draining-{page:?}");
            let response = soon(client.send_request(row.request(Protocol::H2, page, &id))).await.unwrap();
            let retry_after = response.headers().get("retry-after").cloned();
            let answer = answered(page, id, response).await;
            check(&row, &answer);
            assert_eq!(retry_after.is_some(), answer.status == StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        }
    }
    assert_eq!(child.demo.requests().len(), 1);
    child.demo.release(1);
    let held = answered(Page::None, "held".into(), open).await;
    assert!(held.body.ends_with("data: [DONE]\n\n"), "{held:?}");
    drop(client);
    assert!(tokio::time::timeout(Duration::from_secs(20), child.server.ended()).await.unwrap().success());
}

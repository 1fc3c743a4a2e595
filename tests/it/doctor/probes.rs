//! Each probe finds what it is for, and nothing where all is well.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use browser::request::Credentials;
use dial::{Trust, Versions};
use doctor::client::{Client, HttpRequest};
use doctor::plan::{Input, Preset};
use serde_json::json;

use super::server::{Heard, Server, reply};
use super::{PAGE, finding, input, post, report};

const VARY: &str = "vary: origin";
const LISTS: [&str; 2] = ["access-control-allow-headers: content-type", "access-control-max-age: 7200"];

/// Answers as a server should: the page's origin alone, on every answer.
fn good(heard: &Heard) -> String {
    let own = format!("access-control-allow-origin: {PAGE}");
    let cors: Vec<&str> =
        if heard.header("origin") == PAGE { vec![&own, LISTS[0], LISTS[1], VARY] } else { vec![VARY] };
    let status = match (heard.method.as_str(), heard.body.len()) {
        ("OPTIONS", _) => "204 No Content",
        ("POST", 0..=2) => "200 OK",
        ("POST", _) => "413 Content Too Large",
        ("GET", _) if heard.path != "/v1/chat" => "404 Not Found",
        _ => "405 Method Not Allowed",
    };
    reply(status, &cors, "")
}

#[tokio::test]
async fn a_good_server_has_no_findings_but_its_protocol() {
    let server = Server::start(good).await;
    let report = report(post(&server.url), true).await;
    assert_eq!(report["verdict"], "allowed");
    let ids: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| finding["id"].clone()).collect();
    assert_eq!(ids, ["http1-only"], "{report:#}");
    let deleted: Vec<_> = server.heard().into_iter().filter(|heard| heard.method == "DELETE").collect();
    assert!(deleted.iter().all(|heard| heard.path.contains("tokenway-doctor")), "it must do no harm");
    let whole = server.heard().iter().filter(|heard| heard.method == "POST" && heard.body == b"{}").count();
    assert_eq!(whole, 1, "the request itself is sent once");
}

#[tokio::test]
async fn errors_that_go_out_without_cors_are_found() {
    let server = Server::start(|heard: &Heard| {
        let answer = good(heard);
        if answer.starts_with("HTTP/1.1 4") { reply("404 Not Found", &["content-type: text/html"], "") } else { answer }
    })
    .await;
    let report = report(post(&server.url), true).await;
    let found = finding(&report, "errors-without-cors");
    assert_eq!(found["severity"], "error");
    let seen = found["seen"].to_string();
    assert!(seen.contains("404 Not Found for an unknown path (MissingAllowOriginHeader)"), "{seen}");
    assert!(seen.contains("a body of 8 MiB"), "{seen}");
    assert_eq!(finding(&report, "errors-as-html")["severity"], "note");
}

#[tokio::test]
async fn reflected_origins_are_a_hole_with_credentials_and_a_warning_without() {
    for (credentials, severity) in [(true, "error"), (false, "warning")] {
        let server = Server::start(move |heard: &Heard| {
            let own = format!("access-control-allow-origin: {}", heard.header("origin"));
            let mut lines = vec![own.as_str(), LISTS[0], LISTS[1], VARY];
            lines.extend(credentials.then_some("access-control-allow-credentials: true"));
            reply("200 OK", &lines, "")
        })
        .await;
        let credentials = credentials.then_some(Credentials::Include);
        let report = report(Input { credentials, ..post(&server.url) }, true).await;
        let found = finding(&report, "origin-reflected");
        assert_eq!(found["severity"], severity, "{report:#}");
        assert!(
            found["seen"].to_string().contains("https://evil.example") && found["seen"].to_string().contains("null")
        );
    }
}

#[tokio::test]
async fn a_pattern_that_is_too_wide_is_found_by_its_trick() {
    for (allows, trick) in [
        ((|origin: &str| origin.starts_with(PAGE)) as fn(&str) -> bool, "https://app.example.com.evil.example"),
        (|origin: &str| origin.ends_with("example.com"), "https://evilexample.com"),
        (|origin: &str| origin == PAGE || origin == "null", "null"),
        (|origin: &str| origin.ends_with("://app.example.com"), "http://app.example.com"),
    ] {
        let server = Server::start(move |heard: &Heard| {
            let origin = heard.header("origin");
            let own = format!("access-control-allow-origin: {origin}");
            let allowed = [own.as_str(), LISTS[0], VARY];
            reply("200 OK", if allows(origin) { &allowed } else { &allowed[2..] }, "")
        })
        .await;
        let found = finding(&report(post(&server.url), true).await, "origin-reflected");
        assert!(found["seen"].to_string().contains(&format!("\"{trick}: ")), "{trick}: {found}");
    }
}

#[tokio::test]
async fn a_wildcard_is_told_as_what_it_is() {
    let server = Server::start(|_: &Heard| reply("200 OK", &["access-control-allow-origin: *"], "")).await;
    let report = report(input(&server.url), true).await;
    assert_eq!(finding(&report, "any-origin")["severity"], "note");
    assert!(finding(&report, "origin-reflected").is_null() && finding(&report, "vary-origin-missing").is_null());
}

#[tokio::test]
async fn preflights_that_a_rate_limit_eats_are_found() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |heard: &Heard| {
        if heard.is_preflight() && heard.header("origin") == PAGE && count.fetch_add(1, Ordering::Relaxed) >= 12 {
            return reply("429 Too Many Requests", &[], "");
        }
        good(heard)
    })
    .await;
    let found = finding(&report(post(&server.url), true).await, "preflight-rate-limited");
    assert_eq!(found["severity"], "error");
    assert!(found["seen"][0].as_str().unwrap().contains("429 Too Many Requests"), "{found}");
    let preflights = server.heard().iter().filter(|heard| heard.is_preflight()).count();
    assert!(preflights <= 40, "{preflights}: a probe is no flood");
}

#[tokio::test]
async fn caching_doubled_lines_and_hidden_headers_are_found() {
    let own = format!("access-control-allow-origin: {PAGE}");
    let lines = [
        own.as_str(),
        LISTS[0],
        "access-control-expose-headers: etag",
        "access-control-expose-headers: etag",
        "x-request-id: 1",
    ];
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let server = Server::start(move |heard: &Heard| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        reply("200 OK", if heard.header("origin") == PAGE { &lines } else { &[] }, "")
    })
    .await;
    let report = report(post(&server.url), true).await;
    assert_eq!(finding(&report, "max-age")["severity"], "warning", "{report:#}");
    assert!(finding(&report, "vary-origin-missing")["seen"].as_array().is_some());
    assert_eq!(
        finding(&report, "cors-headers-doubled")["seen"],
        json!(["access-control-expose-headers appears 2 times"])
    );
    assert_eq!(finding(&report, "headers-hidden")["mend"], "access-control-expose-headers: x-request-id");
}

#[tokio::test]
async fn html_for_json_and_for_a_stream_is_told() {
    let server = Server::start(|_: &Heard| {
        let all = ["access-control-allow-origin: *", LISTS[0], "content-type: text/html"];
        reply("200 OK", &all, "<html>")
    })
    .await;
    assert_eq!(finding(&report(post(&server.url), true).await, "answer-is-html")["severity"], "warning");
    let stream = Input { data: Some("{\"stream\":true}".into()), ..post(&server.url) };
    assert_eq!(finding(&report(stream, true).await, "stream-not-sse")["severity"], "error");
    let source = Input { preset: Some(Preset::Eventsource), ..input(&server.url) };
    let report = report(source, true).await;
    assert!(finding(&report, "event-source-gives-up")["seen"].to_string().contains("text/html"), "{report:#}");
}

#[tokio::test]
async fn without_probes_nothing_but_the_request_is_sent() {
    let server = Server::start(good).await;
    let report = report(post(&server.url), false).await;
    assert_eq!((&report["findings"], &report["probed"]), (&json!([]), &json!([])));
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn when_the_time_for_probes_is_over_nobody_is_asked() {
    let server = Server::start(good).await;
    let mut client = Client::new(Versions::Any, Trust::PublicRoots, Duration::from_secs(10));
    let url = server.url.parse().unwrap();
    let request =
        HttpRequest { url, method: http::Method::GET, headers: http::HeaderMap::new(), body: bytes::Bytes::new() };
    assert!(client.head(&request).await.is_ok() && !client.is_out_of_time());
    client.limit(Duration::from_secs(5), Duration::ZERO);
    assert!(client.is_out_of_time() && client.head(&request).await.is_err());
    assert_eq!(server.heard().len(), 1);
}

//! Which responses an `EventSource` accepts: the verdict, the reason and the fix.

use browser::quirks::Browser;
use doctor::plan::{Input, Preset};
use serde_json::{Value, json};

use super::server::{Heard, Server, reply};
use super::{finding, input, report};

const ANY: &str = "access-control-allow-origin: *";
const STREAM: &str = "content-type: text/event-stream";

/// The report on an answer of this status with these lines.
async fn of(status: &'static str, line: &'static str, browser: Browser) -> Value {
    let server = Server::start(move |_: &Heard| reply(status, &[ANY, line], "")).await;
    report(Input { preset: Some(Preset::Eventsource), browser, ..input(&server.url) }, true).await
}

#[tokio::test]
async fn what_an_event_source_refuses_is_blocked_with_chromiums_message_and_a_fix() {
    for (status, line, message, fix) in [
        (
            "200 OK",
            "content-type: application/json",
            "EventSource's response has a MIME type (\"application/json\") that is not \"text/event-stream\". Aborting the connection.",
            "text/event-stream",
        ),
        (
            "200 OK",
            "content-type: text/event-stream; charset=iso-8859-1",
            "EventSource's response has a charset (\"iso-8859-1\") that is not UTF-8. Aborting the connection.",
            "UTF-8",
        ),
        (
            "204 No Content",
            STREAM,
            "EventSource fails the connection for good: the status is 204 No Content, not 200.",
            "stop",
        ),
        (
            "401 Unauthorized",
            STREAM,
            "Failed to load resource: the server responded with a status of 401 (Unauthorized)",
            "withCredentials",
        ),
        (
            "404 Not Found",
            STREAM,
            "Failed to load resource: the server responded with a status of 404 (Not Found)",
            "check the URL",
        ),
        (
            "503 Service Unavailable",
            STREAM,
            "Failed to load resource: the server responded with a status of 503 (Service Unavailable)",
            "does not try again",
        ),
    ] {
        let report = of(status, line, Browser::Chromium).await;
        let block = &report["block"];
        assert_eq!((&report["verdict"], &report["code"]), (&json!("blocked"), &Value::Null), "{report:#}");
        assert_eq!(block["reason"], message);
        assert!(block["advice"].as_str().unwrap().contains(fix), "{block}");
        assert!(block["standard"].as_str().unwrap().starts_with("HTML §9.2"), "{block}");
        assert!(block["standard_url"].as_str().unwrap().starts_with("https://html.spec.whatwg.org/"), "{block}");
        assert_eq!(block["mends"], json!([]), "no CORS policy helps");
        assert_eq!(finding(&report, "event-source-gives-up")["severity"], "error", "{report:#}");
    }
}

#[tokio::test]
async fn a_stream_is_allowed_and_only_chromium_refuses_another_charset() {
    assert_eq!(of("200 OK", STREAM, Browser::Chromium).await["verdict"], "allowed");
    let foreign = of("200 OK", "content-type: text/event-stream; charset=latin1", Browser::Firefox).await;
    assert_eq!(foreign["verdict"], "allowed", "{foreign:#}");
    let chromium = foreign["elsewhere"].as_array().unwrap().iter().find(|other| other["browser"] == "chromium");
    assert_eq!(chromium.unwrap()["verdict"], "blocked", "{foreign:#}");
}

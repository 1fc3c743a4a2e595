//! A real Chromium on another origin, over the DevTools protocol: what a page gets, and what the network saw.
//!
//! Pages of `http://localhost:*` are allowed; the same pages as `http://127.0.0.1:*` are refused.

mod dashboard;
mod streams;

use std::path::Path;

use serde_json::{Value, json};
use tokenway::drain::Drain;
use tokenway::metrics::Metrics;
use tokenway::server::playground;
use tokio::net::TcpListener;

use crate::support::gateway::{Gateway, Setup, Upstream};
use crate::support::process::node;

async fn run(scenario: &str, gateway: &Gateway, mut arguments: Value) -> Value {
    arguments["gateway"] = json!(gateway.url);
    arguments["certificate"] = json!(gateway.certificate);
    node("browser/run.mjs", &[scenario, &arguments.to_string()], &[]).await
}

async fn start(setup: Setup<'_>) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream, setup).await;
    (upstream, gateway)
}

fn completion(demo: Value) -> Value {
    json!({
        "model": "demo", "stream": true, "messages": [{ "role": "user", "content": "Hello, 世界 🚀" }],
        "max_tokens": 30, "demo": demo,
    })
}

/// A POST of a completion as a page sends it.
fn case(name: &str, request: &Value) -> Value {
    json!({
        "name": name, "path": "/v1/chat/completions", "method": "POST", "body": request.to_string(),
        "headers": { "content-type": "application/json" },
    })
}

/// The events of a stream: when each was complete in the page, and its data.
fn events(pieces: &Value) -> Vec<(f64, String)> {
    let mut events = Vec::new();
    let mut rest = String::new();
    for piece in pieces.as_array().unwrap() {
        rest += piece["text"].as_str().unwrap();
        while let Some((event, after)) = rest.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
            events.push((piece["at"].as_f64().unwrap(), data.to_owned()));
            rest = after.to_owned();
        }
    }
    assert_eq!(rest, "", "an event without its end");
    events
}

fn content(data: &str) -> Option<String> {
    let chunk: Value = serde_json::from_str(data).ok()?;
    chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[tokio::test]
async fn a_page_on_an_allowed_origin_gets_each_event_as_it_comes() {
    let (upstream, gateway) = start(Setup::default()).await;
    let request = completion(json!({ "first_token_ms": 1000, "tokens_per_second": 5 }));
    let seen = run("stream", &gateway, json!({ "request": request })).await;
    assert_eq!(seen["status"], 200);

    let events = events(&seen["pieces"]);
    assert_eq!(events.last().unwrap().1, "[DONE]");
    let output: Vec<(f64, String)> = events.iter().filter_map(|(at, data)| Some((*at, content(data)?))).collect();
    let text: String = output.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(text, upstream.text(&request).await);
    assert_eq!(output.len(), 30);

    // the upstream's timetable: a second, then one every 200 ms; nothing may come before its time. A loaded machine may be
    // late with some; whoever gathers them, as for a second, leaves six apart
    for (number, (at, _)) in output.iter().enumerate() {
        assert!(*at >= 1000.0 + 200.0 * number as f64, "token {number}: {output:?}");
    }
    let alone = output.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 10.0).count();
    assert!(alone >= 10, "only {alone} of 30 tokens arrived apart: {output:?}");
    // the head is held until the first output event
    assert!(seen["head"].as_f64().unwrap() >= 1000.0, "{}", seen["head"]);
}

#[tokio::test]
async fn a_page_reads_the_exposed_headers_and_the_timing_of_a_stream() {
    let (_upstream, gateway) = start(Setup::default()).await;
    let request = completion(json!({ "first_token_ms": 0, "tokens_per_second": 0 }));
    let seen = run("stream", &gateway, json!({ "request": request })).await;
    let headers = seen["headers"].as_object().unwrap();
    for name in
        ["x-request-id", "server-timing", "tokenway-model", "tokenway-upstream", "tokenway-cache", "tokenway-attempts"]
    {
        assert!(headers.contains_key(name), "{name} in {headers:?}");
    }
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["tokenway-model"], "demo");
    assert_eq!(seen["timing"]["protocol"], "h2");
    // without Timing-Allow-Origin the browser gives 0 and hides server-timing
    assert!(seen["timing"]["request_start"].as_f64().unwrap() > 0.0, "{}", seen["timing"]);
    let told: Vec<&str> =
        seen["timing"]["server"].as_array().unwrap().iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert!(told.contains(&"gateway") && told.contains(&"upstream"), "{told:?}");
}

#[tokio::test]
async fn a_refused_origin_spends_nothing_and_the_browser_says_why() {
    let (_upstream, gateway) = start(Setup::default()).await;
    let cases = json!([
        { "name": "simple", "path": "/v1/models" },
        { "name": "with credentials", "path": "/v1/models", "credentials": "include" },
        case("preflighted", &completion(json!({}))),
        // text/plain needs no preflight: the request itself arrives, and must not reach the upstream
        { "name": "form", "path": "/v1/chat/completions", "method": "POST", "body": completion(json!({})).to_string(),
          "headers": { "content-type": "text/plain" } },
    ]);
    let seen = run("requests", &gateway, json!({ "from": "refused", "cases": cases })).await;
    for (name, result) in seen.as_object().unwrap() {
        assert_eq!(result["raised"], "TypeError", "{name}: {result}");
        for sent in result["sent"].as_array().unwrap() {
            let response = sent["response"].as_object().unwrap();
            assert!(!response.keys().any(|name| name.starts_with("access-control-")), "{name}: {response:?}");
        }
    }
    let verdict = |name: &str| {
        let sent = seen[name]["sent"].as_array().unwrap();
        let failed = sent.iter().find(|sent| !sent["cors"].is_null()).unwrap();
        (
            failed["cors"].as_str().unwrap().to_owned(),
            sent.iter().map(|sent| sent["status"].clone()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(verdict("simple"), ("MissingAllowOriginHeader".into(), vec![json!(403)]));
    assert_eq!(verdict("form"), ("MissingAllowOriginHeader".into(), vec![json!(403)]));
    let (why, statuses) = verdict("preflighted");
    assert_eq!(why, "PreflightMissingAllowOriginHeader");
    assert!(
        statuses.len() == 2 && statuses.contains(&json!(403)) && statuses.contains(&json!(null)),
        "the request itself is never sent"
    );
    assert_eq!(gateway.metric("tokenway_upstream_time_to_first_token_seconds_count").await, 0.0);
}

#[tokio::test]
async fn preflights_allow_what_sdks_send_and_name_what_is_refused() {
    let (_upstream, gateway) = start(Setup::default()).await;
    let get = |name: &str, headers: Value| json!({ "name": name, "path": "/v1/models", "headers": headers });
    let cases = json!([
        get("key", json!({ "authorization": "Bearer k", "content-type": "application/json" })),
        get("openai sdk", json!({
            "authorization": "Bearer k", "x-stainless-lang": "js", "x-stainless-package-version": "6.0.0",
            "x-stainless-os": "Linux", "x-stainless-arch": "x64", "x-stainless-runtime": "browser:chrome",
            "x-stainless-runtime-version": "1", "x-stainless-retry-count": "0", "x-stainless-timeout": "60",
        })),
        get("ours", json!({ "x-request-id": "mine", "idempotency-key": "1", "last-event-id": "7", "cache-control": "no-cache" })),
        get("unknown header", json!({ "x-surprise": "1" })),
        { "name": "unknown method", "path": "/v1/models", "method": "PATCH" },
    ]);
    let seen = run("requests", &gateway, json!({ "cases": cases })).await;
    for name in ["key", "openai sdk", "ours"] {
        assert_eq!(seen[name]["status"], 200, "{name}: {}", seen[name]);
    }
    let cors =
        |name: &str| seen[name]["sent"].as_array().unwrap().iter().find_map(|sent| sent["cors"].as_str()).unwrap();
    assert_eq!(cors("unknown header"), "HeaderDisallowedByPreflightResponse");
    assert_eq!(cors("unknown method"), "MethodDisallowedByPreflightResponse");
    let preflight = seen["key"]["sent"].as_array().unwrap().iter().find(|sent| sent["method"] == "OPTIONS").unwrap();
    assert_eq!((&preflight["status"], &preflight["response"]["access-control-max-age"]), (&json!(204), &json!("7200")));
}

#[tokio::test]
async fn a_preflight_is_asked_once_and_remembered() {
    let (_upstream, gateway) = start(Setup::default()).await;
    let request = completion(json!({ "first_token_ms": 0, "tokens_per_second": 0 }));
    let cases = json!([case("first", &request), case("second", &request), {
        "name": "other headers", "path": "/v1/chat/completions", "method": "POST", "body": request.to_string(),
        "headers": { "content-type": "application/json", "authorization": "Bearer k", "x-stainless-lang": "js" },
    }]);
    let seen = run("requests", &gateway, json!({ "cases": cases })).await;
    let methods = |name: &str| {
        let mut methods: Vec<&str> =
            seen[name]["sent"].as_array().unwrap().iter().filter_map(|sent| sent["method"].as_str()).collect();
        methods.sort_unstable();
        methods
    };
    assert_eq!(methods("first"), ["OPTIONS", "POST"]);
    assert_eq!(methods("second"), ["POST"]);
    // the lists are whole and the same for every preflight: one answer covers every header
    assert_eq!(methods("other headers"), ["POST"]);
}

#[tokio::test]
async fn every_kind_of_error_can_be_read_by_the_page() {
    let setup = Setup {
        server: "max_body = \"16KiB\"",
        stream: "first_event_timeout = \"1s\"\ncommit_after = \"30s\"",
        ..Setup::default()
    };
    let (_upstream, gateway) = start(setup).await;
    let fault = |name: &str| case(name, &completion(json!({ "fault": name })));
    let post = |name: &str, headers: Value, body: &str| {
        json!({
            "name": name, "path": "/v1/chat/completions", "method": "POST", "headers": headers, "body": body,
        })
    };
    let json_type = json!({ "content-type": "application/json" });
    let mut unknown = completion(json!({}));
    unknown["model"] = json!("no-such-model");
    let cases = json!([
        { "name": "no route", "path": "/v1/nothing" },
        { "name": "wrong method", "path": "/v1/chat/completions" },
        post("not json", json_type.clone(), "{\"model\":"),
        post("wrong type", json!({ "content-type": "text/plain" }), "{}"),
        { "name": "too large", "path": "/v1/chat/completions", "method": "POST", "headers": json_type, "size": 200_000 },
        case("unknown model", &unknown),
        fault("status_401"),
        fault("status_429"),
        fault("status_500"),
        fault("reset_before"),
        fault("html"),
        fault("redirect"),
        fault("silent"),
    ]);
    let seen = run("requests", &gateway, json!({ "cases": cases })).await;
    let expected = [
        ("no route", 404, "not_found"),
        ("wrong method", 405, "method_not_allowed"),
        ("not json", 400, "invalid_request"),
        ("wrong type", 415, "unsupported_media_type"),
        ("too large", 413, "body_too_large"),
        ("unknown model", 404, "model_not_found"),
        ("status_401", 502, "upstream_failure"),
        ("status_429", 429, "rate_limited"),
        ("status_500", 502, "upstream_failure"),
        ("reset_before", 502, "upstream_failure"),
        ("html", 502, "upstream_failure"),
        ("redirect", 502, "upstream_failure"),
        ("silent", 504, "upstream_timeout"),
    ];
    for (name, status, code) in expected {
        let result = &seen[name];
        let error = &result["json"]["error"];
        assert_eq!((&result["status"], &error["code"]), (&json!(status), &json!(code)), "{name}: {result}");
        assert_eq!(error["request_id"], result["headers"]["x-request-id"], "{name}");
        assert!(error["request_id"].is_string(), "{name}: {result}");
    }
    assert!(seen["status_429"]["headers"]["retry-after"].is_string(), "{}", seen["status_429"]);
    assert!(!seen.to_string().contains("must-not-leave-the-gateway"), "an upstream's error body came out");
}

#[tokio::test]
async fn a_stream_that_breaks_is_told_of_in_band() {
    let (_upstream, gateway) = start(Setup::default()).await;
    for fault in ["reset_after_events", "clean_eof_without_done", "error_event"] {
        let request = completion(json!({ "fault": fault, "at": 6, "tokens_per_second": 0 }));
        let seen = run("stream", &gateway, json!({ "request": request })).await;
        assert_eq!(seen["status"], 200, "{fault}");
        let events = events(&seen["pieces"]);
        let last: Value = serde_json::from_str(&events.last().unwrap().1).unwrap();
        assert_eq!(last["error"]["code"], "upstream_failure", "{fault}: {last}");
        assert_eq!(last["error"]["request_id"], seen["headers"]["x-request-id"], "{fault}");
        assert!(events.iter().all(|(_, data)| data != "[DONE]"), "{fault}");
    }
}

#[tokio::test]
async fn a_page_that_leaves_cancels_its_stream() {
    let (_upstream, gateway) = start(Setup::default()).await;
    for (left, how) in [(1.0, "abort"), (2.0, "close")] {
        let mut request = completion(json!({ "first_token_ms": 0, "tokens_per_second": 20, "tokens": 2000 }));
        request["max_tokens"] = json!(2000);
        run("leave", &gateway, json!({ "request": request, "how": how })).await;
        gateway.until_metric(r#"tokenway_requests_total{model="demo",outcome="client_gone""#, left).await;
        gateway.until_metric("tokenway_streams_active", 0.0).await;
    }
}

/// Serves the playground; gives back its port.
async fn serve_playground(gateway_url: &str) -> (u16, Drain) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let drain = Drain::default();
    let restarts = Metrics::new().unwrap().task_restarts;
    tokio::spawn(playground::serve(listener, gateway_url.to_owned(), restarts, drain.clone()));
    (port, drain)
}

#[tokio::test]
async fn the_playground_streams_stops_and_fits_a_phone() {
    let (upstream, gateway) = start(Setup::default()).await;
    let (port, _drain) = serve_playground(&gateway.url).await;
    let prompt = "What crosses <b>origins</b>?";
    let seen = run(
        "playground",
        &gateway,
        json!({
            "url": format!("http://localhost:{port}/"), "prompt": prompt,
            "pictures": Path::new(env!("CARGO_TARGET_TMPDIR")).join("playground"),
        }),
    )
    .await;
    let text = upstream.text(&json!({ "model": "demo", "messages": [{ "role": "user", "content": prompt }] })).await;
    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["models"], json!(["demo"]));
    assert_eq!(seen["phone_width"], 360, "the page is wider than the phone");

    for name in ["first", "second"] {
        let sheet = &seen[name];
        assert_eq!(sheet["answer"], json!(text), "{name}");
        assert!(sheet["outcome"].as_str().unwrap().starts_with("finished (stop)"), "{sheet}");
        assert!(sheet["first_token"].as_str().unwrap().ends_with(" ms"), "{sheet}");
        assert!(sheet["first_token_note"].as_str().unwrap().contains("gateway"), "{sheet}");
        assert!(sheet["cost"].as_str().unwrap().starts_with("$0.000"), "{sheet}");
    }
    assert!(seen["first"]["cors"].as_str().unwrap().contains("Asked first"), "{}", seen["first"]);
    assert!(seen["second"]["cors"].as_str().unwrap().contains("Remembered"), "{}", seen["second"]);

    let stopped = &seen["stopped"];
    assert!(stopped["outcome"].as_str().unwrap().starts_with("stopped by you"), "{stopped}");
    let part = stopped["answer"].as_str().unwrap();
    assert!(text.starts_with(part) && part.len() < text.len(), "{stopped}");
    gateway.until_metric(r#"tokenway_requests_total{model="demo",outcome="client_gone""#, 1.0).await;
}

#[tokio::test]
async fn the_playground_goes_on_after_its_network_was_cut() {
    let (upstream, gateway) = start(Setup::default()).await;
    let (port, _drain) = serve_playground(&gateway.url).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("playground");
    let url = format!("http://localhost:{port}/");
    let seen = run("playgroundCut", &gateway, json!({ "url": url, "pictures": pictures })).await;
    let prompt = "Explain in a few sentences why an answer should be streamed.";
    let text = upstream.text(&json!({ "model": "demo", "messages": [{ "role": "user", "content": prompt }] })).await;
    let cut = seen["cut"]["outcome"].as_str().unwrap();
    // the second or, if the page was slow to be asked, a later one
    let tried = cut.split_once("; reconnecting, try ").and_then(|(_, number)| number.parse::<u32>().ok());
    assert!(cut.starts_with("cut at event ") && tried.is_some_and(|tried| tried >= 2), "{cut}");
    assert_ne!(seen["cut"]["answer"], json!(text));
    let resumed = &seen["resumed"];
    assert_eq!(resumed["answer"], json!(text));
    assert!(resumed["outcome"].as_str().unwrap().starts_with("finished (stop)"), "{resumed}");
    let place = cut.strip_prefix("cut at event ").and_then(|rest| rest.split(';').next()).unwrap();
    let arrival = resumed["arrival"].as_str().unwrap();
    assert!(arrival.contains(&format!("1 cut, resumed at event {place}: no token lost, none doubled")), "{arrival}");
    assert!(resumed["cors"].as_str().unwrap().contains(&format!("?from={place}")), "{resumed}");
    assert_eq!(gateway.metric("tokenway_upstream_time_to_first_token_seconds_count").await, 1.0);
    assert_eq!(seen["refused"]["title"], "The network is cut");
    assert_eq!(seen["complaints"], json!([]));
}

#[tokio::test]
async fn the_playground_explains_every_failure() {
    let (_upstream, gateway) = start(Setup::default()).await;
    let (port, _drain) = serve_playground(&gateway.url).await;
    let (astray, _drain) = serve_playground("https://localhost:9").await;
    let seen = run(
        "playgroundErrors",
        &gateway,
        json!({
            "url": format!("http://localhost:{port}/"),
            "refused_url": format!("http://127.0.0.1:{port}/"),
            "unreachable_url": format!("http://localhost:{astray}/"),
        }),
    )
    .await;
    let facts = seen["unknown_model"]["facts"].as_array().unwrap();
    assert_eq!(facts[..2], [json!("404"), json!("model_not_found")]);
    assert!(facts[2].as_str().is_some_and(|id| !id.is_empty()), "{facts:?}");

    let likely = |name: &str| seen[name]["causes"][0].as_str().unwrap();
    assert!(
        likely("refused").contains(&format!("Add \"http://127.0.0.1:{port}\" to cors.origins")),
        "{}",
        seen["refused"]
    );
    assert!(likely("unreachable").starts_with("The certificate is not trusted"), "{}", seen["unreachable"]);
    assert_eq!(seen["unreachable"]["causes"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_pages_own_parsers_agree_with_the_standards() {
    let compared = node("browser/modules.mjs", &[], &[]).await;
    assert_eq!((&compared["cors"], &compared["tables"]), (&json!(7), &json!(13)));
}

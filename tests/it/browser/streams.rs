//! Resumable streams in a real Chromium that blocks third-party cookies, over connections that a proxy cuts.

use demo_upstream::{Demo, Knobs};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::run;
use crate::support::edge::{expected, streaming};
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::root;

async fn start() -> (Demo, Gateway) {
    start_with(Setup::default()).await
}

async fn start_with(setup: Setup<'_>) -> (Demo, Gateway) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let demo = Demo::start(listener, Knobs::default()).unwrap();
    let gateway = Gateway::before(&format!("http://{}/v1", demo.addr), setup).await;
    (demo, gateway)
}

/// A completion of this many tokens, fifty a second.
fn slow(tokens: u32) -> Value {
    streaming("demo", json!({ "first_token_ms": 20, "tokens_per_second": 50, "tokens": tokens }))
}

/// The data of each event of the answer to this request.
fn data(request: &Value) -> Vec<String> {
    let events = expected(request);
    events.iter().map(|event| std::str::from_utf8(event).unwrap().trim()["data: ".len()..].to_owned()).collect()
}

fn text(request: &Value) -> String {
    data(request)
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}

fn numbers(count: usize) -> Value {
    (1..=count).collect()
}

/// Runs a scenario in a browser that blocks third-party cookies.
async fn run_without_cookies(scenario: &str, gateway: &Gateway, mut arguments: Value) -> Value {
    arguments["flags"] = json!(["--test-third-party-cookie-phaseout"]);
    run(scenario, gateway, arguments).await
}

#[tokio::test]
async fn an_event_source_survives_cuts_and_stops_at_the_end() {
    let (demo, gateway) = start().await;
    let request = slow(300);
    // how much comes down before each cut: some events; within the TLS handshake; and at once
    let cuts = json!([20_000, 700, 6000, 1, 20_000]);
    let seen = run_without_cookies("eventSource", &gateway, json!({ "request": request, "cuts": cuts })).await;
    assert_eq!(seen["made"]["status"], 201);
    let expected = data(&request);
    assert_eq!(seen["data"], json!(expected));
    assert_eq!(seen["ids"], numbers(expected.len()));
    assert!(seen["cuts"].as_u64().unwrap() >= 5, "{seen}");
    assert_eq!(demo.counts().requests, 1, "the model was asked more than once");
    assert_eq!(seen["cookies"], json!({ "own": "session=1", "third_party": null }));

    let requests = seen["requests"].as_array().unwrap();
    let streams: Vec<&Value> = requests.iter().filter(|request| request["method"] == "GET").collect();
    assert!(streams.len() >= 4, "{requests:?}");
    assert_eq!(streams[0]["last_event_id"], Value::Null);
    // EventSource comes back after every end, and is told that there is no more
    let last = streams.last().unwrap();
    assert_eq!((&last["status"], &last["last_event_id"]), (&json!(204), &json!(expected.len().to_string())));
    assert_eq!(streams.iter().filter(|request| request["status"] == 204).count(), 1, "{streams:?}");
}

#[tokio::test]
async fn tokenway_js_survives_cuts() {
    let (demo, gateway) = start().await;
    let request = slow(300);
    // as for the event source
    let cuts = json!([20_000, 700, 6000, 1, 20_000]);
    let seen = run_without_cookies("module", &gateway, json!({ "request": request, "cuts": cuts })).await;
    assert_eq!(seen["end"], "whole", "{seen}");
    assert_eq!(seen["text"], json!(text(&request)));
    assert_eq!(seen["seqs"], numbers(data(&request).len()));
    assert!(seen["first_token_ms"].as_f64().unwrap() >= 20.0, "{}", seen["first_token_ms"]);
    assert!(seen["cuts"].as_u64().unwrap() >= 5 && seen["resumed"].as_array().unwrap().len() >= 2, "{seen}");
    assert_eq!(demo.counts().requests, 1, "the model was asked more than once");
    assert_eq!(seen["cookies"], json!({ "own": "session=1", "third_party": null }));
    let methods: Vec<&str> = seen["requests"].as_array().unwrap().iter().filter_map(|r| r["method"].as_str()).collect();
    assert_eq!(methods.iter().filter(|method| **method == "POST").count(), 1, "{methods:?}");
    // the page itself breaks nothing off: the last answer ends by itself
    assert_eq!(seen["requests"].as_array().unwrap().last().unwrap()["failed"], Value::Null, "{methods:?}");
}

#[tokio::test]
async fn a_page_stops_its_stream_at_once() {
    for how in ["signal", "delete"] {
        let (demo, gateway) = start().await;
        let seen = run("stop", &gateway, json!({ "request": slow(100_000), "how": how })).await;
        // long before `resume.grace`
        demo.until(|counts| counts.open == 0).await;
        assert_eq!((demo.counts().cancelled, demo.counts().requests), (1, 1), "{how}");
        gateway.until_metric("tokenway_streams_active", 0.0).await;
        match how {
            "signal" => assert_eq!(seen["end"]["name"], "AbortError", "{seen}"),
            _ => {
                let last: Value =
                    serde_json::from_str(seen["data"].as_array().unwrap().last().unwrap().as_str().unwrap()).unwrap();
                assert_eq!(last["error"]["code"], "stream_stopped", "{seen}");
            }
        }
    }
}

#[tokio::test]
async fn several_tabs_read_one_stream() {
    let (demo, gateway) = start().await;
    let request = slow(200);
    let seen = run("tabs", &gateway, json!({ "request": request })).await;
    let part = seen["left"]["text"].as_str().unwrap();
    assert!(text(&request).starts_with(part) && part.len() > 40, "{seen}");
    assert_eq!(seen["joined"]["end"], "whole");
    assert_eq!(seen["joined"]["text"], json!(text(&request)));
    assert_eq!(seen["followed"]["data"], json!(data(&request)));
    assert_eq!(demo.counts().requests, 1);
}

#[tokio::test]
async fn a_page_of_the_gateway_s_own_origin_owns_its_streams() {
    let cors = "origins = [\"http://localhost:*\", \"https://localhost:*\"]";
    let (demo, gateway) = start_with(Setup { cors, ..Setup::default() }).await;
    let request = slow(20);
    let seen = run("sameOrigin", &gateway, json!({ "request": request })).await;
    assert_eq!(seen["made"]["status"], 201, "{seen}");
    assert_eq!(seen["seen"]["data"], json!(data(&request)), "{seen}");
    let gets = |requests: &Value| -> Vec<Value> {
        requests.as_array().unwrap().iter().filter(|request| request["method"] == "GET").cloned().collect()
    };
    let own = gets(&seen["requests"]);
    let statuses: Vec<&Value> = own.iter().map(|request| &request["status"]).collect();
    assert_eq!(statuses, [200, 204], "{seen}");
    assert!(own.iter().all(|request| request["origin"] == Value::Null), "a browser would not send it: {seen}");
    // a page elsewhere, which the gateway allows, learns nothing though it knows the URL
    assert_eq!(seen["stranger"]["data"], json!([]), "{seen}");
    let theirs = gets(&seen["asked"]);
    assert_eq!((theirs.len(), &theirs[0]["status"]), (1, &json!(404)), "{seen}");
    assert_ne!(theirs[0]["origin"], Value::Null);
    assert_eq!(demo.counts().requests, 1);
}

#[tokio::test]
async fn the_examples_survive_a_cut_and_a_reload() {
    let prompt = "Why do streams feel fast?";
    for (name, reload) in [("eventsource", false), ("tokenway", false), ("tokenway", true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let knobs = Knobs { tokens: Some(400), tokens_per_second: 50.0, ..Knobs::default() };
        let demo = Demo::start(listener, knobs).unwrap();
        // the examples name no model
        let setup = Setup { more: "[routing]\ndefault = \"demo\"", ..Setup::default() };
        let gateway = Gateway::before(&format!("http://{}/v1", demo.addr), setup).await;
        let seen = run("example", &gateway, json!({ "name": name, "prompt": prompt, "reload": reload })).await;
        let messages = json!([{ "role": "user", "content": prompt }]);
        let request = json!({ "model": "demo", "messages": messages, "stream": true, "demo": { "tokens": 400 } });
        assert_eq!(seen["answer"], json!(text(&request)), "{name}");
        assert_eq!(demo.counts().requests, 1, "{name}");
    }
}

#[tokio::test]
async fn the_module_is_right_without_a_browser_too() {
    for file in ["parse", "stream"] {
        let test = format!("tests/web/{file}.test.mjs");
        let output = Command::new("node").args(["--test", &test]).current_dir(root()).kill_on_drop(true).output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(120), output).await.unwrap().unwrap();
        assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

//! What the meter says, against what a client on the wire saw and what the upstream's timetable was.
//!
//! A loaded machine is late, never early. So no figure is compared with a guess: each has a bound below, which is the
//! upstream's timetable, and one above, which is what the client saw. Both lie close together on a quiet machine.

mod settled;

use demo_upstream::CANARY;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::child::{ALLOWED, Child, Plan, REFUSED, chat, post, with};
use crate::support::client::{empty, text};
use crate::support::soon;
use crate::support::sse::{Events, Seen};

const FIRST_TOKEN: f64 = 0.300;
const PER_SECOND: f64 = 40.0;
const TOKENS: u64 = 25;
/// What an answer takes that is asked for between the last token of another and its end.
const BETWEEN: f64 = 2.0;
/// Figures of the log are rounded to a microsecond, and two readings of one clock are made one after the other.
const ROUNDING: f64 = 0.000_01;
const REQUESTS: &str = "tokenway_requests_total";

/// Each label of a metric, and its values.
type LabelSets<'a> = &'a [(&'a str, &'a [&'a str])];

fn paced() -> Value {
    // the role chunk comes at once, the first output after FIRST_TOKEN
    json!({ "fault": "role_delay", "first_token_ms": 300, "tokens_per_second": PER_SECOND, "tokens": TOKENS })
}

/// A stream as its client saw it.
struct Watched {
    sent: Instant,
    head: Instant,
    events: Vec<Seen>,
}

impl Watched {
    fn output(&self) -> Vec<f64> {
        let output = self.events.iter().filter(|event| event.content().is_some());
        output.map(|event| (event.at - self.sent).as_secs_f64()).collect()
    }

    fn usage(&self) -> Option<(u64, u64)> {
        let usage = self.events.iter().find_map(|event| event.json().filter(|json| json["usage"].is_object()))?;
        let of = |name: &str| usage["usage"][name].as_u64().unwrap();
        Some((of("prompt_tokens"), of("completion_tokens")))
    }
}

async fn watch(child: &Child, id: &str, body: &Value) -> Watched {
    let mut client = soon(child.target.h2()).await;
    let sent = Instant::now();
    let response = soon(client.send_request(with(post(body), "x-request-id", id))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let head = Instant::now();
    let events = Events::of(response).rest().await;
    assert_eq!(events.last().unwrap().text, "data: [DONE]\n\n");
    Watched { sent, head, events }
}

fn assert_within(what: &str, low: f64, value: f64, high: f64) {
    assert!(low - ROUNDING <= value && value <= high + ROUNDING, "{what}: {value} is not within {low} and {high}");
}

#[tokio::test]
async fn the_first_token_is_the_first_output_event_and_not_the_first_byte() {
    let child = Child::start(Plan::default()).await;
    let seen = watch(&child, "ttft", &chat(true, paced())).await;
    let client = seen.output()[0];
    assert!(client >= FIRST_TOKEN);

    let metrics = child.until(|now| now.sum(REQUESTS, &[]) == 1.0).await;
    let sum = |name: &str| {
        assert_eq!(metrics.sum(&format!("{name}_count"), &[]), 1.0, "{name}");
        metrics.sum(&format!("{name}_sum"), &[])
    };
    let first = sum("tokenway_time_to_first_token_seconds");
    let upstream = sum("tokenway_upstream_time_to_first_token_seconds");
    let overhead = sum("tokenway_gateway_overhead_seconds");
    assert_within("time to first token", FIRST_TOKEN, first, client);
    assert_within("the upstream's", FIRST_TOKEN, upstream, first);
    assert_within("overhead", first - upstream, overhead, first - upstream);
    // the head is held until then, so that it tells the truth
    assert!((seen.head - seen.sent).as_secs_f64() >= FIRST_TOKEN);

    let log = child.logged("ttft").await;
    assert_within("ttft_ms", first * 1e3 - 0.001, log["ttft_ms"].as_f64().unwrap(), first * 1e3 + 0.001);
}

#[tokio::test]
async fn rates_are_those_that_the_client_saw() {
    let child = Child::start(Plan::default()).await;
    let mut request = chat(true, paced());
    request["demo"]["fault"] = Value::Null;
    // the finish chunk comes long after the last token, and is none: after a whole other answer
    request["demo"]["hold"] = (TOKENS + 1).into();
    let (mut client, mut other) = (soon(child.target.h2()).await, soon(child.target.h1()).await);
    let sent = Instant::now();
    let response = soon(client.send_request(with(post(&request), "x-request-id", "rate"))).await.unwrap();
    let mut events = Events::of(response);
    let mut seen = Watched { sent, head: Instant::now(), events: Vec::new() };
    while seen.output().len() as u64 != TOKENS {
        seen.events.push(events.next().await.unwrap());
    }
    let between = chat(false, json!({ "first_token_ms": BETWEEN * 1e3, "tokens": 1 }));
    soon(other.send_request(post(&between))).await.unwrap();
    child.demo.release(1);
    seen.events.extend(events.rest().await);
    assert_eq!(seen.events.last().unwrap().text, "data: [DONE]\n\n");
    let output = seen.output();

    // the gateway takes an event after it is due and before the client has it, which bounds the time between two
    let (first_due, last_due) = (FIRST_TOKEN, FIRST_TOKEN + (TOKENS - 1) as f64 / PER_SECOND);
    // nothing, where the machine has slept through the whole stream
    let shortest = (last_due - output[0]).max(0.0);
    let longest = output[output.len() - 1] - first_due;
    let intervals = (TOKENS - 1) as f64;

    let metrics = child.until(|now| now.sum(REQUESTS, &[]) == 2.0).await;
    let demo = [("model", "demo")];
    assert_eq!(metrics.sum("tokenway_output_tokens_per_second_count", &demo), 1.0);
    assert_eq!(metrics.sum("tokenway_time_per_output_token_seconds_count", &demo), 1.0);
    let rate = metrics.sum("tokenway_output_tokens_per_second_sum", &demo);
    assert_within("tokens per second", intervals / longest, rate, intervals / shortest);
    let each = metrics.sum("tokenway_time_per_output_token_seconds_sum", &demo);
    assert_within("seconds per token", shortest / intervals, each, longest / intervals);
    let log = child.logged("rate").await;
    // one decimal
    assert_within("the log's rate", rate - 0.05, log["tokens_per_second"].as_f64().unwrap(), rate + 0.05);

    // every event is taken once, some together, and none waits for a later one
    let forwarded = metrics.sum("tokenway_event_forward_seconds_count", &[]);
    assert_within("reads", 2.0, forwarded, seen.events.len() as f64);
    let waited = metrics.sum("tokenway_event_forward_seconds_sum", &[]);
    // had each waited for its successor, the last token would have waited for the whole other answer
    assert!(waited < BETWEEN / 2.0, "events waited {waited} s");
}

#[tokio::test]
async fn tokens_and_cost_are_the_upstreams_count() {
    let child = Child::start(Plan::default()).await;
    let mut asked = chat(true, json!({ "tokens": 12 }));
    asked["stream_options"] = json!({ "include_usage": true });
    let (input, output) = watch(&child, "asked", &asked).await.usage().unwrap();
    assert_eq!(output, 12);
    // who did not ask for usage does not see it, and is billed by it all the same
    let seen = watch(&child, "unasked", &chat(true, json!({ "tokens": 12 }))).await;
    assert_eq!(seen.usage(), None);
    let mut client = soon(child.target.h1()).await;
    let whole = with(post(&chat(false, json!({ "tokens": 12 }))), "x-request-id", "whole");
    let whole: Value = serde_json::from_str(&text(soon(client.send_request(whole)).await.unwrap()).await).unwrap();
    assert_eq!(whole["usage"]["completion_tokens"], 12);

    let cost = (input as f64 * 0.27 + output as f64 * 1.10) / 1e6;
    for id in ["asked", "unasked", "whole"] {
        let log = child.logged(id).await;
        let counted = json!([log["input_tokens"], log["output_tokens"], log["tokens_from"]]);
        assert_eq!(counted, json!([input, output, "usage"]), "{id}");
        let logged: f64 = log["cost"].as_str().unwrap().trim_start_matches('$').parse().unwrap();
        assert!((logged - cost).abs() < 1e-9, "{id}: {logged} and not {cost}");
    }
    let metrics = child.until(|now| now.sum(REQUESTS, &[]) == 3.0).await;
    let tokens = |direction| metrics.sum("tokenway_tokens_total", &[("direction", direction), ("source", "usage")]);
    assert_eq!((tokens("input"), tokens("output")), (3.0 * input as f64, 36.0));
    assert_eq!(metrics.sum("tokenway_tokens_total", &[("source", "estimate")]), 0.0);
    let dollars = metrics.sum("tokenway_cost_dollars_total", &[("source", "usage"), ("model", "demo")]);
    assert!((dollars - 3.0 * cost).abs() < 1e-9, "{dollars} and not {}", 3.0 * cost);
}

#[tokio::test]
async fn an_estimate_is_labelled_as_one() {
    let child = Child::start(Plan::default()).await;
    watch(&child, "estimated", &chat(true, json!({ "tokens": 12, "fault": "no_usage" }))).await;
    let log = child.logged("estimated").await;
    assert_eq!(log["tokens_from"], "estimate");
    // good for a bill to within a factor of two
    let output = log["output_tokens"].as_f64().unwrap();
    assert!((6.0..=24.0).contains(&output), "{log}");
    let metrics = child.metrics().await;
    let tokens = |source| metrics.sum("tokenway_tokens_total", &[("direction", "output"), ("source", source)]);
    assert_eq!((tokens("estimate"), tokens("usage")), (output, 0.0));
    assert!(metrics.sum("tokenway_cost_dollars_total", &[("source", "estimate")]) > 0.0);
    assert_eq!(metrics.sum("tokenway_cost_dollars_total", &[("source", "usage")]), 0.0);
}

#[tokio::test]
async fn every_metric_of_the_contract_appears_with_its_labels_from_closed_sets() {
    let more = r#"
[[upstreams]]
name = "dead"
base_url = "http://127.0.0.1:9/v1"
[[models]]
name = "first"
upstream = "dead"
fallback = ["demo"]
"#;
    let child = Child::start(Plan { more, ..Plan::default() }).await;
    let mut client = soon(child.target.h2()).await;
    // what a stranger can write must not become a label
    for (method, path, origin) in [
        (Method::GET, "/v1/models", ALLOWED),
        (Method::GET, "/strange/canary-path", REFUSED),
        (Method::from_bytes(b"CANARY").unwrap(), "/v1/chat", ALLOWED),
        (Method::GET, "/v1/models", "not an origin"),
    ] {
        let request =
            Request::builder().method(method).uri(format!("https://localhost{path}")).header("origin", origin);
        soon(client.send_request(request.body(empty()).unwrap())).await.unwrap();
    }
    let preflight = Request::options("https://localhost/v1/chat/completions")
        .header("origin", ALLOWED)
        .header("access-control-request-method", "CANARY")
        .body(empty())
        .unwrap();
    soon(client.send_request(preflight)).await.unwrap();
    let mut strange = chat(true, json!({ "tokens": 3 }));
    strange["model"] = "canary-model".into();
    soon(client.send_request(post(&strange))).await.unwrap();
    let mut fallen = chat(true, json!({ "tokens": 3, "tokens_per_second": 100 }));
    fallen["model"] = "first".into();
    let answer = soon(client.send_request(post(&fallen))).await.unwrap();
    assert_eq!(
        (&answer.headers()["tokenway-model"], &answer.headers()["tokenway-attempts"]),
        (&"demo".parse().unwrap(), &"2".parse().unwrap())
    );
    Events::of(answer).rest().await;

    let metrics = child.until(|now| now.sum(REQUESTS, &[]) == 7.0).await;
    let models = &["demo", "first", "other"][..];
    let sources = &["usage", "estimate"][..];
    // tokenway_cache_total and tokenway_rate_limited_total come with the cache and the limits
    let table: [(&str, LabelSets); 12] = [
        ("tokenway_time_to_first_token_seconds_count", &[("model", models)]),
        ("tokenway_upstream_time_to_first_token_seconds_count", &[("upstream", &["demo", "dead"])]),
        ("tokenway_gateway_overhead_seconds_count", &[]),
        ("tokenway_event_forward_seconds_count", &[]),
        ("tokenway_time_per_output_token_seconds_count", &[("model", models)]),
        ("tokenway_output_tokens_per_second_count", &[("model", models)]),
        ("tokenway_tokens_total", &[("direction", &["input", "output"]), ("source", sources), ("model", models)]),
        ("tokenway_cost_dollars_total", &[("source", sources), ("model", models)]),
        (
            REQUESTS,
            &[
                ("route", &["chat_completions", "chat", "models", "healthz", "other"]),
                ("model", models),
                ("status", &["200", "204", "400", "403", "404", "405"]),
                ("outcome", &["ok", "client_gone", "truncated", "upstream_failure", "rejected"]),
            ],
        ),
        (
            "tokenway_cors_total",
            &[
                ("kind", &["preflight", "actual"]),
                ("verdict", &["allowed", "origin_not_allowed", "origin_malformed", "method_not_allowed"]),
            ],
        ),
        ("tokenway_streams_active", &[]),
        ("tokenway_connections_active", &[]),
    ];
    let fallbacks: LabelSets = &[("from", &["first"]), ("to", &["demo"]), ("reason", &["connect"])];
    for (name, labels) in table.into_iter().chain([("tokenway_fallbacks_total", fallbacks)]) {
        let found = metrics.labels(name);
        assert!(!found.is_empty(), "{name} does not appear");
        for sample in found {
            assert_eq!(sample.len(), labels.len(), "{name} {sample:?}");
            for (label, values) in labels {
                assert!(values.contains(&sample[*label].as_str()), "{name} {sample:?}");
            }
        }
    }
    assert_eq!(metrics.sum("tokenway_cors_total", &[]), 5.0);
}

#[tokio::test]
async fn no_prompt_key_or_upstream_body_reaches_log_or_metrics() {
    let key = "sk-canary-of-the-provider-5512";
    let plan = Plan { upstream: "api_key_file = \"key\"", key, ..Plan::default() };
    let child = Child::start(plan).await;
    let secrets = ["canary-prompt", "canary-credential", "canary-cookie", "canary-query", CANARY, "sk-demo-", key];
    let mut client = soon(child.target.h2()).await;
    for (number, demo) in [
        json!({ "tokens": 3 }),
        json!({ "fault": "status_401" }),
        json!({ "fault": "status_500" }),
        json!({ "fault": "error_event", "at": 3 }),
        json!({ "fault": "cors_headers", "tokens": 3 }),
        json!({ "fault": "html" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = chat(true, demo);
        body["messages"][0]["content"] = "canary-prompt".into();
        let mut request = with(post(&body), "x-request-id", &format!("secret-{number}"));
        *request.uri_mut() = "https://localhost/v1/chat/completions?canary-query=1".parse().unwrap();
        request = with(request, "authorization", "Bearer canary-credential");
        request = with(with(request, "cookie", "a=canary-cookie"), "x-api-key", "canary-credential");
        let response = soon(client.send_request(request)).await.unwrap();
        let head = format!("{:?}", response.headers());
        let told: String = Events::of(response).rest().await.into_iter().map(|event| event.text).collect();
        for secret in secrets.iter().filter(|secret| **secret != "canary-prompt") {
            assert!(!head.contains(secret) && !told.contains(secret), "{number}: the client was told {secret}");
        }
        child.logged(&format!("secret-{number}")).await;
    }
    // the test would see it: the key did go up, the client's did not
    let up = child.demo.requests();
    assert!(up.iter().all(|request| request.headers["authorization"] == format!("Bearer {key}")));
    assert!(up.iter().all(|request| !format!("{:?}", request.headers).contains("canary-cookie")));
    let exposition = crate::support::gateway::exchange(&child.admin, "GET /metrics", "").await;
    let log = child.server.output().join("\n");
    for secret in secrets {
        assert!(!exposition.contains(secret), "{secret} in the metrics");
        assert!(!log.contains(secret), "{secret} in the log");
    }
}

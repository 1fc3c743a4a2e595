//! The OpenAI SDKs, unchanged, against the gateway: over TLS, with the certificate authority given.

use serde_json::{Value, json};

use crate::support::gateway::{AUTO, Gateway, Setup, Upstream};
use crate::support::process::{node, python};

/// Fast enough for a test, slow enough that a stream can be left, and that a busy machine does not gather it.
const PACE: &str = r#"{"demo":{"first_token_ms":50,"tokens_per_second":20}}"#;

#[tokio::test]
async fn openai_python_streams_and_is_told_of_errors() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream, Setup::default()).await;
    let base_url = format!("{}/v1", gateway.url);
    let trust = [("SSL_CERT_FILE", gateway.ca.to_str().unwrap())];
    let seen = python("clients/openai_stream.py", &[&base_url, "demo", PACE], &trust).await;
    assert_works(&seen, &upstream, &gateway).await;
}

#[tokio::test]
async fn openai_node_streams_and_is_told_of_errors() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream, Setup::default()).await;
    let base_url = format!("{}/v1", gateway.url);
    let trust = [("NODE_EXTRA_CA_CERTS", gateway.ca.to_str().unwrap())];
    let seen = node("clients/openai_stream.mjs", &[&base_url, "demo", PACE], &trust).await;
    assert_works(&seen, &upstream, &gateway).await;
}

/// With `auto`, kept answers, and a budget that is soon spent.
async fn start_saving() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let more = format!("{AUTO}[cost]\nbudget_per_day = 0.5\n");
    let gateway = Gateway::start(&upstream, Setup { more: &more, ..Setup::default() }).await;
    (upstream, gateway)
}

#[tokio::test]
async fn openai_python_takes_kept_answers_and_is_told_of_a_spent_budget_at_once() {
    let (_upstream, gateway) = start_saving().await;
    let trust = [("SSL_CERT_FILE", gateway.ca.to_str().unwrap())];
    assert_saves(&python("clients/openai_auto.py", &[&format!("{}/v1", gateway.url)], &trust).await);
}

#[tokio::test]
async fn openai_node_takes_kept_answers_and_is_told_of_a_spent_budget_at_once() {
    let (_upstream, gateway) = start_saving().await;
    let trust = [("NODE_EXTRA_CA_CERTS", gateway.ca.to_str().unwrap())];
    assert_saves(&node("clients/openai_auto.mjs", &[&format!("{}/v1", gateway.url)], &trust).await);
}

/// Both programs ask the same three times, streamed twice, over HTTP/1.1; then for more than the budget holds.
fn assert_saves(seen: &Value) {
    for (index, cached) in ["miss", "hit", "hit"].into_iter().enumerate() {
        let answer = &seen["answers"][index];
        assert_eq!((&answer["model"], &answer["cache"]), (&json!("cheap"), &json!(cached)), "{seen}");
        assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()), "{seen}");
        assert_eq!(
            (&answer["text"], &answer["usage"]),
            (&seen["answers"][0]["text"], &seen["answers"][0]["usage"]),
            "{seen}"
        );
    }
    let refused = &seen["refused"];
    assert_eq!((&refused["raised"], &refused["code"]), (&json!("RateLimitError"), &json!("budget_exceeded")), "{seen}");
}

/// Both programs send the same requests and print the same facts.
async fn assert_works(seen: &Value, upstream: &Upstream, gateway: &Gateway) {
    let mut request = json!({
        "model": "demo", "messages": [{ "role": "user", "content": "Say hello." }], "max_tokens": 24, "temperature": 0,
    });
    request["demo"] = serde_json::from_str::<Value>(PACE).unwrap()["demo"].take();
    let text = upstream.text(&request).await;
    assert_eq!(seen["models"], json!(["demo"]));

    let stream = &seen["stream"];
    assert_eq!(
        (&stream["text"], &stream["model"], &stream["finish"]),
        (&json!(text), &json!("demo"), &json!("length"))
    );
    assert_eq!(stream["usage"]["completion_tokens"], 24);
    let time = |name: &str| stream[name].as_f64().unwrap();
    assert!(time("first_token_ms") >= 50.0, "{stream}");
    // 24 tokens, one every 50 ms: had something gathered them, the last would have come with the first
    assert!(time("last_token_ms") - time("first_token_ms") >= 0.25 * 23.0 * 50.0, "{stream}");

    let whole = &seen["whole"];
    assert_eq!((&whole["text"], &whole["finish"]), (&json!(text), &json!("length")));
    assert!(whole["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{whole}");

    let error = &seen["unknown_model"];
    assert_eq!(
        (&error["raised"], &error["status"], &error["code"]),
        (&json!("NotFoundError"), &json!(404), &json!("model_not_found"))
    );
    assert!(error["message"].as_str().unwrap().contains("GET /v1/models"), "{error}");
    assert!(error["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{error}");

    // a chunk that has already come in may still be handed out
    let abort = &seen["abort"];
    assert!(abort["aborted"] == true && (3..40).contains(&abort["tokens"].as_u64().unwrap()), "{abort}");
    gateway.until_metric("tokenway_streams_active", 0.0).await;
    let gone = r#"tokenway_requests_total{model="demo",outcome="client_gone""#;
    gateway.until_metric(gone, 1.0).await;
}

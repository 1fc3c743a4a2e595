//! The OpenAI SDKs, unchanged: what is kept tells them what the model told.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Setup, Upstream};
use crate::support::process::{node, python};

/// Fast enough for a test, slow enough that a stream of 400 tokens is left before its end.
const KNOBS: &str = r#"{"demo":{"tokens_per_second":50}}"#;
const CACHE: Setup<'_> = Setup { server: "", stream: "", cors: "", more: "[cache]\nenabled = true" };

#[tokio::test]
async fn openai_python_reads_hits_as_it_reads_answers() {
    let (upstream, program) = (Upstream::start().await, "clients/openai_stream.py");
    let gateway = Gateway::start(&upstream, CACHE).await;
    let base_url = format!("{}/v1", gateway.url);
    let trust = [("SSL_CERT_FILE", gateway.ca.to_str().unwrap())];
    let arguments = [&*base_url, "demo", KNOBS];
    let first = python(program, &arguments, &trust).await;
    let again = python(program, &arguments, &trust).await;
    assert_same(&first, &again, &gateway).await;
}

#[tokio::test]
async fn openai_node_reads_hits_as_it_reads_answers() {
    let (upstream, program) = (Upstream::start().await, "clients/openai_stream.mjs");
    let gateway = Gateway::start(&upstream, CACHE).await;
    let base_url = format!("{}/v1", gateway.url);
    let trust = [("NODE_EXTRA_CA_CERTS", gateway.ca.to_str().unwrap())];
    let arguments = [&*base_url, "demo", KNOBS];
    let first = node(program, &arguments, &trust).await;
    let again = node(program, &arguments, &trust).await;
    assert_same(&first, &again, &gateway).await;
}

/// Each program asks for a stream, then for the same as a whole, and leaves another stream in its midst.
async fn assert_same(first: &Value, again: &Value, gateway: &Gateway) {
    for fact in ["text", "finish", "model", "usage", "tokens"] {
        assert_eq!(first["stream"][fact], again["stream"][fact], "{fact}");
        assert_ne!(first["stream"][fact], Value::Null, "{fact}");
    }
    for seen in [first, again] {
        assert_eq!((&seen["whole"]["text"], &seen["whole"]["finish"]), (&first["stream"]["text"], &json!("length")));
    }
    gateway.until_metric("tokenway_cache_total{result=\"hit\"}", 3.0).await;
    gateway.until_metric("tokenway_cache_total{result=\"miss\"}", 3.0).await;
}

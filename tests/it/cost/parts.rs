//! What an upstream's report does not decide: counts that cannot be true, and images, audio and files without a report.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{PRICED, dollars};
use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::scripted::{Scripted, answer, read_request};

/// A gateway whose model `dear` answers so, on each connection.
async fn before(answer: String, cost: &str, limits: &str) -> (Edge, Scripted) {
    let upstream = Scripted::start(move |mut socket| {
        let answer = answer.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let more = format!("{PRICED}\n[cost]\n{cost}");
    let edge = Edge::start(Setup { upstream: Some(upstream.address), more: &more, limits, ..Setup::default() }).await;
    (edge, upstream)
}

fn document(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_usage_that_cannot_be_true_costs_what_the_answer_is_worth_and_locks_nobody_out() {
    let events = |usage: &Value| {
        let output = r#"{"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}"#;
        let body = format!("data: {output}\n\ndata: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let choices = json!([{ "message": { "content": "hello" }, "finish_reason": "stop" }]);
    for usage in [
        json!({ "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX }),
        json!({ "prompt_tokens": 9, "completion_tokens": 1_u64 << 39 }),
        json!({ "prompt_tokens": 1_000_000_000_000_u64, "completion_tokens": 2 }),
    ] {
        for stream in [false, true] {
            let told = if stream {
                events(&usage)
            } else {
                document(&json!({ "choices": choices, "usage": usage }).to_string())
            };
            let (edge, _upstream) = before(told, "budget_per_day = 0.1", "").await;
            let mut request = if stream { streaming("dear", json!({})) } else { whole("dear", json!({})) };
            request["max_tokens"] = 50.into();
            for asked in 1..=3 {
                let answer = edge.client(Version::Http2).await.ask(&request).await;
                assert_eq!(answer.status(), 200, "{usage}: its budget is not spent");
                answer.rest().await;
                edge.until_ended("dear", 200, "ok", asked).await;
            }
            assert!(dollars(&edge.metrics, "tokenway_cost_dollars_total") < 0.01, "{usage}");
            assert_eq!(edge.metric("tokenway_usage_implausible_total{model=\"dear\"}"), 3.0, "{usage}");
            assert_eq!(edge.metric("tokenway_tokens_total{direction=\"output\",model=\"dear\",source=\"usage\"}"), 0.0);
        }
    }
}

/// A request with so many images.
fn pictures(images: usize) -> Value {
    let image = json!({ "type": "image_url", "image_url": { "url": "https://a.example/i.png", "detail": "high" } });
    let mut request = whole("dear", json!({}));
    request["max_tokens"] = 10.into();
    request["messages"] = json!([{ "role": "user", "content": vec![image; images] }]);
    request
}

#[tokio::test]
async fn images_are_paid_where_no_usage_comes_and_are_in_the_budget() {
    let (edge, _upstream) = before(answer(), "tokens_per_image = 1000\nbudget_per_day = 0.4", "").await;
    let mut client = edge.client(Version::Http2).await;
    let told = client.ask(&pictures(110)).await;
    assert_eq!(told.status(), 200);
    // 110,000 tokens at 2.50 a million
    let cost: f64 = told.header("tokenway-cost").parse().unwrap();
    assert!((0.275..0.276).contains(&cost), "{cost}");
    told.rest().await;
    edge.until_ended("dear", 200, "ok", 1).await;
    let refused = client.ask(&pictures(110)).await;
    assert_eq!((refused.status(), refused.error_code().await.as_str()), (429, "budget_exceeded"));
}

#[tokio::test]
async fn images_audio_and_files_are_in_the_token_limits() {
    let data = "A".repeat(400_000);
    let parts = [
        json!({ "type": "image_url", "image_url": { "url": "https://a.example/i.png" } }),
        json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } }),
        json!({ "type": "file", "file": { "file_data": data } }),
    ];
    for part in parts {
        let (edge, _upstream) = before(answer(), "", "tokens_per_minute = 1000\nrequests_per_minute = 0").await;
        let mut request = pictures(0);
        request["messages"] = json!([{ "role": "user", "content": [part] }]);
        let mut client = edge.client(Version::Http2).await;
        // the first one takes the tokens of a minute, whatever it needs
        client.ask(&request).await.rest().await;
        edge.until_ended("dear", 200, "ok", 1).await;
        let refused = client.ask(&request).await;
        assert_eq!((refused.status(), refused.error_code().await.as_str()), (429, "rate_limited"));
    }
}

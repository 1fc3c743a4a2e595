//! The good path: every byte, in order, the moment it is there.

use demo_upstream::expected_stream;
use serde_json::json;

use crate::support::edge::{
    Edge, FIRST_KEY, ORIGIN, Setup, Version, completion, expected, is_usage_only, post, streaming, whole,
};

#[tokio::test]
async fn each_event_arrives_before_the_next_one_exists() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        let mut request = streaming("demo", json!({ "tokens": 20 }));
        request["stream_options"] = json!({ "include_usage": true });
        let events = expected(&request);
        assert_eq!((events.len(), &events.last().unwrap()[..]), (24, &b"data: [DONE]\n\n"[..]));
        // from the first output on: the role waits for it
        for held in 2..events.len() {
            request["demo"]["hold"] = held.into();
            let mut answer = client.ask(&request).await;
            let before = answer.take(events[..held].concat().len()).await;
            assert_eq!(before, events[..held].concat());
            edge.first.release(1);
            assert_eq!(answer.rest().await, events[held..].concat());
        }
    }
    edge.until_ended("demo", 200, "ok", 2 * 22).await;
    assert_eq!(edge.metric("tokenway_requests_total"), 2.0 * 22.0);
}

#[tokio::test]
async fn the_usage_only_chunk_stays_inside_unless_it_was_asked_for() {
    let edge = Edge::start(Setup::default()).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        for asked in [json!(null), json!({}), json!({ "include_usage": false }), json!({ "include_usage": true })] {
            let mut request = streaming("demo", json!({ "tokens": 7 }));
            request["stream_options"] = asked.clone();
            let body = edge.client(version).await.ask(&request).await.rest().await;
            assert_eq!(body, expected(&request).concat(), "{asked}");
            assert_eq!(is_usage_only(&body), asked["include_usage"] == json!(true), "{asked}");
        }
        // the upstream's count in any case
        let counted =
            |direction| format!("tokenway_tokens_total{{direction=\"{direction}\",model=\"demo\",source=\"usage\"}}");
        edge.until_ended("demo", 200, "ok", 4 * round).await;
        assert_eq!(edge.metric(&counted("output")), 28.0 * round as f64);
        assert!(edge.metric(&counted("input")) > 0.0);
        assert_eq!(edge.metrics.tokens.with_label_values(&["demo", "output", "estimate"]).get(), 0);
    }
}

#[tokio::test]
async fn every_kind_of_output_goes_through_unchanged() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        for script in ["text", "reasoning", "tool_call", "refusal"] {
            for tokens in [1, 30] {
                let request = streaming("demo", json!({ "script": script, "tokens": tokens }));
                let body = edge.client(version).await.ask(&request).await.rest().await;
                assert_eq!(body, expected(&request).concat(), "{script}");
                let request = whole("demo", json!({ "script": script, "tokens": tokens }));
                let body = edge.client(version).await.ask(&request).await.rest().await;
                assert_eq!(body, expected_stream(request.to_string().as_bytes()).concat(), "{script}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_s_head_says_what_it_is_and_who_answers() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        let mut request = completion(&streaming("careful", json!({})));
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        request.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
        let answer = edge.client(version).await.send(request).await;
        assert_eq!(answer.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
            ("content-length", ""),
            ("content-encoding", ""),
            ("x-request-id", "mine-1"),
            ("tokenway-model", "careful"),
            ("tokenway-upstream", "one"),
            ("tokenway-cache", "off"),
            ("tokenway-attempts", "1"),
            ("access-control-allow-origin", ORIGIN),
            ("access-control-allow-credentials", ""),
            ("timing-allow-origin", ORIGIN),
        ] {
            assert_eq!(answer.header(name), value, "{name} over {version:?}");
        }
        assert!(answer.header("vary").to_ascii_lowercase().contains("origin"));
        assert!(answer.header("access-control-expose-headers").contains("tokenway-model"));
        let timing = answer.header("server-timing").replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(timing, "gateway;dur=., upstream;dur=.");
        answer.rest().await;
        let asked = edge.first.requests().pop().unwrap();
        assert_eq!(asked.headers["authorization"], format!("Bearer {FIRST_KEY}"));
        assert_eq!(asked.headers["accept-encoding"], "identity");
        assert_eq!(asked.headers["x-request-id"], "mine-1");
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!((&body["model"], &body["stream_options"]["include_usage"]), (&json!("model-at-one"), &json!(true)));
    }
}

#[tokio::test]
async fn the_short_form_streams_and_answers_in_one_piece() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        let short = |stream: bool| json!({ "model": "demo", "messages": [{ "role": "user", "content": "Żółw?" }], "stream": stream });
        let streamed = client.send(post("/v1/chat", short(true).to_string())).await;
        assert_eq!((streamed.status(), streamed.header("content-type")), (200, "text/event-stream"));
        assert_eq!(streamed.rest().await, expected(&short(true)).concat());

        let answer = client.send(post("/v1/chat", short(false).to_string())).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, "application/json"));
        assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("demo", "1"));
        let answer = answer.json().await;
        let document = expected_stream(short(false).to_string().as_bytes()).concat();
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(
            answer,
            json!({ "content": document["choices"][0]["message"]["content"], "usage": document["usage"], "model": "demo" })
        );
    }
}

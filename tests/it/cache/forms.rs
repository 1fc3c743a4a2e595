//! One entry, told in the form that each request wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{ask, ids, keeping, text, told, with_cache};
use crate::support::edge::{Setup, Version, expected, is_usage_only, post, streaming, whole};
use crate::support::scripted::{self, Scripted, read_request};

fn data(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_whole_answer_comes_out_of_a_kept_stream_as_the_upstream_would_have_given_it() {
    let edge = keeping("").await;
    for script in ["text", "tool_call", "reasoning"] {
        let knobs = json!({ "tokens": 20, "script": script });
        told(ask(&edge, &streaming("demo", knobs.clone())).await).await;
        let (cache, json) = told(ask(&edge, &whole("demo", knobs.clone())).await).await;
        assert_eq!(cache, "hit", "{script}");
        let again: Value = serde_json::from_str(&json).unwrap();
        let upstreams = demo_upstream::expected_stream(whole("demo", knobs).to_string().as_bytes());
        let mut upstreams: Value = serde_json::from_slice(&upstreams[0]).unwrap();
        // said in no stream
        upstreams["choices"][0]["message"].as_object_mut().unwrap().remove("annotations");
        for same in ["object", "choices", "usage", "model"] {
            assert_eq!(again[same], upstreams[same], "{script}: {same}");
        }
    }
    assert_eq!(edge.first.counts().requests, 3);
}

#[tokio::test]
async fn a_stream_comes_out_of_a_kept_whole_answer() {
    let edge = keeping("").await;
    for script in ["text", "tool_call", "reasoning"] {
        let knobs = json!({ "tokens": 20, "script": script });
        let (miss, first) = told(ask(&edge, &whole("demo", knobs.clone())).await).await;
        let (hit, stream) = told(ask(&edge, &streaming("demo", knobs)).await).await;
        assert_eq!((&*miss, &*hit), ("miss", "hit"), "{script}");
        assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
        let chunks = data(&stream);
        let first: Value = serde_json::from_str(&first).unwrap();
        let message = &first["choices"][0]["message"];
        for member in ["content", "reasoning_content"] {
            let said: String =
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][member].as_str()).collect();
            assert_eq!(said, message[member].as_str().unwrap_or_default(), "{script}: {member}");
        }
        let calls = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str());
        let arguments = message["tool_calls"][0]["function"]["arguments"].as_str();
        assert_eq!(calls.collect::<String>(), arguments.unwrap_or_default());
        let reasons: Vec<&str> =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
        assert_eq!(reasons, [first["choices"][0]["finish_reason"].as_str().unwrap()]);
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()), "nobody asked for the usage");
        assert_ne!(ids(&stream)[0], first["id"].as_str().unwrap());
    }
}

#[tokio::test]
async fn the_usage_comes_to_those_who_ask_for_it_whoever_asked_first() {
    let edge = keeping("").await;
    let without = streaming("demo", json!({ "tokens": 5 }));
    let mut asking = without.clone();
    asking["stream_options"] = json!({ "include_usage": true });
    let (_, first) = told(ask(&edge, &without).await).await;
    assert_eq!(first, text(&expected(&without)));
    let (cache, again) = told(ask(&edge, &asking).await).await;
    assert_eq!(cache, "hit");
    let chunks = data(&again);
    assert!(is_usage_only(chunks.last().unwrap().to_string().as_bytes()), "{again}");
    let (cache, again) = told(ask(&edge, &without).await).await;
    assert_eq!((&*cache, data(&again).len() + 1), ("hit", chunks.len()));
}

#[tokio::test]
async fn the_short_form_is_answered_out_of_either() {
    let edge = keeping("").await;
    let short = |stream: bool| {
        post(
            "/v1/chat",
            json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": stream}).to_string(),
        )
    };
    let (miss, stream) = told(edge.client(Version::Http1).await.send(short(true)).await).await;
    let (hit, json) = told(edge.client(Version::Http1).await.send(short(false)).await).await;
    assert_eq!((&*miss, &*hit), ("miss", "hit"));
    let said: String = data(&stream)
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["content"].as_str().unwrap(), json["model"].as_str().unwrap()), (&*said, "demo"));
    // and the long form of the same
    let long = json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(told(ask(&edge, &long).await).await.0, "hit");
}

/// An upstream that gives these answers, one to each request.
async fn answering(answers: Vec<String>) -> Scripted {
    let (answers, next) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    let script = move |mut socket| {
        let (answers, next) = (Arc::clone(&answers), Arc::clone(&next));
        async move {
            while read_request(&mut socket).await.is_some() {
                let answer = &answers[next.fetch_add(1, Ordering::Relaxed)];
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        }
    };
    Scripted::start(script).await
}

#[tokio::test]
async fn what_cannot_be_told_in_the_form_that_is_wanted_is_asked_for_in_it() {
    // half a surrogate pair (RFC 8259 §8.2), as a server writes it that cuts text between UTF-16 units
    let odd = r#"data: {"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}"#;
    let end = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let body = format!("{odd}\n\n{end}\n\ndata: [DONE]\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length:";
    let streamed = format!("{head} {}\r\n\r\n{body}", body.len());
    let upstream = answering(vec![streamed, scripted::answer()]).await;
    let edge = with_cache("", Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
    let knobs = json!({});
    assert_eq!(told(ask(&edge, &streaming("demo", knobs.clone())).await).await, ("miss".to_owned(), body.clone()));
    assert_eq!(told(ask(&edge, &streaming("demo", knobs.clone())).await).await, ("hit".to_owned(), body));
    let (cache, json) = told(ask(&edge, &whole("demo", knobs)).await).await;
    assert_eq!((&*cache, json.contains("hello")), ("miss", true), "{json}");
}

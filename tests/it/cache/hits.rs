//! What is kept, told again.

use serde_json::json;

use super::{ask, ask_with, assert_retold, ids, keeping, renamed, text, told, with, with_cache};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, expected, post, streaming};
use crate::support::{log, soon};

#[tokio::test]
async fn a_hit_has_the_same_events_and_bytes_but_for_the_id_and_no_upstream_is_asked() {
    let edge = keeping("").await;
    for script in ["text", "tool_call", "reasoning"] {
        let request = streaming("demo", json!({ "tokens": 20, "script": script }));
        let (miss, first) = told(ask(&edge, &request).await).await;
        let hit = ask(&edge, &request).await;
        let age: u64 = hit.header("age").parse().unwrap();
        assert!(age < 20, "{age}");
        assert_eq!((hit.header("tokenway-model"), hit.header("tokenway-upstream")), ("demo", "one"));
        assert_eq!(hit.header("tokenway-attempts"), "0");
        assert_eq!(hit.header("content-type"), "text/event-stream");
        let (hit, again) = told(hit).await;
        assert_eq!((&*miss, &*hit), ("miss", "hit"), "{script}");
        assert_eq!(first, text(&expected(&request)));
        assert_retold(&again, &first);
        let (_, third) = told(ask(&edge, &request).await).await;
        assert_ne!(ids(&third)[0], ids(&again)[0], "each answer has an id of its own");
    }
    assert_eq!(edge.first.counts().requests, 3);
    assert_eq!(edge.metric("tokenway_cache_total{result=\"miss\"}"), 3.0);
    assert_eq!(edge.metric("tokenway_cache_total{result=\"hit\"}"), 6.0);
}

#[tokio::test]
async fn a_hit_is_paced_where_that_is_configured_and_says_the_same() {
    let edge = keeping("replay = \"paced\"").await;
    let request = streaming("demo", json!({ "tokens": 5, "tokens_per_second": 4 }));
    let (_, first) = told(ask(&edge, &request).await).await;
    let began = tokio::time::Instant::now();
    let (cache, again) = told(ask(&edge, &request).await).await;
    assert_eq!(cache, "hit");
    // four pauses of 250 ms, less how late the first event was kept on a busy machine; unpaced, it is some milliseconds
    assert!(began.elapsed().as_millis() >= 300, "{:?}", began.elapsed());
    assert_retold(&again, &first);
}

#[tokio::test]
async fn the_order_of_members_the_spelling_of_numbers_and_the_form_make_no_other_request() {
    let edge = keeping("").await;
    let bodies = [
        r#"{"model":"demo","messages":[{"role":"user","content":"Hi é"}],"temperature":1,"stream":true,"demo":{"tokens":5}}"#,
        r#"{ "stream_options":{"include_usage":true}, "temperature":1.0,"demo":{"tokens":50e-1},"stream":true,
            "messages":[{"content":"\u0048i \u00e9","role":"user"}], "model":"demo" }"#,
        r#"{"temperature":10e-1,"model":"demo","messages":[{"role":"user","content":"Hi é"}],"demo":{"tokens":5}}"#,
    ];
    let mut results = Vec::new();
    for body in bodies {
        let answer = edge.client(Version::Http1).await.send(post("/v1/chat/completions", body)).await;
        results.push(told(answer).await.0);
    }
    assert_eq!(results, ["miss", "hit", "hit"]);
    let other = bodies[0].replace("\"temperature\":1", "\"temperature\":1.1");
    let answer = edge.client(Version::Http1).await.send(post("/v1/chat/completions", other)).await;
    assert_eq!(told(answer).await.0, "miss");
}

#[tokio::test]
async fn no_other_caller_gets_a_kept_answer_unless_the_scope_is_shared() {
    for (scope, expected) in [("client", ["miss", "miss", "miss", "hit"]), ("shared", ["miss", "hit", "hit", "hit"])] {
        let setup = Setup { server: "trusted_proxies = [\"127.0.0.1\"]", ..Setup::default() };
        let edge = with_cache(&format!("scope = \"{scope}\""), setup).await;
        let request = streaming("demo", json!({ "tokens": 4 }));
        let mut results = Vec::new();
        for (address, origin) in
            [("192.0.2.1", None), ("192.0.2.2", None), ("192.0.2.1", Some(ORIGIN)), ("192.0.2.1", Some(ORIGIN))]
        {
            let mut request = with(completion(&request), "x-forwarded-for", address);
            if let Some(origin) = origin {
                request = with(request, "origin", origin);
            }
            results.push(told(edge.client(Version::Http1).await.send(request).await).await.0);
        }
        assert_eq!(results, expected, "{scope}");
    }
}

#[tokio::test]
async fn what_did_not_end_cleanly_is_not_kept() {
    let edge = keeping("").await;
    for fault in ["reset_after_events", "clean_eof_without_done", "error_event", "disconnect_mid_event", "short_length"]
    {
        let request = streaming("demo", json!({ "tokens": 8, "fault": fault, "at": 3 }));
        for attempt in 0..2 {
            let answer = ask(&edge, &request).await;
            let cache = answer.header("tokenway-cache").to_owned();
            assert_eq!(cache, "miss", "{fault} {attempt}");
            let _ = answer.until_end().await;
        }
    }
    let refused = streaming("demo", json!({ "fault": "status_429" }));
    for _ in 0..2 {
        assert_eq!(ask(&edge, &refused).await.status(), 429);
    }
    assert_eq!(edge.metric("tokenway_cache_total{result=\"hit\"}"), 0.0);
}

#[tokio::test]
async fn an_answer_of_a_fallback_is_kept_for_the_model_that_gave_it() {
    let edge = with_cache("", Setup { first: broken(), ..Setup::default() }).await;
    let request = |model| {
        let mut request = streaming(model, json!({}));
        request.as_object_mut().unwrap().remove("demo");
        request
    };
    let (miss, first) = told(ask(&edge, &request("careful")).await).await;
    let spare = ask(&edge, &request("spare")).await;
    assert_eq!(spare.header("tokenway-model"), "spare");
    let (hit, again) = told(spare).await;
    assert_eq!((&*miss, &*hit), ("miss", "hit"));
    assert_retold(&again, &first);
    assert_eq!(told(ask(&edge, &request("careful")).await).await.0, "miss", "the model that failed may be back");
}

fn broken() -> demo_upstream::Knobs {
    demo_upstream::Knobs { fault: Some(demo_upstream::Fault::Status503), ..Default::default() }
}

#[tokio::test]
async fn an_answer_over_the_bound_is_passed_on_whole_and_not_kept() {
    let edge = keeping("max_entry = \"4KiB\"").await;
    let request = streaming("demo", json!({ "tokens": 200 }));
    for _ in 0..2 {
        let (cache, stream) = told(ask(&edge, &request).await).await;
        assert_eq!((&*cache, stream), ("miss", text(&expected(&request))));
    }
}

#[tokio::test]
async fn a_hit_is_measured_as_a_request_of_its_own_and_costs_nothing() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    told(ask_with(&edge, &request, "x-request-id", "the-miss-of-the-meter").await).await;
    edge.until_ended("demo", 200, "ok", 1).await;
    let tokens = edge.metric("tokenway_tokens_total");
    let hit = ask_with(&edge, &request, "x-request-id", "the-hit-of-the-meter").await;
    told(hit).await;
    edge.until_ended("demo", 200, "ok", 2).await;
    assert_eq!(edge.metric("tokenway_tokens_total"), tokens, "no upstream has counted any");
    let line = soon(logged("the-hit-of-the-meter")).await;
    for fact in ["cache=\"hit\"", "outcome=\"ok\"", "attempts=0", "cost=\"0", "ttft_ms=", "tokens_from=\"usage\""] {
        assert!(line.contains(fact), "{fact}: {line}");
    }
}

/// The log line of a request, once it is there.
async fn logged(request_id: &str) -> String {
    let named = format!("request_id=\"{request_id}\"");
    loop {
        let text = log::text();
        if let Some(line) = text.lines().find(|line| line.contains("tokenway::request") && line.contains(&named)) {
            return line.to_owned();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_cache_every_answer_says_off() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    for _ in 0..2 {
        assert_eq!(told(ask(&edge, &request).await).await.0, "off");
    }
    assert_eq!(edge.metric("tokenway_cache_total"), 0.0);
}

#[tokio::test]
async fn a_resumable_stream_comes_out_of_the_cache_and_goes_into_it() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 12 }));
    let resumable = || with(completion(&request), "tokenway-resumable", "true");
    let (miss, first) = told(edge.client(Version::Http2).await.send(resumable()).await).await;
    assert_eq!((&*miss, &*first), ("miss", &*text(&expected(&request))));
    let (hit, again) = told(ask(&edge, &request).await).await;
    assert_eq!(hit, "hit");
    assert_retold(&again, &first);
    let answer = edge.client(Version::Http1).await.send(resumable()).await;
    let stream = answer.header("tokenway-stream-id").to_owned();
    assert!(!stream.is_empty());
    let (hit, again) = told(answer).await;
    assert_eq!(hit, "hit");
    assert_retold(&again, &first);
    // and an EventSource
    let made = edge.client(Version::Http1).await.send(post("/v1/streams", request.to_string())).await;
    assert_eq!(made.status(), 201);
    let url = made.json().await["url"].as_str().unwrap().to_owned();
    let path = url.split_once("/v1/").unwrap().1;
    let read = edge.client(Version::Http1).await.send(crate::support::client::get(&format!("/v1/{path}"))).await;
    let numbered = String::from_utf8(read.rest().await.to_vec()).unwrap();
    let plain: String = numbered
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("id: ") && !line.starts_with("retry: ") && !line.starts_with(": hb"))
        .collect();
    assert_eq!(renamed(&plain, &ids(&first)[0]), first);
    assert_eq!(edge.first.counts().requests, 1);
}

//! Limits as a caller meets them: what is counted, what is told, and that nothing stays taken.

mod leases;
mod scripts;
mod shared;
mod trouble;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::client::{empty, get, request};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, streaming, whole};

/// What one caller asks for quickly.
fn quick() -> serde_json::Value {
    whole("demo", json!({ "tokens": 5 }))
}

/// The value of `ratelimit` for one policy: what remains of it.
fn remaining(answer: &Answer, policy: &str) -> u64 {
    let fields = answer.header("ratelimit");
    let item = fields.split(", ").find_map(|item| item.strip_prefix(&format!("\"{policy}\";r=")));
    let item = item.unwrap_or_else(|| panic!("no {policy} in {fields:?}"));
    item.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn over_the_limit_is_429_which_the_page_can_read() {
    let edge = Edge::start(Setup { limits: "requests_per_minute = 6\nburst = 2", ..Setup::default() }).await;
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        // preflights and health checks are nobody's requests
        for _ in 0..20 {
            let mut preflight = request("OPTIONS", "/v1/chat/completions", empty());
            preflight.headers_mut().insert("origin", ORIGIN.parse().unwrap());
            preflight.headers_mut().insert("access-control-request-method", "POST".parse().unwrap());
            assert_eq!(client.send(preflight).await.status(), 204);
            assert_eq!(client.send(get("/healthz")).await.status(), 200);
        }
    }
    let mut client = edge.client(Version::Http2).await;
    for left in [1, 0] {
        let answer = client.ask(&quick()).await;
        assert_eq!((answer.status(), remaining(&answer, "requests")), (200, left));
        assert_eq!(answer.header("ratelimit-remaining"), left.to_string());
    }
    let mut refused = completion(&streaming("demo", json!({})));
    refused.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    let answer = client.send(refused).await;
    assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (429, ORIGIN));
    assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=6;w=60");
    assert_eq!((answer.header("ratelimit-limit"), remaining(&answer, "requests")), ("6", 0));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    let reset: u64 = answer.header("ratelimit-reset").parse().unwrap();
    assert!((1..=10).contains(&wait) && (wait..=20).contains(&reset), "{wait} {reset}");
    let exposed = answer.header("access-control-expose-headers").to_owned();
    for name in
        answer.head.headers.keys().filter(|name| name.as_str().starts_with("ratelimit") || *name == "retry-after")
    {
        assert!(exposed.split(',').any(|other| other.trim() == name.as_str()), "{name} is not in {exposed}");
    }
    assert_eq!(answer.error_code().await, "rate_limited");
    assert_eq!(edge.metric("tokenway_rate_limited_total{limit=\"requests\"}"), 1.0);
    assert_eq!(edge.first.requests().len(), 2, "what is refused does not go up");
}

#[tokio::test]
async fn a_place_is_free_again_when_a_stream_ends_breaks_or_is_left() {
    let edge =
        Edge::start(Setup { limits: "requests_per_minute = 0\nconcurrent_streams = 1", ..Setup::default() }).await;
    let held = streaming("demo", json!({ "tokens": 5, "hold": 3 }));
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        let mut other = edge.client(Version::Http2).await;
        // it ends: the next one follows at once, from the client that has just read the end
        let stream = client.ask(&held).await;
        assert_eq!((stream.status(), remaining(&stream, "streams")), (200, 0));
        let refused = other.ask(&quick()).await;
        assert_eq!((refused.status(), refused.header("retry-after")), (429, "2"));
        edge.first.release(1);
        stream.rest().await;
        let next = client.ask(&quick()).await;
        assert_eq!(next.status(), 200);
        next.rest().await;
        // it breaks
        let broken = client.ask(&streaming("demo", json!({ "fault": "reset_after_events", "at": 2 }))).await;
        assert_eq!(broken.status(), 200);
        broken.rest().await;
        let next = client.ask(&quick()).await;
        assert_eq!(next.status(), 200);
        next.rest().await;
        // no upstream answers
        assert_eq!(client.ask(&streaming("demo", json!({ "fault": "status_500" }))).await.status(), 502);
        // it is left
        let before = edge.ended_on("chat_completions", "demo", 200, "client_gone");
        let mut leaving = edge.client(version).await;
        let stream = leaving.ask(&held).await;
        assert_eq!(stream.status(), 200);
        drop((stream, leaving));
        edge.until_ended("demo", 200, "client_gone", before + 1).await;
        let next = other.ask(&quick()).await;
        assert_eq!(next.status(), 200);
        next.rest().await;
    }
    assert_eq!(edge.metric("tokenway_rate_limited_total{limit=\"streams\"}"), 2.0);
}

#[tokio::test]
async fn tokens_are_settled_with_the_upstreams_count_or_an_estimate() {
    let limits = "requests_per_minute = 0\ntokens_per_minute = 100_000\nreserve_tokens = 40_000";
    let edge = Edge::start(Setup { limits, ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    let mut bounded = quick();
    bounded["max_tokens"] = 30_000.into();
    let answer = client.ask(&bounded).await;
    let left = remaining(&answer, "tokens");
    assert!((69_900..70_000).contains(&left), "{left}");
    answer.rest().await;
    // had the first one not been settled, there were less than 30,000
    let stream = client.ask(&streaming("demo", json!({ "tokens": 50, "hold": 20 }))).await;
    let left = remaining(&stream, "tokens");
    assert!((59_800..60_000).contains(&left), "{left}");
    // left in the middle: what had come is charged
    drop((stream, client));
    edge.until_ended("demo", 200, "client_gone", 1).await;
    let answer = edge.client(Version::Http2).await.ask(&bounded).await;
    let left = remaining(&answer, "tokens");
    assert!((69_700..69_990).contains(&left), "{left}");
}

#[tokio::test]
async fn each_choice_of_an_answer_is_reserved() {
    let limits = "requests_per_minute = 0\ntokens_per_minute = 100_000";
    let edge = Edge::start(Setup { limits, ..Setup::default() }).await;
    let mut several = quick();
    (several["max_tokens"], several["n"]) = (10_000.into(), 5.into());
    let answer = edge.client(Version::Http2).await.ask(&several).await;
    let left = remaining(&answer, "tokens");
    assert!((49_900..50_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_model_has_limits_of_its_own() {
    let limits = "requests_per_minute = 100\n[[limits.models]]\nname = \"spare\"\nrequests_per_minute = 1";
    let edge = Edge::start(Setup { limits, ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    assert_eq!(client.ask(&whole("spare", json!({}))).await.status(), 200);
    let refused = client.ask(&whole("spare", json!({}))).await;
    assert_eq!(
        (refused.status(), remaining(&refused, "requests"), remaining(&refused, "model-requests")),
        // the caller's request was taken before the model was known
        (429, 98, 0)
    );
    let other = client.ask(&quick()).await;
    assert_eq!((other.status(), remaining(&other, "requests")), (200, 97));
    assert_eq!(edge.metric("tokenway_rate_limited_total{limit=\"model_requests\"}"), 1.0);
}

#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_counted_apart_and_one_ipv6_network_together() {
    let server = "trusted_proxies = [\"127.0.0.1\"]";
    let edge = Edge::start(Setup { server, limits: "requests_per_minute = 1", ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    for (address, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("203.0.113.9, 192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::ffff:1", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        let mut request = completion(&quick());
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        assert_eq!(client.send(request).await.status(), status, "{address}");
    }
}

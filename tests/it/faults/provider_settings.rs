//! What a provider needs of its own: keys, headers, a query, usage; and what it reports on the way to the first output.

use demo_upstream::Fault;
use serde_json::json;

use super::assert_holds_no_secret;
use super::providers::{events, knobs};
use crate::support::edge::{Edge, FIRST_KEY, SECOND_KEY, Setup, Version, streaming};
use crate::support::{log, soon};

#[tokio::test]
async fn what_an_upstream_has_refused_is_not_added_again_and_what_the_client_asks_for_is_its_own() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http1).await;
    let request = streaming("demo", knobs(Fault::RefusesStreamOptions));
    for _ in 0..2 {
        let answer = client.ask(&request).await;
        assert_eq!(answer.status(), 200);
        answer.rest().await;
    }
    let sent = |at: usize| String::from_utf8(edge.first.requests()[at].body.to_vec()).unwrap();
    assert_eq!(edge.first.requests().len(), 3, "one refusal, and two streams");
    assert!(
        sent(0).contains("include_usage") && !sent(1).contains("include_usage") && !sent(2).contains("include_usage")
    );
    let mut own = request;
    own["stream_options"] = json!({ "include_usage": true });
    let answer = client.ask(&own).await;
    assert_eq!((answer.status(), answer.error_code().await.as_str()), (400, "invalid_request"));
    assert_eq!(edge.first.requests().len(), 4, "the client's own request is sent once");
}

#[tokio::test]
async fn a_refusal_for_another_reason_does_not_turn_usage_off() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http1).await;
    // a client can have its own text in an upstream's error, but then the request fails without the addition, too
    let mut bad = streaming("demo", json!({ "fault": "status_400" }));
    bad["messages"][0]["content"] = "stream_options".into();
    assert_eq!(client.ask(&bad).await.status(), 400);
    client.ask(&streaming("demo", json!({}))).await.rest().await;
    let last = edge.first.requests().pop().unwrap();
    assert!(String::from_utf8_lossy(&last.body).contains("include_usage"));
}

#[tokio::test]
async fn usage_is_not_asked_for_where_the_configuration_says_so() {
    let edge = Edge::start(Setup { one: "stream_usage = false", ..Setup::default() }).await;
    edge.client(Version::Http1).await.ask(&streaming("demo", json!({}))).await.rest().await;
    let request = edge.first.requests().remove(0);
    assert!(!String::from_utf8_lossy(&request.body).contains("stream_options"));
}

#[tokio::test]
async fn headers_query_and_the_header_of_the_key_are_the_upstream_s_own() {
    let one = "api_key_header = \"api-key\"\nheaders = { http-referer = \"https://app.example\" }\nquery = { api-version = \"2026-05-01\" }";
    let edge = Edge::start(Setup { one, ..Setup::default() }).await;
    let answer = edge.client(Version::Http1).await.ask(&streaming("demo", json!({}))).await;
    assert_eq!(answer.status(), 200);
    answer.rest().await;
    let request = edge.first.requests().remove(0);
    assert_eq!(request.headers["api-key"], FIRST_KEY);
    assert_eq!(request.headers["http-referer"], "https://app.example");
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_key_that_is_refused_rests_and_the_same_request_goes_on_with_the_next() {
    // the demo upstream accepts every key, so an upstream of its own refuses the first one
    let upstream = crate::support::keys::start(SECOND_KEY).await;
    let setup = Setup {
        one: "api_keys_env = [\"FIRST_KEY\", \"SECOND_KEY\"]",
        upstream: Some(upstream.address),
        ..Setup::default()
    };
    let edge = Edge::start(setup).await;
    let mut client = edge.client(Version::Http1).await;
    for _ in 0..4 {
        let answer = client.ask(&streaming("demo", json!({}))).await;
        assert_eq!(answer.status(), 200);
        answer.rest().await;
    }
    let keys = upstream.keys();
    assert_eq!(keys.iter().filter(|key| **key == FIRST_KEY).count(), 1, "it rests: {keys:?}");
    assert_eq!(keys.len(), 5);
    soon(edge.until_ended("demo", 200, "ok", 4)).await;
    assert_holds_no_secret(&log::text());
}

#[tokio::test]
async fn progress_reaches_the_client_before_the_first_output() {
    let edge = Edge::start(Setup::default()).await;
    // three reports, then the role; the fifth event waits
    let request = streaming("demo", json!({ "fault": "progress", "tokens": 3, "hold": 4 }));
    let mut answer = edge.client(Version::Http1).await.ask(&request).await;
    let good = events(Fault::Progress, &request);
    let begun = answer.take(good[..4].concat().len()).await;
    assert_eq!(begun, good[..4].concat());
    assert_eq!(edge.metric("tokenway_time_to_first_token_seconds_count"), 0.0, "progress is no output");
    edge.first.release(1);
    assert_eq!([begun, answer.rest().await].concat(), good.concat());
    soon(edge.until_ended("demo", 200, "ok", 1)).await;
    assert_eq!(edge.metric("tokenway_time_to_first_token_seconds_count"), 1.0);
}

#[tokio::test]
async fn progress_is_held_where_another_model_can_be_asked() {
    let edge = Edge::start(Setup::default()).await;
    let demo = json!({ "models": { "model-at-one": { "fault": "progress", "hold": 4 }, "spare": { "tokens": 2 } } });
    let request = streaming("careful", demo);
    let mut client = edge.client(Version::Http1).await;
    let answer = client.ask(&request);
    tokio::pin!(answer);
    tokio::select! {
        _ = &mut answer => panic!("nothing is sent while a fallback attempt is possible"),
        _ = edge.first.until(|counts| counts.requests == 1) => {}
    }
    edge.first.release(1);
    assert_eq!(answer.await.status(), 200);
}

#[tokio::test]
async fn the_upstream_s_id_of_the_request_is_in_the_log() {
    let edge = Edge::start(Setup::default()).await;
    let answer = edge.client(Version::Http1).await.ask(&streaming("demo", json!({}))).await;
    let id = answer.header("x-request-id").to_owned();
    answer.rest().await;
    soon(edge.until_ended("demo", 200, "ok", 1)).await;
    let log = log::text();
    let line = log.lines().find(|line| line.contains(&id) && line.contains("duration_ms")).unwrap();
    assert!(line.contains("req_demo"), "{line}");
}

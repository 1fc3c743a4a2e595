//! Identical requests in flight share one upstream stream.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{ask, assert_retold, keeping, text, told, with, with_cache};
use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, completion, expected, streaming, whole};
use crate::support::soon;

#[tokio::test]
async fn late_joiners_get_the_prefix_first_and_then_the_rest_live() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 10, "hold": 5 }));
    let events = expected(&request);
    let mut leader = ask(&edge, &request).await;
    let prefix: usize = events.iter().take(5).map(|event| event.len()).sum();
    let mut first = leader.take(prefix).await.to_vec();
    let joiners = join_all((0..4).map(|_| ask(&edge, &request))).await;
    assert!(joiners.iter().all(|joiner| joiner.header("tokenway-cache") == "joined"));
    assert!(
        joiners
            .iter()
            .all(|joiner| joiner.header("tokenway-model") == "demo" && joiner.header("tokenway-attempts") == "0")
    );
    edge.first.release(1);
    first.extend_from_slice(&leader.rest().await);
    let first = String::from_utf8(first).unwrap();
    assert_eq!(first, text(&events));
    for joiner in joiners {
        assert_retold(&told(joiner).await.1, &first);
    }
    assert_eq!(edge.first.counts().requests, 1);
    edge.until_ended("demo", 200, "ok", 5).await;
    assert_eq!(edge.metric("tokenway_cache_total{result=\"joined\"}"), 4.0);
}

#[tokio::test]
async fn the_upstream_is_cancelled_when_the_last_one_leaves_and_not_before() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 10, "hold": 5 }));
    let leader = ask(&edge, &request).await;
    let mut joiner = ask(&edge, &request).await;
    drop(leader);
    // the joiner goes on alone
    let events = expected(&request);
    joiner.take(events.iter().take(5).map(|event| event.len()).sum::<usize>()).await;
    assert_eq!(edge.first.counts().cancelled, 0);
    drop(joiner);
    soon(edge.first.until(|counts| counts.cancelled == 1)).await;
    edge.until_ended("demo", 200, "client_gone", 2).await;
    // nothing of it is left
    edge.first.release(1);
    assert_eq!(told(ask(&edge, &request).await).await.0, "miss");
}

#[tokio::test]
async fn a_leader_that_leaves_leaves_the_answer_to_the_others() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 10, "hold": 5 }));
    let leader = ask(&edge, &request).await;
    let joiner = ask(&edge, &request).await;
    drop(leader);
    edge.first.release(1);
    let (cache, stream) = told(joiner).await;
    assert_eq!(cache, "joined");
    assert_retold(&stream, &text(&expected(&request)));
    assert_eq!(edge.first.counts().cancelled, 0);
    assert_eq!(told(ask(&edge, &request).await).await.0, "hit");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_output_cancels_the_upstream() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "hold": 0 }));
    let client = edge.client(Version::Http2).await;
    client.leave_when(completion(&request), soon(edge.first.until(|counts| counts.held == 1))).await;
    soon(edge.first.until(|counts| counts.cancelled == 1)).await;
}

#[tokio::test]
async fn all_get_the_same_refusal_each_with_its_own_id_and_nothing_is_kept() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "fault": "status_503", "first_token_ms": 200 }));
    let asked = (0..3).map(|_| ask(&edge, &request));
    for answer in join_all(asked).await {
        assert_eq!(answer.status(), 503);
        answer.error_code().await;
    }
    assert_eq!(edge.metric("tokenway_cache_total{result=\"hit\"}"), 0.0);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_for_all_with_one_error_of_their_own() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 10, "fault": "reset_after_events", "at": 6, "hold": 3 }));
    let leader = ask(&edge, &request).await;
    let joiner = ask(&edge, &request).await;
    assert_eq!((leader.header("tokenway-cache"), joiner.header("tokenway-cache")), ("miss", "joined"));
    edge.first.release(1);
    let mut bodies = Vec::new();
    for answer in [leader, joiner] {
        let id = answer.header("x-request-id").to_owned();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!(code, "upstream_failure");
        bodies.push(before.len());
    }
    edge.until_ended("demo", 200, "truncated", 2).await;
}

#[tokio::test]
async fn a_whole_answer_that_shares_a_stream_which_a_shutdown_cuts_is_503_and_says_when_to_come_back() {
    let edge = keeping("").await;
    let knobs = json!({ "tokens": 6, "hold": 3 });
    let leader = ask(&edge, &streaming("demo", knobs.clone())).await;
    let mut client = edge.client(Version::Http2).await;
    let request = whole("demo", knobs);
    let (answer, ()) = tokio::join!(client.ask(&request), async {
        while edge.metric("tokenway_cache_total{result=\"joined\"}") < 1.0 {
            tokio::task::yield_now().await;
        }
        edge.open.cut();
    });
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"));
    assert_eq!(answer.error_code().await, "draining");
    edge.until_ended("other", 503, "rejected", 1).await;
    drop(leader);
}

#[tokio::test]
async fn whole_answers_are_joined_too_and_from_a_stream_as_well() {
    let edge = keeping("").await;
    let knobs = json!({ "tokens": 6, "hold": 3 });
    let leader = ask(&edge, &streaming("demo", knobs.clone())).await;
    let joining = tokio::spawn({
        let mut client = edge.client(Version::Http2).await;
        let request = whole("demo", knobs.clone());
        async move { client.ask(&request).await }
    });
    soon(until_joined(&edge, 1.0)).await;
    edge.first.release(1);
    told(leader).await;
    let (cache, json) = told(joining.await.unwrap()).await;
    assert_eq!(cache, "joined");
    let json: Value = serde_json::from_str(&json).unwrap();
    let alone = demo_upstream::expected_stream(whole("demo", knobs).to_string().as_bytes());
    let mut alone: Value = serde_json::from_slice(&alone[0]).unwrap();
    // said in no stream
    alone["choices"][0]["message"].as_object_mut().unwrap().remove("annotations");
    assert_eq!((&json["choices"], &json["usage"]), (&alone["choices"], &alone["usage"]));

    let request = whole("demo", json!({ "tokens": 7, "hold": 0 }));
    let (answers, ()) = tokio::join!(join_all((0..3).map(|_| ask(&edge, &request))), async {
        soon(until_joined(&edge, 3.0)).await;
        edge.first.release(1);
    });
    let mut caches: Vec<_> = answers.iter().map(|answer| answer.header("tokenway-cache").to_owned()).collect();
    caches.sort();
    assert_eq!(caches, ["joined", "joined", "miss"]);
    let mut ids: Vec<String> = Vec::new();
    for answer in answers {
        ids.push(answer.json().await["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(edge.first.counts().requests, 2);
}

/// Returns once so many have joined.
async fn until_joined(edge: &Edge, count: f64) {
    while edge.metric("tokenway_cache_total{result=\"joined\"}") < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_joins_a_request_of_somebody_else() {
    let setup = Setup { server: "trusted_proxies = [\"127.0.0.1\"]", ..Setup::default() };
    let edge = with_cache("", setup).await;
    let request = streaming("demo", json!({ "tokens": 10, "hold": 5 }));
    let mut answers = Vec::new();
    for address in ["192.0.2.1", "192.0.2.2"] {
        let request = with(completion(&request), "x-forwarded-for", address);
        answers.push(edge.client(Version::Http1).await.send(request).await);
    }
    assert!(answers.iter().all(|answer| answer.header("tokenway-cache") == "miss"));
    edge.first.release(2);
    for answer in answers {
        told(answer).await;
    }
}

#[tokio::test]
async fn the_slowest_reader_holds_back_a_flight_that_is_too_large_and_loses_nothing() {
    let setup = Setup { narrow: true, ..Setup::default() };
    let edge = with_cache("max_entry = \"16KiB\"", setup).await;
    // far more than the buffers on the way hold
    let request = streaming("demo", json!({ "tokens": 20_000 }));
    let slow = ask(&edge, &request).await;
    let expected = expected(&request);
    let total: usize = expected.iter().map(|event| event.len()).sum();
    let other = ask(&edge, &request).await;
    let (cache, stream) = told(other).await;
    assert_eq!((&*cache, stream.len()), ("miss", total), "nobody joins any more");
    let sent = edge.first.bytes_sent();
    assert!(sent < 2 * total as u64, "{sent} of {total} for each: the slow one is not read ahead");
    assert_eq!(told(slow).await.1, text(&expected));
}

//! Cache, budgets and limits together, in two instances that share one Redis, and what is left of that without it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::PRICED;
use super::budgets::{ask_as, bounded, nano, until_spent};
use crate::support::answer::Answer;
use crate::support::edge::{Edge, Setup, streaming};
use crate::support::redis::{Redis, Reply, ScriptedRedis};
use crate::support::soon;

const CALLER: &str = "192.0.2.1";

/// Everything that Redis has part in. Instances before the same upstream have the same routes.
async fn instance(url: &str, patience: &str, upstream: Option<&Edge>) -> Edge {
    let cache = "[cache]\nenabled = true\nredis_timeout = \"1s\"";
    let more = format!("{PRICED}\n[cost]\nbudget_per_day = 0.05\n{cache}");
    let redis = format!("url = \"{url}\"\ntimeout = \"{patience}\"");
    let setup = Setup {
        server: "trusted_proxies = [\"127.0.0.1\"]",
        limits: "requests_per_minute = 600\ntokens_per_minute = 1000000\nconcurrent_streams = 20",
        more: &more,
        redis: &redis,
        upstream: upstream.map(|edge| edge.first.addr),
        ..Setup::default()
    };
    Edge::start(setup).await
}

async fn ask(edge: &Edge, body: &Value) -> Answer {
    let answer = ask_as(edge, CALLER, body).await;
    assert_eq!(answer.status(), 200);
    answer
}

async fn cache_of(edge: &Edge, body: &Value) -> String {
    let answer = ask(edge, body).await;
    let cache = answer.header("tokenway-cache").to_owned();
    answer.rest().await;
    cache
}

/// Asks the first, and then the second until it has what the first was given: writing waits for nobody.
async fn until_shared(one: &Edge, two: &Edge, mut fresh: impl FnMut() -> Value) {
    soon(async {
        loop {
            let request = fresh();
            cache_of(one, &request).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            if cache_of(two, &request).await == "hit" {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn two_instances_share_answers_and_budgets_and_lose_no_answer_when_redis_dies() {
    let mut redis = Redis::start().await;
    let one = instance(&redis.url(), "5s", None).await;
    let two = instance(&redis.url(), "5s", Some(&one)).await;
    let kept = bounded("dear", 20);
    let first = ask(&one, &kept).await;
    let spent = nano(first.header("tokenway-cost"));
    first.rest().await;
    soon(async {
        while redis.command::<Vec<String>>(&["KEYS", "tokenway:cache:*"]).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(cache_of(&two, &kept).await, "hit");
    // the hit has given back what it might have cost
    until_spent(&redis, spent).await;
    for edge in [&one, &two] {
        assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
    }

    let stream = streaming("dear", json!({ "tokens": 9, "hold": 3 }));
    let leader = ask(&one, &stream).await;
    let joiner = ask(&one, &stream).await;
    assert_eq!([&leader, &joiner].map(|answer| answer.header("tokenway-cache")), ["miss", "joined"]);
    redis.kill().await;
    let began = Instant::now();
    for edge in [&one, &two] {
        assert_eq!(cache_of(edge, &kept).await, "hit");
        assert_eq!(cache_of(edge, &bounded("dear", 21)).await, "miss");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "a dead one is not waited for: {:?}", began.elapsed());
    one.first.release(1);
    let (all, cost) = leader.rest_and_trailer("tokenway-cost").await;
    let (joined, nothing) = joiner.rest_and_trailer("tokenway-cost").await;
    assert!(all.ends_with(b"data: [DONE]\n\n") && joined.ends_with(b"data: [DONE]\n\n"));
    assert!(nano(&cost) > 0 && nano(&nothing) == 0, "{cost} {nothing}");

    redis.restart().await;
    let mut tokens = 21;
    until_shared(&one, &two, || {
        tokens += 1;
        bounded("dear", tokens)
    })
    .await;
}

#[tokio::test]
async fn a_silent_redis_delays_a_request_by_its_budgets_once() {
    let redis = ScriptedRedis::start(Reply::Never).await;
    let edge = instance(&redis.url(), "4s", None).await;
    let began = Instant::now();
    assert_eq!(soon(cache_of(&edge, &bounded("dear", 20))).await, "miss");
    // four seconds for the budget, which are none any more for the limits, and one for the cache
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

//! What several instances share of how `auto` was decided, through Redis.

use std::time::Duration;

use demo_upstream::Knobs;
use http::Request;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{EASY, Plan, Routing, asks, says};
use crate::access::{bearer, token, with_all};
use crate::support::answer::Answer;
use crate::support::client::RequestBody;
use crate::support::edge::{Version, completion};
use crate::support::redis::{Redis, Reply, ScriptedRedis};
use crate::support::soon;

const PATIENT: &str = "[cache]\nenabled = true\nredis_timeout = \"1s\"\n";

fn section(url: &str) -> String {
    format!("url = \"{url}\"\ntimeout = \"1s\"")
}

fn as_caller(sub: &str, body: &Value) -> Request<RequestBody> {
    with_all(completion(body), &[("authorization", &bearer(&token(json!({ "sub": sub }))))])
}

impl Routing {
    async fn send_as(&self, sub: &str, body: &Value) -> Answer {
        self.edge.client(Version::Http2).await.send(as_caller(sub, body)).await
    }
}

/// Waits for the writes that nobody waits for: so many keys of this kind.
async fn until_kept(redis: &Redis, kind: &str, count: usize) -> Vec<String> {
    soon(async {
        loop {
            let keys: Vec<String> = redis.command(&["KEYS", &format!("tokenway:{kind}:*")]).await;
            if keys.len() == count {
                return keys;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

fn head(answer: &Answer) -> [&str; 3] {
    ["tokenway-cache", "tokenway-route", "tokenway-model"].map(|name| answer.header(name))
}

#[tokio::test]
async fn what_one_instance_has_asked_another_one_knows_and_so_finds_what_is_kept() {
    let redis = Redis::start().await;
    let section = section(&redis.url());
    let plan = |judge| Plan { judge, more: PATIENT, redis: &section, ..Plan::default() };
    let one = Routing::start(plan(says("easy"))).await;
    let first = one.ask(&asks("auto", "Hm?", true)).await;
    assert_eq!(head(&first), ["miss", "easy;by=classifier", "cheap"]);
    first.rest().await;
    until_kept(&redis, "cache", 1).await;
    let verdict = until_kept(&redis, "verdict", 1).await.remove(0);
    assert_eq!(redis.command::<String>(&["GET", &verdict]).await, "easy");
    assert!((3_000_000..=3_600_000).contains(&redis.command::<i64>(&["PTTL", &verdict]).await));

    let two = one.another(plan(Knobs::default())).await;
    let again = two.ask(&asks("auto", "Hm?", true)).await;
    assert_eq!(head(&again), ["hit", "easy;by=classifier", "cheap"]);
    again.rest().await;
    assert_eq!(one.requests(), [1, 0, 1]);
    // from now on it is remembered: Redis is not needed
    redis.command::<()>(&["FLUSHALL"]).await;
    assert_eq!(head(&two.ask(&asks("auto", "Hm?", false)).await)[1], "easy;by=classifier");
    assert_eq!(one.judge.counts().requests, 1);
}

#[tokio::test]
async fn a_verdict_is_kept_for_whom_answers_are_kept() {
    let access = "[access]\naccept = [\"token\"]";
    for (scope, asked) in [("client", 2), ("shared", 1)] {
        let redis = Redis::start().await;
        let section = section(&redis.url());
        let more = format!("{PATIENT}scope = \"{scope}\"\n{access}");
        let plan = |judge| Plan { judge, more: &more, redis: &section, ..Plan::default() };
        let one = Routing::start(plan(says("easy"))).await;
        one.send_as("ann", &asks("auto", "Hm?", false)).await.rest().await;
        until_kept(&redis, "verdict", 1).await;
        let two = one.another(plan(Knobs::default())).await;
        let answer = two.send_as("bob", &asks("auto", "Hm?", false)).await;
        assert_eq!(answer.header("tokenway-route"), "easy;by=classifier");
        assert_eq!(one.judge.counts().requests, asked, "{scope}");
    }
}

#[tokio::test]
async fn nothing_of_a_request_that_is_not_to_be_stored_is_in_redis() {
    let redis = Redis::start().await;
    let section = section(&redis.url());
    let plan = Plan { judge: says("easy"), more: PATIENT, redis: &section, ..Plan::default() };
    let routing = Routing::start(plan).await;
    let request = |text: &str, wish| with_all(completion(&asks("auto", text, false)), &[("cache-control", wish)]);
    let mut client = routing.edge.client(Version::Http2).await;
    assert_eq!(client.send(request("One?", "no-store")).await.header("tokenway-route"), "easy;by=classifier");
    assert_eq!(client.send(request("Two?", "no-cache")).await.header("tokenway-route"), "easy;by=classifier");
    // what came later is there
    until_kept(&redis, "cache", 1).await;
    until_kept(&redis, "verdict", 1).await;
}

#[tokio::test]
async fn a_verdict_in_redis_counts_if_it_is_one_of_the_two_words() {
    for (reply, route, asked) in [
        ("$4\r\nhard\r\n", "hard;by=classifier", 0),
        ("$6\r\nharder\r\n", "easy;by=classifier", 1),
        ("$4\r\nHARD\r\n", "easy;by=classifier", 1),
        ("$0\r\n\r\n", "easy;by=classifier", 1),
        (":1\r\n", "easy;by=classifier", 1),
    ] {
        let redis = ScriptedRedis::start(Reply::Now(reply)).await;
        let section = section(&redis.url());
        let plan = Plan { judge: says("easy"), more: PATIENT, redis: &section, ..Plan::default() };
        let routing = Routing::start(plan).await;
        let answer = routing.ask(&asks("auto", "Hm?", true)).await;
        assert_eq!((answer.header("tokenway-route"), routing.judge.counts().requests), (route, asked), "{reply:?}");
    }
}

#[tokio::test]
async fn a_redis_that_says_nothing_delays_an_undecided_one_by_its_budget_and_changes_nothing() {
    let redis = ScriptedRedis::start(Reply::Never).await;
    let section = section(&redis.url());
    let more = "[cache]\nenabled = true\nredis_timeout = \"50ms\"";
    let plan = Plan { judge: says("hard"), more, redis: &section, ..Plan::default() };
    let routing = Routing::start(plan).await;
    let began = Instant::now();
    let answer = soon(routing.ask(&asks("auto", EASY, true))).await;
    assert_eq!(head(&answer), ["miss", "hard;by=classifier", "strong"]);
    // the other second would be that of `redis.timeout`
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

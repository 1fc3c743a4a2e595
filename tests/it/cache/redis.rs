//! Entries that several instances share in a real Redis, and what becomes of them when it is in trouble.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{ask, assert_retold, told, with_cache};
use crate::support::child::{Child, Plan, post};
use crate::support::edge::{Edge, Setup, expected, streaming};
use crate::support::redis::{Redis, Reply, ScriptedRedis, cluster};
use crate::support::soon;

async fn instance(url: &str, lines: &str) -> Edge {
    let redis = format!("url = \"{url}\"\ntimeout = \"5s\"");
    with_cache(&format!("scope = \"shared\"\n{lines}"), Setup { redis: &redis, ..Setup::default() }).await
}

const PATIENT: &str = "redis_timeout = \"1s\"";

/// Waits for the write that nobody waits for; the name of the one entry.
async fn written(redis: &Redis) -> String {
    soon(async {
        loop {
            let keys: Vec<String> = redis.command(&["KEYS", "tokenway:cache:*"]).await;
            if let Some(key) = keys.into_iter().next() {
                return key;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Two gateways before the same upstreams: their routes must be the same.
async fn two(url: &str, lines: &str) -> (Edge, Edge) {
    let one = instance(url, lines).await;
    let redis = format!("url = \"{url}\"\ntimeout = \"5s\"");
    let setup = Setup { redis: &redis, upstream: Some(one.first.addr), ..Setup::default() };
    let two = with_cache(&format!("scope = \"shared\"\n{lines}"), setup).await;
    (one, two)
}

#[tokio::test]
async fn an_answer_of_one_instance_is_a_hit_at_the_other() {
    let redis = Redis::start().await;
    let (one, two) = two(&redis.url(), PATIENT).await;
    let request = streaming("demo", json!({ "tokens": 20 }));
    let (miss, first) = told(ask(&one, &request).await).await;
    let key = written(&redis).await;
    let (hit, again) = told(ask(&two, &request).await).await;
    assert_eq!((&*miss, &*hit), ("miss", "hit"));
    assert_retold(&again, &first);
    let ttl: i64 = redis.command(&["PTTL", &key]).await;
    assert!((3_000_000..=3_600_000).contains(&ttl), "{ttl}");
    // from now on it is here: Redis is not needed
    redis.command::<()>(&["FLUSHALL"]).await;
    assert_eq!(told(ask(&two, &request).await).await.0, "hit");
    assert_eq!(one.first.counts().requests, 1);
    for edge in [&one, &two] {
        assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
    }
}

#[tokio::test]
async fn the_same_holds_in_a_cluster() {
    let nodes = cluster().await;
    let url = format!("redis-cluster://127.0.0.1:{}", nodes[0].port);
    let (one, two) = two(&url, PATIENT).await;
    let request = streaming("demo", json!({ "tokens": 20 }));
    told(ask(&one, &request).await).await;
    soon(async {
        loop {
            let mut keys = 0_i64;
            for node in &nodes {
                keys += node.command::<i64>(&["DBSIZE"]).await;
            }
            if keys > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(told(ask(&two, &request).await).await.0, "hit");
}

#[tokio::test]
async fn what_is_corrupt_foreign_of_another_type_or_too_large_is_a_miss() {
    let redis = Redis::start().await;
    let request = streaming("demo", json!({ "tokens": 20 }));
    let (one, _two) = two(&redis.url(), PATIENT).await;
    told(ask(&one, &request).await).await;
    let key = written(&redis).await;
    let spoil: [&[&str]; 5] = [
        &["SETRANGE", &key, "300", "x"],
        &["SET", &key, "not an entry"],
        &["SETRANGE", &key, "3000000", "large"],
        &["DEL", &key],
        &["RPUSH", &key, "a list"],
    ];
    for command in spoil {
        if command[0] == "RPUSH" {
            redis.command::<i64>(&["DEL", &key]).await;
        }
        redis.command::<redis::Value>(command).await;
        let fresh = {
            let redis = format!("url = \"{}\"\ntimeout = \"5s\"", redis.url());
            let setup = Setup { redis: &redis, upstream: Some(one.first.addr), ..Setup::default() };
            with_cache(&format!("scope = \"shared\"\n{PATIENT}"), setup).await
        };
        assert_eq!(told(ask(&fresh, &request).await).await.0, "miss", "{command:?}");
    }
}

#[tokio::test]
async fn a_redis_that_says_nothing_delays_no_first_token_beyond_its_budget() {
    let redis = ScriptedRedis::start(Reply::Never).await;
    let edge = instance(&redis.url(), "redis_timeout = \"50ms\"").await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    let began = tokio::time::Instant::now();
    let (cache, _) = told(soon(ask(&edge, &request)).await).await;
    assert_eq!(cache, "miss");
    // the five seconds are the limiter's, were there any limits
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(told(ask(&edge, &request).await).await.0, "hit", "it is here all the same");
}

/// A large entry on its way delays no read, and a read that is given up costs no write its connection.
#[tokio::test]
async fn entries_are_written_over_another_connection_than_they_are_read() {
    let redis = ScriptedRedis::start(Reply::Now("$0\r\n\r\n")).await;
    let edge = instance(&redis.url(), PATIENT).await;
    told(ask(&edge, &streaming("demo", json!({ "tokens": 4 }))).await).await;
    let with = |seen: &[Vec<String>], name: &str| {
        seen.iter().position(|commands| commands.iter().any(|command| command == name))
    };
    redis.until(|seen| with(seen, "SET").is_some()).await;
    let seen = redis.seen();
    assert!(with(&seen, "GETRANGE").is_some_and(|reads| Some(reads) != with(&seen, "SET")), "{seen:?}");
}

#[tokio::test]
async fn without_its_redis_an_instance_goes_by_what_it_has() {
    let mut redis = Redis::start().await;
    let edge = instance(&redis.url(), PATIENT).await;
    redis.kill().await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    assert_eq!(told(ask(&edge, &request).await).await.0, "miss");
    assert_eq!(told(ask(&edge, &request).await).await.0, "hit");
}

/// What a request to the child is told of the cache, and its whole body.
async fn told_by(child: &Child, request: &Value) -> (String, Bytes) {
    let answer = soon(soon(child.target.h2()).await.send_request(post(request))).await.unwrap();
    let cache = answer.headers()["tokenway-cache"].to_str().unwrap().to_owned();
    (cache, soon(answer.into_body().collect()).await.unwrap().to_bytes())
}

async fn reload(child: &Child, more: &str) {
    const RELOADS: &str = "tokenway_config_reloads_total";
    let before = child.metrics().await.sum(RELOADS, &[("result", "ok")]);
    child.configure(Plan { more, ..Plan::default() });
    child.server.signal("HUP");
    child.until(|now| now.sum(RELOADS, &[("result", "ok")]) == before + 1.0).await;
}

/// The connections to a server, by their numbers, but for the one that asks.
async fn connections(redis: &Redis) -> Vec<i64> {
    let list: String = redis.command(&["CLIENT", "LIST"]).await;
    let others = list.lines().filter(|line| !line.contains(" cmd=client"));
    others.map(|line| line["id=".len()..].split(' ').next().unwrap().parse().unwrap()).collect()
}

async fn until_connected(redis: &Redis, count: usize) {
    soon(async {
        while connections(redis).await.len() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_leads_the_cache_to_redis_to_another_one_and_away_and_no_stream_notices() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    let child = Child::start(Plan::default()).await;
    // another bound of bytes empties what is kept in the process
    let more = |redis: &Redis, bytes: &str| {
        let cache = format!("[cache]\nenabled = true\nmax_bytes = \"{bytes}\"\n{PATIENT}\n");
        format!("{cache}[redis]\nurl = \"{}\"\ntimeout = \"1s\"", redis.url())
    };
    let request = |tokens: usize| streaming("demo", json!({ "tokens": tokens }));

    // under way from before the first reload until after the last
    let long = streaming("demo", json!({ "tokens": 30, "hold": 10 }));
    let mut client = soon(child.target.h2()).await;
    let mut open = soon(client.send_request(post(&long))).await.unwrap().into_body();
    let beginning = soon(open.frame()).await.unwrap().unwrap().into_data().unwrap();

    reload(&child, &more(&first, "10MiB")).await;
    until_connected(&first, 2).await;
    assert_eq!(told_by(&child, &request(20)).await.0, "miss");
    written(&first).await;
    // a flight, which will land where there is no Redis
    let flying = streaming("demo", json!({ "tokens": 31, "hold": 10 }));
    let flight = soon(client.send_request(post(&flying))).await.unwrap();
    assert_eq!(flight.headers()["tokenway-cache"], "miss");

    reload(&child, &more(&second, "20MiB")).await;
    until_connected(&first, 0).await;
    until_connected(&second, 2).await;
    assert_eq!(told_by(&child, &request(20)).await.0, "miss", "it is in the other one");
    let key = written(&second).await;
    // back again: what is kept there is found
    reload(&child, &more(&first, "10MiB")).await;
    until_connected(&first, 2).await;
    assert_eq!(told_by(&child, &request(20)).await.0, "hit");
    // where it stays, nothing connects anew
    let before = connections(&first).await;
    reload(&child, &more(&first, "20MiB")).await;
    assert_eq!(told_by(&child, &request(20)).await.0, "hit");
    until_connected(&first, 2).await;
    assert!(connections(&first).await.iter().all(|id| before.contains(id)));

    reload(&child, "[cache]\nenabled = true\n").await;
    until_connected(&first, 0).await;
    assert_eq!(told_by(&child, &request(22)).await.0, "miss");
    assert_eq!(first.command::<Vec<String>>(&["KEYS", "*"]).await.len(), 1);
    assert_eq!(second.command::<Vec<String>>(&["KEYS", "*"]).await, [key]);
    child.demo.release(2);
    assert_eq!(soon(flight.into_body().collect()).await.unwrap().to_bytes(), expected(&flying).concat());
    let rest = soon(open.collect()).await.unwrap().to_bytes();
    assert_eq!([beginning, rest].concat(), expected(&long).concat());
}

#[tokio::test]
async fn with_a_secret_only_what_an_instance_with_the_secret_has_written_is_found() {
    let redis = Redis::start().await;
    let request = streaming("demo", json!({ "tokens": 20 }));
    let lines = format!("{PATIENT}\nredis_secret_env = \"TOKENWAY_SESSION_SECRET\"");
    let one = instance(&redis.url(), &lines).await;
    let fresh = async |lines: &str| {
        let redis = format!("url = \"{}\"\ntimeout = \"5s\"", redis.url());
        let setup = Setup { redis: &redis, upstream: Some(one.first.addr), ..Setup::default() };
        with_cache(&format!("scope = \"shared\"\n{lines}"), setup).await
    };
    told(ask(&one, &request).await).await;
    let key = written(&redis).await;
    let same = fresh(&lines).await;
    assert_eq!(told(ask(&same, &request).await).await.0, "hit");
    assert_eq!(same.metric("tokenway_cache_unverified_total"), 0.0);
    // who can write to Redis, and does not have the secret: an instance with another one, and one without
    for other in [format!("{PATIENT}\nredis_secret_env = \"NEXT_SESSION_SECRET\""), PATIENT.to_owned()] {
        redis.command::<i64>(&["DEL", &key]).await;
        let forger = fresh(&other).await;
        told(ask(&forger, &request).await).await;
        assert_eq!(written(&redis).await, key);
        let reader = fresh(&lines).await;
        assert_eq!(told(ask(&reader, &request).await).await.0, "miss", "{other}");
        assert_eq!(reader.metric("tokenway_cache_unverified_total"), 1.0);
    }
}

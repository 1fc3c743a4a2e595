//! Redis in trouble: requests are answered all the same, within the budget and a part of the limits; streams notice nothing.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::quick;
use crate::support::edge::{Edge, Setup, Version, completion, expected, streaming};
use crate::support::ports::free_port;
use crate::support::redis::{Redis, Reply, ScriptedRedis};
use crate::support::{log, soon};

/// Ten at once, of which one instance by itself lets five pass.
const LIMITS: &str = "requests_per_minute = 1\nburst = 10";
const HALF: usize = 5;

async fn instance(url: &str, limits: &str) -> Edge {
    let redis = format!("url = \"{url}\"\ntimeout = \"1s\"\nlocal_share = 0.5");
    Edge::start(Setup { limits, redis: &redis, ..Setup::default() }).await
}

fn failures(edge: &Edge, reason: &str) -> f64 {
    edge.metric(&format!("tokenway_redis_failures_total{{reason=\"{reason}\"}}"))
}

/// How many requests, one after another, pass before the first that does not.
async fn passed(edge: &Edge) -> usize {
    let mut client = edge.client(Version::Http2).await;
    for passed in 0.. {
        let answer = client.ask(&quick()).await;
        match answer.status() {
            200 => drop(answer.rest().await),
            429 => return passed,
            status => panic!("{status}"),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn down_at_the_start_each_instance_counts_its_share_and_joins_when_it_comes() {
    log::capture();
    let port = free_port();
    let edge = instance(&format!("redis://127.0.0.1:{port}"), LIMITS).await;
    assert_eq!(passed(&edge).await, HALF);
    assert!(failures(&edge, "not_connected") >= HALF as f64 && failures(&edge, "connect") > 0.0);
    let place = format!(
        "no answer from Redis: each instance counts for itself (limits: at redis.local_share) redis=\"127.0.0.1:{port}\""
    );
    assert!(log::text().contains(&place), "which Redis is not said");

    let redis = Redis::start_at(port).await;
    soon(async {
        while redis.command::<Vec<String>>(&["KEYS", "*"]).await.is_empty() {
            edge.client(Version::Http2).await.ask(&quick()).await.rest().await;
        }
    })
    .await;
    // the shared count is another one, and it holds for all: one was just taken
    assert_eq!(passed(&edge).await, 9);
}

#[tokio::test]
async fn killed_under_way_and_started_again_no_stream_notices() {
    let mut redis = Redis::start().await;
    let edge = instance(&redis.url(), "requests_per_minute = 600\nconcurrent_streams = 10").await;
    let mut client = edge.client(Version::Http2).await;
    let request = streaming("demo", json!({ "tokens": 20, "hold": 10 }));
    let mut stream = client.ask(&request).await;
    let events = expected(&request);
    assert_eq!(stream.take(events[..10].concat().len()).await, events[..10].concat());

    redis.kill().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&quick()).await.status(), 200);
    }
    assert!(edge.metric("tokenway_redis_failures_total") >= 3.0);
    redis.restart().await;
    soon(async {
        while redis.command::<Vec<String>>(&["KEYS", "*"]).await.is_empty() {
            client.ask(&quick()).await.rest().await;
        }
    })
    .await;
    edge.first.release(1);
    assert_eq!(stream.rest().await, events[10..].concat());
}

#[tokio::test]
async fn a_slow_one_costs_one_request_the_budget_and_the_others_nothing() {
    let redis = Redis::start().await;
    let edge = instance(&redis.url(), "requests_per_minute = 600").await;
    let mut client = edge.client(Version::Http2).await;
    assert_eq!(client.ask(&quick()).await.status(), 200);
    assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
    redis.command::<()>(&["CLIENT", "PAUSE", "20000", "ALL"]).await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.ask(&quick()).await.status(), 200);
    }
    // a second for the first; for each of them it would be twenty
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // the request's, and perhaps that of who reads logouts in the same moment
    assert!((1.0..=2.0).contains(&failures(&edge, "timeout")));
    assert!(failures(&edge, "not_connected") >= 18.0);
}

#[tokio::test]
async fn what_a_server_refuses_is_decided_here_and_named() {
    let redis = Redis::start().await;
    for (trouble, mend, reason) in [
        (&["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..], "oom"),
        (&["REPLICAOF", "127.0.0.1", "9"], &["REPLICAOF", "NO", "ONE"], "readonly"),
    ] {
        redis.command::<()>(&["FLUSHALL"]).await;
        let edge = instance(&redis.url(), LIMITS).await;
        redis.command::<()>(trouble).await;
        assert_eq!(passed(&edge).await, HALF, "{reason}");
        assert!(failures(&edge, reason) >= 1.0, "{reason}");
        redis.command::<()>(mend).await;
        soon(async {
            while redis.command::<Vec<String>>(&["KEYS", "*"]).await.is_empty() {
                edge.client(Version::Http2).await.ask(&quick()).await.rest().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone() {
    let redis = Redis::start().await;
    let edge = instance(&redis.url(), LIMITS).await;
    assert_eq!(edge.client(Version::Http2).await.ask(&quick()).await.status(), 200);
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    redis.command::<()>(&["DEL", &keys[0]]).await;
    redis.command::<u64>(&["RPUSH", &keys[0], "something else"]).await;
    assert_eq!(passed(&edge).await, HALF);
    assert_eq!(failures(&edge, "wrong_type"), HALF as f64 + 1.0);
    assert_eq!(redis.command::<Vec<String>>(&["LRANGE", &keys[0], "0", "-1"]).await, ["something else"]);
}

#[tokio::test]
async fn every_reply_that_is_none_is_decided_here_and_named() {
    for (reply, reason) in [
        (Reply::Now("-LOADING Redis is loading the dataset in memory\r\n"), "loading"),
        (Reply::Now("-NOAUTH Authentication required.\r\n"), "denied"),
        (Reply::Now("-NOPERM this user has no permissions\r\n"), "denied"),
        (Reply::Now("-CLUSTERDOWN The cluster is down\r\n"), "cluster"),
        (Reply::Now("-ERR something else\r\n"), "error"),
        (Reply::Now("+OK\r\n"), "reply"),
        (Reply::Now("*2\r\n:1\r\n:5\r\n"), "reply"),
        (Reply::Now("*3\r\n:0\r\n:5\r\n:0\r\n"), "reply"),
        (Reply::Now("*3\r\n:1\r\n$1\r\nx\r\n:0\r\n"), "reply"),
        (Reply::Now("?\r\n"), "reply"),
        (Reply::Close, "io"),
        (Reply::Never, "timeout"),
    ] {
        let redis = ScriptedRedis::start(reply).await;
        let edge = instance(&redis.url(), LIMITS).await;
        assert_eq!(passed(&edge).await, HALF, "{reason}");
        assert!(failures(&edge, reason) >= 1.0, "{reason}: {}", edge.metrics.text());
    }
}

#[tokio::test]
async fn a_late_reply_is_dropped_and_the_connection_is_used_again() {
    // a little later than the timeout of one second
    let late = Reply::After(Duration::from_millis(1300), "*3\r\n:1\r\n:1790000000000000\r\n:1790000600000000\r\n");
    let redis = ScriptedRedis::start(late).await;
    let edge = instance(&redis.url(), LIMITS).await;
    let mut client = edge.client(Version::Http2).await;
    assert_eq!(client.ask(&quick()).await.status(), 200);
    assert_eq!(failures(&edge, "timeout"), 1.0);
    // none of ten is used: the reply to this question differs from the late one
    redis.answer(Reply::Now("*3\r\n:1\r\n:0\r\n:0\r\n"));
    let scripts = || redis.seen()[0].iter().filter(|name| *name == "EVALSHA").count();
    let remaining = soon(async {
        loop {
            let before = scripts();
            let answer = client.ask(&quick()).await;
            if scripts() > before {
                return answer.header("ratelimit-remaining").to_owned();
            }
        }
    })
    .await;
    assert_eq!(remaining, "9");
    assert_eq!(redis.seen().len(), 1, "no other connection was made: {:?}", redis.seen());
}

#[tokio::test]
async fn a_connection_that_stays_silent_is_closed_and_never_used_again() {
    let redis = ScriptedRedis::start(Reply::Never).await;
    let edge = instance(&redis.url(), LIMITS).await;
    let mut client = edge.client(Version::Http2).await;
    assert_eq!(client.ask(&quick()).await.status(), 200);
    redis.until(|seen| seen[0].last().is_some_and(|last| last == "closed")).await;
    let first = redis.seen()[0].clone();
    assert_eq!(first.iter().filter(|name| *name == "EVALSHA").count(), 1, "{first:?}");
    // over the next one, the reply is that to the question: nine of ten are used, this is the last
    redis.answer(Reply::Now("*3\r\n:1\r\n:1790000000000000\r\n:1790000600000000\r\n"));
    redis.until(|seen| seen.get(1).is_some_and(|second| second.contains(&"PING".to_owned()))).await;
    let remaining = soon(async {
        loop {
            let answer = client.ask(&quick()).await;
            if redis.seen()[1].contains(&"EVALSHA".to_owned()) {
                return answer.header("ratelimit-remaining").to_owned();
            }
        }
    })
    .await;
    assert_eq!(remaining, "0");
    assert_eq!(redis.seen()[0], first);
}

#[tokio::test]
async fn a_client_that_leaves_while_redis_is_asked_keeps_no_slot() {
    let redis = Redis::start().await;
    let redis_section = format!("url = \"{}\"\ntimeout = \"5s\"", redis.url());
    let limits = "requests_per_minute = 0\nconcurrent_streams = 1";
    let edge = Edge::start(Setup { limits, redis: &redis_section, ..Setup::default() }).await;
    // the script is known there from now on, and its lease is back
    edge.client(Version::Http2).await.ask(&quick()).await.rest().await;
    soon(async { while !redis.command::<Vec<String>>(&["KEYS", "*"]).await.is_empty() {} }).await;
    redis.command::<()>(&["CLIENT", "PAUSE", "1000", "WRITE"]).await;
    let asked = async {
        let waiting = async || redis.command::<String>(&["INFO", "clients"]).await.contains("blocked_clients:1");
        while !waiting().await {}
    };
    edge.client(Version::Http2).await.leave_when(completion(&quick()), soon(asked)).await;
    edge.until_ended("other", 499, "client_gone", 1).await;
    // far sooner than its lease would end
    soon(async {
        while edge.client(Version::Http2).await.ask(&quick()).await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
}

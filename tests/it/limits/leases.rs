//! Leases of streams in a real Redis: kept alive by whoever holds them, and free again when that one is gone.

use std::time::Duration;

use serde_json::json;

use super::quick;
use crate::support::child::{Child, Plan, chat, post};
use crate::support::edge::{Client, Edge, Setup, Version, streaming};
use crate::support::redis::Redis;
use crate::support::soon;

/// Between two looks at what tells no one that it has changed.
const PAUSE: Duration = Duration::from_millis(20);
const ONE_STREAM: &str = "requests_per_minute = 0\nconcurrent_streams = 1";

/// A lease as it stands in Redis.
struct Lease {
    key: String,
    name: String,
    /// By Redis's clock, in microseconds.
    end: f64,
}

fn section(redis: &Redis, lease: &str) -> String {
    format!("url = \"{}\"\ntimeout = \"5s\"\nlease = \"{lease}\"", redis.url())
}

/// The one lease that there is.
async fn lease(redis: &Redis) -> Option<Lease> {
    let keys: Vec<String> = redis.command(&["KEYS", "tokenway:*:streams"]).await;
    let [key] = keys.as_slice() else { return None };
    let members: Vec<(String, f64)> = redis.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).await;
    let [(name, end)] = members.as_slice() else { return None };
    Some(Lease { key: key.clone(), name: name.clone(), end: *end })
}

/// Redis's clock, in microseconds.
async fn now(redis: &Redis) -> f64 {
    let (seconds, micros): (f64, f64) = redis.command(&["TIME"]).await;
    seconds * 1e6 + micros
}

/// When the caller's slot was free, by Redis's clock, and how often it was not.
async fn until_free(client: &mut Client, redis: &Redis) -> (f64, u32) {
    soon(async {
        for refused in 0.. {
            let answer = client.ask(&quick()).await;
            if answer.status() == 200 {
                return (now(redis).await, refused);
            }
            assert_eq!(answer.status(), 429);
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!()
    })
    .await
}

#[tokio::test]
async fn a_stream_that_is_longer_than_its_lease_stays_counted_and_its_end_frees_the_slot() {
    let redis = Redis::start().await;
    let section = section(&redis, "3s");
    let instance = async || Edge::start(Setup { limits: ONE_STREAM, redis: &section, ..Setup::default() }).await;
    let (one, two) = (instance().await, instance().await);
    let mut there = two.client(Version::Http2).await;
    let stream = one.client(Version::Http2).await.ask(&streaming("demo", json!({ "tokens": 5, "hold": 3 }))).await;
    assert_eq!(stream.status(), 200);
    let first = lease(&redis).await.unwrap();
    soon(async {
        // unrenewed, it would be over
        while now(&redis).await < first.end + 2e6 {
            assert_eq!(there.ask(&quick()).await.status(), 429);
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    let renewed = lease(&redis).await.unwrap();
    assert_eq!((renewed.key, renewed.name), (first.key, first.name));
    assert!(renewed.end > now(&redis).await);
    one.first.release(1);
    stream.rest().await;
    let (free, _) = until_free(&mut there, &redis).await;
    assert!(free < renewed.end + 1e6, "it was free only when its lease was over");
}

#[tokio::test]
async fn the_slot_of_an_instance_that_was_killed_is_free_after_its_lease_and_not_before() {
    let redis = Redis::start().await;
    let section = section(&redis, "3s");
    let more = format!("[limits]\n{ONE_STREAM}\n[redis]\n{section}");
    let mut dying = Child::start(Plan { more: &more, ..Plan::default() }).await;
    let living = Edge::start(Setup { limits: ONE_STREAM, redis: &section, ..Setup::default() }).await;
    let mut there = living.client(Version::Http2).await;
    let mut sender = soon(dying.target.h2()).await;
    let stream = soon(sender.send_request(post(&chat(true, json!({ "hold": 3 }))))).await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(there.ask(&quick()).await.status(), 429);

    dying.server.signal("KILL");
    dying.server.ended().await;
    let left = lease(&redis).await.unwrap();
    let (free, refused) = until_free(&mut there, &redis).await;
    assert!(free >= left.end, "its slot was free before its lease was over");
    assert!(refused > 0);
    assert_eq!(living.metric("tokenway_redis_failures_total"), 0.0);
}

#[tokio::test]
async fn a_lease_that_redis_has_lost_is_there_again() {
    let redis = Redis::start().await;
    let section = section(&redis, "3s");
    let edge = Edge::start(Setup { limits: ONE_STREAM, redis: &section, ..Setup::default() }).await;
    let stream = edge.client(Version::Http2).await.ask(&streaming("demo", json!({ "hold": 3 }))).await;
    let first = lease(&redis).await.unwrap();
    redis.command::<()>(&["FLUSHALL"]).await;
    let again = soon(async {
        loop {
            if let Some(lease) = lease(&redis).await {
                return lease;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    assert_eq!(again.name, first.name);
    assert_eq!(edge.client(Version::Http2).await.ask(&quick()).await.status(), 429);
    drop(stream);
}

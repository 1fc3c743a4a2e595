//! Logouts on several instances: through a Redis that is there, that goes and comes back, and that is slow.

use serde_json::json;

use super::sessions::{cookie_of, log_in, log_out, models};
use super::{Guarded, token};
use crate::support::edge::{Setup, Version};
use crate::support::redis::Redis;
use crate::support::soon;

async fn instance(url: &str) -> Guarded {
    let section = format!("url = \"{url}\"\ntimeout = \"5s\"");
    Guarded::set_up("", Setup { redis: &section, ..Setup::default() }).await
}

async fn cookie(instance: &Guarded) -> String {
    cookie_of(&instance.edge.client(Version::Http2).await.send(log_in(&token(json!({})))).await)
}

async fn until_refused(instance: &Guarded, cookie: &str) {
    soon(async { while models(instance, cookie).await.status() != 401 {} }).await;
}

fn waiting(instance: &Guarded) -> f64 {
    instance.edge.metric("tokenway_logouts_waiting")
}

#[tokio::test]
async fn a_logout_holds_on_every_instance() {
    let redis = Redis::start().await;
    let (one, two) = (instance(&redis.url()).await, instance(&redis.url()).await);
    let mut client = one.edge.client(Version::Http2).await;
    let cookie = cookie_of(&client.send(log_in(&token(json!({})))).await);
    let other = cookie_of(&client.send(log_in(&token(json!({})))).await);
    assert_eq!(models(&two, &cookie).await.status(), 200);
    let answer = client.send(log_out(&cookie)).await;
    assert_eq!((answer.status(), answer.header("tokenway-logout")), (204, ""));
    assert_eq!(models(&one, &cookie).await.status(), 401);
    until_refused(&two, &cookie).await;
    // one that starts later learns of it, too
    let late = instance(&redis.url()).await;
    until_refused(&late, &cookie).await;
    for instance in [&one, &two, &late] {
        assert_eq!(models(instance, &other).await.status(), 200);
    }
    assert!(redis.command::<i64>(&["TTL", "tokenway:{logouts}"]).await > 0);
}

#[tokio::test]
async fn a_logout_while_redis_is_away_holds_here_at_once_and_everywhere_when_it_is_back() {
    let mut redis = Redis::start().await;
    let (one, two) = (instance(&redis.url()).await, instance(&redis.url()).await);
    let (cookie, other) = (cookie(&one).await, cookie(&one).await);
    redis.kill().await;
    let mut client = one.edge.client(Version::Http2).await;
    let answer = client.send(log_out(&cookie)).await;
    assert_eq!((answer.status(), answer.header("tokenway-logout")), (204, "pending"));
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.split(", ").any(|name| name == "tokenway-logout"), "{exposed}");
    assert_eq!(answer.head.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(waiting(&one), 1.0);
    assert_eq!(models(&one, &cookie).await.status(), 401);
    assert_eq!(models(&two, &cookie).await.status(), 200);

    // empty: what it knew is lost
    redis.restart().await;
    until_refused(&two, &cookie).await;
    soon(async {
        while waiting(&one) != 0.0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    until_refused(&instance(&redis.url()).await, &cookie).await;
    for instance in [&one, &two] {
        assert_eq!(models(instance, &other).await.status(), 200);
    }
    // and from here on as ever
    let answer = client.send(log_out(&other)).await;
    assert_eq!((answer.status(), answer.header("tokenway-logout")), (204, ""));
    until_refused(&two, &other).await;
}

#[tokio::test]
async fn a_logout_whose_client_leaves_while_redis_is_asked_holds_everywhere() {
    let redis = Redis::start().await;
    let (one, two) = (instance(&redis.url()).await, instance(&redis.url()).await);
    let cookie = cookie(&one).await;
    redis.command::<()>(&["CLIENT", "PAUSE", "1000", "WRITE"]).await;
    let asked = async { while !redis.command::<String>(&["INFO", "clients"]).await.contains("blocked_clients:1") {} };
    one.edge.client(Version::Http2).await.leave_when(log_out(&cookie), soon(asked)).await;
    assert_eq!(models(&one, &cookie).await.status(), 401);
    until_refused(&two, &cookie).await;
}

#[tokio::test]
async fn more_logouts_than_are_written_or_read_at_once_hold_everywhere() {
    let mut redis = Redis::start().await;
    let (one, two) = (instance(&redis.url()).await, instance(&redis.url()).await);
    redis.kill().await;
    let mut client = one.edge.client(Version::Http2).await;
    let mut cookies = Vec::new();
    for _ in 0..230 {
        let cookie = cookie_of(&client.send(log_in(&token(json!({})))).await);
        assert_eq!(client.send(log_out(&cookie)).await.status(), 204);
        cookies.push(cookie);
    }
    assert_eq!(waiting(&one), 230.0);
    redis.restart().await;
    for cookie in &cookies {
        until_refused(&two, cookie).await;
    }
    assert_eq!(redis.command::<u64>(&["ZCARD", "tokenway:{logouts}"]).await, 230);
}

async fn kept(redis: &Redis) -> u64 {
    redis.command(&["ZCARD", "tokenway:{logouts}"]).await
}

async fn until_kept(redis: &Redis, count: u64) {
    soon(async { while kept(redis).await != count {} }).await;
}

#[tokio::test]
async fn logouts_that_redis_has_lost_are_written_again_by_whoever_knows_them() {
    let mut redis = Redis::start().await;
    let (one, two) = (instance(&redis.url()).await, instance(&redis.url()).await);
    let (first, second) = (cookie(&one).await, cookie(&one).await);
    one.edge.client(Version::Http2).await.send(log_out(&first)).await;
    until_refused(&two, &first).await;

    // one that has only read it does it as well
    drop(one);
    redis.command::<()>(&["FLUSHALL"]).await;
    until_kept(&redis, 1).await;
    until_refused(&instance(&redis.url()).await, &first).await;

    // not only where nothing is left: another instance may have written since
    two.edge.client(Version::Http2).await.send(log_out(&second)).await;
    until_kept(&redis, 2).await;
    let another = "local now = redis.call('TIME') redis.call('FLUSHALL') return redis.call('ZADD', KEYS[1], \
                   string.format('%.0f', now[1] * 1000000 + now[2]), string.rep('7', 32) .. ':9000000000')";
    redis.command::<i64>(&["EVAL", another, "1", "tokenway:{logouts}"]).await;
    until_kept(&redis, 3).await;

    redis.kill().await;
    redis.restart().await;
    until_kept(&redis, 3).await;
    let late = instance(&redis.url()).await;
    for cookie in [&first, &second] {
        until_refused(&late, cookie).await;
    }
}

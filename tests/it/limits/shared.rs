//! Limits that several instances share in a real Redis, alone or as a cluster.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{quick, remaining};
use crate::support::edge::{Edge, Setup, Version, completion, streaming};
use crate::support::gateway::Directory;
use crate::support::ports::free_port;
use crate::support::redis::{Redis, cluster};
use crate::support::{certs, log, soon};

/// A budget that a test machine with other things to do keeps.
const PATIENT: &str = "timeout = \"5s\"";

async fn instance(url: &str, limits: &str) -> Edge {
    let redis = format!("url = \"{url}\"\n{PATIENT}");
    let server = "trusted_proxies = [\"127.0.0.1\"]";
    Edge::start(Setup { server, limits, redis: &redis, ..Setup::default() }).await
}

/// How many of so many requests at once pass, half of them through each instance.
async fn passed(instances: [&Edge; 2], requests: usize) -> usize {
    let connections = join_all(instances.map(|edge| edge.target.h2())).await;
    let asked = (0..requests).map(|number| {
        let mut sender = connections[number % 2].clone();
        async move { soon(sender.send_request(completion(&quick()))).await.unwrap().status().as_u16() }
    });
    let statuses = join_all(asked).await;
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

/// Instances that ask Redis, and have no trouble with it.
#[track_caller]
fn assert_no_trouble(instances: [&Edge; 2]) {
    for edge in instances {
        assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
    }
}

#[tokio::test]
async fn of_200_requests_at_once_through_two_instances_exactly_the_limit_passes() {
    let redis = Redis::start().await;
    // one a minute comes back: none during the test
    let limits = "requests_per_minute = 1\nburst = 37";
    let (one, two) = (instance(&redis.url(), limits).await, instance(&redis.url(), limits).await);
    assert_eq!(passed([&one, &two], 200).await, 37);
    assert_no_trouble([&one, &two]);
}

#[tokio::test]
async fn the_same_holds_in_a_cluster_of_three() {
    let nodes = cluster().await;
    let url = format!("redis-cluster://127.0.0.1:{}", nodes[0].port);
    let limits = "requests_per_minute = 1\nburst = 21\ntokens_per_minute = 100_000_000\nconcurrent_streams = 100_000\n\
                  [[limits.models]]\nname = \"demo\"\nrequests_per_minute = 1\nburst = 17";
    let (one, two) = (instance(&url, limits).await, instance(&url, limits).await);
    assert_eq!(passed([&one, &two], 100).await, 17);
    assert_no_trouble([&one, &two]);
    // callers are spread over the nodes, and each caller's counts lie together
    let mut client = one.client(Version::Http2).await;
    for address in 0..30 {
        let mut request = completion(&quick());
        request.headers_mut().insert("x-forwarded-for", format!("192.0.2.{address}").parse().unwrap());
        assert_eq!(client.send(request).await.status(), 200);
    }
    for node in &nodes {
        assert!(node.command::<u64>(&["DBSIZE"]).await > 5);
    }
    assert_no_trouble([&one, &two]);
}

#[tokio::test]
async fn streams_are_counted_across_instances_and_tokens_are_settled() {
    let redis = Redis::start().await;
    let limits =
        "requests_per_minute = 0\nconcurrent_streams = 1\ntokens_per_minute = 100_000\nreserve_tokens = 40_000";
    let (one, two) = (instance(&redis.url(), limits).await, instance(&redis.url(), limits).await);
    let (mut here, mut there) = (one.client(Version::Http2).await, two.client(Version::Http2).await);
    let stream = here.ask(&streaming("demo", json!({ "tokens": 5, "hold": 3 }))).await;
    assert_eq!((stream.status(), remaining(&stream, "streams")), (200, 0));
    assert_eq!(there.ask(&quick()).await.status(), 429);
    assert_eq!(two.metric("tokenway_rate_limited_total{limit=\"streams\"}"), 1.0);
    one.first.release(1);
    stream.rest().await;
    // the end travels to Redis behind the client's back
    let next = soon(async {
        loop {
            let answer = there.ask(&quick()).await;
            if answer.status() == 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // unsettled, the first one would leave 20,000
    assert!(remaining(&next, "tokens") > 59_000, "{}", next.header("ratelimit"));
    assert_no_trouble([&one, &two]);
}

#[tokio::test]
async fn the_slots_of_an_instance_that_is_gone_are_leases_which_end() {
    let redis = Redis::start().await;
    let limits = "requests_per_minute = 0\nconcurrent_streams = 1";
    let edge = instance(&redis.url(), limits).await;
    let stream = edge.client(Version::Http2).await.ask(&streaming("demo", json!({ "hold": 3 }))).await;
    assert_eq!(stream.status(), 200);
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    let lives: u64 = redis.command(&["PTTL", &keys[0]]).await;
    assert!((20_000..=30_000).contains(&lives), "{lives}");
    // an instance that died left this one behind: its time is over
    let stale = "another-instance-0";
    redis.command::<u64>(&["ZADD", &keys[0], "1000", stale]).await;
    edge.first.release(1);
    stream.rest().await;
    soon(async { while edge.client(Version::Http2).await.ask(&quick()).await.status() != 200 {} }).await;
    let members: Vec<String> = redis.command(&["ZRANGE", &keys[0], "0", "-1"]).await;
    assert!(!members.contains(&stale.to_owned()), "{members:?}");
}

#[tokio::test]
async fn nothing_that_tells_who_called_stands_in_redis_and_all_of_it_ends() {
    let redis = Redis::start().await;
    let limits = "tokens_per_minute = 1000\nconcurrent_streams = 5";
    let edge = instance(&redis.url(), limits).await;
    let stream = edge.client(Version::Http2).await.ask(&streaming("demo", json!({ "hold": 3 }))).await;
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in &keys {
        assert!(key.starts_with("tokenway:{") && !key.contains("127.0.0.1"), "{key}");
        assert!(redis.command::<i64>(&["PTTL", key]).await > 0, "{key} stays for ever");
    }
    drop(stream);
}

#[tokio::test]
async fn over_tls_with_a_password_which_nobody_sees() {
    const PASSWORD: &str = "canary-of-the-redis-password";
    let directory = Directory::new();
    certs::write(&directory.0);
    let file = |name: &str| directory.0.join(name).to_str().unwrap().to_owned();
    std::fs::write(file("password"), format!("{PASSWORD}\n")).unwrap();
    let tls = free_port();
    let (certificate, key, ca) = (file("leaf.pem"), file("leaf.key"), file("ca.pem"));
    let arguments = ["--tls-port", &tls.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let trust = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
    let redis = Redis::start_with(&[&arguments[..], &trust].concat()).await;
    // what docs/LIMITS.md says is enough
    let rights = "+@connection +eval +evalsha +time +get +set +del +zadd +zrem +zcount +zremrangebyscore +zrangebyscore +expire +pexpire";
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "tokenway", "on", &password, "~tokenway:*"];
    redis.command::<()>(&user.into_iter().chain(rights.split(' ')).collect::<Vec<_>>()).await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "off"]).await;
    let section = |ca: &str| {
        let password = file("password");
        format!(
            "url = \"rediss://localhost:{tls}/3\"\nusername = \"tokenway\"\npassword_file = {password:?}\n{ca}\n{PATIENT}"
        )
    };
    let limits = "requests_per_minute = 1\nburst = 3";
    let trusting = section(&format!("ca_file = {ca:?}"));
    let one = Edge::start(Setup { limits, redis: &trusting, ..Setup::default() }).await;
    let two = Edge::start(Setup { limits, redis: &trusting, ..Setup::default() }).await;
    assert_eq!(passed([&one, &two], 12).await, 3);
    assert_no_trouble([&one, &two]);
    // an authority that nobody trusts
    let wary = Edge::start(Setup { limits, redis: &section(""), ..Setup::default() }).await;
    assert!(wary.metric("tokenway_redis_failures_total{reason=\"connect\"}") > 0.0);
    assert!(!log::text().contains(PASSWORD) && !wary.metrics.text().contains(PASSWORD));
}

#[tokio::test]
async fn each_step_of_an_admission_is_one_round_trip() {
    let redis = Redis::start().await;
    let limits = "requests_per_minute = 1000\ntokens_per_minute = 1_000_000\nconcurrent_streams = 5\n\
                  [[limits.models]]\nname = \"demo\"\nrequests_per_minute = 1000\nconcurrent_streams = 5";
    let edge = instance(&redis.url(), limits).await;
    let mut client = edge.client(Version::Http2).await;
    client.ask(&quick()).await.rest().await;
    // every script that decides or settles reads the clock once; reading what was logged out does not
    let scripts = async || {
        let stats: String = redis.command(&["INFO", "commandstats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_time:calls="));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let until = async |count| soon(async { while scripts().await < count {} }).await;
    until(4).await;
    for _ in 0..10 {
        client.ask(&quick()).await.rest().await;
    }
    // two to decide, before and after the body, and two to settle, which no request waits for
    until(44).await;
    assert_eq!(scripts().await, 44);
    let stats: String = redis.command(&["INFO", "commandstats"]).await;
    assert!(!stats.contains("cmdstat_script"), "{stats}");
}

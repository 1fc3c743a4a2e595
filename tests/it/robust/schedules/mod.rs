//! Random schedules over the whole gateway as a process, with Redis: clients that read, leave, resume, stop and share, faults of the
//! upstream, reloads, and a drain. Every request is answered once, every event comes once and in order, every permit is
//! returned, and every cent is settled.
//!
//! `PROPTEST_CASES` makes a run longer, `TOKENWAY_SEED` repeats it. A failing schedule is shrunk before it is shown.

mod client;
mod drawn;

use std::collections::HashMap;
use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use demo_upstream::{Demo, Knobs};
use futures_util::future::join_all;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::child::{Child, Plan};
use crate::support::redis::Redis;
use crate::support::{PATIENCE, soon};
use client::Ended;
use drawn::{Schedule, schedule};

/// Schedules in a run, each with a gateway of its own.
const CASES: u32 = 48;
/// A gateway's connections to Redis: limits and budgets, and two of the cache.
const CONNECTIONS: usize = 3;
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn whatever_clients_upstreams_reloads_and_drains_do_answers_events_permits_and_cents_are_exact() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos()));
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("TOKENWAY_SEED").unwrap_or_else(now);
    let cases = number("PROPTEST_CASES").map_or(CASES, |cases| cases as u32);
    println!("TOKENWAY_SEED={seed} PROPTEST_CASES={cases}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(Redis::start());
    let result = runner.run(&schedule(), |schedule| {
        runtime.block_on(run(&redis, &schedule)).map_err(|why| TestCaseError::fail(format!("{why}\n{schedule:#?}")))
    });
    result.unwrap_or_else(|error| panic!("TOKENWAY_SEED={seed}: {error}"));
}

/// Plays one schedule, and checks what holds at its end.
async fn run(redis: &Redis, schedule: &Schedule) -> Result<(), String> {
    redis.command::<()>(&["FLUSHALL"]).await;
    let second = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let more = MORE.replace("{second}", &second.addr.to_string()).replace("{redis}", &redis.url());
    let mut child = Child::start(plan("", &more)).await;
    // every lasting task runs behind its connections to Redis and the first request
    soon(async {
        while redis.command::<String>(&["CLIENT", "LIST"]).await.lines().count() < 1 + CONNECTIONS {
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    client::warm_up(&child.target).await;
    falls_to(&child, "tokenway_connections_active", 0.0).await?;
    let idle = child.metrics().await.sum("tokenway_tasks", &[]);

    let clients = join_all(schedule.clients.iter().zip(0..).map(|(client, number)| client.play(&child.target, number)));
    let trouble = async {
        for number in 1..=schedule.reloads {
            tokio::time::sleep(Duration::from_millis(schedule.pause)).await;
            // each reload allows another origin
            let origins = format!("origins = [\"https://app.example\", \"https://reload-{number}.example\"]");
            child.configure(plan(&origins, &more));
            child.server.signal("HUP");
        }
        if schedule.drains {
            tokio::time::sleep(Duration::from_millis(schedule.pause)).await;
            child.server.signal("TERM");
        }
    };
    let (ended, ()) = soon(async { tokio::join!(clients, trouble) }).await;
    let mut answered = Vec::new();
    for (client, ended) in schedule.clients.iter().zip(ended) {
        client.check(&ended, schedule.drains).map_err(|why| format!("{why}\n{client:#?}\n{ended:#?}"))?;
        answered.push(ended);
    }
    if !schedule.drains {
        for gauge in ["tokenway_streams_active", "tokenway_request_body_bytes", "tokenway_connections_active"] {
            falls_to(&child, gauge, 0.0).await?;
        }
        falls_to(&child, "tokenway_tasks", idle).await?;
        for upstream in [&child.demo, &second] {
            soon(upstream.until(|counts| counts.open == 0)).await;
        }
    }
    let cost = logged(&child, &answered).await?;
    if !schedule.drains {
        let counted = child.metrics().await.sum("tokenway_cost_dollars_total", &[]);
        same("tokenway_cost_dollars_total", counted, cost.dollars)?;
        child.server.signal("TERM");
    }
    let status = child.server.ended().await;
    if status.code() != Some(0) {
        return Err(format!("the process ended with {status}"));
    }
    settled(redis, cost.nano).await
}

/// Waits until a gauge has fallen to a value.
async fn falls_to(child: &Child, gauge: &str, most: f64) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let value = child.metrics().await.sum(gauge, &[]);
        if value <= most {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{gauge} is {value}, and was {most}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn plan<'a>(cors: &'a str, more: &'a str) -> Plan<'a> {
    Plan { server: "drain = \"300ms\"", cors, more, ..Plan::default() }
}

/// What the log says of all requests together.
struct Cost {
    dollars: f64,
    /// Of each request, rounded up, as budgets count.
    nano: u64,
}

/// The costs of the log. A request that was answered has one line, and a request that was not answered at most one.
async fn logged(child: &Child, answered: &[Ended]) -> Result<Cost, String> {
    let lines = || {
        let mut lines = HashMap::<String, Vec<Value>>::new();
        for line in child.server.output() {
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            if line["target"] == "tokenway::request" {
                lines.entry(line["request_id"].as_str().unwrap_or_default().to_owned()).or_default().push(line);
            }
        }
        lines
    };
    let is_there = |ended: &Ended| ended.status.is_none() || lines().contains_key(&ended.request_id);
    soon(async {
        while !answered.iter().all(is_there) {
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    let lines = lines();
    let (mut dollars, mut nano) = (0.0, 0);
    for (id, lines) in &lines {
        let [line] = &lines[..] else { return Err(format!("{} log lines of {id}: {lines:#?}", lines.len())) };
        let Some(cost) = line["cost"].as_str() else { continue };
        dollars += cost.parse::<f64>().unwrap();
        nano += crate::cost::budgets::nano(cost);
    }
    for ended in answered {
        let Some(exact) = &ended.cost else { continue };
        let line = &lines[&ended.request_id][0];
        if line["cost"].as_str() != Some(exact) {
            return Err(format!("the answer cost {exact} by its usage: {line:#}"));
        }
    }
    Ok(Cost { dollars, nano })
}

/// In Redis, what was spent is what was charged, nothing is reserved, and no lease of a permit is left.
pub async fn settled(redis: &Redis, nano: u64) -> Result<(), String> {
    let mut spent = 0;
    for key in redis.command::<Vec<String>>(&["KEYS", "tokenway:*"]).await {
        let kind: String = redis.command(&["TYPE", &key]).await;
        match kind.as_str() {
            "zset" => return Err(format!("leases are left: {key}")),
            "string" if key.ends_with(":spent") => {
                let value: String = redis.command(&["GET", &key]).await;
                spent += value.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            }
            _ => {}
        }
    }
    match spent == nano {
        true => Ok(()),
        false => Err(format!("Redis has {spent} nano-dollars as spent, and the log {nano}")),
    }
}

fn same(what: &str, counted: f64, expected: f64) -> Result<(), String> {
    match (counted - expected).abs() < 1e-9 {
        true => Ok(()),
        false => Err(format!("{what} is {counted}, and the log has {expected}")),
    }
}

/// Two further models, a cache, limits and budgets in Redis.
const MORE: &str = r#"
[[upstreams]]
name = "second"
base_url = "http://{second}/v1"
[[models]]
name = "careful"
upstream = "demo"
input_price = 3
output_price = 5
fallback = ["spare"]
[[models]]
name = "spare"
upstream = "second"
input_price = 1
output_price = 2
[fallback]
retry_budget = 1
cool_down = "10ms"
max_cool_down = "20ms"
[limits]
requests_per_minute = 0
tokens_per_minute = 1000000000
concurrent_streams = 1000
[cost]
budget_per_day = 1000
[cache]
enabled = true
[resume]
grace = "10s"
[redis]
url = "{redis}"
timeout = "5s"
"#;

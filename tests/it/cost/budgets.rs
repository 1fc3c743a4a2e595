//! What a caller may spend in a day: here, and across instances that share a Redis.

use serde_json::{Value, json};

use super::{CHEAP, PRICED, cost, priced, usage};
use crate::support::answer::Answer;
use crate::support::edge::{Edge, Setup, Version, completion, streaming, whole};
use crate::support::redis::Redis;
use crate::support::soon;

/// A budget that a test machine with other things to do keeps.
const PATIENT: &str = "timeout = \"5s\"";

/// A request of which one knows what it may take: an answer of so many tokens at most.
pub fn bounded(model: &str, most: u64) -> Value {
    let mut request = whole(model, json!({ "tokens": 3 }));
    request["max_tokens"] = most.into();
    request
}

pub async fn ask_as(edge: &Edge, address: &str, body: &Value) -> Answer {
    let mut request = completion(body);
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    edge.client(Version::Http2).await.send(request).await
}

/// A gateway with this `[cost]`, and a Redis if there is a URL.
async fn instance(section: &str, url: &str) -> Edge {
    let more = format!("{PRICED}\n[cost]\n{section}");
    let redis = if url.is_empty() { String::new() } else { format!("url = \"{url}\"\n{PATIENT}") };
    let server = "trusted_proxies = [\"127.0.0.1\"]";
    Edge::start(Setup { server, more: &more, redis: &redis, ..Setup::default() }).await
}

/// In whole nano-dollars, rounded up, as budgets are counted.
pub fn nano(dollars: &str) -> u64 {
    dollars.replace('.', "").parse::<u64>().unwrap().div_ceil(1000)
}

#[tokio::test]
async fn beyond_its_budget_a_caller_is_refused_until_midnight_and_others_are_not() {
    let edge = instance("budget_per_day = 0.002", "").await;
    let mut spent = 0;
    let refused = loop {
        let answer = ask_as(&edge, "192.0.2.1", &bounded("dear", 50)).await;
        if answer.status() != 200 {
            break answer;
        }
        spent += nano(answer.header("tokenway-cost"));
        // what was taken before is settled with what was spent
        edge.metrics.requests.with_label_values(&["chat_completions", "dear", "200", "ok"]).get();
    };
    // it was let go on for as long as the estimate, 50 tokens and a prompt, was left of it
    assert!(spent <= 2_000_000 && spent > 2_000_000 - 1_000_000, "{spent}");
    assert_eq!((refused.status(), refused.header("tokenway-model")), (429, ""));
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&after), "{after}");
    // no SDK is to sleep until then
    assert_eq!(refused.header("x-should-retry"), if after > 60 { "false" } else { "" });
    assert_eq!(refused.error_code().await, "budget_exceeded");
    assert_eq!(edge.metrics.budget_exceeded.with_label_values(&["refused"]).get(), 1);
    assert_eq!(ask_as(&edge, "192.0.2.2", &bounded("dear", 50)).await.status(), 200);
    // what is cheap enough is still within it
    assert_eq!(ask_as(&edge, "192.0.2.1", &bounded("cheap", 1)).await.status(), 200);
}

#[tokio::test]
async fn or_the_cheapest_model_that_it_may_use_answers_and_says_so() {
    let edge = instance("budget_per_day = 0.000_1\nover_budget = \"cheap\"", "").await;
    for stream in [false, true] {
        let mut request = bounded("falls", 500);
        request["stream"] = stream.into();
        let answer = ask_as(&edge, "192.0.2.1", &request).await;
        let head =
            ["tokenway-model", "tokenway-budget", "tokenway-attempts"].map(|name| answer.header(name).to_owned());
        assert_eq!(head, ["cheap", "exceeded", "1"]);
        if !stream {
            let told = answer.header("tokenway-cost").to_owned();
            assert_eq!(told, cost(usage(&answer.json().await), CHEAP));
        }
    }
    assert_eq!(edge.metrics.budget_exceeded.with_label_values(&["cheap"]).get(), 2);
    let within = ask_as(&edge, "192.0.2.2", &bounded("cheap", 1)).await;
    assert_eq!((within.status(), within.header("tokenway-budget")), (200, ""));
}

#[tokio::test]
async fn without_a_budget_nothing_is_counted() {
    let edge = priced("").await;
    assert_eq!(edge.client(Version::Http2).await.ask(&bounded("dear", 1_000_000)).await.status(), 200);
    assert!(!edge.metrics.text().contains("tokenway_budget_exceeded_total"));
}

/// `DAY NANODOLLARS`, once it is so much.
pub async fn until_spent(redis: &Redis, nano: u64) {
    soon(async {
        loop {
            let keys: Vec<String> = redis.command(&["KEYS", "tokenway:*:spent"]).await;
            let spent: String = match keys.first() {
                Some(key) => redis.command(&["GET", key]).await,
                None => String::new(),
            };
            if spent.split(' ').nth(1) == Some(&nano.to_string()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_instances_with_one_redis_share_a_budget_to_the_nano_dollar() {
    let redis = Redis::start().await;
    let section = "budget_per_day = 0.01";
    let (one, two) = (instance(section, &redis.url()).await, instance(section, &redis.url()).await);
    let mut spent = 0;
    for edge in [&one, &two, &one, &two] {
        let answer = ask_as(edge, "192.0.2.1", &bounded("dear", 20)).await;
        assert_eq!(answer.status(), 200);
        spent += nano(answer.header("tokenway-cost"));
        answer.rest().await;
    }
    until_spent(&redis, spent).await;
    // a stream that is under way holds its estimate: 900 tokens at 10 dollars a million are 0.009
    let mut long = streaming("dear", json!({ "hold": 3, "tokens": 5 }));
    long["max_tokens"] = 900.into();
    let stream = ask_as(&one, "192.0.2.1", &long).await;
    assert_eq!(stream.status(), 200);
    let refused = ask_as(&two, "192.0.2.1", &bounded("dear", 100)).await;
    assert_eq!(refused.error_code().await, "budget_exceeded");
    one.first.release(1);
    let (_, told) = stream.rest_and_trailer("tokenway-cost").await;
    until_spent(&redis, spent + nano(&told)).await;
    assert_eq!(ask_as(&two, "192.0.2.1", &bounded("dear", 100)).await.status(), 200);
    for edge in [&one, &two] {
        assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
    }
    let keys: Vec<String> = redis.command(&["KEYS", "tokenway:*:spent"]).await;
    assert!(keys.len() == 1 && !keys[0].contains("192.0.2.1"), "{keys:?}");
    let lives: i64 = redis.command(&["PTTL", &keys[0]]).await;
    assert!((1..=90_000_000).contains(&lives), "{lives}");
}

#[tokio::test]
async fn while_redis_is_away_each_instance_lets_its_share_pass() {
    let mut redis = Redis::start().await;
    let edge = instance("budget_per_day = 0.01", &redis.url()).await;
    redis.kill().await;
    // 0.006 is within the budget, and beyond half of it
    let statuses = [
        ask_as(&edge, "192.0.2.1", &bounded("dear", 600)).await.status(),
        ask_as(&edge, "192.0.2.1", &bounded("dear", 300)).await.status(),
    ];
    assert_eq!(statuses, [429, 200]);
    assert!(edge.metric("tokenway_redis_failures_total") > 0.0);
}

#[tokio::test]
async fn a_foreign_value_under_the_key_is_nothing_spent() {
    let redis = Redis::start().await;
    let edge = instance("budget_per_day = 0.01", &redis.url()).await;
    ask_as(&edge, "192.0.2.1", &bounded("dear", 1)).await.rest().await;
    let keys: Vec<String> = redis.command(&["KEYS", "tokenway:*:spent"]).await;
    for foreign in ["", "x", "1 2 3", "-5 7", "99999999999999999999 5"] {
        redis.command::<()>(&["SET", &keys[0], foreign]).await;
        assert_eq!(ask_as(&edge, "192.0.2.1", &bounded("dear", 1)).await.status(), 200, "{foreign}");
    }
    assert_eq!(edge.metric("tokenway_redis_failures_total"), 0.0);
}

/// What costs nothing is within every budget.
#[tokio::test]
async fn beyond_its_budget_a_caller_still_gets_what_is_kept_or_just_coming_in() {
    for over in ["refuse", "cheap"] {
        let edge =
            instance(&format!("budget_per_day = 0.006\nover_budget = \"{over}\"\n[cache]\nenabled = true"), "").await;
        let kept = bounded("dear", 500);
        let first = ask_as(&edge, "192.0.2.1", &kept).await;
        assert_eq!((first.status(), first.header("tokenway-cache")), (200, "miss"));
        first.rest().await;
        edge.until_ended("dear", 200, "ok", 1).await;
        // holds all that is left, for as long as it runs
        let mut long = streaming("dear", json!({ "hold": 3, "tokens": 5 }));
        long["max_tokens"] = 550.into();
        let leader = ask_as(&edge, "192.0.2.1", &long).await;
        let again = ask_as(&edge, "192.0.2.1", &kept).await;
        let joined = ask_as(&edge, "192.0.2.1", &long).await;
        for (answer, cache) in [(&again, "hit"), (&joined, "joined")] {
            let head = ["tokenway-cache", "tokenway-model", "tokenway-budget"].map(|name| answer.header(name));
            assert_eq!((answer.status(), head), (200, [cache, "dear", ""]), "{over}");
        }
        assert_eq!(again.header("tokenway-cost"), "0.000000000000");
        assert!(!edge.metrics.text().contains("tokenway_budget_exceeded_total"), "{over}");
        // what nobody has paid for is not
        let mut fresh = completion(&kept);
        fresh.headers_mut().insert("cache-control", "no-cache".parse().unwrap());
        fresh.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
        let fresh = edge.client(Version::Http2).await.send(fresh).await;
        let (status, model) = if over == "cheap" { (200, "cheap") } else { (429, "") };
        assert_eq!((fresh.status(), fresh.header("tokenway-model")), (status, model));
        edge.first.release(1);
        assert!(!leader.rest().await.is_empty() && !joined.rest().await.is_empty());
    }
}

#[tokio::test]
async fn the_cheapest_model_is_one_whose_context_holds_prompt_and_answer() {
    let small =
        "[[models]]\nname = \"small\"\nupstream = \"two\"\ninput_price = 0.01\noutput_price = 0.01\ncontext = 400\n";
    let more = format!("{PRICED}{small}[cost]\nbudget_per_day = 0.000_1\nover_budget = \"cheap\"");
    let edge = Edge::start(Setup { more: &more, ..Setup::default() }).await;
    for (most, model) in [(500, "cheap"), (200, "small")] {
        let answer = edge.client(Version::Http2).await.ask(&bounded("dear", most)).await;
        assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-budget")), (model, "exceeded"));
    }
}

#[tokio::test]
async fn a_clock_of_redis_that_is_set_back_over_midnight_restores_no_budget() {
    let redis = Redis::start().await;
    let edge = instance("budget_per_day = 0.01", &redis.url()).await;
    assert_eq!(ask_as(&edge, "192.0.2.1", &bounded("dear", 50)).await.status(), 200);
    let key = soon(async {
        loop {
            let keys: Vec<String> = redis.command(&["KEYS", "tokenway:*:spent"]).await;
            if let Some(key) = keys.into_iter().next() {
                return key;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    // what was spent after midnight, before the clock went back
    let spent: String = redis.command(&["GET", &key]).await;
    let tomorrow = spent.split(' ').next().unwrap().parse::<u64>().unwrap() + 1;
    redis.command::<()>(&["SET", &key, &format!("{tomorrow} 9999999")]).await;
    let refused = ask_as(&edge, "192.0.2.1", &bounded("dear", 50)).await;
    assert_eq!((refused.status(), refused.error_code().await.as_str()), (429, "budget_exceeded"));
    let kept: String = redis.command(&["GET", &key]).await;
    assert_eq!(kept, format!("{tomorrow} 9999999"));
}

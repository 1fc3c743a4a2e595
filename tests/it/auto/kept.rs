//! `auto` with a cache: what is decided, kept and joined, and what all of it together saves.

use demo_upstream::Knobs;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{EASY, HARD, Plan, Routing, asks, says};
use crate::support::answer::Answer;
use crate::support::edge::{Edge, Version, completion};
use crate::support::soon;

const KEPT: &str = "[cache]\nenabled = true\n[cost]\nbaseline = \"strong\"";
/// The rules decide; nobody else is asked.
const RULES: &str = "mode = \"rules\"";

fn held(at: u64, knobs: Knobs) -> Knobs {
    Knobs { hold: Some(at), ..knobs }
}

/// `tokenway-cache`, `tokenway-route`, `tokenway-model`, `tokenway-attempts`.
fn head(answer: &Answer) -> [&str; 4] {
    ["tokenway-cache", "tokenway-route", "tokenway-model", "tokenway-attempts"].map(|name| answer.header(name))
}

/// Returns once so many have joined.
async fn until_joined(edge: &Edge, count: f64) {
    soon(async {
        while edge.metric("tokenway_cache_total{result=\"joined\"}") < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_undecided_question_is_asked_once_for_all_who_ask_it() {
    for (word, model, attempts) in [("hard", "strong", "2"), ("easy", "cheap", "1")] {
        for stream in [true, false] {
            let routing = Routing::start(Plan { judge: held(0, says(word)), more: KEPT, ..Plan::default() }).await;
            let request = asks("auto", "Hm?", stream);
            let answers = join_all((0..4).map(|_| routing.ask(&request)));
            let release = async {
                until_joined(&routing.edge, 3.0).await;
                routing.judge.release(1);
            };
            let (answers, ()) = tokio::join!(answers, release);
            let route = format!("{word};by=classifier");
            // nothing is speculated about what is not streamed
            let attempts = if stream { attempts } else { "1" };
            for answer in &answers {
                let attempts = if answer.header("tokenway-cache") == "miss" { attempts } else { "0" };
                let cache = answer.header("tokenway-cache").to_owned();
                assert_eq!(head(answer), [&*cache, &*route, model, attempts]);
            }
            let led = answers.iter().filter(|answer| answer.header("tokenway-cache") == "miss").count();
            assert_eq!(led, 1, "{word} {stream}");
            for answer in answers {
                answer.rest().await;
            }
            let again = routing.ask(&request).await;
            assert_eq!(head(&again), ["hit", &*route, model, "0"]);
            again.rest().await;
            assert_eq!(routing.requests().iter().sum::<u64>(), if stream && word == "hard" { 3 } else { 2 });
        }
    }
}

#[tokio::test]
async fn who_asks_after_the_decision_joins_as_well() {
    let plan = Plan { judge: says("easy"), easy: held(4, Knobs::default()), more: KEPT, ..Plan::default() };
    let routing = Routing::start(plan).await;
    let request = asks("auto", "Hm?", true);
    let leader = routing.ask(&request).await;
    assert_eq!(head(&leader), ["miss", "easy;by=classifier", "cheap", "1"]);
    let late = routing.ask(&request).await;
    assert_eq!(head(&late), ["joined", "easy;by=classifier", "cheap", "0"]);
    let request = asks("auto", "Hm?", false);
    let whole = tokio::join!(routing.ask(&request), async {
        until_joined(&routing.edge, 2.0).await;
        routing.edge.first.release(1);
    });
    assert_eq!(head(&whole.0), ["joined", "easy;by=classifier", "cheap", "0"]);
    assert_eq!(routing.requests(), [1, 0, 1]);
}

/// Two requests for the same answer of the same model: only one of them has asked `auto`.
#[tokio::test]
async fn a_decision_is_told_to_who_asked_for_one_and_to_nobody_else() {
    for (first, second) in [("auto", "cheap"), ("cheap", "auto")] {
        let plan = Plan { easy: held(4, Knobs::default()), auto: RULES, more: KEPT, ..Plan::default() };
        let routing = Routing::start(plan).await;
        let leader = routing.ask(&asks(first, EASY, true)).await;
        let joiner = routing.ask(&asks(second, EASY, true)).await;
        let request = asks(second, EASY, false);
        let whole = tokio::join!(routing.ask(&request), async {
            until_joined(&routing.edge, 2.0).await;
            routing.edge.first.release(1);
        });
        let route = |model| if model == "auto" { "easy;by=rules" } else { "" };
        assert_eq!(head(&leader), ["miss", route(first), "cheap", "1"]);
        for answer in [joiner, whole.0] {
            assert_eq!(head(&answer), ["joined", route(second), "cheap", "0"], "{second} joins {first}");
        }
    }
}

#[tokio::test]
async fn callers_who_share_a_cache_do_not_share_a_decision_that_may_fail_at_ones_own_limits() {
    // without credentials, pages of one address are callers of their own to the cache
    let more = "[cache]\nenabled = true\nscope = \"shared\"";
    let routing = Routing::start(Plan { judge: held(0, says("easy")), more, ..Plan::default() }).await;
    let asked = ["https://app.example.com", ""].map(|origin| {
        let mut request = completion(&asks("auto", "Hm?", true));
        if !origin.is_empty() {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let edge = &routing.edge;
        async move { edge.client(Version::Http2).await.send(request).await }
    });
    let release = async {
        soon(routing.judge.until(|counts| counts.held == 2)).await;
        routing.judge.release(2);
    };
    let (answers, ()) = tokio::join!(join_all(asked), release);
    assert!(answers.iter().all(|answer| answer.header("tokenway-cache") == "miss"));
}

/// One request, sent so many times at once.
#[derive(Debug, Clone)]
struct Burst {
    model: &'static str,
    prompt: u64,
    stream: bool,
    wish: &'static str,
    times: usize,
}

fn burst() -> impl Strategy<Value = Burst> {
    let model = prop::sample::select(vec!["auto", "auto", "cheap", "strong"]);
    let wish = prop::sample::select(vec!["", "", "", "no-cache", "no-store"]);
    (model, 0..3_u64, any::<bool>(), wish, 1..4_usize).prop_map(|(model, prompt, stream, wish, times)| Burst {
        model,
        prompt,
        stream,
        wish,
        times,
    })
}

/// What one answer told of itself, in pico-dollars.
struct Told {
    of_auto: bool,
    reused: bool,
    /// Its tokens at its own model's price, and at the baseline's.
    own: i128,
    base: i128,
    billed: i128,
}

fn pico(dollars: &str) -> i128 {
    dollars.replace('.', "").parse().unwrap_or_else(|_| panic!("{dollars:?}"))
}

async fn told(edge: &Edge, burst: &Burst, round: u64) -> Told {
    let mut body = asks(burst.model, &format!("What is {round} and {}?", burst.prompt), burst.stream);
    if burst.stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    let mut request = completion(&body);
    if !burst.wish.is_empty() {
        request.headers_mut().insert("cache-control", burst.wish.parse().unwrap());
    }
    let answer = edge.client(Version::Http2).await.send(request).await;
    assert_eq!(answer.status(), 200);
    let [cache, route, model, _] = head(&answer).map(str::to_owned);
    assert_eq!(!route.is_empty(), burst.model == "auto");
    let (usage, cost) = match burst.stream {
        true => {
            let (body, cost) = answer.rest_and_trailer("tokenway-cost").await;
            let body = String::from_utf8(body.to_vec()).unwrap();
            let mut chunks =
                body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
            (chunks.next_back().unwrap()["usage"].clone(), cost)
        }
        false => {
            let cost = answer.header("tokenway-cost").to_owned();
            (answer.json().await["usage"].clone(), cost)
        }
    };
    let tokens = i128::from(usage["total_tokens"].as_u64().unwrap());
    let dollars = if model == "cheap" { 1 } else { 10 };
    let reused = matches!(&*cache, "hit" | "joined");
    let billed = pico(&cost);
    assert!(!reused || billed == 0, "{cache} {cost}");
    Told {
        of_auto: burst.model == "auto",
        reused,
        own: tokens * dollars * 1_000_000,
        base: tokens * 10_000_000,
        billed,
    }
}

#[test]
fn what_cache_joining_and_routing_save_adds_up_to_what_every_answer_told() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for word in ["easy", "hard", "neither"] {
        let plan = Plan { judge: says(word), more: KEPT, ..Plan::default() };
        let routing = runtime.block_on(Routing::start(plan));
        let (edge, round) = (&routing.edge, std::cell::Cell::new(0));
        let (mut saved, mut reused, mut billed, mut count) = (0, 0, 0, 0.0);
        let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
        let mut all = Vec::new();
        let cell = std::cell::RefCell::new(&mut all);
        let ran = runner.run(&prop::collection::vec(burst(), 1..8), |bursts| {
            round.set(round.get() + 1);
            for burst in &bursts {
                let told = runtime.block_on(join_all((0..burst.times).map(|_| told(edge, burst, round.get()))));
                cell.borrow_mut().extend(told);
            }
            Ok(())
        });
        ran.unwrap();
        for told in &all {
            saved += if told.of_auto {
                told.base - told.billed
            } else if told.reused {
                told.own
            } else {
                0
            };
            reused += if told.reused { told.own } else { 0 };
            billed += told.billed;
            count += 1.0;
        }
        runtime.block_on(soon(async {
            while edge.metric("tokenway_requests_total") < count {
                tokio::task::yield_now().await;
            }
        }));
        let by = |cause| pico(&edge.metrics.saved_dollars.sum(&[cause]).to_string());
        let lost = pico(&edge.metrics.lost_dollars.sum(&["routing"]).to_string());
        assert_eq!(by("cache") + by("joining") + by("routing") - lost, saved, "{word}");
        assert_eq!(by("cache") + by("joining"), reused, "{word}");
        let cost: i128 = ["cheap", "strong", "judge"]
            .iter()
            .flat_map(|model| ["usage", "estimate"].map(|source| [*model, source]))
            .map(|labels| pico(&edge.metrics.cost_dollars.sum(&labels).to_string()))
            .sum();
        assert_eq!(cost, billed, "{word}");
        assert!(by("cache") > 0 && by("joining") > 0, "{word}");
    }
}

/// Nobody was asked for an answer yet, and somebody is paid.
#[tokio::test]
async fn a_classifier_is_in_the_log_though_its_client_left_before_it_had_decided() {
    let plan = Plan { judge: held(0, says("easy")), auto: "mode = \"first\"", ..Plan::default() };
    let routing = Routing::start(plan).await;
    let mut request = completion(&asks("auto", "Hm?", true));
    request.headers_mut().insert("x-request-id", "left-before-the-decision".parse().unwrap());
    let client = routing.edge.client(Version::Http2).await;
    soon(client.leave_when(request, routing.judge.until(|counts| counts.held == 1))).await;
    routing.edge.until_ended("other", 499, "client_gone", 1).await;
    let cost = routing.edge.metrics.cost_dollars.sum(&["judge", "estimate"]).to_string();
    assert!(pico(&cost) > 0);
    let line = soon(async {
        loop {
            let log = crate::support::log::text();
            let line =
                log.lines().find(|line| line.contains("left-before-the-decision") && line.contains("client_gone"));
            match line {
                Some(line) => return line.to_owned(),
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert!(line.contains(&format!("cost=\"{cost}\"")) && line.contains("also=\"judge "), "{line}");
}

#[tokio::test]
async fn a_request_without_an_answer_saves_nothing_though_its_prompt_was_paid() {
    let plan = Plan {
        hard: held(0, Knobs::default()),
        auto: RULES,
        stream: "first_event_timeout = \"1s\"",
        more: "[cost]\nbaseline = \"judge\"",
        ..Plan::default()
    };
    let routing = Routing::start(plan).await;
    let answer = routing.ask(&asks("auto", HARD, true)).await;
    assert_eq!((answer.status(), answer.header("tokenway-model")), (504, "strong"));
    assert_ne!(answer.header("tokenway-cost"), "");
    answer.rest().await;
    routing.edge.until_ended("strong", 504, "upstream_failure", 1).await;
    let sums = [&routing.edge.metrics.saved_dollars, &routing.edge.metrics.lost_dollars];
    assert_eq!(sums.map(|sum| sum.sum(&["routing"]).to_string()), ["0.000000000000"; 2]);
}

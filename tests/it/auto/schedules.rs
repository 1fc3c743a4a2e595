//! Random schedules of faults behind `auto`: whatever each model does and whenever the decision comes, the client has one
//! answer, of one model that the decision allows.

use demo_upstream::Knobs;
use futures_util::future::join_all;
use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use super::{Plan, Routing, asks, says};
use crate::access::with_all;
use crate::fallback::schedules::{BEFORE, Fate, fate};
use crate::support::answer::truncated;
use crate::support::client::RequestBody;
use crate::support::edge::{Version, completion, expected};

const MODELS: [&str; 3] = ["cheap", "spare", "strong"];

/// One request: whether it streams, what each model does with it and how many milliseconds later, and whether it was
/// asked before.
type Planned = (bool, Vec<(Fate, u64)>, bool);

fn planned() -> impl Strategy<Value = Planned> {
    any::<bool>().prop_flat_map(|stream| {
        let late = prop_oneof![2 => Just(0u64), 1 => 1u64..30];
        (Just(stream), prop::collection::vec((fate(stream), late), MODELS.len()), any::<bool>())
    })
}

fn body((stream, fates, again): &Planned, number: u32) -> Value {
    let text = if *again { "Hm?".to_owned() } else { format!("Hm {number}?") };
    let mut request = asks("auto", &text, *stream);
    let mut models = json!({});
    for (name, (fate, late)) in MODELS.iter().zip(fates) {
        models[name] = fate.told();
        models[name]["first_token_ms"] = (*late).into();
    }
    request["demo"] = json!({ "models": models });
    request
}

fn run(mode: &str, word: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let auto = format!("mode = \"{mode}\"");
    let knobs = || Knobs { record: 100_000, ..Knobs::default() };
    let judge = Knobs { first_token: std::time::Duration::from_millis(10), ..says(word) };
    let more = "[fallback]\nretry_budget = 1\ncool_down = \"10ms\"\nmax_cool_down = \"20ms\"";
    let plan = Plan { judge, easy: knobs(), hard: knobs(), auto: &auto, more, ..Plan::default() };
    let routing = runtime.block_on(Routing::start(plan));
    let mut runner = TestRunner::new(Config { cases: 25, failure_persistence: None, ..Config::default() });
    let number = std::cell::Cell::new(0);
    runner
        .run(&prop::collection::vec(planned(), 1..5), |case| {
            let together = case.iter().map(|planned| {
                number.set(number.get() + 1);
                check(&routing, word, number.get(), planned)
            });
            let together: Vec<_> = together.collect();
            runtime.block_on(join_all(together)).into_iter().collect()
        })
        .unwrap_or_else(|error| panic!("{mode} {word}: {error}"));
    assert!(routing.routes(word, "classifier") > 25);
}

async fn check(routing: &Routing, word: &str, number: u32, planned: &Planned) -> Result<(), TestCaseError> {
    let (stream, fates, _) = planned;
    let (id, request) = (format!("auto-{number}"), body(planned, number));
    let send: Request<RequestBody> = with_all(completion(&request), &[("x-request-id", &id)]);
    let answer = routing.edge.client(Version::Http2).await.send(send).await;
    let (status, model) = (answer.status(), answer.header("tokenway-model").to_owned());
    prop_assert_eq!(answer.header("tokenway-route"), format!("{};by=classifier", word));
    let attempts: usize = answer.header("tokenway-attempts").parse().unwrap();
    let allowed = if word == "easy" { &MODELS[..2] } else { &MODELS[2..] };
    prop_assert!(allowed.contains(&model.as_str()), "{} after {}", model, word);
    let of = |model: &str| fates[MODELS.iter().position(|name| *name == model).unwrap()].0;

    let mut answered = request.clone();
    answered["model"] = model.as_str().into();
    match of(&model) {
        Fate::Answers if *stream => {
            prop_assert_eq!((status, answer.rest().await), (200, expected(&answered).concat().into()))
        }
        Fate::Answers => {
            let whole = answer.json().await;
            prop_assert_eq!(whole["model"].as_str(), Some(model.as_str()));
        }
        Fate::Truncates(_) => {
            prop_assert_eq!(status, 200);
            prop_assert_eq!(truncated(&answer.rest().await, &id).0, expected(&answered)[..BEFORE].concat());
        }
        fate => prop_assert!(fate.explains(status), "{} after {:?}", status, fate),
    }

    let (easy, hard) = (&routing.edge.first, &routing.edge.second);
    let asked: Vec<String> = [easy, hard]
        .iter()
        .flat_map(|demo| demo.requests())
        .filter(|asked| asked.headers["x-request-id"] == id)
        .map(|asked| serde_json::from_slice::<Value>(&asked.body).unwrap()["model"].as_str().unwrap().to_owned())
        .collect();
    // a reused connection that ends without a byte of an answer has its request sent once more
    let count = |model: &str| asked.iter().filter(|asked| *asked == model).count();
    let is_repeated = |model: &&&str| of(model) == Fate::Fails("reset_before") && count(model) > 1;
    let repeated = MODELS.iter().filter(is_repeated).count();
    // one that was given up before its request had left was asked for nothing
    let is_within = asked.len() - repeated <= attempts;
    prop_assert!(is_within && asked.contains(&model), "{:?} in {} attempts", asked, attempts);
    prop_assert!(word == "hard" || !asked.iter().any(|model| model == "strong"), "{:?}", asked);
    if model == "spare" && asked.iter().any(|model| model == "cheap") {
        prop_assert!(matches!(of("cheap"), Fate::Fails(_) | Fate::Breaks(_)), "{:?} was to be the last", of("cheap"));
    }
    Ok(())
}

#[test]
fn speculative_easy() {
    run("speculative", "easy");
}

#[test]
fn speculative_hard() {
    run("speculative", "hard");
}

#[test]
fn first_easy() {
    run("first", "easy");
}

#[test]
fn first_hard() {
    run("first", "hard");
}

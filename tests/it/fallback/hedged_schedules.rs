//! The same with hedges, and with models that are slow: whoever is first, the answer is one model's, and nobody is charged for
//! what the other one would have said.

use families::estimate;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value};
use tokenway::price::Cost;

use super::schedules::{BEFORE, Fate, fate, output};
use super::{MODELS, Stage, estimated_prompt, price, request, usage};
use crate::support::answer::truncated;
use crate::support::edge::expected;

/// What each model does, and how many milliseconds later than at once.
type Planned = (usize, Vec<(Fate, u64)>);

fn planned() -> impl Strategy<Value = Planned> {
    let late = prop_oneof![2 => Just(0u64), 1 => 1u64..60];
    (0..MODELS.len(), prop::collection::vec((fate(true), late), MODELS.len()))
}

fn body((first, fates): &Planned) -> Value {
    let told = |(fate, late): &(Fate, u64)| {
        let mut told = fate.told();
        told["first_token_ms"] = (*late).into();
        told
    };
    let models: Map<String, Value> =
        MODELS.iter().zip(fates).map(|((name, _), fate)| ((*name).to_owned(), told(fate))).collect();
    request(MODELS[*first].0, models.into())
}

#[test]
fn whoever_is_first_there_is_one_answer_of_one_model_and_only_prompts_of_the_others() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rules = "retry_budget = 1\ncool_down = \"10ms\"\nmax_cool_down = \"20ms\"\n\
                 [fallback.hedge]\nafter = \"15ms\"\nbudget = 1";
    let stage = runtime.block_on(Stage::start(rules, ""));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let number = std::cell::Cell::new(0);
    runner
        .run(&prop::collection::vec(planned(), 1..6), |case| {
            let together = case.iter().map(|planned| {
                number.set(number.get() + 1);
                check(&stage, format!("hedged-{}", number.get()), planned)
            });
            let together: Vec<_> = together.collect();
            runtime.block_on(join_all(together)).into_iter().collect()
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(stage.edge.metric("tokenway_hedges_total") > 0.0, "nobody was slow");
}

async fn check(stage: &Stage, id: String, planned: &Planned) -> Result<(), TestCaseError> {
    let request = body(planned);
    let answer = stage.ask(&id, &request).await;
    let (status, named) = (answer.status(), answer.header("tokenway-model").to_owned());
    let attempts: usize = answer.header("tokenway-attempts").parse().unwrap();
    let of = |model: &str| planned.1[MODELS.iter().position(|(name, _)| *name == model).unwrap()].0;
    let mut answered = request.clone();
    answered["model"] = named.as_str().into();
    let mut cost = Cost::default();
    if status == 200 {
        let events = expected(&answered);
        let body = answer.rest().await;
        match of(&named) {
            Fate::Answers => {
                prop_assert_eq!(body, events.concat());
                cost += usage(&named, &request);
            }
            Fate::Truncates(_) => {
                prop_assert_eq!(truncated(&body, &id).0, events[..BEFORE].concat());
                let (bytes, outputs) = output(&events[..BEFORE]);
                cost += price(&named, estimated_prompt(&request), estimate::output_tokens(bytes, outputs));
            }
            fate => prop_assert!(false, "an answer of {} after {:?}", named, fate),
        }
    }
    // one that was given up before its request had left was asked for nothing
    let asked = stage.asked(&id);
    prop_assert!(asked.len() <= attempts && attempts <= MODELS.len(), "{:?} in {}", asked, attempts);
    if status != 200 {
        prop_assert!(asked.iter().any(|model| of(model).explains(status)), "{} of {:?}", status, asked);
    }
    // of each other one the prompt, unless it had refused the request before it was given up
    let mut possible = vec![cost];
    for model in asked.iter().filter(|model| status != 200 || **model != named) {
        let prompt = price(model, estimated_prompt(&request), 0);
        let refuses = matches!(of(model), Fate::Fails(_) | Fate::Refuses(_));
        let paid: Vec<Cost> = possible.iter().map(|cost| *cost + prompt).collect();
        possible = if refuses { [possible, paid].concat() } else { paid };
    }
    // an attempt that was given up while its request was under way pays its prompt, too, though the upstream has not read it
    if attempts > asked.len() {
        for (model, _) in MODELS.iter().filter(|(model, _)| !asked.iter().any(|asked| asked == model)) {
            let prompt = price(model, estimated_prompt(&request), 0);
            possible.extend(possible.clone().into_iter().map(|cost| cost + prompt));
        }
    }
    let logged = stage.logged_cost(&id).await.unwrap_or_else(|| Cost::default().to_string());
    prop_assert!(possible.iter().any(|cost| cost.to_string() == logged), "{} of {:?}", logged, possible);
    Ok(())
}

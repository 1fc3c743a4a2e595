//! Random schedules of faults: whatever each upstream does, the client has exactly one answer, of one model; nobody is asked
//! after its first output; and what is charged is what the upstreams did.

use families::estimate;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};
use tokenway::price::Cost;

use super::{MODELS, Stage, estimated_prompt, price, request, usage};
use crate::support::answer::truncated;
use crate::support::edge::expected;

/// How many of the upstream's events come before a stream breaks: the role, and two of output.
pub const BEFORE: usize = 3;

/// What an upstream does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Answers well.
    Answers,
    /// Refuses the request for its own fault.
    Refuses(&'static str),
    /// Fails before it has done anything.
    Fails(&'static str),
    /// Takes the request, and breaks off before any output.
    Breaks(&'static str),
    /// Breaks off after some output.
    Truncates(&'static str),
}

pub fn fate(stream: bool) -> impl Strategy<Value = Fate> {
    const FAILS: [&str; 6] = ["status_408", "status_429", "status_500", "status_503", "status_529", "reset_before"];
    const BREAKS: [&str; 2] = ["eof_no_events", "clean_eof_without_done"];
    const TRUNCATES: [&str; 3] = ["error_event", "clean_eof_without_done", "disconnect_mid_event"];
    let whole = prop_oneof![
        3 => Just(Fate::Answers),
        1 => Just(Fate::Refuses("status_400")),
        4 => prop::sample::select(&FAILS[..]).prop_map(Fate::Fails),
    ];
    match stream {
        false => whole.boxed(),
        true => prop_oneof![
            4 => whole,
            1 => Just(Fate::Fails("error_event_before_output")),
            2 => prop::sample::select(&BREAKS[..]).prop_map(Fate::Breaks),
            2 => prop::sample::select(&TRUNCATES[..]).prop_map(Fate::Truncates),
        ]
        .boxed(),
    }
}

/// One request: whether it streams, whom it names, and what each upstream does with it.
type Planned = (bool, usize, Vec<Fate>);

fn planned() -> impl Strategy<Value = Planned> {
    any::<bool>()
        .prop_flat_map(|stream| (Just(stream), 0..MODELS.len(), prop::collection::vec(fate(stream), MODELS.len())))
}

fn body((stream, first, fates): &Planned) -> Value {
    let models: Map<String, Value> =
        MODELS.iter().zip(fates).map(|((name, _), fate)| ((*name).to_owned(), fate.told())).collect();
    let mut request = request(MODELS[*first].0, models.into());
    request["stream"] = (*stream).into();
    request
}

impl Fate {
    /// As the demo upstream is told of it.
    pub fn told(self) -> Value {
        match self {
            Fate::Answers => json!({}),
            Fate::Refuses(fault) | Fate::Fails(fault) => json!({ "fault": fault }),
            Fate::Breaks(fault) => json!({ "fault": fault, "at": 1 }),
            Fate::Truncates(fault) => json!({ "fault": fault, "at": BEFORE }),
        }
    }

    /// Whether this is what the client is told where the model's failure was the last one.
    pub fn explains(self, status: u16) -> bool {
        match self {
            Fate::Answers | Fate::Truncates(_) => status == 200,
            Fate::Refuses(_) => status == 400,
            Fate::Fails(_) => status >= 429,
            Fate::Breaks(_) => status == 502,
        }
    }
}

#[test]
fn whatever_upstreams_do_there_is_one_answer_of_one_model_at_the_upstreams_price() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // the shortest cool-down: models come and go within the test
    let rules = "retry_budget = 1\ncool_down = \"10ms\"\nmax_cool_down = \"20ms\"";
    let stage = runtime.block_on(Stage::start(rules, ""));
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let (mut number, mut billed) = (0, Cost::default());
    let cases = prop::collection::vec(planned(), 1..6);
    let numbers = std::cell::RefCell::new((&mut number, &mut billed));
    runner
        .run(&cases, |case| {
            let mut numbers = numbers.borrow_mut();
            let together = case.iter().map(|planned| {
                *numbers.0 += 1;
                check(&stage, format!("planned-{}", numbers.0), planned)
            });
            let together: Vec<_> = together.collect();
            for cost in runtime.block_on(join_all(together)) {
                *numbers.1 += cost?;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // what the metrics tell is the sum of the same charges
    let told = stage.edge.metric("tokenway_cost_dollars_total");
    assert!((told - billed.dollars()).abs() < 1e-9, "{told} and not {billed}");
}

/// Asks, checks all that there is to know of one request, and gives back what it cost.
async fn check(stage: &Stage, id: String, planned: &Planned) -> Result<Cost, TestCaseError> {
    let (stream, _, fates) = planned;
    let request = body(planned);
    let answer = stage.ask(&id, &request).await;
    let (status, last) = (answer.status(), answer.header("tokenway-model").to_owned());
    let attempts: usize = answer.header("tokenway-attempts").parse().unwrap();
    let asked = stage.asked(&id);
    let of = |model: &str| fates[MODELS.iter().position(|(name, _)| *name == model).unwrap()];
    prop_assert_eq!(asked.len(), attempts, "{:?}", asked);
    prop_assert!(asked.contains(&last.as_str()), "{} of {:?}", last, asked);

    // who was asked before the last one had given nothing, and no cause to stop
    let mut cost = Cost::default();
    let prompt = estimated_prompt(&request);
    for model in asked.iter().filter(|model| **model != last) {
        match of(model) {
            Fate::Fails(_) => {}
            Fate::Breaks(_) => cost += price(model, prompt, 0),
            fate => prop_assert!(false, "{} was to be the last: {:?} {:?}", model, fate, asked),
        }
    }
    let mut answered = request.clone();
    answered["model"] = last.as_str().into();
    match of(&last) {
        Fate::Answers if *stream => {
            prop_assert_eq!(status, 200);
            prop_assert_eq!(answer.rest().await, expected(&answered).concat());
            cost += usage(&last, &request);
        }
        Fate::Answers => {
            prop_assert_eq!(status, 200);
            let whole = answer.json().await;
            prop_assert_eq!(whole["model"].as_str(), Some(last.as_str()));
            cost += usage(&last, &request);
        }
        Fate::Truncates(_) => {
            prop_assert_eq!(status, 200);
            let events = expected(&answered);
            let (before, _) = truncated(&answer.rest().await, &id);
            prop_assert_eq!(before, events[..BEFORE].concat());
            let (bytes, outputs) = output(&events[..BEFORE]);
            cost += price(&last, prompt, estimate::output_tokens(bytes, outputs));
        }
        fate => {
            prop_assert!(fate.explains(status), "{} after {:?}", status, fate);
            if let Fate::Breaks(_) = fate {
                cost += price(&last, prompt, 0);
            }
        }
    }
    let logged = stage.logged_cost(&id).await;
    let nothing = Cost::default();
    prop_assert_eq!(logged.unwrap_or_else(|| nothing.to_string()), cost.to_string());
    Ok(cost)
}

/// Bytes of text and number of the events that carry output.
pub fn output(events: &[bytes::Bytes]) -> (u64, u64) {
    let text = |event: &bytes::Bytes| {
        let chunk: Value = serde_json::from_slice(&event["data: ".len()..]).unwrap();
        chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()).map(|text| text.len() as u64)
    };
    let lengths: Vec<u64> = events.iter().filter_map(text).collect();
    (lengths.iter().sum(), lengths.len() as u64)
}

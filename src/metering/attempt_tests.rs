//! What attempts put onto the bill, alone and side by side.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::attempt::Attempt;
use super::meter::Meter;
use crate::metrics::{Cached, Metrics, Outcome};
use crate::models::{Fallback, Model, Target, UpstreamId};
use crate::price::Price;
use crate::spend::bill::Purpose;
use crate::upstream::failure::Failure;
use families::event::Meaning;
use families::fault::Fault;
use families::usage::Usage;

const PROMPT: u64 = 100;

fn model(name: &str, dollars: &str) -> Model {
    Model {
        name: name.into(),
        upstream: UpstreamId(0),
        upstream_model: name.into(),
        input_price: Price::parse(dollars).ok(),
        output_price: Price::parse(dollars).ok(),
        cached_input_price: None,
        cache_write_price: None,
        reasoning_price: None,
        context: None,
        fallback: Fallback::List(vec![]),
    }
}

fn target(name: &str, dollars: &str) -> Arc<Target> {
    Arc::new(Target::new(model(name, dollars), "up"))
}

fn meter() -> (Meter, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let meter = Meter::start(metrics.clone(), Instant::now(), "req_1".into(), "chat", None, [127, 0, 0, 1].into());
    (meter, metrics)
}

fn begin(meter: &Meter, name: &str, purpose: Purpose) -> Attempt {
    Attempt::begin(meter, &target(name, "1"), PROMPT, purpose)
}

fn output(bytes: u64) -> Meaning {
    Meaning { output: true, text_bytes: bytes, ..Meaning::default() }
}

/// Tokens on the bill.
fn billed(meter: &Meter) -> u64 {
    meter.record().bill().tokens()
}

#[tokio::test]
async fn a_cancelled_attempt_pays_its_prompt_once_the_request_has_left() {
    let (meter, _) = meter();
    drop(begin(&meter, "a", Purpose::Answer));
    assert_eq!(billed(&meter), 0);
    let mut attempt = begin(&meter, "a", Purpose::Answer);
    attempt.sent();
    drop(attempt);
    assert_eq!(billed(&meter), PROMPT);
    let mut attempt = begin(&meter, "a", Purpose::Answer);
    attempt.sent();
    attempt.answered();
    attempt.tally_mut().add(&output(8));
    drop(attempt);
    assert_eq!(billed(&meter), PROMPT + PROMPT + 2);
    assert_eq!(meter.record().cost().unwrap().to_string(), "0.000202000000");
}

#[tokio::test]
async fn what_an_upstream_refused_is_not_billed_and_what_it_broke_off_is() {
    let after = |answered: bool, output_bytes: u64, failure: Failure| {
        let (meter, _) = meter();
        let mut attempt = begin(&meter, "a", Purpose::Answer);
        attempt.sent();
        if answered {
            attempt.answered();
        }
        if output_bytes > 0 {
            attempt.tally_mut().add(&output(output_bytes));
        }
        attempt.failed(&failure);
        drop(attempt);
        billed(&meter)
    };
    for failure in [Failure::no_connection(), Failure::Broken, Failure::BadHead("x")] {
        assert_eq!(after(false, 0, failure.clone()), 0, "{failure:?}");
    }
    assert_eq!(after(true, 0, Failure::InBody(Fault::Other)), 0);
    assert_eq!(after(true, 4, Failure::InBody(Fault::Other)), PROMPT + 1);
    assert_eq!(after(false, 0, Failure::SilentBeforeFirstEvent), PROMPT);
    for failure in [Failure::Broken, Failure::Empty, Failure::TooLong, Failure::SilentBetweenEvents] {
        assert_eq!(after(true, 0, failure.clone()), PROMPT, "{failure:?}");
    }
}

#[tokio::test]
async fn an_attempt_is_billed_once_and_by_the_upstreams_own_count() {
    let (meter, metrics) = meter();
    let mut attempt = begin(&meter, "a", Purpose::Answer);
    attempt.sent();
    attempt.answered();
    let usage = Usage { prompt: 7, completion: 5, cached: 3, cache_write: 1, reasoning: 2 };
    attempt.tally_mut().add(&Meaning { usage: Some(usage), ..output(400) });
    attempt.settle();
    attempt.settle();
    drop(attempt);
    assert_eq!((billed(&meter), meter.record().bill().charges().len()), (12, 1));
    meter.record().settle(Outcome::Ok);
    drop(meter);
    let counted = |direction| metrics.tokens.with_label_values(&["a", direction, "usage"]).get();
    assert_eq!((counted("input"), counted("output")), (7, 5));
}

#[tokio::test]
async fn the_one_that_has_output_first_answers_whichever_began_first() {
    let (meter, _) = meter();
    let answering = || meter.record().answering().map(|(model, _, attempts)| (model.to_owned(), attempts));
    let mut a = begin(&meter, "a", Purpose::Answer);
    let mut classifier = begin(&meter, "classifier", Purpose::Decide);
    assert_eq!(answering(), Some(("a".into(), 1)));
    classifier.first_output_came();
    assert_eq!(answering(), Some(("a".into(), 1)));
    let b = begin(&meter, "b", Purpose::Answer);
    assert_eq!(answering(), Some(("b".into(), 2)));
    a.first_output_came();
    assert_eq!(answering(), Some(("a".into(), 2)));
    drop(b);
    // what the client has had output of stays the answer
    let now = Instant::now();
    meter.record().taken(now, now, true);
    drop(begin(&meter, "c", Purpose::Answer));
    assert_eq!(answering(), Some(("a".into(), 3)));
}

#[tokio::test(start_paused = true)]
async fn several_upstreams_that_are_waited_for_at_a_time_count_once() {
    let (meter, _) = meter();
    let second = || advance(Duration::from_secs(1));
    let mut a = begin(&meter, "a", Purpose::Answer);
    second().await;
    let b = begin(&meter, "b", Purpose::Answer);
    second().await;
    a.first_output_came();
    second().await;
    drop(b);
    second().await;
    drop(a);
    assert_eq!(meter.record().upstream_time(), Duration::from_secs(3));
    let _c = begin(&meter, "c", Purpose::Answer);
    second().await;
    assert_eq!(meter.record().upstream_time(), Duration::from_secs(4));
}

#[tokio::test]
async fn an_open_attempt_keeps_its_requests_line_back_until_its_cost_is_whole() {
    let (meter, metrics) = meter();
    let mut loser = begin(&meter, "a", Purpose::Answer);
    loser.sent();
    meter.record().settle(Outcome::Ok);
    drop(meter);
    let requests = |model| metrics.requests.with_label_values(&["chat", model, "200", "ok"]).get();
    assert_eq!(requests("a"), 0);
    drop(loser);
    assert_eq!(requests("a"), 1);
    assert_eq!(metrics.tokens.with_label_values(&["a", "input", "estimate"]).get(), PROMPT);
}

#[tokio::test]
async fn a_sum_with_an_unknown_price_is_not_known() {
    let (meter, _) = meter();
    assert_eq!(meter.record().cost(), None);
    let bill = |dollars| {
        let mut attempt = Attempt::begin(&meter, &target("m", dollars), PROMPT, Purpose::Answer);
        attempt.sent();
    };
    bill("1");
    assert!(meter.record().cost().is_some());
    bill("no price");
    assert_eq!(meter.record().cost(), None);
}

fn usage(prompt: u64, completion: u64) -> Meaning {
    Meaning { usage: Some(Usage { prompt, completion, ..Usage::default() }), ..output(1) }
}

#[tokio::test]
async fn what_auto_saves_is_the_baseline_less_the_whole_bill_and_may_be_a_loss() {
    let ask = |answerer: &str| {
        let (meter, metrics) = meter();
        meter.record().compare_with(model("baseline", "10").prices());
        let mut decision = begin(&meter, "classifier", Purpose::Decide);
        decision.sent();
        decision.tally_mut().add(&usage(9, 1));
        drop(decision);
        let mut attempt = Attempt::begin(&meter, &target("answerer", answerer), PROMPT, Purpose::Answer);
        attempt.sent();
        attempt.tally_mut().add(&usage(60, 40));
        attempt.first_output_came();
        drop(attempt);
        meter.record().settle(Outcome::Ok);
        drop(meter);
        [&metrics.saved_dollars, &metrics.lost_dollars].map(|dollars| dollars.sum(&["routing"]).short())
    };
    // 100 tokens at 10 dollars a million, less 100 at 2, less 10 of the decision at 1
    assert_eq!(ask("2"), ["0.00079", "0.00"]);
    assert_eq!(ask("10"), ["0.00", "0.00001"]);
}

#[tokio::test]
async fn an_answer_that_is_not_asked_for_anew_costs_nothing_and_is_counted_once() {
    let (meter, metrics) = meter();
    let answer = {
        let (first, _) = self::meter();
        let mut attempt = begin(&first, "a", Purpose::Answer);
        attempt.sent();
        attempt.tally_mut().add(&usage(60, 40));
        drop(attempt);
        first.record().answer_tokens().unwrap()
    };
    meter.record().compare_with(model("baseline", "10").prices());
    meter.record().cached(Cached::Hit);
    meter.record().reuses(&model("a", "2"), "up");
    meter.record().reused(answer);
    assert_eq!(meter.record().answering(), Some(("a", "up", 0)));
    assert_eq!(meter.record().cost().map(|cost| cost.short()).as_deref(), Some("0.00"));
    meter.record().settle(Outcome::Ok);
    drop(meter);
    let saved = ["cache", "joining", "routing"].map(|by| metrics.saved_dollars.sum(&[by]).short());
    assert_eq!(saved, ["0.0002", "0.00", "0.0008"]);
    assert_eq!(metrics.tokens.with_label_values(&["a", "input", "usage"]).get(), 0);
}

#[tokio::test]
async fn who_leaves_the_joined_answer_and_asks_anew_saves_nothing() {
    let (meter, metrics) = meter();
    meter.record().cached(Cached::Joined);
    meter.record().reuses(&model("a", "2"), "up");
    let mut attempt = begin(&meter, "b", Purpose::Answer);
    attempt.sent();
    drop(attempt);
    drop(meter);
    assert_eq!(metrics.saved_dollars.sum(&["joining"]).short(), "0.00");
    assert_eq!(metrics.requests.with_label_values(&["chat", "b", "499", "client_gone"]).get(), 1);
}

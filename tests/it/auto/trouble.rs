//! A classifier that does not answer: the rules decide.

use std::time::Duration;

use tokenway::demo::{Fault, Knobs};

use super::{EASY, HARD, Plan, Routing, asks, says};
use crate::support::edge::expected;
use crate::support::soon;

#[tokio::test]
async fn a_classifier_in_whatever_trouble_leaves_it_to_the_rules() {
    let fault = |fault| Knobs { fault: Some(fault), ..says("hard") };
    let late = Knobs { first_token: Duration::from_secs(3600), ..says("hard") };
    for (judge, reason) in [
        (fault(Fault::Status500), "other"),
        (fault(Fault::ResetBefore), "broken"),
        (fault(Fault::Silent), "timeout"),
        (late, "timeout"),
        (says("maybe"), "unclear"),
    ] {
        for mode in ["speculative", "first"] {
            // another trouble than silence is found out long before
            let timeout = if reason == "timeout" { "200ms" } else { "60s" };
            let auto = format!("mode = \"{mode}\"\ntimeout = \"{timeout}\"");
            let plan = Plan { judge: judge.clone(), auto: &auto, ..Plan::default() };
            let routing = Routing::start(plan).await;
            for (text, model, route) in [(EASY, "cheap", "easy;by=rules"), (HARD, "strong", "hard;by=rules")] {
                let answer = routing.ask(&asks("auto", text, true)).await;
                let told = (answer.header("tokenway-model"), answer.header("tokenway-route"));
                assert_eq!(told, (model, route), "{reason} {mode}");
                assert_eq!(answer.rest().await, expected(&asks(model, text, true)).concat());
            }
            let text = routing.edge.metrics.text();
            let failures: Vec<_> = text.lines().filter(|line| line.starts_with("tokenway_classifier_fail")).collect();
            assert_eq!(routing.failures(reason), 2, "{reason}: {failures:?}");
        }
    }
}

#[tokio::test]
async fn a_classifier_that_was_given_up_is_cancelled_and_what_the_rules_said_is_not_remembered() {
    let judge = Knobs { hold: Some(0), ..says("hard") };
    let routing = Routing::start(Plan { judge, auto: "timeout = \"3s\"", ..Plan::default() }).await;
    let answer = routing.ask(&asks("auto", EASY, true)).await;
    assert_eq!(answer.header("tokenway-route"), "easy;by=rules");
    answer.rest().await;
    soon(routing.judge.until(|counts| counts.cancelled == 1)).await;
    routing.judge.release(1);
    let answer = routing.ask(&asks("auto", EASY, true)).await;
    assert_eq!(answer.header("tokenway-route"), "hard;by=classifier", "asked again");
}

#[tokio::test]
async fn a_prompt_that_only_one_can_hold_goes_there_unasked() {
    let routing = Routing::start(Plan { cheap: "context = 50", judge: says("easy"), ..Plan::default() }).await;
    for stream in [true, false] {
        let answer = routing.ask(&asks("auto", &"long ".repeat(200), stream)).await;
        assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-route")), ("strong", "hard;by=rules"));
        answer.rest().await;
    }
    let mut long_answer = asks("auto", "short", true);
    long_answer["max_tokens"] = 50.into();
    assert_eq!(routing.ask(&long_answer).await.header("tokenway-route"), "hard;by=rules");
    assert_eq!(routing.requests(), [0, 3, 0]);
    assert_eq!(routing.ask(&asks("auto", "short", true)).await.header("tokenway-route"), "easy;by=classifier");
}

#[tokio::test]
async fn a_classifier_that_does_not_answer_is_not_waited_for_again_and_again() {
    for mode in ["speculative", "first"] {
        let judge = Knobs { fault: Some(Fault::Silent), ..says("hard") };
        let auto = format!("mode = \"{mode}\"\ntimeout = \"50ms\"");
        let more = "[fallback]\ncool_down = \"60s\"\nmax_cool_down = \"60s\"";
        let routing = Routing::start(Plan { judge, auto: &auto, more, ..Plan::default() }).await;
        for round in 0..8 {
            let answer = routing.ask(&asks("auto", &format!("{HARD} {round}"), round % 2 == 0)).await;
            assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-route")), ("strong", "hard;by=rules"));
            answer.rest().await;
        }
        assert_eq!((routing.judge.counts().requests, routing.edge.second.counts().requests), (5, 8), "{mode}");
        assert_eq!((routing.failures("timeout"), routing.failures("cool_down")), (5, 3), "{mode}");
    }
}

#[tokio::test]
async fn what_a_prompt_makes_the_classifier_say_takes_it_from_nobody() {
    let routing = Routing::start(Plan { judge: says("I will not decide"), ..Plan::default() }).await;
    for round in 0..12 {
        routing.ask(&asks("auto", &format!("{round}"), false)).await.rest().await;
    }
    assert_eq!((routing.judge.counts().requests, routing.failures("unclear")), (12, 12));
}

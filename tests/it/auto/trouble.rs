//! A classifier that does not answer: the rules decide.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use demo_upstream::{Fault, Knobs};
use families::chat::Chat;
use families::family::{Family, Form};
use serde_json::json;
use tokenway::auth::caller::Caller;
use tokenway::config::Config;
use tokenway::failover::health_registry::HealthRegistry;
use tokenway::failover::retry_budget::{Share, Terms};
use tokenway::gateway;
use tokenway::limits::limiter::Limiter;
use tokenway::metering::meter::Meter;
use tokenway::metrics::Metrics;
use tokenway::models::ModelId;
use tokenway::request_id::RequestId;
use tokenway::routing::classifier::Question;
use tokenway::routing::plan;
use tokenway::routing::router::NoVerdict;
use tokenway::upstream::clients::Clients;
use tokio::time::Instant;

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

/// A classifier is asked once, whatever stands behind it; and its failures leave to answers what they may try again.
#[tokio::test]
async fn a_classifier_s_failures_are_not_multiplied_and_take_nothing_of_the_retry_budget() {
    let plan = Plan {
        judge: Knobs { fault: Some(Fault::Status500), ..Knobs::default() },
        classifier: "fallback = [\"demo\"]",
        // of no share, the floor is left: ten in ten seconds
        more: "[fallback]\nretry_budget = 0",
        ..Plan::default()
    };
    let routing = Routing::start(plan).await;
    for round in 0..5 {
        let answer = routing.ask(&asks("auto", &format!("{round}"), round % 2 == 0)).await;
        assert_eq!((answer.header("tokenway-route"), answer.header("tokenway-attempts")), ("easy;by=rules", "1"));
        answer.rest().await;
    }
    assert_eq!(routing.requests(), [5, 0, 5]);
    assert_eq!(routing.edge.metric("tokenway_fallbacks_total{from=\"judge\""), 0.0);

    // never five in a row, nor ten of twenty: the model stays in good health
    let storm = async |fails: bool| {
        let mut request = asks("cheap", "Hm?", true);
        request["demo"] =
            json!({ "models": { "cheap": if fails { json!({ "fault": "status_500" }) } else { json!({}) } } });
        routing.ask(&request).await
    };
    for round in 0..30 {
        let fails = round % 3 == 2;
        let (answer, model) = (storm(fails).await, if fails { "spare" } else { "cheap" });
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, model), "{round}");
    }
    assert_eq!(storm(true).await.status(), 502);
}

/// The budget is a share of requests: a question beside each of them must not double it.
#[tokio::test]
async fn a_classifier_s_question_is_no_request_that_the_retry_budget_grows_with() {
    // nobody listens there
    let config = "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                  [[models]]\nname = \"judge\"\nupstream = \"up\"\n";
    let config = Config::parse(config, Path::new(""), &|_| None).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let health_registry = Arc::new(HealthRegistry::new(metrics.clone()));
    let router = Arc::new(gateway::router(&config, metrics.clone()));
    let limiter = Limiter::local(1, metrics.clone());
    let completions = Arc::new(
        gateway::completions(&config, router, (health_registry.clone(), &Clients::default()), limiter).unwrap(),
    );
    let request = Chat.parse(asks("judge", "Hm?", false).to_string().into(), Form::Full).unwrap();
    let (question, id) = (Question::about(&request.prompt()), RequestId::random());
    let meter = Meter::start(metrics, Instant::now(), id.text(), "test", None, Ipv4Addr::LOCALHOST.into());
    let judge = ModelId(0);
    let plan = plan::Plan::to_model(judge, Caller::operator(), request, id.header());
    let as_many_as_requests = Terms { share: Share::of_thousand(1000), floor: 0 };
    let asked = tokenway::routing::plan::Plan::of_question(&question, judge, Caller::operator(), id.header()).unwrap();
    let verdict = completions.classify(asked, Duration::from_secs(20), &meter).await;
    assert!(matches!(verdict, Err(NoVerdict::Failed(_))));
    assert!(!health_registry.may_retry(as_many_as_requests));
    assert!(completions.whole(plan, meter).await.is_err());
    assert!(health_registry.may_retry(as_many_as_requests));
}

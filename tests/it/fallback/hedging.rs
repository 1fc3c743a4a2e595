//! A second attempt beside a slow first one.

use serde_json::json;

use super::{Stage, estimated_prompt, price, request, usage};
use crate::support::edge::expected;
use crate::support::soon;

const AFTER: &str = "[fallback.hedge]\nafter = \"50ms\"\nbudget = 1";

fn hedges(stage: &Stage, result: &str) -> u64 {
    stage.edge.metrics.hedges.with_label_values(&["dear", "middle", result]).get()
}

#[tokio::test]
async fn the_first_output_wins_and_the_slow_one_is_cancelled_and_paid() {
    let stage = Stage::start(AFTER, "").await;
    let slow = request("dear", json!({ "dear": { "hold": 1 } }));
    let answer = stage.ask("hedged", &slow).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "2"));
    soon(stage.demo("dear").until(|counts| counts.cancelled == 1)).await;
    assert_eq!(answer.rest().await, expected(&request("middle", json!({}))).concat());
    assert_eq!(hedges(&stage, "won"), 1);
    let mut cost = price("dear", estimated_prompt(&slow), 0);
    cost += usage("middle", &slow);
    assert_eq!(stage.logged_cost("hedged").await, Some(cost.to_string()));
    assert_eq!(stage.edge.metric("tokenway_fallbacks_total"), 0.0, "nothing has failed");
}

#[tokio::test]
async fn the_slow_one_may_still_be_first() {
    let stage = Stage::start(AFTER, "").await;
    let slow = request("dear", json!({ "dear": { "hold": 1 }, "middle": { "hold": 1 } }));
    let (answer, ()) = tokio::join!(stage.ask("still", &slow), async {
        soon(stage.demo("middle").until(|counts| counts.held == 1)).await;
        stage.demo("dear").release(1);
    });
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("dear", "2"));
    soon(stage.demo("middle").until(|counts| counts.cancelled == 1)).await;
    assert_eq!(answer.rest().await, expected(&slow).concat());
    assert_eq!(hedges(&stage, "lost"), 1);
    let mut cost = usage("dear", &slow);
    cost += price("middle", estimated_prompt(&slow), 0);
    assert_eq!(stage.logged_cost("still").await, Some(cost.to_string()));
}

#[tokio::test]
async fn a_hedge_that_fails_spoils_nothing() {
    let stage = Stage::start(AFTER, "").await;
    for fault in ["status_500", "status_400"] {
        let slow = request("dear", json!({ "dear": { "hold": 1 }, "middle": { "fault": fault } }));
        let failed = stage.demo("middle").counts().finished + 1;
        let (answer, ()) = tokio::join!(stage.ask(fault, &slow), async {
            soon(stage.demo("middle").until(|counts| counts.finished == failed)).await;
            stage.demo("dear").release(1);
        });
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "dear"), "{fault}");
        assert_eq!(answer.rest().await, expected(&slow).concat());
    }
    assert_eq!((hedges(&stage, "lost"), stage.edge.metric("tokenway_fallbacks_total")), (2, 0.0));
}

#[tokio::test]
async fn when_the_slow_one_fails_the_hedge_goes_on() {
    let stage = Stage::start(AFTER, "").await;
    let models = json!({ "dear": { "fault": "error_event_before_output", "hold": 1 }, "middle": { "hold": 1 } });
    let slow = request("dear", models.clone());
    let (answer, ()) = tokio::join!(stage.ask("rescued", &slow), async {
        soon(stage.demo("middle").until(|counts| counts.held == 1)).await;
        stage.demo("dear").release(1);
        soon(stage.demo("dear").until(|counts| counts.open == 0)).await;
        stage.demo("middle").release(1);
    });
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "2"));
    assert_eq!(answer.rest().await, expected(&request("middle", models)).concat());
    assert_eq!((hedges(&stage, "won"), stage.fallbacks("dear", "middle", "other")), (1, 1));
}

#[tokio::test]
async fn when_both_fail_a_third_one_answers_and_neither_has_won() {
    let stage = Stage::start(AFTER, "").await;
    for (first, second) in [("dear", "middle"), ("middle", "dear")] {
        let fails = json!({ "fault": "error_event_before_output", "hold": 1 });
        let slow = request("dear", json!({ "dear": fails, "middle": fails }));
        let before = (stage.demo(first).counts().finished, stage.demo(second).counts().finished);
        let id = format!("both-{first}");
        let (answer, ()) = tokio::join!(stage.ask(&id, &slow), async {
            soon(stage.demo("middle").until(|counts| counts.held == 1)).await;
            stage.demo(first).release(1);
            soon(stage.demo(first).until(|counts| counts.finished + counts.cancelled > before.0)).await;
            stage.demo(second).release(1);
        });
        assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("cheap", "3"), "{first}");
        assert_eq!(answer.rest().await, expected(&request("cheap", slow["demo"]["models"].clone())).concat());
    }
    assert_eq!((hedges(&stage, "failed"), hedges(&stage, "won"), hedges(&stage, "lost")), (2, 0, 0));
}

#[tokio::test]
async fn its_budget_caps_it() {
    let stage = Stage::start("[fallback.hedge]\nafter = \"50ms\"\nbudget = 0", "").await;
    let slow = request("dear", json!({ "dear": { "hold": 1 } }));
    // the floor is one in ten seconds
    assert_eq!(stage.ask("first", &slow).await.header("tokenway-model"), "middle");
    let spent = "tokenway_retry_budget_exhausted_total{budget=\"hedge\"}";
    let (second, ()) = tokio::join!(stage.ask("second", &slow), async {
        soon(async {
            while stage.edge.metric(spent) == 0.0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stage.demo("dear").release(1);
    });
    assert_eq!((second.header("tokenway-model"), second.header("tokenway-attempts")), ("dear", "1"));
    assert_eq!(stage.edge.metric(spent), 1.0);
}

#[tokio::test]
async fn an_answer_in_one_piece_is_never_hedged() {
    let stage = Stage::start(AFTER, "").await;
    let mut slow = request("dear", json!({ "dear": { "first_token_ms": 200 } }));
    slow["stream"] = false.into();
    let answer = stage.ask("whole", &slow).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("dear", "1"));
    assert_eq!(stage.asked("whole"), ["dear"]);
}

#[tokio::test]
async fn slow_is_what_is_later_than_the_model_s_own_p95() {
    let stage = Stage::start("[fallback.hedge]\nafter = \"p95\"\nbudget = 1", "").await;
    // as long as little is known, nobody is slow
    let late = request("dear", json!({ "dear": { "first_token_ms": 1000 } }));
    assert_eq!(stage.ask("unknown", &late).await.header("tokenway-model"), "dear");
    for round in 0..40 {
        let quick = request("dear", json!({ "dear": { "tokens": 1 } }));
        stage.ask(&format!("quick-{round}"), &quick).await.rest().await;
    }
    let answer = stage.ask("slow", &request("dear", json!({ "dear": { "hold": 1 } }))).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "2"));
}

#[tokio::test]
async fn a_hedge_after_commit_after_stitches_nothing() {
    let stage = Stage::start(AFTER, "commit_after = \"10ms\"").await;
    let slow = request("dear", json!({ "dear": { "hold": 1 } }));
    let answer = stage.ask("committed", &slow).await;
    let told = answer.rest().await;
    let wanted = expected(&request("middle", json!({}))).concat();
    assert_eq!(told.strip_prefix(b": hb\n\n").unwrap(), wanted);
}

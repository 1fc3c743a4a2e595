//! The easy model's answer, under way while the classifier decides.

use std::future::pending;

use demo_upstream::{Fault, Knobs};
use futures_util::FutureExt;

use super::{Plan, Routing, asks, says};
use crate::support::answer::truncated;
use crate::support::edge::{Version, completion, expected};
use crate::support::soon;

fn held(at: u64, knobs: Knobs) -> Knobs {
    Knobs { hold: Some(at), ..knobs }
}

#[tokio::test]
async fn nothing_of_the_easy_model_leaves_before_the_decision() {
    let routing = Routing::start(Plan { judge: held(0, says("easy")), ..Plan::default() }).await;
    let mut client = routing.edge.client(Version::Http2).await;
    let request = asks("auto", "Hm?", true);
    let mut answer = Box::pin(client.ask(&request));
    // the easy model has said all that it has to say
    let told = async {
        routing.edge.first.until(|counts| counts.finished == 1).await;
        routing.judge.until(|counts| counts.held == 1).await;
    };
    tokio::select! {
        _ = &mut answer => panic!("an answer before the decision"),
        () = soon(told) => {}
    }
    assert!((&mut answer).now_or_never().is_none());
    routing.judge.release(1);
    let answer = soon(answer).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("cheap", "1"));
    assert_eq!(answer.rest().await, expected(&asks("cheap", "Hm?", true)).concat());
    assert_eq!(routing.edge.second.counts().requests, 0);
}

#[tokio::test]
async fn hard_cancels_the_easy_model_and_pays_its_prompt() {
    // at the start, before its first output, and in the middle of it
    for at in [0, 1, 4] {
        let plan = Plan { judge: held(0, says("hard")), easy: held(at, Knobs::default()), ..Plan::default() };
        let routing = Routing::start(plan).await;
        let mut client = routing.edge.client(Version::Http2).await;
        let request = asks("auto", "Hm?", true);
        let answer = client.ask(&request);
        let release = async {
            soon(routing.edge.first.until(|counts| counts.held == 1)).await;
            soon(routing.judge.until(|counts| counts.held == 1)).await;
            routing.judge.release(1);
        };
        let (answer, ()) = tokio::join!(answer, release);
        assert_eq!(
            (answer.header("tokenway-route"), answer.header("tokenway-model")),
            ("hard;by=classifier", "strong")
        );
        assert_eq!(answer.header("tokenway-attempts"), "2", "the easy model was asked, too");
        assert_eq!(answer.rest().await, expected(&asks("strong", "Hm?", true)).concat(), "at {at}");
        soon(routing.edge.first.until(|counts| counts.cancelled == 1 && counts.connections_open == 0)).await;
        routing.edge.until_ended("strong", 200, "ok", 1).await;
        for model in ["cheap", "strong", "judge"] {
            let paid = format!("tokenway_tokens_total{{direction=\"input\",model=\"{model}\"");
            assert!(routing.edge.metric(&paid) > 0.0, "{model} at {at}");
            let cost = format!("tokenway_cost_dollars_total{{model=\"{model}\"");
            assert!(routing.edge.metric(&cost) > 0.0, "{model} at {at}");
        }
        assert_eq!(routing.edge.metric("tokenway_requests_total"), 1.0);
    }
}

#[tokio::test]
async fn hard_after_all_of_the_easy_answer_is_the_hard_answer_alone() {
    let routing = Routing::start(Plan { judge: held(0, says("hard")), ..Plan::default() }).await;
    let mut client = routing.edge.client(Version::Http1).await;
    let request = asks("auto", "Hm?", true);
    let release = async {
        soon(routing.edge.first.until(|counts| counts.finished == 1)).await;
        routing.judge.release(1);
    };
    let (answer, ()) = tokio::join!(client.ask(&request), release);
    assert_eq!(answer.rest().await, expected(&asks("strong", "Hm?", true)).concat());
}

#[tokio::test]
async fn an_easy_model_that_fails_meanwhile_is_stood_in_for_as_ever() {
    let easy = Knobs { fault: Some(Fault::Status500), ..Knobs::default() };
    let routing = Routing::start(Plan { judge: held(0, says("easy")), easy: easy.clone(), ..Plan::default() }).await;
    let mut client = routing.edge.client(Version::Http2).await;
    let request = asks("auto", "Hm?", true);
    let release = async {
        // the spare model, which stands beside the strong one, has answered
        soon(routing.edge.second.until(|counts| counts.finished == 1)).await;
        routing.judge.release(1);
    };
    let (answer, ()) = tokio::join!(client.ask(&request), release);
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("spare", "2"));
    assert_eq!(answer.header("tokenway-route"), "easy;by=classifier");
    assert_eq!(answer.rest().await, expected(&asks("spare", "Hm?", true)).concat());

    let routing = Routing::start(Plan { judge: says("hard"), easy, ..Plan::default() }).await;
    let answer = routing.ask(&asks("auto", "Hm?", true)).await;
    assert_eq!(answer.header("tokenway-model"), "strong", "hard is asked for whatever has become of easy");
    assert_eq!(answer.rest().await, expected(&asks("strong", "Hm?", true)).concat());
}

#[tokio::test]
async fn a_client_that_leaves_before_the_decision_cancels_both() {
    let plan = Plan { judge: held(0, says("easy")), easy: held(3, Knobs::default()), ..Plan::default() };
    let routing = Routing::start(plan).await;
    let client = routing.edge.client(Version::Http2).await;
    let under_way = async {
        routing.judge.until(|counts| counts.held == 1).await;
        routing.edge.first.until(|counts| counts.held == 1).await;
    };
    soon(client.leave_when(completion(&asks("auto", "Hm?", true)), under_way)).await;
    soon(routing.judge.until(|counts| counts.cancelled == 1)).await;
    soon(routing.edge.first.until(|counts| counts.cancelled == 1)).await;
    routing.edge.until_ended("cheap", 499, "client_gone", 1).await;
    assert_eq!(routing.edge.second.counts().requests, 0);
}

#[tokio::test]
async fn a_decision_that_comes_after_the_head_is_kept_all_the_same() {
    for (word, model) in [("easy", "cheap"), ("hard", "strong")] {
        let plan = Plan {
            judge: held(0, says(word)),
            stream: "commit_after = \"1ms\"\nheartbeat = \"0s\"",
            ..Plan::default()
        };
        let routing = Routing::start(plan).await;
        let answer = routing.ask(&asks("auto", "Hm?", true)).await;
        assert_eq!((answer.status(), answer.header("tokenway-route")), (200, ""), "not known yet");
        assert_eq!(answer.header("tokenway-model"), "");
        routing.judge.release(1);
        assert_eq!(answer.rest().await, expected(&asks(model, "Hm?", true)).concat());
        assert_eq!(routing.routes(word, "classifier"), 1);
    }
}

/// The commit point is the easy model's first output, though nothing of it has left: an answer that the upstream begins and
/// does not end is paid, and what it says is not known to be wrong.
#[tokio::test]
async fn an_easy_answer_that_breaks_before_the_decision_ends_as_broken_and_a_hard_one_is_not_touched_by_it() {
    for (word, broken) in [("easy", true), ("hard", false)] {
        let easy = Knobs { fault: Some(Fault::DisconnectMidEvent), at: 3, ..Knobs::default() };
        let routing = Routing::start(Plan { judge: held(0, says(word)), easy, ..Plan::default() }).await;
        let mut client = routing.edge.client(Version::Http2).await;
        let request = asks("auto", "Hm?", true);
        let release = async {
            soon(routing.edge.first.until(|counts| counts.connections_open == 0 && counts.requests == 1)).await;
            routing.judge.release(1);
        };
        let (answer, ()) = tokio::join!(client.ask(&request), release);
        assert_eq!(answer.status(), 200);
        let id = answer.header("x-request-id").to_owned();
        let body = answer.rest().await;
        match broken {
            true => assert_eq!(truncated(&body, &id).0, expected(&asks("cheap", "Hm?", true))[..3].concat()),
            false => assert_eq!(body, expected(&asks("strong", "Hm?", true)).concat()),
        }
    }
}

#[tokio::test]
async fn each_model_that_is_asked_has_an_idempotency_key_of_its_own_and_the_classifier_none() {
    let plan = Plan { judge: held(0, says("hard")), easy: held(0, Knobs::default()), ..Plan::default() };
    let routing = Routing::start(plan).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut request = completion(&asks("auto", "Hm?", true));
        request.headers_mut().insert("idempotency-key", "once-7".parse().unwrap());
        let release = async {
            soon(routing.judge.until(|counts| counts.held == 1)).await;
            soon(routing.edge.first.until(|counts| counts.held == 1)).await;
            routing.judge.release(1);
        };
        let mut client = routing.edge.client(Version::Http2).await;
        let answer = client.send(request);
        let answer = match keys.is_empty() {
            true => tokio::join!(answer, release).0,
            // decided already
            false => answer.await,
        };
        answer.rest().await;
        let key = |demo: &demo_upstream::Demo| demo.requests().pop().unwrap().headers.get("idempotency-key").cloned();
        assert_eq!(key(&routing.judge), None);
        let [easy, hard] = [&routing.edge.first, &routing.edge.second].map(|demo| key(demo).unwrap());
        assert!(easy != hard && easy != "once-7" && hard != "once-7");
        keys.push([easy, hard]);
    }
    assert_eq!(keys[0], keys[1], "a client that asks again is recognized");
    assert_eq!(routing.requests(), [1, 2, 1]);
}

/// Whatever comes first, and wherever the easy answer stands then: one answer, of one model.
#[tokio::test]
async fn at_no_moment_is_an_answer_made_of_two() {
    let (easy, hard) =
        (expected(&asks("cheap", "Hm?", true)).concat(), expected(&asks("strong", "Hm?", true)).concat());
    for at in 0..8 {
        for (word, whole) in [("easy", &easy), ("hard", &hard)] {
            let plan = Plan { judge: says(word), easy: held(at, Knobs::default()), ..Plan::default() };
            let routing = Routing::start(plan).await;
            let answer = async {
                let answer = routing.ask(&asks("auto", "Hm?", true)).await;
                answer.rest().await
            };
            let going_on = async {
                routing.edge.first.until(|counts| counts.held == 1).await;
                routing.edge.first.release(1);
                pending::<()>().await;
            };
            let body = tokio::select! { body = answer => body, () = going_on => unreachable!() };
            assert_eq!(body, whole, "{word} at {at}");
        }
    }
}

//! Requests for `auto` that share an answer while it is undecided whose it will be.

use demo_upstream::{Fault, Knobs};
use futures_util::future::join;
use http::Request;
use serde_json::{Value, json};

use super::{Plan, Routing, asks, says};
use crate::access::{bearer, token, with_all};
use crate::support::answer::Answer;
use crate::support::client::{RequestBody, get};
use crate::support::edge::{Version, completion, expected, post};
use crate::support::soon;

const CACHE: &str = "[cache]\nenabled = true\n";

fn waiting(word: &str) -> Knobs {
    Knobs { hold: Some(0), ..says(word) }
}

impl Routing {
    async fn send(&self, request: Request<RequestBody>) -> Answer {
        self.edge.client(Version::Http2).await.send(request).await
    }

    /// Asks both, the second once the first waits for its decision, and decides when both wait for it.
    async fn together(&self, first: Request<RequestBody>, second: Request<RequestBody>) -> (Answer, Answer) {
        let joined = self.edge.metrics.cache.with_label_values(&["joined"]);
        let missed = self.edge.metrics.cache.with_label_values(&["miss"]);
        let before = joined.get() + missed.get();
        let second = async {
            soon(self.judge.until(|counts| counts.held == 1)).await;
            let told = async {
                while joined.get() + missed.get() < before + 2 {
                    tokio::task::yield_now().await;
                }
                self.judge.release(2);
            };
            join(self.send(second), soon(told)).await.0
        };
        join(self.send(first), second).await
    }
}

/// What each of the two is told of the answer: model, route, part of the cache.
fn heads(answers: [&Answer; 2]) -> [[&str; 3]; 2] {
    answers.map(|answer| ["tokenway-model", "tokenway-route", "tokenway-cache"].map(|name| answer.header(name)))
}

#[tokio::test]
async fn who_joins_an_undecided_answer_is_told_of_the_decision_and_nobody_asks_twice() {
    for (word, model) in [("easy", "cheap"), ("hard", "strong")] {
        for stream in [true, false] {
            let routing = Routing::start(Plan { judge: waiting(word), more: CACHE, ..Plan::default() }).await;
            let request = || completion(&asks("auto", "Hm?", stream));
            let (first, second) = routing.together(request(), request()).await;
            let route = format!("{word};by=classifier");
            assert_eq!(heads([&first, &second]), [[model, &route, "miss"], [model, &route, "joined"]], "{stream}");
            let bodies = [first.rest().await, second.rest().await];
            assert!(bodies.iter().all(|body| !body.is_empty()));
            assert_eq!(routing.requests()[1..], [u64::from(word == "hard"), 1], "{stream}");

            // decided, it is a kept answer as any other, also in the other form
            for (stream, route_of) in [(stream, "/v1/chat/completions"), (true, "/v1/chat"), (false, "/v1/chat")] {
                let again = routing.send(post(route_of, asks("auto", "Hm?", stream).to_string())).await;
                let told = ["tokenway-model", "tokenway-route", "tokenway-cache"].map(|name| again.header(name));
                assert_eq!(told, [model, &route, "hit"], "{route_of} {stream}");
                assert!(!again.rest().await.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_resumable_one_joins_and_is_told_of_the_decision_too() {
    let routing = Routing::start(Plan { judge: waiting("hard"), more: CACHE, ..Plan::default() }).await;
    let plain = completion(&asks("auto", "Hm?", true));
    let resumable = with_all(completion(&asks("auto", "Hm?", true)), &[("tokenway-resumable", "true")]);
    let (first, second) = routing.together(plain, resumable).await;
    let route = "hard;by=classifier";
    assert_eq!(heads([&first, &second]), [["strong", route, "miss"], ["strong", route, "joined"]]);
    let path = format!("/v1/streams/{}", second.header("tokenway-stream-id"));
    let told = first.rest().await;
    assert_eq!(told, expected(&asks("strong", "Hm?", true)).concat());
    second.rest().await;
    let read = String::from_utf8(routing.send(get(&path)).await.rest().await.to_vec()).unwrap();
    assert!(read.contains("\"model\":\"strong\"") && !read.contains("\"model\":\"cheap\""), "{read}");
    assert_eq!(routing.requests()[1..], [1, 1]);
}

fn as_token(claims: Value) -> Request<RequestBody> {
    with_all(completion(&asks("auto", "Hm?", true)), &[("authorization", &bearer(&token(claims)))])
}

const SHARED: &str = "[cache]\nenabled = true\nscope = \"shared\"\n[access]\naccept = [\"token\"]\n";

#[tokio::test]
async fn nobody_gets_by_joining_what_the_hard_model_s_fallback_says_if_it_may_not_use_that() {
    let plan = Plan {
        judge: waiting("hard"),
        hard: Knobs { fault: Some(Fault::Status500), ..Knobs::default() },
        strong: "fallback = [\"demo\"]",
        more: SHARED,
        ..Plan::default()
    };
    let routing = Routing::start(plan).await;
    let all = as_token(json!({ "sub": "all", "models": ["cheap", "strong", "judge", "demo"] }));
    let not_that = as_token(json!({ "sub": "less", "models": ["cheap", "strong", "judge"] }));
    let (all, not_that) = routing.together(all, not_that).await;
    assert_eq!((all.status(), all.header("tokenway-model")), (200, "demo"));
    assert_eq!((not_that.status(), not_that.header("tokenway-model")), (502, "strong"));
}

#[tokio::test]
async fn one_caller_s_limits_at_the_hard_model_are_not_the_next_one_s() {
    let limits = "[[limits.models]]\nname = \"strong\"\nrequests_per_minute = 1\nburst = 1";
    let more = format!("{SHARED}{limits}");
    let routing = Routing::start(Plan { judge: waiting("hard"), more: &more, ..Plan::default() }).await;
    let spent = completion(&asks("strong", "once", true));
    let ann = || bearer(&token(json!({ "sub": "ann" })));
    let spent = routing.send(with_all(spent, &[("authorization", &ann())])).await;
    assert_eq!(spent.status(), 200);
    spent.rest().await;
    let (ann, bob) = routing.together(as_token(json!({ "sub": "ann" })), as_token(json!({ "sub": "bob" }))).await;
    assert_eq!((ann.status(), bob.status()), (429, 200));
    assert_eq!(bob.header("tokenway-model"), "strong");
}

/// Two alike of one caller, of which the hard model takes one a minute.
#[tokio::test]
async fn who_joins_an_undecided_answer_is_held_to_its_own_limits_at_the_hard_model() {
    let limits = "[[limits.models]]\nname = \"strong\"\nrequests_per_minute = 1\nburst = 1";
    let more = format!("{CACHE}{limits}");
    for (word, status, model) in [("hard", 429, "strong"), ("easy", 200, "cheap")] {
        for stream in [true, false] {
            let routing = Routing::start(Plan { judge: waiting(word), more: &more, ..Plan::default() }).await;
            let request = || completion(&asks("auto", "Hm?", stream));
            let (first, second) = routing.together(request(), request()).await;
            assert_eq!((first.status(), first.header("tokenway-cache")), (200, "miss"), "{word} {stream}");
            assert_eq!((second.status(), first.header("tokenway-model")), (status, model), "{word} {stream}");
            let error = second.rest().await;
            assert_eq!(String::from_utf8_lossy(&error).contains("rate_limited"), status == 429, "{word} {stream}");
            assert!(!first.rest().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_resumable_one_that_joins_is_told_of_its_limit_in_its_stream() {
    let limits = "[[limits.models]]\nname = \"strong\"\nrequests_per_minute = 1\nburst = 1";
    let more = format!("{CACHE}{limits}");
    let routing = Routing::start(Plan { judge: waiting("hard"), more: &more, ..Plan::default() }).await;
    let body = asks("auto", "Hm?", true);
    let (first, second) = routing.together(completion(&body), post("/v1/streams", body.to_string())).await;
    assert_eq!((first.status(), second.status()), (200, 201));
    let stream = second.json().await["id"].as_str().unwrap().to_owned();
    let told = routing.send(get(&format!("/v1/streams/{stream}"))).await.rest().await;
    let told = String::from_utf8(told.to_vec()).unwrap();
    assert!(told.contains("rate_limited") && !told.contains("\"model\":\"strong\""), "{told}");
    assert_eq!(first.rest().await, expected(&asks("strong", "Hm?", true)).concat());
}

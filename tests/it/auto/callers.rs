//! Who may be routed where, and within which limits.

use serde_json::{Value, json};

use super::{EASY, HARD, Plan, Routing, asks, says};
use crate::access::{bearer, token, with_all};
use crate::support::client::get;
use crate::support::edge::{Version, completion};

const ACCESS: &str = "[access]\naccept = [\"token\"]";

#[tokio::test]
async fn a_caller_is_routed_to_what_it_may_use() {
    let both = json!(["cheap", "strong", "judge"]);
    for (models, answered, listed) in [
        (both, "strong by classifier", true),
        // may not use the classifier
        (json!(["cheap", "strong"]), "cheap by rules", true),
        (json!(["cheap"]), "cheap by rules", true),
        (json!(["strong", "judge"]), "strong by rules", true),
        (json!(["judge", "auto"]), "nobody", false),
    ] {
        let routing = Routing::start(Plan { judge: says("hard"), more: ACCESS, ..Plan::default() }).await;
        let mut client = routing.edge.client(Version::Http2).await;
        let authorization = bearer(&token(json!({ "models": models })));
        let list = client.send(with_all(get("/v1/models"), &[("authorization", &authorization)])).await.json().await;
        let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(names.contains(&&json!("auto")), listed, "{models}");
        let request = completion(&asks("auto", EASY, true));
        let answer = client.send(with_all(request, &[("authorization", &authorization)])).await;
        match answered.split_once(" by ") {
            Some((model, by)) => {
                assert_eq!(answer.header("tokenway-model"), model, "{models}");
                assert!(answer.header("tokenway-route").ends_with(by), "{models}");
            }
            None => assert_eq!(answer.json().await["error"]["code"], "model_not_found"),
        }
        let asked = u64::from(answered.ends_with("classifier"));
        assert_eq!(routing.judge.counts().requests, asked, "{models}");
    }
}

#[tokio::test]
async fn the_limits_of_the_model_that_is_decided_on_hold() {
    let plan = Plan {
        judge: says("hard"),
        more: "[[limits.models]]\nname = \"strong\"\nrequests_per_minute = 1\nburst = 1",
        ..Plan::default()
    };
    let routing = Routing::start(plan).await;
    assert_eq!(routing.ask(&asks("auto", "one", true)).await.status(), 200);
    for (text, stream) in [("two", true), ("three", false), (HARD, true)] {
        let answer = routing.ask(&asks("auto", text, stream)).await;
        assert_eq!((answer.status(), answer.header("tokenway-route")), (429, "hard;by=classifier"), "{text}");
        assert!(!answer.header("retry-after").is_empty());
        assert!(answer.header("ratelimit").starts_with("\"model-requests\";r=0"), "{}", answer.header("ratelimit"));
        assert_eq!(answer.json().await["error"]["code"], "rate_limited");
    }
    assert!(!routing.edge.metrics.text().contains("outcome=\"upstream_failure\""), "no upstream has failed");
    // what is remembered is limited before anybody is asked
    assert_eq!(routing.ask(&asks("auto", "two", true)).await.status(), 429);
    assert_eq!(routing.ask(&asks("cheap", "four", true)).await.status(), 200);
    assert_eq!(routing.edge.second.counts().requests, 1);
}

#[tokio::test]
async fn beyond_its_budget_a_caller_of_auto_is_told_where_its_request_went() {
    let more = "[cost]\nbudget_per_day = 0.000_1\nover_budget = \"cheap\"";
    for auto in ["mode = \"speculative\"", "mode = \"rules\""] {
        let routing = Routing::start(Plan { judge: says("hard"), auto, more, ..Plan::default() }).await;
        for stream in [true, false] {
            let mut request = asks("auto", HARD, stream);
            request["max_tokens"] = 500.into();
            let answer = routing.ask(&request).await;
            let told = ["tokenway-model", "tokenway-route", "tokenway-budget"].map(|name| answer.header(name));
            assert_eq!(told, ["cheap", "easy;by=rules", "exceeded"], "{auto} {stream}");
            answer.rest().await;
        }
        assert_eq!((routing.requests(), routing.routes("easy", "rules")), ([2, 0, 0], 2));
    }
}

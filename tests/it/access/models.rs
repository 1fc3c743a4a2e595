//! A caller sees and uses the models that it may, and is counted under its own name.

use serde_json::{Value, json};

use super::{BOT, Guarded, NARROW, bearer, key, token, with_all};
use crate::support::client::get;
use crate::support::edge::{Version, completion, whole};

#[tokio::test]
async fn a_caller_sees_the_models_that_it_may_use() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    for (credential, models) in [
        (key(BOT).expose().to_owned(), json!(["demo", "careful", "spare"])),
        (key(NARROW).expose().to_owned(), json!(["spare"])),
        (token(json!({ "models": ["demo", "no-model-here"] })), json!(["demo"])),
        (token(json!({ "models": [] })), json!([])),
    ] {
        let list =
            client.send(with_all(get("/v1/models"), &[("authorization", &bearer(&credential))])).await.json().await;
        let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(json!(names), models);
    }
}

#[tokio::test]
async fn a_model_that_the_caller_may_not_use_is_not_there() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let authorization = bearer(key(NARROW).expose());
    let mut ask = async |model: &str| {
        let request = completion(&whole(model, json!({ "tokens": 3 })));
        client.send(with_all(request, &[("authorization", &authorization)])).await
    };
    let (forbidden, unknown) = (ask("demo").await.json().await, ask("no-such-model").await.json().await);
    assert_eq!(forbidden["error"]["code"], "model_not_found");
    assert_eq!(forbidden["error"]["message"], unknown["error"]["message"]);
    assert_eq!(ask("spare").await.status(), 200);
    assert!(guarded.edge.first.requests().is_empty());
}

#[tokio::test]
async fn no_fallback_leads_to_a_model_that_the_caller_may_not_use() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let fails = whole("careful", json!({ "fault": "status_500" }));
    let careful = bearer(&token(json!({ "models": ["careful"] })));
    assert_eq!(client.send(with_all(completion(&fails), &[("authorization", &careful)])).await.status(), 502);
    assert!(guarded.edge.second.requests().is_empty());
    let both = bearer(&token(json!({ "models": ["careful", "spare"] })));
    // the second upstream has the same fault, and is asked
    assert_eq!(client.send(with_all(completion(&fails), &[("authorization", &both)])).await.status(), 502);
    assert_eq!(guarded.edge.second.requests().len(), 1);
}

#[tokio::test]
async fn callers_are_counted_by_closed_names() {
    let guarded = Guarded::start().await;
    for credential in [key(BOT).expose().to_owned(), token(json!({}))] {
        let mut client = guarded.edge.client(Version::Http2).await;
        let request = completion(&whole("demo", json!({ "tokens": 5 })));
        client.send(with_all(request, &[("authorization", &bearer(&credential))])).await.json().await;
    }
    guarded.edge.until_ended("demo", 200, "ok", 2).await;
    for caller in ["bot", "token"] {
        let requests = format!("tokenway_caller_requests_total{{caller=\"{caller}\",outcome=\"ok\"}}");
        assert_eq!(guarded.edge.metric(&requests), 1.0);
        let tokens = format!("tokenway_caller_tokens_total{{caller=\"{caller}\",direction=\"output\"}}");
        assert!(guarded.edge.metric(&tokens) > 0.0);
    }
    assert!(!guarded.edge.metrics.text().contains("ann-canary"));
}

//! Who is asked next.

use serde_json::json;

use tokio::io::AsyncWriteExt;

use super::{Stage, estimated_prompt, price, request, usage};
use crate::access::{bearer, token};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, expected, streaming};
use crate::support::scripted::{Scripted, read_request};

#[tokio::test]
async fn the_next_cheaper_model_answers_and_every_attempt_is_told_of() {
    let stage = Stage::start("", "").await;
    let failing = json!({ "dear": { "fault": "status_500" }, "middle": { "fault": "eof_no_events" } });
    let asked = request("dear", failing.clone());
    let answer = stage.ask("falling", &asked).await;
    assert_eq!(answer.status(), 200);
    let who = ["tokenway-model", "tokenway-upstream", "tokenway-attempts"].map(|name| answer.header(name));
    assert_eq!(who, ["cheap", "cheap", "3"]);
    assert_eq!(answer.rest().await, expected(&request("cheap", failing)).concat());
    assert_eq!(stage.asked("falling"), ["dear", "middle", "cheap"]);
    assert_eq!((stage.fallbacks("dear", "middle", "other"), stage.fallbacks("middle", "cheap", "broken")), (1, 1));

    // one refused, one took the prompt and gave nothing, one answered
    let mut cost = price("middle", estimated_prompt(&asked), 0);
    cost += usage("cheap", &asked);
    assert_eq!(stage.logged_cost("falling").await, Some(cost.to_string()));
}

#[tokio::test]
async fn the_cheapest_falls_back_to_the_next_dearer_ones() {
    let stage = Stage::start("", "").await;
    let answer = stage.ask("rising", &request("cheap", json!({ "cheap": { "fault": "status_503" } }))).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("middle", "2"));
}

#[tokio::test]
async fn a_model_whose_context_is_too_small_is_passed_over() {
    let stage = Stage::start("", "").await;
    let mut long = request("dear", json!({ "dear": { "fault": "status_500" } }));
    long["messages"][0]["content"] = "word ".repeat(1500).into();
    let answer = stage.ask("fits", &long).await;
    assert_eq!(answer.header("tokenway-model"), "middle");
    long["max_tokens"] = 1000.into();
    let answer = stage.ask("too-long", &long).await;
    assert_eq!(answer.header("tokenway-model"), "cheap");
}

#[tokio::test]
async fn no_first_output_within_the_deadline_is_a_failure_and_nobody_else_is_asked() {
    let stage = Stage::start("deadline = \"1s\"", "").await;
    let answer = stage.ask("late", &request("dear", json!({ "dear": { "fault": "silent" } }))).await;
    assert_eq!((answer.status(), &*answer.error_code().await), (504, "upstream_timeout"));
    assert_eq!(stage.asked("late"), ["dear"]);
}

#[tokio::test]
async fn a_stream_that_has_begun_in_time_outlives_the_deadline() {
    let stage = Stage::start("deadline = \"2s\"", "").await;
    let slow = request("dear", json!({ "dear": { "tokens": 10, "tokens_per_second": 3 } }));
    assert_eq!(stage.ask("long", &slow).await.rest().await, expected(&slow).concat());
}

#[tokio::test]
async fn a_storm_of_fallbacks_ends_with_its_budget() {
    // of no share, the floor is left: ten in ten seconds
    let stage = Stage::start("retry_budget = 0", "").await;
    // never five in a row, nor ten of twenty: the model stays in good health
    for round in 0..30 {
        let fails = round % 3 == 2;
        let models = if fails { json!({ "dear": { "fault": "status_500" } }) } else { json!({}) };
        let answer = stage.ask(&format!("storm-{round}"), &request("dear", models)).await;
        let model = answer.header("tokenway-model");
        assert_eq!((answer.status(), model), (200, if fails { "middle" } else { "dear" }), "{round}");
    }
    let answer = stage.ask("spent", &request("dear", json!({ "dear": { "fault": "status_500" } }))).await;
    assert_eq!((answer.status(), answer.header("tokenway-attempts")), (502, "1"));
    assert_eq!(stage.edge.metric("tokenway_retry_budget_exhausted_total{budget=\"retry\"}"), 1.0);
}

#[tokio::test]
async fn each_caller_and_model_has_an_idempotency_key_of_its_own_and_none_is_the_client_s() {
    let stage = Stage::start("", "").await;
    let asked = request("dear", json!({ "dear": { "fault": "status_500" }, "middle": { "fault": "status_500" } }));
    for id in ["once", "again"] {
        let mut request = completion(&asked);
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        request.headers_mut().insert("idempotency-key", "once-7".parse().unwrap());
        let answer = stage.edge.client(Version::Http1).await.send(request).await;
        assert_eq!(answer.header("tokenway-model"), "cheap");
    }
    let keys = ["dear", "middle", "cheap"].map(|model| {
        let keys = stage.demo(model).requests().into_iter().map(|request| request.headers["idempotency-key"].clone());
        let keys: Vec<_> = keys.collect();
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "a client that asks again is recognized");
        keys[0].clone()
    });
    assert!(keys.iter().all(|key| *key != "once-7"), "callers share the provider's key");
    assert!(keys[1] != keys[0] && keys[2] != keys[0] && keys[1] != keys[2]);
}

#[tokio::test]
async fn two_callers_with_one_idempotency_key_are_two_requests_upstream() {
    let edge = Edge::start(Setup { more: "[access]\naccept = [\"token\"]", ..Setup::default() }).await;
    let key = async |subject: &str| {
        let mut request = completion(&streaming("demo", json!({})));
        request.headers_mut().insert("idempotency-key", "once-7".parse().unwrap());
        request.headers_mut().insert("authorization", bearer(&token(json!({ "sub": subject }))).parse().unwrap());
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        let answer = edge.client(Version::Http2).await.send(request).await;
        assert_eq!(answer.status(), 200);
        edge.first.requests().pop().unwrap().headers["idempotency-key"].clone()
    };
    let (alice, bob) = (key("alice").await, key("bob").await);
    assert!(alice != bob && alice != "once-7");
    assert_eq!(key("alice").await, alice);
}

#[tokio::test]
async fn a_member_that_an_upstream_refuses_is_400_and_a_fallback_that_refuses_it_is_passed_over() {
    let more = "[[upstreams]]\nname = \"router\"\nbase_url = \"http://127.0.0.1:9/v1\"\nrefuse_members = [\"models\", \"route\"]\n\
                [[models]]\nname = \"routed\"\nupstream = \"router\"\n\
                [[models]]\nname = \"open\"\nupstream = \"one\"\nfallback = [\"routed\", \"spare\"]\n";
    let edge = Edge::start(Setup { more, ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    for member in ["models", "Models", "ROUTE"] {
        let mut asked = streaming("routed", json!({}));
        asked[member] = json!(["dear"]);
        let answer = client.ask(&asked).await;
        assert_eq!(answer.status(), 400, "{member}");
        let error = answer.json().await;
        assert_eq!(error["error"]["code"], "invalid_request");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(&format!("{member}: ")), "{error}");
        asked["model"] = "open".into();
        asked["demo"] = json!({ "models": { "open": { "fault": "status_500" } } });
        let answer = client.ask(&asked).await;
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "spare"));
    }
    assert_eq!(edge.first.counts().requests, 3);
}

#[tokio::test]
async fn an_upstream_may_say_by_a_date_how_long_it_wants_to_be_left_alone() {
    let upstream = Scripted::start(|mut socket| async move {
        while read_request(&mut socket).await.is_some() {
            let refusal = "HTTP/1.1 503 Service Unavailable\r\ndate: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
                           retry-after: Wed, 21 Oct 2015 07:28:42 GMT\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(refusal.as_bytes()).await.unwrap();
        }
    })
    .await;
    let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
    let answer = edge.client(Version::Http2).await.ask(&streaming("demo", json!({}))).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "42"));
    assert_eq!(edge.metric("tokenway_model_health{model=\"demo\""), 2.0, "one answer that says how long is enough");
}

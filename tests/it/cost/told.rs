//! Each answer tells its cost: in its head, or behind its last event.

use demo_upstream::{Fault, Knobs};
use serde_json::{Value, json};

use super::{CHEAP, DEAR, PRICED, cost, dollars, priced, usage};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, expected, streaming, whole};

const COST: &str = "tokenway-cost";

/// What the upstream counts for the request that [`streaming`] makes of these knobs.
async fn counted(edge: &Edge, demo: Value) -> (u64, u64) {
    usage(&edge.client(Version::Http2).await.ask(&whole("demo", demo)).await.json().await)
}

#[tokio::test]
async fn a_whole_answer_tells_its_cost_in_its_head_and_pages_may_read_it() {
    let edge = priced("").await;
    for version in Version::BOTH {
        let mut request = completion(&whole("dear", json!({ "tokens": 7 })));
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        let answer = edge.client(version).await.send(request).await;
        let told = answer.header(COST).to_owned();
        assert!(answer.header("access-control-expose-headers").contains(COST));
        assert_eq!(told, cost(usage(&answer.json().await), DEAR));
    }
    let unpriced = edge.client(Version::Http2).await.ask(&whole("demo", json!({}))).await;
    assert_eq!(unpriced.header(COST), "");
}

#[tokio::test]
async fn a_stream_tells_its_cost_behind_its_last_event_to_who_takes_trailers() {
    let edge = priced("").await;
    let knobs = json!({ "tokens": 9 });
    let tokens = counted(&edge, knobs.clone()).await;
    let request = streaming("dear", knobs);
    for (version, te, takes) in [
        (Version::Http2, "", true),
        (Version::Http1, "trailers", true),
        (Version::Http1, "gzip;q=0, Trailers", true),
        (Version::Http1, "", false),
        (Version::Http1, "deflate", false),
    ] {
        let mut asked = completion(&request);
        if !te.is_empty() {
            asked.headers_mut().insert("te", te.parse().unwrap());
        }
        let mut client = edge.client(version).await;
        let answer = client.send(asked).await;
        assert_eq!(answer.header("trailer"), if takes { COST } else { "" }, "{version:?} {te}");
        assert_eq!(answer.header(COST), "", "it is not known yet");
        let (body, told) = answer.rest_and_trailer(COST).await;
        assert_eq!(body, expected(&request).concat(), "{version:?} {te}");
        assert_eq!(told, if takes { cost(tokens, DEAR) } else { String::new() }, "{version:?} {te}");
        // the connection goes on
        assert_eq!(client.ask(&whole("cheap", json!({}))).await.status(), 200);
    }
    let unpriced = edge.client(Version::Http2).await.ask(&streaming("demo", json!({}))).await;
    assert_eq!(unpriced.rest_and_trailer(COST).await.1, "");
}

#[tokio::test]
async fn a_resumable_stream_tells_its_cost_as_well() {
    let edge = priced("").await;
    let tokens = counted(&edge, json!({ "tokens": 9 })).await;
    let mut request = completion(&streaming("cheap", json!({ "tokens": 9 })));
    request.headers_mut().insert("tokenway-resumable", "true".parse().unwrap());
    let answer = edge.client(Version::Http2).await.send(request).await;
    assert_eq!(answer.rest_and_trailer(COST).await.1, cost(tokens, CHEAP));
}

#[tokio::test]
async fn the_metrics_add_up_to_the_upstreams_own_usage_by_model_caller_and_origin() {
    let edge = priced("").await;
    let mut pico = 0;
    let mut client = edge.client(Version::Http2).await;
    for (model, cents, tokens) in [("dear", DEAR, 9), ("cheap", CHEAP, 9), ("dear", DEAR, 2), ("cheap", CHEAP, 31)] {
        let mut request = completion(&whole(model, json!({ "tokens": tokens })));
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        let used = usage(&client.send(request).await.json().await);
        pico += (used.0 * cents.0 + used.1 * cents.1) * 10_000;
    }
    edge.until_ended("cheap", 200, "ok", 2).await;
    edge.until_ended("dear", 200, "ok", 2).await;
    for name in
        ["tokenway_cost_dollars_total", "tokenway_caller_cost_dollars_total", "tokenway_origin_cost_dollars_total"]
    {
        let told = dollars(&edge.metrics, name);
        assert!((told * 1e12 - pico as f64).abs() < 0.5, "{name}: {told}");
    }
    // no page
    client.ask(&whole("cheap", json!({}))).await.rest().await;
    edge.until_ended("cheap", 200, "ok", 3).await;
    let metrics = &edge.metrics;
    let exact = format!("0.{pico:012}");
    assert_eq!(metrics.origin_cost_dollars.sum(&[ORIGIN]).to_string(), exact);
    let all = metrics.origin_cost_dollars.sum(&[ORIGIN]) + metrics.origin_cost_dollars.sum(&["none"]);
    assert_eq!(metrics.caller_cost_dollars.sum(&["anonymous"]), all);
}

#[tokio::test]
async fn an_upstream_that_refuses_charges_nothing_and_the_one_that_answers_does() {
    let first = Knobs { fault: Some(Fault::Status500), ..Knobs::default() };
    let edge = Edge::start(Setup { more: PRICED, first, ..Setup::default() }).await;
    let answer = edge.client(Version::Http2).await.ask(&whole("falls", json!({}))).await;
    assert_eq!((answer.header("tokenway-model"), answer.header("tokenway-attempts")), ("cheap", "2"));
    let told = answer.header(COST).to_owned();
    assert_eq!(told, cost(usage(&answer.json().await), CHEAP));
    let failed = edge.client(Version::Http2).await.ask(&whole("dear", json!({}))).await;
    assert_eq!((failed.status(), failed.header(COST)), (502, ""));
}

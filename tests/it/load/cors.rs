//! The load tester as a page of another origin.

use bench::report::sample::{Cors, Kind, Outcome};
use demo_upstream::Knobs;
use dial::{Trust, Versions};
use serde_json::json;

use super::{Way, demo, one_by_one, run, url};
use crate::support::edge::{Edge, ORIGIN, Setup};

fn edge_url(edge: &Edge) -> String {
    format!("https://localhost:{}/v1/chat/completions", edge.target.address.port())
}

fn page(edge: &Edge, versions: Versions, origin: &'static str) -> Way {
    Way { versions, trust: Trust::Roots(edge.target.roots.clone()), origin: Some(origin), ..Way::default() }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_asks_first_and_reads_its_stream() {
    let edge = Edge::start(Setup::default()).await;
    for versions in [Versions::Http1, Versions::Http2] {
        let client = page(&edge, versions, ORIGIN).client(&edge_url(&edge));
        let samples = run(one_by_one(3), vec![client], json!({ "model": "demo" })).await;
        for sample in samples {
            assert_eq!((&sample.outcome, sample.cors), (&Outcome::Whole, Some(Cors::Allowed)));
            let preflight = sample.preflight.unwrap();
            assert!(!preflight.is_zero() && preflight < sample.head.unwrap());
        }
    }
    assert_eq!(edge.metric(r#"tokenway_cors_total{kind="preflight",verdict="allowed"}"#), 6.0);
    assert_eq!(edge.metric(r#"tokenway_cors_total{kind="actual",verdict="allowed"}"#), 6.0);
}

#[tokio::test]
async fn a_page_of_a_refused_origin_gets_no_stream_and_its_request_is_never_sent() {
    let edge = Edge::start(Setup::default()).await;
    let client = page(&edge, Versions::Any, "https://evil.example").client(&edge_url(&edge));
    for sample in run(one_by_one(2), vec![client], json!({ "model": "demo" })).await {
        let Some(Cors::PreflightRefused { code }) = sample.cors else { panic!("{sample:?}") };
        assert_eq!(code, "PreflightMissingAllowOriginHeader");
        let Outcome::Failed(failure) = sample.outcome else { panic!() };
        assert!(failure.kind == Kind::Cors && failure.message.contains(code), "{failure}");
    }
    assert_eq!(edge.first.counts().requests, 0);
}

#[tokio::test]
async fn a_page_without_need_of_a_preflight_is_refused_by_the_answer() {
    let demo = demo(Knobs::default()).await;
    let mut way = Way { origin: Some(ORIGIN), ..Way::default() };
    way.headers.insert("content-type", "text/plain".parse().unwrap());
    let samples = run(one_by_one(1), vec![way.client(&url(&demo))], json!({})).await;
    assert_eq!(samples[0].cors, Some(Cors::AnswerRefused { code: "MissingAllowOriginHeader" }));
    let Outcome::Failed(failure) = &samples[0].outcome else { panic!("{samples:?}") };
    assert_eq!((failure.kind, samples[0].events.len()), (Kind::Cors, 0));
    assert_eq!((samples[0].preflight, demo.requests()[0].method.as_str()), (None, "POST"));
}

#[tokio::test]
async fn a_page_of_the_server_s_own_origin_needs_nobody_s_leave() {
    let demo = demo(Knobs::default()).await;
    let origin: &'static str = format!("http://{}", demo.addr).leak();
    let client = Way { origin: Some(origin), ..Way::default() }.client(&url(&demo));
    let samples = run(one_by_one(1), vec![client], json!({})).await;
    assert_eq!((&samples[0].outcome, samples[0].preflight), (&Outcome::Whole, None));
    assert_eq!(demo.requests()[0].headers["origin"], origin);
}

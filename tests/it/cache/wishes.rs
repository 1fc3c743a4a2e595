//! `cache-control` of the request.

use serde_json::json;

use super::{ask, ask_with, keeping, told, with};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, streaming};

#[tokio::test]
async fn no_store_neither_reads_nor_keeps_and_no_cache_only_keeps() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    let mut results = Vec::new();
    for wish in ["no-store", "", "no-store", "no-cache", "max-age=0", "max-age=3600", "no-transform"] {
        results.push((wish, told(ask_with(&edge, &request, "cache-control", wish).await).await.0));
    }
    let results: Vec<(&str, &str)> = results.iter().map(|(wish, result)| (*wish, result.as_str())).collect();
    assert_eq!(
        results,
        [
            ("no-store", "off"),
            ("", "miss"),
            ("no-store", "off"),
            ("no-cache", "miss"),
            ("max-age=0", "miss"),
            ("max-age=3600", "hit"),
            ("no-transform", "hit"),
        ]
    );
    assert_eq!(edge.metric("tokenway_cache_total{result=\"off\"}"), 2.0);
}

#[tokio::test]
async fn who_wants_only_what_is_kept_gets_that_or_504() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 4 }));
    let only_kept = with(with(completion(&request), "origin", ORIGIN), "cache-control", "only-if-cached");
    let missing = edge.client(Version::Http2).await.send(only_kept).await;
    assert_eq!((missing.status(), missing.header("access-control-allow-origin")), (504, ORIGIN));
    assert_eq!(missing.error_code().await, "not_cached");
    assert_eq!(edge.first.counts().requests, 0);
    told(ask(&edge, &request).await).await;
    assert_eq!(told(ask_with(&edge, &request, "cache-control", "only-if-cached").await).await.0, "hit");
    let off = Edge::start(Setup::default()).await;
    assert_eq!(ask_with(&off, &request, "cache-control", "only-if-cached").await.status(), 504);
}

#[tokio::test]
async fn nobody_joins_what_is_not_to_be_kept() {
    let edge = keeping("").await;
    let request = streaming("demo", json!({ "tokens": 10, "hold": 5 }));
    let private = ask_with(&edge, &request, "cache-control", "no-store").await;
    let other = ask(&edge, &request).await;
    let fresh = ask_with(&edge, &request, "cache-control", "no-cache").await;
    let results = [&private, &other, &fresh].map(|answer| answer.header("tokenway-cache").to_owned());
    assert_eq!(results, ["off", "miss", "miss"]);
    edge.first.release(3);
    for answer in [private, other, fresh] {
        told(answer).await;
    }
    assert_eq!(edge.first.counts().requests, 3);
}

#[tokio::test]
async fn what_the_provider_is_to_store_is_not_answered_out_of_the_cache() {
    let edge = keeping("").await;
    let mut request = streaming("demo", json!({ "tokens": 4 }));
    request["store"] = true.into();
    for _ in 0..2 {
        assert_eq!(told(ask(&edge, &request).await).await.0, "off");
    }
}

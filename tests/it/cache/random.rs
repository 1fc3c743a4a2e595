//! Random sequences of requests with random cuts: each client gets exactly the upstream's events, as far as it reads.

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::{ids, keeping, text};
use crate::support::edge::{Edge, Version, completion, expected, streaming};

/// One client: what it asks for, when it comes, after how many bytes it leaves.
#[derive(Debug, Clone)]
struct Visit {
    prompt: u64,
    usage: bool,
    fresh: bool,
    pause: u64,
    leaves_after: Option<usize>,
}

fn visit() -> impl Strategy<Value = Visit> {
    (0..2_u64, any::<bool>(), prop::bool::weighted(0.2), 0..15_u64, prop::option::weighted(0.4, 0..3000_usize))
        .prop_map(|(prompt, usage, fresh, pause, leaves_after)| Visit { prompt, usage, fresh, pause, leaves_after })
}

async fn pay(edge: &Edge, visit: &Visit, round: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(visit.pause)).await;
    let mut request =
        streaming("demo", json!({ "tokens": 12, "tokens_per_second": 1000, "seed": visit.prompt + 2 * round }));
    if visit.usage {
        request["stream_options"] = json!({ "include_usage": true });
    }
    let expected = text(&expected(&request));
    let mut request = completion(&request);
    if visit.fresh {
        request.headers_mut().insert("cache-control", "no-cache".parse().unwrap());
    }
    let mut answer = edge.client(Version::Http1).await.send(request).await;
    assert_eq!(answer.status(), 200);
    if let Some(bytes) = visit.leaves_after {
        // the ids are of one length only where the answer is the upstream's own
        answer.take(bytes.min(expected.len() / 2)).await;
        return;
    }
    let got = String::from_utf8(answer.rest().await.to_vec()).unwrap();
    let (own, other) = (ids(&got), ids(&expected));
    let named = |id: &str| format!("\"id\":\"{id}\"");
    assert_eq!(got.replace(&named(&own[0]), &named(&other[0])), expected);
}

#[test]
fn every_client_gets_exactly_the_upstreams_events() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let edge = runtime.block_on(keeping(""));
    let round = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&prop::collection::vec(visit(), 1..10), |visits| {
        round.set(round.get() + 1);
        runtime.block_on(join_all(visits.iter().map(|visit| pay(&edge, visit, round.get()))));
        Ok(())
    });
    ran.unwrap();
    assert!(
        edge.metric("tokenway_cache_total{result=\"joined\"}") > 0.0
            && edge.metric("tokenway_cache_total{result=\"hit\"}") > 0.0
    );
    assert!((edge.first.counts().requests as f64) < edge.metric("tokenway_cache_total"));
}

//! Upstreams behind TLS.

use std::sync::Arc;

use rustls::RootCertStore;
use serde_json::json;

use crate::support::answer::truncated;
use crate::support::certs;
use crate::support::edge::{Edge, FIRST_KEY, Setup, Version, expected, streaming, whole};
use crate::support::{log, soon};

/// A gateway whose first upstream speaks TLS; it is trusted or not.
async fn edge(trusted: bool) -> Edge {
    let certificate = certs::localhost();
    let roots = if trusted { Arc::clone(&certificate.roots) } else { Arc::new(RootCertStore::empty()) };
    Edge::start(Setup { first_tls: Some((certificate, roots)), ..Setup::default() }).await
}

#[tokio::test]
async fn over_tls_events_arrive_one_by_one_and_connections_are_used_again() {
    let edge = edge(true).await;
    for version in Version::BOTH {
        let request = streaming("demo", json!({ "hold": 6 }));
        let events = expected(&request);
        let mut answer = edge.client(version).await.ask(&request).await;
        let begun = answer.take(events[..6].concat().len()).await;
        edge.first.release(1);
        assert_eq!([begun, answer.rest().await].concat(), events.concat());
    }
    assert_eq!((edge.first.counts().requests, edge.first.counts().connections), (2, 1));
    assert_eq!(edge.first.requests()[0].headers["authorization"], format!("Bearer {FIRST_KEY}"));
}

#[tokio::test]
async fn over_tls_a_broken_stream_says_so_and_a_client_that_leaves_cancels() {
    let edge = edge(true).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        for fault in
            ["reset_after_events", "disconnect_mid_event", "short_length", "bad_chunk", "clean_eof_without_done"]
        {
            let request = streaming("demo", json!({ "fault": fault }));
            let answer = edge.client(version).await.ask(&request).await;
            let id = answer.header("x-request-id").to_owned();
            assert_eq!(truncated(&answer.rest().await, &id).0, expected(&request)[..3].concat(), "{fault}");
        }
        let mut client = edge.client(version).await;
        let mut answer = client.ask(&streaming("demo", json!({ "hold": 4 }))).await;
        answer.take(100).await;
        let before = edge.first.counts().cancelled;
        drop(answer);
        soon(edge.first.until(|counts| counts.cancelled == before + 1)).await;
        edge.until_ended("demo", 200, "client_gone", round).await;
    }
}

#[tokio::test]
async fn an_upstream_whose_certificate_is_not_trusted_never_sees_the_key() {
    log::capture();
    for version in Version::BOTH {
        // an upstream that cannot be reached is left alone soon
        let edge = edge(false).await;
        for request in [streaming("demo", json!({})), whole("demo", json!({}))] {
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
        }
        let answer = edge.client(version).await.ask(&streaming("careful", json!({}))).await;
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "spare"));
        let id = answer.header("x-request-id");
        let line =
            log::text().lines().find(|line| line.contains("attempt failed") && line.contains(id)).map(str::to_owned);
        let (line, place) = (line.unwrap(), edge.first.addr);
        let cause = format!("cause=\"127.0.0.1:{}: its certificate is not signed by a trusted authority", place.port());
        assert!(line.contains(&cause), "{line}");
        assert_eq!(edge.first.counts().requests, 0);
        assert_eq!(edge.metrics.fallbacks.with_label_values(&["careful", "spare", "tls"]).get(), 1);
    }
}

//! Closed and open loops, pairs, connections, and the end of a run.

use std::collections::BTreeSet;
use std::time::Duration;

use bench::load::schedule::Limit;
use bench::report::document::{Arrivals, Load};
use bench::report::sample::Outcome;
use demo_upstream::Knobs;
use dial::{Trust, Versions};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{Way, demo, one_by_one, run, run_until, url};
use crate::support::edge::{Edge, Setup};
use crate::support::scripted::{Scripted, read_request};
use crate::support::soon;

#[tokio::test]
async fn a_closed_loop_starts_so_many_streams_and_never_more_than_it_has_users() {
    let demo = demo(Knobs::default()).await;
    let plan = super::Plan { load: Load::Closed { users: 4 }, ..one_by_one(30) };
    let samples = run(plan, vec![Way::default().client(&url(&demo))], json!({})).await;
    let numbers: BTreeSet<_> = samples.iter().map(|sample| sample.number).collect();
    assert_eq!(numbers, (0..30).collect());
    assert!(samples.iter().all(|sample| sample.outcome == Outcome::Whole && sample.scheduled <= sample.started));
    let counts = demo.counts();
    assert!(counts.requests == 30 && counts.connections <= 4, "{counts:?}");
    let fresh = samples.iter().filter(|sample| sample.connect.is_some()).count();
    assert_eq!((fresh as u64, fresh), (counts.connections, samples.iter().filter(|sample| !sample.reused).count()));
}

#[tokio::test]
async fn an_open_loop_starts_on_time_though_nothing_is_answered() {
    let demo = demo(Knobs { hold: Some(0), ..Knobs::default() }).await;
    let load = Load::Open { rate: 200.0, arrivals: Arrivals::Uniform };
    let streams = run(super::Plan { load, ..one_by_one(20) }, vec![Way::default().client(&url(&demo))], json!({}));
    let all_there = async {
        demo.until(|counts| counts.held == 20).await;
        demo.release(20);
    };
    let (samples, ()) = tokio::join!(streams, soon(all_there));
    let mut scheduled: Vec<_> = samples.iter().map(|sample| sample.scheduled.as_millis()).collect();
    scheduled.sort_unstable();
    assert_eq!(scheduled, (0..20).map(|number| number * 5).collect::<Vec<_>>());
    // the first of them waited for the last: times count from the schedule
    let first = samples.iter().find(|sample| sample.number == 0).unwrap();
    assert!(first.first_token().unwrap() >= Duration::from_millis(95));
}

#[tokio::test]
async fn each_target_of_a_comparison_has_one_stream_of_each_pair_and_they_take_turns() {
    let (one, two) = (demo(Knobs::default()).await, demo(Knobs::default()).await);
    for load in [Load::Closed { users: 2 }, Load::Open { rate: 500.0, arrivals: Arrivals::Poisson }] {
        let clients = vec![Way::default().client(&url(&one)), Way::default().client(&url(&two))];
        let samples = run(super::Plan { load, targets: 2, ..one_by_one(10) }, clients, json!({})).await;
        let pairs: BTreeSet<_> = samples.iter().map(|sample| (sample.number, sample.target)).collect();
        assert_eq!(pairs, (0..10).flat_map(|number| [(number, 0), (number, 1)]).collect());
        let scheduled = |number, target| {
            let found = samples.iter().find(|sample| (sample.number, sample.target) == (number, target));
            found.unwrap().scheduled
        };
        for number in 0..10 {
            let first = usize::from(number % 2 == 1);
            assert!(scheduled(number, first) < scheduled(number, 1 - first), "{number}");
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_unless_each_stream_is_to_have_its_own() {
    for (reuse, connections) in [(true, 1), (false, 5)] {
        let demo = demo(Knobs::default()).await;
        let way = Way { reuse, ..Way::default() };
        let samples = run(one_by_one(5), vec![way.client(&url(&demo))], json!({})).await;
        assert_eq!(demo.counts().connections, connections);
        assert_eq!(samples.iter().filter(|sample| sample.connect.is_some()).count() as u64, connections);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_stream() {
    let demo = demo(Knobs::default()).await;
    // HTTP/1.0: the body ends with the connection
    let samples =
        run(one_by_one(3), vec![Way::default().client(&url(&demo))], json!({ "demo": { "fault": "http10" } })).await;
    assert!(samples.iter().all(|sample| sample.outcome == Outcome::Whole));
    assert_eq!(demo.counts().connections, 3);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_as_the_next_request_comes_costs_no_stream_either() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{stream}",
        stream.len()
    );
    let server = Scripted::start(move |mut socket| {
        let answer = answer.clone();
        async move {
            read_request(&mut socket).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            read_request(&mut socket).await;
        }
    })
    .await;
    let client = Way::default().client(&format!("http://{}/", server.address));
    let samples = run(one_by_one(4), vec![client], json!({})).await;
    assert!(samples.iter().all(|sample| sample.outcome == Outcome::Whole && sample.connect.is_some()), "{samples:?}");
}

#[tokio::test]
async fn streams_over_http_2_share_a_connection_also_when_they_start_together() {
    let edge = Edge::start(Setup::default()).await;
    let url = format!("https://localhost:{}/v1/chat/completions", edge.target.address.port());
    for (versions, connections) in [(Versions::Any, 1), (Versions::Http2, 1), (Versions::Http1, 8)] {
        let way = Way { versions, trust: Trust::Roots(edge.target.roots.clone()), ..Way::default() };
        let plan = super::Plan { load: Load::Closed { users: 8 }, ..one_by_one(24) };
        let samples =
            run(plan, vec![way.client(&url)], json!({ "model": "demo", "demo": { "first_token_ms": 20 } })).await;
        assert!(samples.iter().all(|sample| sample.outcome == Outcome::Whole), "{samples:?}");
        let made: Vec<_> = samples.iter().filter_map(|sample| sample.connect).collect();
        assert_eq!(made.len(), connections, "{versions:?}");
        assert!(made.iter().all(|connect| connect.tls.is_some_and(|tls| !tls.is_zero())));
    }
}

#[tokio::test]
async fn what_starts_in_the_warm_up_is_asked_and_not_measured() {
    let demo = demo(Knobs { first_token: Duration::from_millis(50), ..Knobs::default() }).await;
    let warmup = Duration::from_secs(1);
    let plan = super::Plan { warmup, ..one_by_one(3) };
    let samples = run(plan, vec![Way::default().client(&url(&demo))], json!({})).await;
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().all(|sample| sample.scheduled >= warmup));
    assert!(demo.counts().requests > 3);
}

#[tokio::test]
async fn a_run_of_some_time_stops_starting_and_lets_what_is_under_way_end() {
    let demo = demo(Knobs { first_token: Duration::from_secs(2), ..Knobs::default() }).await;
    let plan = super::Plan { limit: Limit::Duration(Duration::from_secs(1)), ..one_by_one(0) };
    let samples = run(plan, vec![Way::default().client(&url(&demo))], json!({})).await;
    assert_eq!((samples.len(), &samples[0].outcome), (1, &Outcome::Whole));
}

#[tokio::test]
async fn a_run_that_is_stopped_tells_what_there_is_and_how_much_was_cut() {
    let demo = demo(Knobs::default()).await;
    for load in [Load::Closed { users: 3 }, Load::Open { rate: 1000.0, arrivals: Arrivals::Poisson }] {
        let stop = CancellationToken::new();
        let plan = super::Plan { load, ..one_by_one(3) };
        let client = Way::default().client(&url(&demo));
        let before = demo.counts().cancelled;
        let stopped = run_until(plan, vec![client], json!({ "demo": { "hold": 3 } }), stop.clone());
        let stopping = async {
            demo.until(|counts| counts.held == 3).await;
            stop.cancel();
        };
        let ((samples, ended), ()) = tokio::join!(stopped, soon(stopping));
        assert_eq!((samples.len(), ended.interrupted, ended.cut), (0, true, 3));
        soon(demo.until(|counts| counts.cancelled == before + 3)).await;
    }
}

//! Readers behind a network that cuts connections at random bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::task::JoinSet;

use super::{created, read, resumable};
use crate::support::client::{RequestBody, Target};
use crate::support::cutting::Cutting;
use crate::support::edge::{Edge, Setup, Version, expected, streaming};
use crate::support::soon;

/// What a page has of a stream, over all its connections.
#[derive(Default)]
struct Page {
    /// The blocks that came whole, each with its blank line, without heartbeats and fields of the log.
    events: Vec<String>,
    last: Option<u64>,
}

impl Page {
    /// Reads what one connection brought, numbered or not. What is cut off in its middle is no event (WHATWG HTML §9.2.6).
    fn see(&mut self, text: &str) {
        let text = super::without_heartbeats(text);
        for block in text.split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")) {
            let mut event = String::new();
            for line in block.split_inclusive('\n') {
                match line.split_once(": ") {
                    Some(("id", number)) => {
                        let number: u64 = number.trim_end().parse().unwrap();
                        assert_eq!(number, self.last.unwrap_or(0) + 1, "once, and in order");
                        self.last = Some(number);
                    }
                    Some(("retry", _)) => {}
                    _ => event += line,
                }
            }
            self.events.push(event);
        }
    }

    fn is_done(&self) -> bool {
        self.events.last().is_some_and(|event| event == "data: [DONE]\n\n")
    }
}

/// Sends a request over a connection of its own. What came of the answer, however it broke: status, stream id, text.
async fn try_once(target: &Target, version: Version, request: Request<RequestBody>) -> Option<(u16, String, String)> {
    let mut running = JoinSet::new();
    let response = match version {
        Version::Http1 => {
            let io = TokioIo::new(target.try_tls(&["http/1.1"]).await.ok()?);
            let (mut sender, connection) = http1::handshake(io).await.ok()?;
            running.spawn(async move { drop(connection.await) });
            sender.send_request(request).await.ok()?
        }
        Version::Http2 => {
            let io = TokioIo::new(target.try_tls(&["h2"]).await.ok()?);
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
            running.spawn(async move { drop(connection.await) });
            sender.send_request(request).await.ok()?
        }
    };
    let (head, mut body) = response.into_parts();
    let id = head.headers.get("tokenway-stream-id").map_or("", |id| id.to_str().unwrap()).to_owned();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        frame.data_ref().into_iter().for_each(|data: &Bytes| text.extend_from_slice(data));
    }
    // a cut may fall into a character
    Some((head.status.as_u16(), id, String::from_utf8_lossy(&text).into_owned()))
}

/// Reads a stream to its `[DONE]`, and once more: as `EventSource` does until it gets 204.
async fn follow(target: Target, version: Version, id: String, mut page: Page) -> Page {
    loop {
        match try_once(&target, version, read(&id, page.last)).await {
            Some((200, _, text)) => page.see(&text),
            Some((204, ..)) => return page,
            None => {}
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// Lengths of connections: most end within their handshake, head or a few events, every third may be longer.
fn lengths(seed: u64) -> impl FnMut() -> usize + Send + 'static {
    let state = Arc::new(AtomicU64::new(seed));
    move || {
        // Knuth's MMIX generator: reproducible, and nothing more
        let step = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let next = step(state.load(Ordering::Relaxed));
        state.store(next, Ordering::Relaxed);
        let most = if (next >> 20).is_multiple_of(3) { 40_000 } else { 6000 };
        1 + (next >> 33) as usize % most
    }
}

#[tokio::test]
async fn readers_behind_a_network_that_cuts_have_every_event_once_and_the_model_is_called_once() {
    let edge = Edge::start(Setup::default()).await;
    let proxy = Cutting::start(edge.target.address, lengths(1)).await;
    let target = Target { address: proxy.address, roots: Arc::clone(&edge.target.roots) };
    let mut running = JoinSet::new();
    let mut streams = Vec::new();
    for seed in 0..4 {
        // live for about a second, so that readers are cut in its course as well as in its replay
        let request = streaming("demo", json!({ "tokens": 250, "tokens_per_second": 250.0, "seed": seed }));
        let id = created(&edge, &request).await;
        let events: Vec<String> =
            expected(&request).iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect();
        streams.push(events);
        for version in Version::BOTH {
            for _ in 0..3 {
                let page = follow(target.clone(), version, id.clone(), Page::default());
                let stream = streams.len() - 1;
                running.spawn(async move { (stream, page.await) });
            }
        }
    }
    while let Some(read) = soon(running.join_next()).await {
        let (stream, page) = read.unwrap();
        assert!(page.is_done());
        assert_eq!(page.events, streams[stream]);
    }
    assert!(proxy.cuts() >= 200, "{} cuts", proxy.cuts());
    assert_eq!(edge.first.counts().requests, 4);
    edge.until_ended_on("streams", "demo", 201, "ok", 4).await;
}

#[tokio::test]
async fn a_completion_that_was_cut_is_picked_up_by_the_number_of_events_that_came() {
    let edge = Edge::start(Setup::default()).await;
    let proxy = Cutting::start(edge.target.address, lengths(2)).await;
    let target = Target { address: proxy.address, roots: Arc::clone(&edge.target.roots) };
    let mut running = JoinSet::new();
    for seed in 0..8 {
        let target = target.clone();
        let version = Version::BOTH[seed as usize % 2];
        running.spawn(async move {
            let request = streaming("demo", json!({ "tokens": 120, "tokens_per_second": 400.0, "seed": seed }));
            // a cut before the head leaves nothing to resume: the page asks again, as it would have to without
            let (mut asked, mut page) = (0, Page::default());
            let id = loop {
                asked += 1;
                match try_once(&target, version, resumable(&request)).await {
                    Some((200, id, text)) => {
                        page.see(&text);
                        break id;
                    }
                    None => {}
                    other => panic!("{other:?}"),
                }
            };
            page.last = Some(page.events.len() as u64);
            let page = follow(target, version, id, page).await;
            assert!(page.is_done());
            assert_eq!(page.events.concat().as_bytes(), expected(&request).concat());
            asked
        });
    }
    let mut asked = 0;
    while let Some(times) = soon(running.join_next()).await {
        asked += times.unwrap();
    }
    assert!(edge.first.counts().requests <= asked);
}

#[tokio::test]
async fn a_network_that_always_breaks_after_a_few_kilobytes_gets_on_all_the_same() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", json!({ "tokens": 250 }));
    let id = created(&edge, &request).await;
    super::until_finished(&edge, 1).await;
    let events: Vec<String> =
        expected(&request).iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect();
    // handshake and head take about half of it; of a TLS record nothing can be read until it is whole
    let proxy = Cutting::start(edge.target.address, || 6000).await;
    let target = Target { address: proxy.address, roots: Arc::clone(&edge.target.roots) };
    for version in Version::BOTH {
        let before = proxy.cuts();
        let page = soon(follow(target.clone(), version, id.clone(), Page::default())).await;
        assert_eq!(page.events, events);
        assert!(proxy.cuts() - before >= 5, "{} cuts", proxy.cuts() - before);
    }
}

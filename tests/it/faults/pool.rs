//! Upstream connections: used again where that is safe, and only there.

use std::sync::Arc;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};

use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::ports::Nobody;
use crate::support::scripted::{ANSWER, Scripted, answer, read_request};
use crate::support::soon;

#[tokio::test]
async fn completions_one_after_another_use_one_upstream_connection() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        for request in [streaming("demo", json!({})), whole("demo", json!({})), streaming("demo", json!({}))] {
            assert_eq!(edge.client(version).await.ask(&request).await.status(), 200);
            edge.client(version).await.ask(&request).await.rest().await;
        }
    }
    soon(edge.first.until(|counts| counts.open == 0)).await;
    let sequential = edge.first.requests();
    // an answer that was dropped unread took its connection with it; the others shared theirs
    let connections: Vec<_> = sequential.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 12);
    assert!(*connections.last().unwrap() < 6, "{connections:?}");
}

#[tokio::test]
async fn a_refusal_whose_body_was_read_leaves_its_connection_usable() {
    let edge = Edge::start(Setup::default()).await;
    for request in [streaming("demo", json!({ "fault": "status_500" })), streaming("demo", json!({}))] {
        edge.client(Version::Http2).await.ask(&request).await.rest().await;
    }
    assert_eq!((edge.first.counts().requests, edge.first.counts().connections), (2, 1));
}

#[tokio::test]
async fn after_a_truncated_stream_the_connection_is_not_used_again() {
    for fault in ["clean_eof_without_done", "error_event", "error_event_before_output", "endless_line"] {
        let edge = Edge::start(Setup::default()).await;
        let mut client = edge.client(Version::Http1).await;
        for request in [streaming("demo", json!({ "fault": fault })), streaming("demo", json!({}))] {
            client.ask(&request).await.rest().await;
        }
        let connections: Vec<_> = edge.first.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 1], "{fault}");
    }
}

/// What the scripted upstream has seen, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Connection,
    Request,
    Closed,
}

/// An upstream that answers the first `good` requests of each connection, reads one more and closes without an answer. With
/// `idle` it does not read one more, but closes when told to.
async fn closing(good: usize, idle: Option<Arc<Notify>>) -> (Scripted, mpsc::UnboundedReceiver<Seen>) {
    let (told, seen) = mpsc::unbounded_channel();
    let upstream = Scripted::start(move |mut socket| {
        let (told, idle) = (told.clone(), idle.clone());
        async move {
            told.send(Seen::Connection).unwrap();
            for number in 0..=good {
                if let Some(close) = idle.as_deref().filter(|_| number == good) {
                    close.notified().await;
                    break;
                }
                if read_request(&mut socket).await.is_none() {
                    return;
                }
                told.send(Seen::Request).unwrap();
                if number < good {
                    socket.write_all(answer().as_bytes()).await.unwrap();
                }
            }
            drop(socket);
            told.send(Seen::Closed).unwrap();
        }
    });
    (upstream.await, seen)
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_meanwhile_costs_the_client_nothing() {
    let close = Arc::new(Notify::new());
    let (upstream, mut seen) = closing(1, Some(close.clone())).await;
    let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    for round in 0..20 {
        let answer = client.ask(&whole("demo", json!({}))).await;
        assert_eq!(answer.status(), 200, "round {round}");
        assert_eq!(answer.rest().await, ANSWER);
        // the gateway has taken the connection back: the answer has ended
        close.notify_one();
        for expected in [Seen::Connection, Seen::Request, Seen::Closed] {
            assert_eq!(soon(seen.recv()).await, Some(expected));
        }
    }
    edge.until_ended("demo", 200, "ok", 20).await;
}

#[tokio::test]
async fn a_reused_connection_that_ends_without_a_byte_of_an_answer_costs_the_client_nothing() {
    for version in Version::BOTH {
        let (upstream, mut seen) = closing(1, None).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        let mut client = edge.client(version).await;
        for _ in 0..2 {
            assert_eq!(client.ask(&whole("demo", json!({}))).await.rest().await, ANSWER);
        }
        // the second request is read on the first connection, which ends, and is sent again on a new one
        let expected = [Seen::Connection, Seen::Request, Seen::Request];
        for expected in expected {
            assert_eq!(soon(seen.recv()).await, Some(expected));
        }
        let mut rest =
            [soon(seen.recv()).await.unwrap(), soon(seen.recv()).await.unwrap(), soon(seen.recv()).await.unwrap()];
        rest.sort_by_key(|seen| format!("{seen:?}"));
        assert_eq!(rest, [Seen::Closed, Seen::Connection, Seen::Request]);
        edge.until_ended("demo", 200, "ok", 2).await;
    }
}

#[tokio::test]
async fn a_request_on_a_new_connection_is_sent_once() {
    for version in Version::BOTH {
        let (upstream, mut seen) = closing(0, None).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        let answer = edge.client(version).await.ask(&whole("demo", json!({}))).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
        for expected in [Seen::Connection, Seen::Request, Seen::Closed] {
            assert_eq!(soon(seen.recv()).await, Some(expected));
        }
        // the answer has come: whatever the gateway would have sent again, it would have sent before it
        assert!(seen.try_recv().is_err());
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_listens_at_is_an_upstream_failure() {
    let nobody = Nobody::new();
    for version in Version::BOTH {
        // an upstream that cannot be reached is left alone soon
        let edge = Edge::start(Setup { upstream: Some(nobody.address), ..Setup::default() }).await;
        for request in [streaming("demo", json!({})), whole("demo", json!({}))] {
            let answer = edge.client(version).await.ask(&request).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
        }
        let answer = edge.client(version).await.ask(&streaming("careful", json!({}))).await;
        assert_eq!((answer.status(), answer.header("tokenway-model")), (200, "spare"));
        assert_eq!(edge.metrics.fallbacks.with_label_values(&["careful", "spare", "connect"]).get(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"choices\":[{}]}";
    let upstream = Scripted::start(move |mut socket| async move {
        while read_request(&mut socket).await.is_some() {
            socket.write_all((answer() + poison).as_bytes()).await.unwrap();
        }
    });
    let upstream = upstream.await;
    let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        for _ in 0..3 {
            assert_eq!(client.ask(&whole("demo", json!({}))).await.rest().await, ANSWER);
        }
    }
}

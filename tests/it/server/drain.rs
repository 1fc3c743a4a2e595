//! Shutting down: nothing new, what is open goes on, and at the end nothing is left.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Server;
use crate::support::client::{get, text, until_closed};
use crate::support::frames::*;
use crate::support::soon;

#[tokio::test]
async fn idle_connections_are_closed_at_once_and_new_ones_refused() {
    let server = Server::start();
    let mut kept = soon(server.target.raw_h1()).await;
    kept.write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1024];
    assert!(soon(kept.read(&mut answer)).await.unwrap() > 0);
    let mut fresh = soon(server.target.raw_h1()).await;
    let mut shaking = TcpStream::connect(server.target.address).await.unwrap();
    // all three are accepted, so the last one is in its handshake
    soon(async {
        while server.metrics.connections_active.get() < 3 {
            tokio::task::yield_now().await
        }
    })
    .await;
    server.drain.begun.cancel();
    for stream in [&mut kept, &mut fresh] {
        soon(until_closed(stream)).await;
    }
    soon(until_closed(&mut shaking)).await;
    drop((kept, fresh, shaking));
    soon(server.done).await.unwrap();
    assert!(TcpStream::connect(server.target.address).await.is_err());
}

#[tokio::test]
async fn an_idle_http_2_connection_gets_goaway_and_is_closed() {
    let server = Server::start();
    let mut stream = soon(server.target.tls(&["h2"])).await;
    let mut opened = preface();
    opened.extend(frame(SETTINGS, ACK, 0, b""));
    stream.write_all(&opened).await.unwrap();
    assert_eq!(soon(next_frame(&mut stream)).await.unwrap().kind, SETTINGS);
    server.drain.begun.cancel();
    let mut goaways = Vec::new();
    while let Some(received) = soon(next_frame(&mut stream)).await {
        match received.kind {
            GOAWAY => goaways.push(received.payload),
            PING if received.flags & ACK == 0 => {
                stream.write_all(&frame(PING, ACK, 0, &received.payload)).await.unwrap();
            }
            _ => {}
        }
    }
    // RFC 9113 §6.8: first one that lets requests on their way in, then one that names the last
    assert_eq!(goaways.first().unwrap()[..4], 0x7fff_ffffu32.to_be_bytes());
    assert_eq!(goaways.last().unwrap()[..4], 0u32.to_be_bytes());
    assert_eq!(goaways.last().unwrap()[4..8], 0u32.to_be_bytes());
    drop(stream);
    soon(server.done).await.unwrap();
}

#[tokio::test]
async fn open_streams_go_on_to_their_end_and_then_the_connection_closes() {
    let server = Server::start();
    let (mut h1, mut h2) = (soon(server.target.h1()).await, soon(server.target.h2()).await);
    let mut responses =
        [soon(h1.send_request(get("/hold"))).await.unwrap(), soon(h2.send_request(get("/hold"))).await.unwrap()];
    for response in &mut responses {
        assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin\n");
    }
    server.drain.begun.cancel();
    // the listener is gone before the streams end
    soon(async { while TcpStream::connect(server.target.address).await.is_ok() {} }).await;
    assert!(!server.done.is_finished());
    server.routes.release.send_replace(true);
    for response in responses {
        assert_eq!(soon(text(response)).await, "end\n");
    }
    drop((h1, h2));
    soon(server.done).await.unwrap();
}

#[tokio::test]
async fn a_response_that_begins_while_draining_says_connection_close() {
    let server = Server::start();
    let mut stream = soon(server.target.raw_h1()).await;
    stream.write_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nx").await.unwrap();
    soon(async {
        while server.calls() == 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    server.drain.begun.cancel();
    soon(async { while TcpStream::connect(server.target.address).await.is_ok() {} }).await;
    stream.write_all(b"y").await.unwrap();
    let answer = soon(until_closed(&mut stream)).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\n2"), "{answer}");
    drop(stream);
    soon(server.done).await.unwrap();
}

#[tokio::test]
async fn when_the_drain_is_over_what_is_left_has_two_seconds() {
    let server = Server::start();
    let (mut h1, mut h2) = (soon(server.target.h1()).await, soon(server.target.h2()).await);
    let ending = soon(h2.send_request(get("/hold"))).await.unwrap();
    let stuck = [tokio::spawn(h1.send_request(get("/stuck"))), tokio::spawn(h2.send_request(get("/stuck")))];
    soon(async {
        while server.calls() < 3 {
            tokio::task::yield_now().await
        }
    })
    .await;
    server.drain.begun.cancel();
    let begun = Instant::now();
    server.drain.over.cancel();
    // a stream that ends now ends honestly
    server.routes.release.send_replace(true);
    assert_eq!(soon(text(ending)).await, "begin\nend\n");
    soon(server.done).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    for stuck in stuck {
        assert!(soon(stuck).await.unwrap().is_err());
    }
    assert_eq!(server.metrics.connections_active.get(), 0);
}

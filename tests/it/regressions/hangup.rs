//! HTTP/1.1 clients that send more than their request while its stream runs: those that leave, and those that stay.

use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::until_closed;
use crate::support::edge::{Edge, Setup, expected, streaming};
use crate::support::soon;

/// For an upstream request whose client has left: it takes a moment, and a write that fails would tell of it only at the
/// first heartbeat, after 15 seconds.
const BEFORE_A_HEARTBEAT: Duration = Duration::from_secs(8);

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Socket for IO {}

/// A client's connection; dropping it resets it if `reset`.
async fn connect(edge: &Edge, plaintext: bool, reset: bool) -> Box<dyn Socket> {
    let linger = |tcp: &TcpStream| {
        if reset {
            SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
        }
    };
    if plaintext {
        let tcp = soon(TcpStream::connect(edge.target.address)).await.unwrap();
        linger(&tcp);
        Box::new(tcp)
    } else {
        let stream = soon(edge.target.raw_h1()).await;
        linger(stream.get_ref().0);
        Box::new(stream)
    }
}

/// A request as it stands on the wire.
fn wire(body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {length}\r\n\r\n{body}")
}

/// An answer in the chunked coding: its body, as far as this many bytes or the end.
async fn read_body(socket: &mut (impl AsyncRead + Unpin), at_least: usize) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(socket.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("transfer-encoding: chunked\r\n"), "{head}");
    let mut body = Vec::new();
    while body.len() < at_least && read_chunk(socket, &mut body).await {}
    body
}

/// Appends the next chunk; false where it is the last.
async fn read_chunk(socket: &mut (impl AsyncRead + Unpin), body: &mut Vec<u8>) -> bool {
    let mut size = Vec::new();
    while !size.ends_with(b"\r\n") {
        size.push(soon(socket.read_u8()).await.unwrap());
    }
    let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim_end(), 16).unwrap();
    let start = body.len();
    body.resize(start + size + 2, 0);
    soon(socket.read_exact(&mut body[start..])).await.unwrap();
    body.truncate(start + size);
    size > 0
}

/// Clients that send more than their request, and leave in the middle of their stream.
async fn leaving_is_noticed(reset: bool) {
    let request = streaming("demo", json!({ "hold": 4 }));
    let begun = expected(&request)[..4].concat().len();
    // more than is read at once, and no more than the kernel takes: a FIN comes behind all of it
    let large = wire(&json!({ "model": "demo", "messages": [], "pad": "x".repeat(40_000) }));
    for plaintext in [false, true] {
        let edge = Edge::start(Setup { plaintext, ..Setup::default() }).await;
        let mut left = 0;
        for more in ["\r\n", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", &wire(&request), &large] {
            for at_once in [true, false] {
                let case = format!("{} bytes, at once: {at_once}, plaintext: {plaintext}", more.len());
                left += 1;
                let mut socket = connect(&edge, plaintext, reset).await;
                let first = wire(&request) + if at_once { more } else { "" };
                soon(socket.write_all(first.as_bytes())).await.unwrap();
                read_body(&mut socket, begun).await;
                if !at_once {
                    soon(socket.write_all(more.as_bytes())).await.unwrap();
                }
                let _kept = leave(socket, reset).await;
                let cancelled = edge.first.until(|counts| counts.cancelled == left && counts.connections_open == 0);
                let cancelled = tokio::time::timeout(BEFORE_A_HEARTBEAT, cancelled).await;
                assert!(cancelled.is_ok(), "{case}: {:?}", edge.first.counts());
                edge.until_ended("demo", 200, "client_gone", left).await;
            }
        }
        assert_eq!(edge.first.counts().requests, left, "nobody waits for the answer to a second request");
    }
}

/// Ends the client's side by a reset, or else by FIN; then the socket lives as long as what this gives back.
async fn leave(mut socket: Box<dyn Socket>, reset: bool) -> Option<Box<dyn Socket>> {
    if reset {
        return None;
    }
    soon(socket.shutdown()).await.unwrap();
    Some(socket)
}

#[tokio::test]
async fn a_client_that_pipelines_and_closes_cancels_its_upstream_request_before_any_write_fails() {
    leaving_is_noticed(false).await;
}

#[tokio::test]
async fn a_client_that_pipelines_and_resets_cancels_its_upstream_request_before_any_write_fails() {
    leaving_is_noticed(true).await;
}

#[tokio::test]
async fn a_client_that_pipelines_and_stays_gets_all_of_its_streams() {
    let heartbeat = ": hb\n\n";
    let request = streaming("demo", json!({ "hold": 4 }));
    let events = expected(&request);
    let begun = events[..4].concat();
    for plaintext in [false, true] {
        let edge = Edge::start(Setup { plaintext, stream: "heartbeat = \"400ms\"", ..Setup::default() }).await;
        let mut socket = connect(&edge, plaintext, false).await;
        // a stray line end before a request is none of it (RFC 9112 §2.2)
        socket.write_all(format!("{}\r\n{}", wire(&request), wire(&request)).as_bytes()).await.unwrap();
        for requests in [1, 2] {
            // with two heartbeats, time enough has passed for a client to be missed
            let mut body = read_body(&mut socket, begun.len() + 2 * heartbeat.len()).await;
            assert_eq!(String::from_utf8(body.clone()).unwrap().replace(heartbeat, "").as_bytes(), begun);
            assert_eq!(edge.first.counts().requests, requests);
            edge.first.release(1);
            while read_chunk(&mut socket, &mut body).await {}
            let body = String::from_utf8(body).unwrap().replace(heartbeat, "");
            assert_eq!(body.as_bytes(), events.concat());
        }
        edge.until_ended("demo", 200, "ok", 2).await;
    }
}

#[tokio::test]
async fn a_client_that_pipelines_and_ends_its_side_gets_the_answers_that_are_there_at_once() {
    for plaintext in [false, true] {
        let edge = Edge::start(Setup { plaintext, ..Setup::default() }).await;
        let mut socket = connect(&edge, plaintext, false).await;
        let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        // the stray line end keeps hyper from reading on: it would end the connection at the client's end
        socket.write_all((request.repeat(3) + "\r\n").as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let answers = soon(until_closed(&mut socket)).await;
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
    }
}

//! Requests to a page server, for the tests of the pages.

use std::net::SocketAddr;

use prometheus::{IntCounterVec, Opts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(in crate::server) fn restarts() -> IntCounterVec {
    IntCounterVec::new(Opts::new("restarts", "restarts"), &["task"]).unwrap()
}

pub(in crate::server) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends one request unchanged and reads until the server closes.
pub(in crate::server) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(in crate::server) async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost:1234\r\nconnection: close\r\n\r\n")).await
}

pub(in crate::server) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

pub(in crate::server) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Returns the value of a header that is present once.
pub(in crate::server) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split_once("\r\n\r\n").unwrap().0;
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values.len(), 1, "{name} in {head}");
    values[0]
}

/// Asserts that every path in the page, its scripts and its style is served: no dead link after a rename.
pub(in crate::server) async fn assert_whole(address: SocketAddr) {
    let mut paths = vec!["/".to_owned()];
    let mut next = 0;
    while let Some(path) = paths.get(next) {
        let answer = get(address, path).await;
        assert_eq!(status(&answer), 200, "{path}");
        for part in body(&answer).split(['"', '\'']) {
            let name = part.strip_prefix("./").or_else(|| part.strip_prefix('/')).unwrap_or_default();
            let found = format!("/{name}");
            let is_part = [".mjs", ".js", ".css"].iter().any(|end| name.ends_with(end));
            if is_part && !paths.contains(&found) {
                paths.push(found);
            }
        }
        next += 1;
    }
    assert!(paths.len() >= 4, "{paths:?}");
}

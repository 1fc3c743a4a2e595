//! Handshakes, ALPN, and the caps on connections.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Server;
use crate::support::client::{get, text, until_closed};
use crate::support::soon;

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn alpn_chooses_the_protocol_and_none_means_http_1() {
    let server = Server::start();
    for (offer, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let stream = soon(server.target.tls(offer)).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offer:?}");
    }
    assert!(soon(server.target.try_tls(&["spdy/3"])).await.is_err());
}

#[tokio::test]
async fn a_client_that_never_ends_its_handshake_is_cut_off() {
    let server = Server::with(|settings| settings.handshake_timeout = SHORT);
    // nothing at all, and the beginning of a record that promises 512 bytes
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let begun = Instant::now();
        let mut tcp = TcpStream::connect(server.target.address).await.unwrap();
        tcp.write_all(sent).await.unwrap();
        soon(until_closed(&mut tcp)).await;
        assert!(begun.elapsed() >= SHORT);
    }
    assert_eq!(server.refused("handshake_timeout"), 2);
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_closed_and_counted() {
    let server = Server::start();
    let mut tcp = TcpStream::connect(server.target.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    soon(until_closed(&mut tcp)).await;
    assert_eq!((server.refused("handshake"), server.calls()), (1, 0));
}

#[tokio::test]
async fn without_tls_the_listener_speaks_http_1() {
    let server = Server::with(|settings| settings.tls = None);
    let mut tcp = TcpStream::connect(server.target.address).await.unwrap();
    tcp.write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = soon(until_closed(&mut tcp)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn beyond_max_connections_clients_are_closed_at_once_until_one_leaves() {
    let server = Server::with(|settings| settings.max_connections = 1);
    let mut first = soon(server.target.h1()).await;
    let response = soon(first.send_request(get("/ok"))).await.unwrap();
    assert_eq!(text(response).await, "ok");
    assert!(soon(server.target.try_tls(&[])).await.is_err());
    assert_eq!(server.refused("max_connections"), 1);
    assert_eq!(server.metrics.connections_active.get(), 1);
    drop(first);
    // the server notices that the first has left some time later
    soon(async { while server.target.try_tls(&[]).await.is_err() {} }).await;
}

#[tokio::test]
async fn beyond_max_connections_per_ip_clients_of_the_address_are_closed_at_once() {
    let server = Server::with(|settings| settings.max_connections_per_ip = 2);
    let _held = [soon(server.target.h2()).await, soon(server.target.h2()).await];
    assert!(soon(server.target.try_tls(&[])).await.is_err());
    assert_eq!(server.refused("max_connections_per_ip"), 1);
}

#[tokio::test]
async fn new_connections_take_new_settings_and_old_ones_go_on() {
    let server = Server::start();
    let mut old = soon(server.target.h2()).await;
    let mut settings = (**server.settings.load()).clone();
    settings.max_connections = 0;
    server.settings.store(settings.into());
    assert!(soon(server.target.try_tls(&[])).await.is_err());
    let response = soon(old.send_request(get("/ok"))).await.unwrap();
    assert_eq!(text(response).await, "ok");
}

#[tokio::test]
async fn a_trusted_proxy_brings_as_many_connections_as_it_has_clients() {
    let server = Server::with(|settings| {
        settings.max_connections_per_ip = 1;
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let _held = [soon(server.target.h2()).await, soon(server.target.h2()).await];
    assert_eq!(server.refused("max_connections_per_ip"), 0);
}

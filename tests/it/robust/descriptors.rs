//! Clients cannot use up the descriptors that upstreams and probes need.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::time::Duration;

use demo_upstream::{Demo, Knobs};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{Gateway, Setup};
use crate::support::gateway::exchange;
use crate::support::soon;

/// A completion over this connection; the head of its response.
async fn complete(client: &mut TcpStream) -> String {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = vec![0; 1 << 16];
    let read = soon(client.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn idle_clients_leave_descriptors_to_upstreams_and_probes_even_if_the_log_cannot_be_written() {
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let setup = Setup { stderr: full.into(), shell: "ulimit -n 64", upstream: demo.addr, ..Setup::default() };
    let gateway = Gateway::start(setup).await;
    let mut client = TcpStream::connect(gateway.public).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(soon(TcpStream::connect(gateway.public)).await.unwrap());
    }
    gateway.until_metric("tokenway_connections_refused_total", &[("reason", "max_connections")], |n| n > 100.0).await;
    assert_eq!(gateway.metric("process_max_fds", &[]).await, 64.0);
    assert!(gateway.metric("process_open_fds", &[]).await < 60.0);
    let answer = complete(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.assert_ready().await;
    drop(idle);
    gateway.until_metric("tokenway_connections_active", &[], |open| open < 5.0).await;
    let answer = complete(&mut TcpStream::connect(gateway.public).await.unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.assert_stops().await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let gateway = Gateway::start(Setup { shell: "ulimit -Sn 100 && ulimit -Hn 600", ..Setup::default() }).await;
    assert_eq!(gateway.metric("process_max_fds", &[]).await, 600.0);
    gateway.assert_stops().await;
}

#[tokio::test]
async fn connections_that_do_not_fit_the_limit_are_a_warning_with_the_numbers() {
    for (server, warns) in [("max_connections = 236", false), ("max_connections = 237", true)] {
        let setup = Setup { stderr: Stdio::piped(), shell: "ulimit -n 600", server, ..Setup::default() };
        let mut gateway = Gateway::start(setup).await;
        let mut stderr = gateway.child.stderr.take().unwrap();
        gateway.assert_stops().await;
        let mut log = String::new();
        stderr.read_to_string(&mut log).await.unwrap();
        let warning = "server.max_connections = 237 does not fit the limit on open files, 600: at most 236 connections";
        assert_eq!(log.contains(warning), warns, "{log}");
    }
}

#[tokio::test]
async fn silent_admin_connections_do_not_delay_the_probes() {
    let gateway = Gateway::start(Setup::default()).await;
    let mut silent = Vec::new();
    for place in 0..300 {
        let mut stream = soon(TcpStream::connect(&gateway.admin)).await.unwrap();
        let sent = ["", "GET /readyz HTTP/1.1\r\nhost: "][place % 2];
        stream.write_all(sent.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let begun = Instant::now();
    for path in ["/readyz", "/healthz", "/metrics"] {
        assert!(!soon(exchange(&gateway.admin, &format!("GET {path}"), "")).await.is_empty());
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    gateway.assert_stops().await;
}

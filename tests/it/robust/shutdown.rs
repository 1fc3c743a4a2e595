//! A shutdown that loses nothing: the delay, the hand-over to another process, and the last event.

use std::process::Stdio;
use std::time::Duration;

use demo_upstream::{Demo, Knobs};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::Instant;

use super::{Gateway, Setup};
use crate::support::child::{Child, Plan, chat};
use crate::support::client::until_closed;
use crate::support::soon;

/// One request over a new connection, until the gateway closes it.
async fn ask(address: &std::net::SocketAddr, path: &str, more: &str) -> String {
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n").as_bytes()).await.unwrap();
    soon(until_closed(&mut stream)).await
}

#[tokio::test]
async fn within_the_delay_requests_are_served_and_asked_to_close_while_readyz_says_draining() {
    let mut gateway = Gateway::start(Setup { server: "shutdown_delay = \"2s\"", ..Setup::default() }).await;
    let mut kept = TcpStream::connect(gateway.public).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = vec![0; 4096];
    kept.write_all(request).await.unwrap();
    let read = soon(kept.read(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer[..read]).contains("connection: close"));
    let begun = Instant::now();
    gateway.signal("TERM");
    soon(async {
        let admin = gateway.admin.parse().unwrap();
        while !ask(&admin, "/readyz", "connection: close\r\n").await.contains("\"draining\"") {}
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    // an idle connection and a new one
    kept.write_all(request).await.unwrap();
    for answer in [soon(until_closed(&mut kept)).await, ask(&gateway.public, "/healthz", "").await] {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer}");
    }
    let status = soon(gateway.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(TcpStream::connect(gateway.public).await.is_err());
}

#[tokio::test]
async fn no_request_is_lost_when_another_process_takes_over() {
    let server = "reuse_port = true";
    let first = Gateway::start(Setup { server, ..Setup::default() }).await;
    let public = first.public;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut served = 0;
                while !*stopped.borrow() {
                    let mut stream = soon(TcpStream::connect(public)).await.unwrap();
                    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                    stream.write_all(request).await.unwrap();
                    let answer = soon(until_closed(&mut stream)).await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{served}: {answer:?}");
                    served += 1;
                }
                served
            })
        })
        .collect();
    let mut old = first;
    for _ in 0..3 {
        let setup = Setup { server, stderr: Stdio::piped(), ..Setup::default() };
        let mut new = Gateway::start_at(setup, old.ports()).await;
        // the old one answers at the same address: only the new one's own words say that it listens
        let mut lines = BufReader::new(new.child.stderr.take().unwrap()).lines();
        while !soon(lines.next_line()).await.unwrap().unwrap().contains("admin on") {}
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        old.assert_stops().await;
        old = new;
    }
    stop.send_replace(true);
    let mut served = 0;
    for client in clients {
        served += client.await.unwrap();
    }
    assert!(served > 100, "{served}");
}

/// curl's own bug, which Debian 12 has: it discards what it has not processed when it sees the end of an HTTP/2 connection.
#[tokio::test]
async fn curl_gets_the_last_event_of_a_stream_that_ends_while_draining() {
    let mut child = Child::start(Plan::default()).await;
    for round in 0..3 {
        let body = chat(true, json!({ "tokens": 5, "hold": 3 })).to_string();
        let url = format!("https://localhost:{}/v1/chat/completions", child.target.address.port());
        let mut curl = Command::new("curl");
        curl.args(["-svN", "--http2", "--cacert"]).arg(child.path("ca.pem")).arg(&url);
        curl.args(["-H", "content-type: application/json", "-d", &body]);
        let curl = curl.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        soon(child.demo.until(|counts| counts.held == 1)).await;
        child.server.signal("TERM");
        soon(async { while TcpStream::connect(child.target.address).await.is_ok() {} }).await;
        child.demo.release(9);
        let output = soon(curl.wait_with_output()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let verbose = String::from_utf8_lossy(&output.stderr);
        assert!(text.ends_with("data: [DONE]\n\n"), "{round}: {} {text}\n{verbose}", output.status);
        assert_eq!(child.server.ended().await.code(), Some(0));
        child = Child::start(Plan::default()).await;
    }
}

#[tokio::test]
async fn connections_in_the_queue_of_the_listener_are_served_before_it_closes() {
    // a single worker that is busy with many connections has some in its queue
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let setup = Setup { server: "workers = 1", upstream: demo.addr, ..Setup::default() };
    let gateway = Gateway::start(setup).await;
    let pid = gateway.child.id().unwrap().to_string();
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    };
    // while it is stopped, the kernel completes connections
    signal("STOP");
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut stream = soon(TcpStream::connect(gateway.public)).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        queued.push(stream);
    }
    signal("TERM");
    signal("CONT");
    for stream in &mut queued {
        let answer = soon(until_closed(stream)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}

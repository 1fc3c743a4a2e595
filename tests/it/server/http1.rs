//! HTTP/1.1 on the public listener.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::Server;
use crate::support::client::{exchange, get, text, until_closed};
use crate::support::soon;

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_silent_client_and_half_a_head_are_cut_off_after_the_header_timeout() {
    let server = Server::with(|settings| settings.header_timeout = SHORT);
    for sent in ["", "GET /ok HTTP/1.1\r\nhost: loc"] {
        let begun = Instant::now();
        let mut stream = soon(server.target.raw_h1()).await;
        soon(exchange(&mut stream, sent.as_bytes())).await;
        assert!(begun.elapsed() >= SHORT);
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off_although_bytes_come() {
    let server = Server::with(|settings| settings.header_timeout = SHORT);
    let (mut read, mut write) = tokio::io::split(soon(server.target.raw_h1()).await);
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SHORT / 10);
        write.write_all(b"GET /ok HTTP/1.1\r\nx: ").await.unwrap();
        while write.write_all(b"a").await.is_ok() {
            tick.tick().await;
        }
    });
    soon(until_closed(&mut read)).await;
    soon(trickle).await.unwrap();
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_the_next_head_does_not_come() {
    let server = Server::with(|settings| settings.idle_timeout = SHORT);
    let mut stream = soon(server.target.raw_h1()).await;
    let answer = soon(exchange(&mut stream, b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn a_kept_connection_outlives_the_header_timeout_and_a_further_head_does_not() {
    let server = Server::with(|settings| settings.header_timeout = SHORT);
    let mut kept = soon(server.target.raw_h1()).await;
    let request = b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = vec![0; 1024];
    for _ in 0..2 {
        kept.write_all(request).await.unwrap();
        assert!(soon(kept.read(&mut answer)).await.unwrap() > 0);
        // another connection waits its header timeout out meanwhile
        soon(until_closed(&mut soon(server.target.raw_h1()).await)).await;
    }
    let begun = Instant::now();
    soon(exchange(&mut kept, &request[..20])).await;
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_request_line_without_end_is_414() {
    let server = Server::start();
    for line in [format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(40_000)), "a".repeat(70_000)] {
        let mut stream = soon(server.target.raw_h1()).await;
        let answer = soon(exchange(&mut stream, line.as_bytes())).await;
        assert!(answer.starts_with("HTTP/1.1 414 URI Too Long\r\n"), "{answer}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_client_that_reads_little_at_a_time_is_served_although_the_kernel_could_hold_more() {
    let server = Server::with(|settings| {
        settings.write_timeout = 2 * SHORT;
        settings.tls = None;
    });
    let mut stream = tokio::net::TcpStream::connect(server.target.address).await.unwrap();
    stream.write_all(b"GET /bytes/4000000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let (begun, mut tick, mut buffer) = (Instant::now(), tokio::time::interval(SHORT / 20), vec![0; 4000]);
    // 80 kB a second: less than a third of the kernel's buffer within the timeout
    while begun.elapsed() < 6 * SHORT {
        tick.tick().await;
        assert!(soon(stream.read(&mut buffer)).await.unwrap() > 0, "cut off after {:?}", begun.elapsed());
    }
    let rest = soon(until_closed(&mut stream)).await;
    assert!(rest.len() > 3_000_000, "{}", rest.len());
}

#[tokio::test]
async fn too_many_headers_and_too_large_a_head_are_431() {
    let server = Server::start();
    let many = "a: b\r\n".repeat(101);
    let large = format!("a: {}\r\n", "b".repeat(33 << 10));
    for headers in [many, large] {
        let mut stream = soon(server.target.raw_h1()).await;
        let head = format!("GET /ok HTTP/1.1\r\n{headers}\r\n");
        let answer = soon(exchange(&mut stream, head.as_bytes())).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_head_just_within_the_bounds_is_served() {
    let server = Server::start();
    let mut stream = soon(server.target.raw_h1()).await;
    let headers = format!("a: {}\r\n", "b".repeat(300)).repeat(97);
    let head = format!("GET /ok HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    let answer = soon(exchange(&mut stream, head.as_bytes())).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_sends_its_whole_body_first() {
    let server = Server::start();
    let body = vec![b'x'; 4 << 20];
    let mut stream = soon(server.target.raw_h1()).await;
    let head = "POST /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4194304\r\n\r\n";
    soon(stream.write_all(head.as_bytes())).await.unwrap();
    soon(stream.write_all(&body)).await.unwrap();
    let answer = soon(until_closed(&mut stream)).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nrefused"), "{answer}");
}

#[tokio::test]
async fn after_length_and_chunked_together_nothing_more_is_run() {
    let server = Server::start();
    let mut stream = soon(server.target.raw_h1()).await;
    let smuggled = "0\r\n\r\nGET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = "POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = soon(exchange(&mut stream, format!("{head}{smuggled}").as_bytes())).await;
    assert_eq!((answer.matches("HTTP/1.1 ").count(), server.calls()), (1, 1), "{answer}");
}

#[tokio::test]
async fn after_connection_close_nothing_more_is_run() {
    let server = Server::start();
    let mut stream = soon(server.target.raw_h1()).await;
    let twice =
        "GET /ok HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\nGET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = soon(exchange(&mut stream, twice.as_bytes())).await;
    assert_eq!((answer.matches("HTTP/1.1 ").count(), server.calls()), (1, 1), "{answer}");
}

#[tokio::test]
async fn a_request_that_contradicts_itself_is_400_and_closes() {
    let server = Server::start();
    for head in [
        "POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "POST /length HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET /ok HTTP/9.9\r\n\r\n",
        "GET\r\n\r\n",
    ] {
        let mut stream = soon(server.target.raw_h1()).await;
        let answer = soon(exchange(&mut stream, head.as_bytes())).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off_after_the_write_timeout() {
    let mut server = Server::with(|settings| settings.write_timeout = SHORT);
    let mut stream = soon(server.target.raw_h1()).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/endless");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_served_although_the_whole_takes_longer_than_the_write_timeout() {
    let server = Server::with(|settings| settings.write_timeout = 3 * SHORT);
    let mut stream = soon(server.target.raw_h1()).await;
    stream.write_all(b"GET /bytes/16000000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut tick = tokio::time::interval(SHORT / 4);
    let (mut read, mut due, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        match soon(stream.read(&mut buffer)).await.unwrap() {
            0 => break,
            n => read += n,
        }
        // a megabyte a tick, and so progress at each: more ticks than the timeout has
        if read >= due && read < 12_000_000 {
            due = read + 1_000_000;
            tick.tick().await;
        }
    }
    assert!(read > 16_000_000);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_response_and_its_handler() {
    let mut server = Server::start();
    let mut client = soon(server.target.h1()).await;
    let mut response = soon(client.send_request(get("/hold"))).await.unwrap();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin\n");
    drop((response, client));
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/hold");

    let mut stream = soon(server.target.raw_h1()).await;
    stream.write_all(b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    soon(async {
        while server.calls() < 2 {
            tokio::task::yield_now().await
        }
    })
    .await;
    drop(stream);
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/stuck");
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = Server::start();
    let mut neighbour = soon(server.target.h1()).await;
    let mut stream = soon(server.target.raw_h1()).await;
    let answer = soon(exchange(&mut stream, b"GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    assert_eq!(answer, "");
    assert_eq!(text(soon(neighbour.send_request(get("/ok"))).await.unwrap()).await, "ok");
    assert_eq!(text(soon(soon(server.target.h1()).await.send_request(get("/ok"))).await.unwrap()).await, "ok");
}

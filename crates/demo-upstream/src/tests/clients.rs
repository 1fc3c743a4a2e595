//! Clients that wait, clients that leave, and held responses.

use super::*;
use crate::knobs::MAX_TOKENS;

#[tokio::test]
async fn silence_lasts_until_the_client_leaves() {
    let demo = start(Knobs::default()).await;
    for (count, fault, says) in [(1, "silent", ""), (2, "headers_then_silent", "HTTP/1.1 200 OK\r\n")] {
        let mut socket = TcpStream::connect(demo.addr).await.unwrap();
        socket.write_all(post(&body(json!({ "fault": fault })), "").as_bytes()).await.unwrap();
        demo.until(|counts| counts.open == 1).await;
        let mut head = vec![0; says.len()];
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(head, says.as_bytes());
        drop(socket);
        let counts = demo.until(|counts| counts.open == 0).await;
        assert_eq!((counts.cancelled, counts.finished), (count, 0));
    }
}

#[tokio::test]
async fn endless_bodies_go_on_until_the_client_leaves() {
    let demo = start(Knobs::default()).await;
    for (count, fault, filler) in [
        (1, "endless_line", "xxxxxxxx"),
        (2, "endless_event", "data: x\ndata: x\n"),
        (3, "endless_comments", ":     \n:"),
    ] {
        let mut socket = TcpStream::connect(demo.addr).await.unwrap();
        socket.write_all(post(&body(json!({ "fault": fault, "at": 1 })), "").as_bytes()).await.unwrap();
        let mut bytes = vec![0; 1 << 20];
        socket.read_exact(&mut bytes).await.unwrap();
        assert!(memchr::memmem::find(&bytes, filler.as_bytes()).is_some(), "{fault}");
        drop(socket);
        assert_eq!(demo.until(|counts| counts.open == 0).await.cancelled, count);
    }
}

#[tokio::test]
async fn a_held_response_waits_for_its_release() {
    let demo = start(Knobs { hold: Some(2), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "connection: close\r\n").as_bytes()).await.unwrap();
    demo.until(|counts| counts.held == 1).await;
    let sent = demo.bytes_sent() as usize;
    let mut bytes = vec![0; sent];
    socket.read_exact(&mut bytes).await.unwrap();
    assert_eq!(Heard { bytes: bytes.clone(), reset: false }.chunked().0, first(2));
    demo.release(1);
    socket.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Heard { bytes, reset: false }.chunked().0, all());
}

#[tokio::test]
async fn a_release_releases_one_response() {
    let demo = start(Knobs { hold: Some(1), ..Knobs::default() }).await;
    demo.release(1);
    assert_eq!(ask(&demo, &body(json!({}))).await.chunked(), (all(), true));
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    assert_eq!(demo.until(|counts| counts.held == 1 || counts.finished == 2).await.held, 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_the_response_waits() {
    let demo = start(Knobs { hold: Some(1), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    demo.until(|counts| counts.held == 1).await;
    drop(socket);
    let counts = demo.until(|counts| counts.cancelled == 1).await;
    assert_eq!((counts.held, counts.open), (0, 0));
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_leaves_is_noticed() {
    let demo = start(Knobs { tokens: Some(MAX_TOKENS), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    // only a FIN: no write of the server fails, so it must notice by reading
    socket.shutdown().await.unwrap();
    demo.until(|counts| counts.cancelled == 1 && counts.connections_open == 0).await;
}

#[tokio::test]
async fn dropping_the_demo_ends_its_connections() {
    let demo = start(Knobs { fault: Some(Fault::Silent), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    demo.until(|counts| counts.open == 1).await;
    drop(demo);
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

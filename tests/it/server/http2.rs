//! HTTP/2 on the public listener.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::Server;
use crate::support::client::{full, get, request, text, until_closed};
use crate::support::frames::*;
use crate::support::soon;

const SHORT: Duration = Duration::from_secs(1);

async fn raw(server: &Server) -> TlsStream<TcpStream> {
    soon(server.target.tls(&["h2"])).await
}

#[tokio::test]
async fn a_client_that_does_not_get_to_its_first_request_is_cut_off_after_the_header_timeout() {
    let server = Server::with(|settings| settings.header_timeout = SHORT);
    let mut half_frame = preface();
    half_frame.extend(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/ok"))[..12]);
    let mut half_block = preface();
    half_block.extend(frame(HEADERS, END_STREAM, 1, &get_block("/ok")));
    for (what, sent) in [
        ("nothing", &b""[..]),
        ("PRI", b"PRI"),
        ("the preface without SETTINGS", &preface()[..24]),
        ("half a frame", &half_frame),
        ("half a header block", &half_block),
    ] {
        let begun = Instant::now();
        let mut stream = raw(&server).await;
        stream.write_all(sent).await.unwrap();
        soon(until_closed(&mut stream)).await;
        assert!(begun.elapsed() >= SHORT, "{what}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_unused_connection_outlives_the_header_timeout() {
    let server = Server::with(|settings| settings.header_timeout = SHORT);
    let mut stream = raw(&server).await;
    stream.write_all(&preface()).await.unwrap();
    // another connection waits its header timeout out meanwhile
    soon(until_closed(&mut raw(&server).await)).await;
    let mut request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/ok"));
    request.extend(frame(SETTINGS, ACK, 0, b""));
    stream.write_all(&request).await.unwrap();
    let body = soon(async {
        loop {
            match next_frame(&mut stream).await {
                Some(frame) if frame.kind == DATA && frame.stream == 1 => return frame.payload,
                Some(_) => {}
                None => panic!("closed"),
            }
        }
    });
    assert_eq!(body.await, b"ok");
}

#[tokio::test]
async fn a_client_that_only_answers_and_sends_pings_is_bounded_by_the_idle_timeout() {
    let server = Server::with(|settings| settings.idle_timeout = SHORT);
    let (mut read, write) = tokio::io::split(raw(&server).await);
    let write = Arc::new(Mutex::new(write));
    let send = async |bytes: Vec<u8>| write.lock().await.write_all(&bytes).await;
    send(preface()).await.unwrap();
    send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/ok"))).await.unwrap();
    send(frame(SETTINGS, ACK, 0, b"")).await.unwrap();
    let (begun, pinger) = (Instant::now(), Arc::clone(&write));
    let pings = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SHORT / 10);
        while pinger.lock().await.write_all(&frame(PING, 0, 0, &[7; 8])).await.is_ok() {
            tick.tick().await;
        }
    });
    let mut goaways = 0;
    while let Some(received) = soon(next_frame(&mut read)).await {
        goaways += usize::from(received.kind == GOAWAY);
        if received.kind == PING && received.flags & ACK == 0 {
            let _ = send(frame(PING, ACK, 0, &received.payload)).await;
        }
    }
    pings.abort();
    assert!(goaways > 0 && begun.elapsed() >= SHORT && begun.elapsed() < 10 * SHORT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_flood_of_control_frames_closes_its_connection_and_no_other() {
    let server = Server::start();
    let mut neighbour = soon(server.target.h2()).await;
    let mut held = soon(neighbour.send_request(get("/hold"))).await.unwrap();
    assert_eq!(soon(held.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin\n");
    let floods = [
        frame(SETTINGS, 0, 0, b""),
        frame(SETTINGS, ACK, 0, b""),
        frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 1]),
        frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(DATA, 0, 1, b""),
        frame(0xbe, 0, 0, b""),
    ];
    for flood in &floods {
        let (mut read, mut write) = tokio::io::split(raw(&server).await);
        let mut opened = preface();
        opened.extend(frame(HEADERS, END_HEADERS, 1, &get_block("/length")));
        write.write_all(&opened).await.unwrap();
        let thousand = flood.repeat(1000);
        // a reset may come in the middle
        for _ in 0..300 {
            if soon(write.write_all(&thousand)).await.is_err() {
                break;
            }
        }
        soon(until_closed(&mut read)).await;
    }
    // some are errors of the protocol, for which h2 closes before we count
    assert!(server.refused("control_frames") >= 6, "{}", server.refused("control_frames"));
    server.routes.release.send_replace(true);
    assert_eq!(text(held).await, "end\n");
}

#[tokio::test]
async fn a_long_download_over_small_windows_is_no_flood() {
    let server = Server::start();
    let mut client = soon(server.target.h2_with(|builder| {
        builder.initial_stream_window_size(1024).initial_connection_window_size(1024);
    }))
    .await;
    let mut body = soon(client.send_request(get("/bytes/20000000"))).await.unwrap().into_body();
    let mut received = 0;
    // seconds on a good day, so it is each frame that must come soon
    while let Some(frame) = soon(body.frame()).await {
        received += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(received, 20_000_000);
    assert_eq!(server.refused("control_frames"), 0);
}

#[tokio::test]
async fn many_streams_that_are_given_up_are_no_flood() {
    let server = Server::start();
    let mut client = soon(server.target.h2()).await;
    for _ in 0..20 {
        let mut responses = Vec::new();
        for _ in 0..100 {
            client.ready().await.unwrap();
            responses.push(soon(client.send_request(get("/hold"))).await.unwrap());
        }
    }
    assert_eq!(text(soon(client.send_request(get("/ok"))).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_go_on() {
    let mut server = Server::with(|settings| settings.write_timeout = SHORT);
    let mut client = soon(server.target.h2_with(|builder| {
        builder.initial_stream_window_size(2048).initial_connection_window_size(1 << 20);
    }))
    .await;
    let mut held = soon(client.send_request(get("/hold"))).await.unwrap();
    assert_eq!(soon(held.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin\n");
    let endless = soon(client.send_request(get("/endless"))).await.unwrap();
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/endless");
    let error = soon(endless.into_body().collect()).await.unwrap_err();
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    server.routes.release.send_replace(true);
    assert_eq!(text(held).await, "end\n");
}

#[tokio::test]
async fn a_client_that_stops_reading_its_socket_is_cut_off() {
    let mut server = Server::with(|settings| settings.write_timeout = SHORT);
    let mut stream = raw(&server).await;
    let mut opened = preface();
    let window = 0x7fff_0000u32.to_be_bytes();
    opened.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &window].concat()));
    opened.extend(frame(WINDOW_UPDATE, 0, 0, &window));
    opened.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/endless")));
    stream.write_all(&opened).await.unwrap();
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/endless");
    drop(stream);
}

#[tokio::test]
async fn too_large_a_head_is_431_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = soon(server.target.h2()).await;
    let mut large = get("/ok");
    large.headers_mut().insert("a", "b".repeat(33 << 10).parse().unwrap());
    let response = soon(client.send_request(large)).await.unwrap();
    assert_eq!((response.status(), server.calls()), (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, 0));
    assert_eq!(text(soon(client.send_request(get("/ok"))).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let server = Server::start();
    let mut client = soon(server.target.h2()).await;
    let refused = request("POST", "/refuse", full(vec![0; 8 << 20]));
    let response = soon(client.send_request(refused)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response).await, "refused");
    let taken = request("POST", "/length", full(vec![0; 3 << 20]));
    assert_eq!(text(soon(client.send_request(taken)).await.unwrap()).await, "3145728");
}

#[tokio::test]
async fn a_client_that_leaves_or_resets_ends_its_response_and_its_handler() {
    let mut server = Server::start();
    let mut client = soon(server.target.h2()).await;
    let mut response = soon(client.send_request(get("/hold"))).await.unwrap();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin\n");
    drop(response);
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/hold");
    let stuck = tokio::spawn(client.send_request(get("/stuck")));
    soon(async {
        while server.calls() < 2 {
            tokio::task::yield_now().await
        }
    })
    .await;
    stuck.abort();
    assert_eq!(soon(server.broken.recv()).await.unwrap(), "/stuck");
}

#[tokio::test]
async fn a_panic_ends_its_stream_and_no_other() {
    let server = Server::start();
    let mut client = soon(server.target.h2()).await;
    assert!(soon(client.send_request(get("/panic"))).await.is_err());
    assert_eq!(text(soon(client.send_request(get("/ok"))).await.unwrap()).await, "ok");
}

//! The demo upstream on raw sockets: what really comes over the wire.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::connection::{Socket, serve};
use super::*;

async fn start(knobs: Knobs) -> Demo {
    Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), knobs).unwrap()
}

fn body(demo: Value) -> String {
    json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Why is 東京 wet?" }], "demo": demo })
        .to_string()
}

fn post(body: &str, more: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
}

/// All that comes until the server is done, and how it ended.
struct Heard {
    bytes: Vec<u8>,
    reset: bool,
}

impl Heard {
    fn split(&self) -> (&str, &[u8]) {
        let end = memchr::memmem::find(&self.bytes, b"\r\n\r\n").expect("a head");
        (std::str::from_utf8(&self.bytes[..end + 2]).unwrap(), &self.bytes[end + 4..])
    }

    fn head(&self) -> &str {
        self.split().0
    }

    /// The chunked body joined, and whether it came to its end.
    fn chunked(&self) -> (Vec<u8>, bool) {
        let mut rest = self.split().1;
        let mut joined = Vec::new();
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).unwrap().split(';').next().unwrap();
            let Ok(size) = usize::from_str_radix(size, 16) else { break };
            if size == 0 {
                return (joined, &rest[end..] == b"\r\n\r\n");
            }
            joined.extend_from_slice(&rest[end + 2..][..size]);
            rest = &rest[end + 2 + size + 2..];
        }
        (joined, false)
    }
}

/// Asks on a connection of its own, which it has the server close.
async fn ask(demo: &Demo, body: &str) -> Heard {
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(body, "connection: close\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes).await;
    let reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    Heard { bytes, reset }
}

async fn with_fault(fault: Fault, at: u64) -> Heard {
    let demo = start(Knobs::default()).await;
    ask(&demo, &body(json!({ "fault": fault.to_string(), "at": at }))).await
}

/// The good stream's first events.
fn first(events: usize) -> Vec<u8> {
    expected_stream(body(json!({})).as_bytes())[..events].concat()
}

fn all() -> Vec<u8> {
    expected_stream(body(json!({})).as_bytes()).concat()
}

#[tokio::test]
async fn a_good_stream_is_what_was_expected_byte_for_byte() {
    let demo = start(Knobs::default()).await;
    let heard = ask(&demo, &body(json!({}))).await;
    assert!(heard.head().starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"));
    assert_eq!(heard.chunked(), (all(), true));
    let counts = demo.until(|counts| counts.connections_open == 0).await;
    assert_eq!(counts, Counts { connections: 1, requests: 1, finished: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_good_document_has_its_length() {
    let demo = start(Knobs { tokens: Some(7), ..Knobs::default() }).await;
    let body = r#"{"messages":[{"role":"user","content":"Hi"}]}"#;
    let heard = ask(&demo, body).await;
    let expected = Knobs { tokens: Some(7), ..Knobs::default() }.expected(body.as_bytes());
    assert_eq!(heard.split().1, expected[0]);
    assert!(heard.head().contains(&format!("content-length: {}\r\n", expected[0].len())));
}

#[tokio::test]
async fn a_connection_takes_one_request_after_another() {
    let demo = start(Knobs::default()).await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(demo.addr).await.unwrap()))
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request =
            http::Request::post("/v1/chat/completions").body(Full::new(Bytes::from(body(json!({}))))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), all());
        sender.ready().await.unwrap();
    }
    let requests = demo.requests();
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(requests[0].body, body(json!({})));
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/v1/chat/completions"));
}

#[tokio::test]
async fn other_routes_answer_as_documented() {
    let demo = start(Knobs { models: vec!["a".into(), "b".into()], ..Knobs::default() }).await;
    for (request, status, held) in [
        ("GET /health", "200", r#""ok""#),
        ("GET /v1/models", "200", r#""id":"b""#),
        ("POST /v1/models", "405", "method_not_allowed"),
        ("GET /elsewhere", "404", "not_found"),
    ] {
        let mut socket = TcpStream::connect(demo.addr).await.unwrap();
        socket.write_all(format!("{request} HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(held), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_malformed_demo_field_is_refused() {
    let demo = start(Knobs::default()).await;
    let heard = ask(&demo, &body(json!({ "falt": "bom" }))).await;
    assert!(heard.head().starts_with("HTTP/1.1 400 "));
    assert!(String::from_utf8_lossy(heard.split().1).contains("demo: unknown field `falt`"));
}

#[tokio::test]
async fn what_is_no_http_gets_400_and_the_server_lives_on() {
    let demo = start(Knobs::default()).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(ask(&demo, &body(json!({}))).await.chunked().0, all());
}

#[tokio::test]
async fn status_faults_carry_key_and_canary() {
    for fault in <Fault as clap::ValueEnum>::value_variants() {
        let Some(status) = fault.status() else { continue };
        let heard = with_fault(*fault, 3).await;
        assert!(heard.head().starts_with(&format!("HTTP/1.1 {status} ")), "{fault}");
        assert_eq!(heard.head().contains("retry-after: 7\r\n"), matches!(status, 429 | 503), "{fault}");
        let body = std::str::from_utf8(heard.split().1).unwrap();
        assert!(body.contains(FAKE_KEY) && body.contains(CANARY), "{fault}: {body}");
        assert!(serde_json::from_str::<Value>(body).unwrap()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn answers_of_another_kind_are_given_instead() {
    for (fault, begins, holds) in [
        (Fault::Redirect, "HTTP/1.1 307 ", "location: http://127.0.0.1:9/v1/chat/completions\r\n"),
        (Fault::Html, "HTTP/1.1 200 ", "content-type: text/html"),
        (Fault::SwitchProtocols, "HTTP/1.1 101 ", "upgrade: demo\r\n"),
    ] {
        let heard = with_fault(fault, 3).await;
        assert!(heard.head().starts_with(begins) && heard.head().contains(holds), "{fault}: {}", heard.head());
    }
}

#[tokio::test]
async fn resets_are_resets_at_their_place() {
    let heard = with_fault(Fault::ResetBefore, 3).await;
    assert!(heard.reset && heard.bytes.is_empty());
    let heard = with_fault(Fault::ResetAfterHead, 3).await;
    assert!(heard.reset && heard.head().starts_with("HTTP/1.1 200 ") && heard.split().1.is_empty());
    for at in [0, 1, 4] {
        let heard = with_fault(Fault::ResetAfterEvents, at).await;
        assert!(heard.reset);
        assert_eq!(heard.chunked(), (first(at as usize), false));
    }
}

#[tokio::test]
async fn broken_ends_are_no_resets_and_stand_at_their_place() {
    let heard = with_fault(Fault::CleanEofWithoutDone, 2).await;
    assert_eq!(heard.chunked(), (first(2), true));
    let heard = with_fault(Fault::CleanEofWithoutDone, u64::MAX).await;
    assert_eq!(heard.chunked(), (all().strip_suffix(b"data: [DONE]\n\n").unwrap().to_vec(), true));
    assert_eq!(with_fault(Fault::EofNoEvents, 2).await.chunked(), (vec![], true));

    let heard = with_fault(Fault::DisconnectMidEvent, 2).await;
    let (got, ended) = heard.chunked();
    let cut = got.len() - first(2).len();
    assert!(!ended && !heard.reset && all().starts_with(&got) && 0 < cut && got.len() < first(3).len());

    let heard = with_fault(Fault::BadChunk, 2).await;
    assert_eq!(heard.chunked(), (first(2), false));
    assert!(heard.bytes.ends_with(b"\r\nsize\r\nno chunk\r\n") && !heard.reset);

    let heard = with_fault(Fault::ShortLength, 2).await;
    assert!(heard.head().contains(&format!("content-length: {}\r\n", first(2).len() + 100)));
    assert_eq!(heard.split().1, first(2));
}

#[tokio::test]
async fn error_events_end_the_stream_without_done() {
    for (fault, at, before) in
        [(Fault::ErrorEvent, 0, 0), (Fault::ErrorEvent, 4, 4), (Fault::ErrorEventBeforeOutput, 4, 1)]
    {
        let (body, ended) = with_fault(fault, at).await.chunked();
        let error = body.strip_prefix(&first(before)[..]).and_then(|rest| rest.strip_prefix(b"data: "));
        let error: Value = serde_json::from_slice(error.unwrap().strip_suffix(b"\n\n").unwrap()).unwrap();
        assert!(ended && error["error"]["message"].as_str().unwrap().contains(CANARY), "{fault}");
    }
}

#[tokio::test]
async fn faults_of_form_keep_the_events() {
    let text = || String::from_utf8(all()).unwrap();
    for (fault, body) in [
        (Fault::Crlf, text().replace('\n', "\r\n")),
        (Fault::Cr, text().replace('\n', "\r")),
        (Fault::Bom, format!("\u{feff}{}", text())),
        (Fault::Comments, format!(":\n\n:\n\n:\n\n:\n\n{}", text())),
        (Fault::TrailingGarbageAfterDone, format!("{}{CANARY}: no event, no end", text())),
        (Fault::RoleDelay, text()),
        (Fault::SlowDrip, text()),
        (Fault::SplitEverywhere, text()),
        (Fault::ChunkExtensions, text()),
        (Fault::NoUsage, text()),
        (Fault::Informational, text()),
    ] {
        let mut heard = with_fault(fault, 3).await;
        if fault == Fault::Informational {
            let (hints, _) = heard.split();
            assert!(hints.starts_with("HTTP/1.1 103 "));
            heard.bytes.drain(..hints.len() + 2);
        }
        assert_eq!(heard.chunked(), (body.into_bytes(), true), "{fault}");
    }
    let (body, ended) = with_fault(Fault::ExtraAfterDone, 3).await.chunked();
    assert!(ended && body.strip_prefix(&all()[..]).unwrap().starts_with(b"data: {"));
}

#[tokio::test]
async fn cuts_are_chunks_of_their_own() {
    for (fault, most) in [(Fault::SlowDrip, 1), (Fault::SplitEverywhere, 32), (Fault::ChunkExtensions, 4096)] {
        let heard = with_fault(fault, 3).await;
        let mut rest = heard.split().1;
        let mut sizes = Vec::new();
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            let line = std::str::from_utf8(&rest[..end]).unwrap();
            let (size, extension) = line.split_once(';').unwrap_or((line, ""));
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            assert_eq!(extension.is_empty(), fault != Fault::ChunkExtensions);
            sizes.push(size);
            rest = &rest[end + 2 + size + 2..];
        }
        assert!(
            sizes.iter().all(|size| *size <= most) && sizes.contains(&most.min(sizes.len())) || most == 4096,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn faults_of_the_head_are_in_the_head() {
    let count = |heard: &Heard, name: &str| heard.head().lines().filter(|line| line.starts_with(name)).count();
    let heard = with_fault(Fault::NoContentType, 3).await;
    assert_eq!(count(&heard, "content-type:"), 0);
    let heard = with_fault(Fault::ContentTypeWithCharset, 3).await;
    assert!(heard.head().contains("content-type: text/event-stream; charset=utf-8\r\n"));
    let heard = with_fault(Fault::DuplicateHeaders, 3).await;
    assert_eq!((count(&heard, "content-type:"), count(&heard, "x-request-id:")), (2, 2));
    let heard = with_fault(Fault::ManyHeaders, 3).await;
    assert_eq!(count(&heard, "x-many-"), 500);
    let heard = with_fault(Fault::HugeHeader, 3).await;
    assert!(heard.head().len() > 512 * 1024);
    let heard = with_fault(Fault::CorsHeaders, 3).await;
    assert_eq!(count(&heard, "access-control-"), 7);
    assert!(heard.head().contains("access-control-allow-origin: \r\n") && heard.head().contains("set-cookie: "));
    assert_eq!(heard.chunked(), (all(), true));
}

#[tokio::test]
async fn http10_ends_with_the_connection() {
    let heard = with_fault(Fault::Http10, 3).await;
    assert!(heard.head().starts_with("HTTP/1.0 200 OK\r\n") && !heard.head().contains("transfer-encoding"));
    assert_eq!(heard.split().1, all());
}

#[tokio::test]
async fn an_http10_client_is_not_sent_chunks() {
    let demo = start(Knobs::default()).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Heard { bytes, reset: false }.split().1, all());
}

#[tokio::test]
async fn gzip_is_a_member_of_stored_blocks() {
    let heard = with_fault(Fault::Gzip, 3).await;
    assert!(heard.head().contains("content-encoding: gzip\r\n"));
    let (body, ended) = heard.chunked();
    let mut rest = body.strip_prefix(&[0x1f, 0x8b, 8][..]).unwrap().get(7..).unwrap();
    let mut plain = Vec::new();
    while rest[0] == 0 {
        let length = usize::from(u16::from_le_bytes([rest[1], rest[2]]));
        plain.extend_from_slice(&rest[5..][..length]);
        rest = &rest[5 + length..];
    }
    assert!(ended);
    assert_eq!(plain, all());
    assert_eq!(rest[9..], (plain.len() as u32).to_le_bytes());
}

#[tokio::test]
async fn documents_break_in_their_middle() {
    let demo = start(Knobs::default()).await;
    let request = |fault: &str, at: u64| {
        json!({ "messages": [{ "role": "user", "content": "Hi" }], "demo": { "fault": fault, "at": at } }).to_string()
    };
    let whole = expected_stream(request("bom", 0).as_bytes()).concat();
    for fault in ["reset_after_events", "disconnect_mid_event", "short_length"] {
        let heard = ask(&demo, &request(fault, 3)).await;
        let got = heard.split().1;
        assert!(whole.starts_with(got) && !got.is_empty() && got.len() < whole.len(), "{fault}");
        assert_eq!(heard.reset, fault == "reset_after_events");
    }
    let heard = ask(&demo, &request("error_event", 3)).await;
    assert!(serde_json::from_slice::<Value>(&heard.chunked().0).unwrap()["error"].is_object());
    assert_eq!(ask(&demo, &request("comments", 3)).await.chunked(), (whole, true));
}

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
async fn a_held_answer_waits_for_its_release() {
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
async fn a_release_lets_one_answer_go() {
    let demo = start(Knobs { hold: Some(1), ..Knobs::default() }).await;
    demo.release(1);
    assert_eq!(ask(&demo, &body(json!({}))).await.chunked(), (all(), true));
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    assert_eq!(demo.until(|counts| counts.held == 1 || counts.finished == 2).await.held, 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_while_the_answer_waits() {
    let demo = start(Knobs { hold: Some(1), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    demo.until(|counts| counts.held == 1).await;
    drop(socket);
    let counts = demo.until(|counts| counts.cancelled == 1).await;
    assert_eq!((counts.held, counts.open), (0, 0));
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_then_leaves_is_seen() {
    let demo = start(Knobs { tokens: Some(MAX_TOKENS), ..Knobs::default() }).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(&body(json!({})), "").as_bytes()).await.unwrap();
    // only a FIN: no write of the server fails, so it must be watching
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

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on() {
    let demo = start(Knobs::default()).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    let request = post(&body(json!({})), "connection: close\r\nexpect: 100-continue\r\n");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    socket.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Heard { bytes, reset: false }.chunked(), (all(), true));
}

#[tokio::test]
async fn over_tls_the_stream_is_the_same() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let demo = Demo::start_tls(listener, Arc::new(server), Knobs::default()).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    for (demo_field, reset) in [(json!({}), false), (json!({ "fault": "reset_after_events" }), true)] {
        let socket = TcpStream::connect(demo.addr).await.unwrap();
        let mut socket = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        socket.write_all(post(&body(demo_field), "connection: close\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let end = socket.read_to_end(&mut bytes).await;
        assert_eq!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), reset);
        let expected = if reset { first(3) } else { all() };
        assert_eq!(Heard { bytes, reset }.chunked(), (expected, !reset));
    }
}

impl Socket for DuplexStream {
    fn reset_on_drop(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks over a pipe with this much room, under paused time.
async fn piped(room: usize, demo: Value) -> impl AsyncRead + AsyncWrite + Unpin {
    let (mut client, server) = tokio::io::duplex(room);
    tokio::spawn(async move { serve(server, &Knobs::default(), &Arc::new(Observer::new(0))).await });
    client.write_all(post(&body(demo), "").as_bytes()).await.unwrap();
    client
}

/// When each event came, counted from now, by the event's first bytes.
async fn arrivals(client: &mut (impl AsyncRead + Unpin), events: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = Vec::new();
    while times.len() < events && client.read_buf(&mut bytes).await.unwrap() > 0 {
        times.extend(memchr::memmem::find_iter(&bytes, b"data: ").map(|_| start.elapsed()));
        // a needle may lie across two reads
        bytes.drain(..bytes.len().saturating_sub(5));
    }
    times.truncate(events);
    times
}

#[tokio::test(start_paused = true)]
async fn events_come_when_the_timetable_says_and_do_not_drift() {
    let mut client = piped(1 << 16, json!({ "first_token_ms": 150, "tokens_per_second": 40, "tokens": 1000 })).await;
    let times = arrivals(&mut client, 1 + 1000).await;
    assert_eq!(times[0], Duration::from_millis(150), "the role chunk comes with the first token");
    for (number, time) in times[1..].iter().enumerate() {
        assert_eq!(*time, Duration::from_millis(150 + 25 * number as u64), "token {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_is_no_whole_milliseconds_does_not_drift() {
    let mut client = piped(1 << 16, json!({ "tokens_per_second": 30, "tokens": 3001 })).await;
    let times = arrivals(&mut client, 1 + 3001).await;
    let late = times[3001] - Duration::from_secs(100);
    assert!(late <= Duration::from_millis(1), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_paused_gets_the_missed_events_at_once_and_the_next_on_time() {
    let mut client = piped(1024, json!({ "tokens_per_second": 10, "tokens": 100 })).await;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let times = arrivals(&mut client, 1 + 100).await;
    assert!(times[1 + 49] < Duration::from_millis(10), "{:?}", times[1 + 49]);
    assert_eq!(times[1 + 80], Duration::from_secs(3));
    assert_eq!(start.elapsed(), Duration::from_millis(9900));
}

#[tokio::test(start_paused = true)]
async fn role_delay_sends_the_role_at_once() {
    let mut client = piped(1 << 16, json!({ "fault": "role_delay", "first_token_ms": 2000 })).await;
    let times = arrivals(&mut client, 2).await;
    assert_eq!(times, [Duration::ZERO, Duration::from_secs(2)]);
}

#[tokio::test(start_paused = true)]
async fn never_finish_keeps_sending_comments() {
    let mut client = piped(1 << 16, json!({ "fault": "never_finish", "at": 2 })).await;
    assert_eq!(arrivals(&mut client, 2).await.len(), 2);
    let mut comments = 0;
    let mut bytes = [0; 256];
    while comments < 1000 {
        let length = client.read(&mut bytes).await.unwrap();
        comments += memchr::memmem::find_iter(&bytes[..length], b": still here\n\n").count();
    }
}

#[tokio::test(start_paused = true)]
async fn comments_fill_the_time_until_the_first_token() {
    let mut client = piped(1 << 16, json!({ "fault": "comments", "first_token_ms": 400 })).await;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = [0; 512];
    while times.len() < 4 {
        let length = client.read(&mut bytes).await.unwrap();
        times.extend(memchr::memmem::find_iter(&bytes[..length], b":\n\n").map(|_| start.elapsed().as_millis()));
    }
    assert_eq!(times, [0, 100, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_drip_spreads_an_event_over_its_interval() {
    let mut client = piped(1 << 16, json!({ "fault": "slow_drip", "tokens_per_second": 2, "tokens": 2 })).await;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = [0; 512];
    while times.len() < 100 {
        let length = client.read(&mut bytes).await.unwrap();
        times.extend(memchr::memmem::find_iter(&bytes[..length], b"1\r\n").map(|_| start.elapsed()));
    }
    // by now a part of an event of some 250 bytes, which all come within 500 ms
    assert!((Duration::from_millis(100)..Duration::from_millis(300)).contains(&times[99]), "{:?}", times[99]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_is_the_answer_comes_when_the_first_token_would() {
    for fault in ["status_500", "reset_before", "html"] {
        let mut client = piped(1 << 16, json!({ "fault": fault, "first_token_ms": 700 })).await;
        let start = Instant::now();
        let _ = client.read(&mut [0; 512]).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(700), "{fault}");
    }
}

#[tokio::test]
async fn how_late_first_outputs_were_is_kept_by_request_where_it_is_wanted() {
    let first_token = Duration::from_millis(5);
    for stamp in [true, false] {
        let knobs = Knobs { first_token, tokens_per_second: 500.0, tokens: Some(3), stamp, ..Knobs::default() };
        let demo = start(knobs).await;
        let asked = [body(json!({ "seed": 1 })), body(json!({ "seed": 2 }))];
        for body in &asked {
            ask(&demo, body).await;
        }
        let lateness = demo.lateness();
        let bodies: Vec<_> = lateness.iter().map(|(body, _)| body.to_vec()).collect();
        let expected = if stamp { asked.map(String::into_bytes).to_vec() } else { Vec::new() };
        assert_eq!(bodies, expected);
        assert!(lateness.iter().all(|(_, late)| *late < Duration::from_secs(5)));
    }
}

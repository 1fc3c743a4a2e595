//! Complete answers, and refusals of invalid requests.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use super::*;

#[tokio::test]
async fn a_stream_is_as_expected_byte_for_byte() {
    let demo = start(Knobs::default()).await;
    let heard = ask(&demo, &body(json!({}))).await;
    assert!(heard.head().starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"));
    assert_eq!(heard.chunked(), (all(), true));
    let counts = demo.until(|counts| counts.connections_open == 0).await;
    assert_eq!(counts, Counts { connections: 1, requests: 1, finished: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_document_has_its_length() {
    let demo = start(Knobs { tokens: Some(7), ..Knobs::default() }).await;
    let body = r#"{"messages":[{"role":"user","content":"Hi"}]}"#;
    let heard = ask(&demo, body).await;
    let expected = Knobs { tokens: Some(7), ..Knobs::default() }.expected(body.as_bytes());
    assert_eq!(heard.split().1, expected[0]);
    assert!(heard.head().contains(&format!("content-length: {}\r\n", expected[0].len())));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
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
async fn invalid_http_gets_400_and_the_server_goes_on() {
    let demo = start(Knobs::default()).await;
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(ask(&demo, &body(json!({}))).await.chunked().0, all());
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
async fn a_client_that_expects_100_gets_it() {
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

#[tokio::test]
async fn it_prints_its_url_and_a_curl_command() {
    let demo = start(Knobs::default()).await;
    let text = demo.to_string();
    let (first, curl) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("demo upstream on http://{}/v1", demo.addr));
    let body = curl.split('\'').nth(3).unwrap();
    assert!(!expected_stream(body.as_bytes()).is_empty());
}

//! Connections to any server: phases, versions, and what is said where there is no connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dial::connect_error::{Cause, ConnectError};
use dial::{Connection, Dialer, Error, SendError, Target, Trust, Versions};
use http::{Method, Version};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use tokenway::server::tls::server_config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::ports::Nobody;
use crate::support::{certs, soon};

async fn dial(url: &str, versions: Versions, trust: Trust) -> Result<Connection, Error> {
    let target = Target::parse(url)?;
    soon(Dialer::new(target, versions, &trust, Duration::from_secs(15))?.dial()).await
}

/// A TLS server of both versions that answers with the version, or with these ALPN names alone.
async fn tls_server(alpn: Option<&[&str]>) -> (String, Trust) {
    tls_server_at("127.0.0.1", "localhost", alpn).await
}

async fn tls_server_at(address: &str, name: &str, alpn: Option<&[&str]>) -> (String, Trust) {
    let certificate = certs::localhost();
    let mut config = Arc::unwrap_or_clone(server_config(&certificate.identity).unwrap());
    if let Some(names) = alpn {
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let url = format!("https://{name}:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let service = service_fn(async |request: http::Request<hyper::body::Incoming>| {
                    let host = request.headers().get("host").is_some();
                    let text = format!("{:?} host: {host} uri: {}", request.version(), request.uri());
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(text))))
                });
                let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = TokioIo::new(tls);
                // the client closes the connection as it pleases
                let _ = match http2 {
                    true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
                    false => http1::Builder::new().serve_connection(io, service).await,
                };
            });
        }
    });
    (url, Trust::Roots(certificate.roots))
}

async fn get(connection: &mut Connection, url: &str) -> String {
    let request = connection.request(Method::GET, &Target::parse(url).unwrap());
    let answer = soon(connection.send(request)).await.unwrap();
    String::from_utf8(soon(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_server_s_favourite_version_is_taken_unless_one_is_asked_for() {
    let (url, trust) = tls_server(None).await;
    for (versions, version) in
        [(Versions::Any, Version::HTTP_2), (Versions::Http1, Version::HTTP_11), (Versions::Http2, Version::HTTP_2)]
    {
        let mut connection = dial(&url, versions, trust.clone()).await.unwrap();
        assert_eq!(connection.version(), version);
        assert!(connection.phases.tls.is_some_and(|tls| !tls.is_zero()) && !connection.phases.tcp.is_zero());
        let said = get(&mut connection, &format!("{url}x?y")).await;
        let form = if version == Version::HTTP_2 { format!("{url}x?y") } else { "/x?y".to_owned() };
        assert_eq!(said, format!("{version:?} host: {} uri: {form}", version == Version::HTTP_11));
        assert!(soon(connection.ready()).await && connection.tap.reads() > 0 && connection.tap.bytes() > 100);
    }
}

#[tokio::test]
async fn a_version_that_is_not_offered_is_named() {
    let (url, trust) = tls_server(Some(&["http/1.1"])).await;
    let refused = dial(&url, Versions::Http2, trust.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("does not offer HTTP/2"), "{refused}");
    assert_eq!(dial(&url, Versions::Any, trust).await.unwrap().version(), Version::HTTP_11);
    // a server without ALPN speaks HTTP/1.1
    let (url, trust) = tls_server(Some(&[])).await;
    assert_eq!(dial(&url, Versions::Any, trust.clone()).await.unwrap().version(), Version::HTTP_11);
    assert_eq!(dial(&url, Versions::Http2, trust).await.unwrap_err().kind(), "protocol_not_offered");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_the_mend() {
    let (url, _) = tls_server(None).await;
    let (misnamed, trust) = tls_server_at("127.0.0.2", "127.0.0.2", None).await;
    let cases = [
        (url.clone(), Trust::PublicRoots, "name its authority with --ca FILE"),
        (url.clone(), Trust::Roots(Arc::new(RootCertStore::empty())), "name its authority with --ca FILE"),
        (misnamed, trust, "for another name"),
    ];
    for (url, trust, part) in cases {
        let error = dial(&url, Versions::Any, trust).await.unwrap_err();
        assert!(error.to_string().contains(part) && error.kind() == "certificate", "{url}: {error}");
    }
    let mut connection = dial(&url, Versions::Any, Trust::DangerouslyAnyone).await.unwrap();
    assert!(get(&mut connection, &url).await.starts_with("HTTP/2"));
}

#[tokio::test]
async fn nobody_there_and_nobody_of_that_name_are_told_apart() {
    let nobody = Nobody::new();
    let place = nobody.address.to_string();
    let error = dial(&format!("http://{place}"), Versions::Any, Trust::PublicRoots).await.unwrap_err();
    assert_eq!(error, Error::ConnectError(ConnectError { place, cause: Cause::Refused }));
    // RFC 6761 §6.4: it never resolves
    let error = dial("http://tokenway.invalid", Versions::Any, Trust::PublicRoots).await.unwrap_err();
    assert_eq!(
        error,
        Error::ConnectError(ConnectError { place: "tokenway.invalid:80".to_owned(), cause: Cause::NoSuchHost })
    );
}

#[tokio::test]
async fn tls_to_a_plain_server_and_plain_to_a_tls_server_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        socket
    });
    let error = dial(&url, Versions::Any, Trust::PublicRoots).await.unwrap_err();
    drop(soon(plain).await);
    assert!(error.to_string().contains("begin the URL with http://"), "{error}");
    let (url, _) = tls_server(None).await;
    let url = url.replace("https", "http");
    let mut connection = dial(&url, Versions::Any, Trust::PublicRoots).await.unwrap();
    let request = connection.request(Method::GET, &Target::parse(&url).unwrap());
    let error = soon(connection.send(request)).await.unwrap_err();
    assert!(matches!(error, SendError::NotHttp | SendError::Broken), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_the_connection_and_says_nothing_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let target = Target::parse(&url).unwrap();
    let dialer = Dialer::new(target, Versions::Any, &Trust::PublicRoots, Duration::from_millis(20)).unwrap();
    let error = soon(dialer.dial()).await.unwrap_err();
    assert_eq!(error.kind(), "connect_timeout");
    assert!(error.to_string().contains("within 0.02 s"), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_answer_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut connection = dial(&url, Versions::Any, Trust::PublicRoots).await.unwrap();
    let answer = connection.send(connection.request(Method::GET, &Target::parse(&url).unwrap()));
    let (mut socket, _) = soon(listener.accept()).await.unwrap();
    assert!(soon(socket.read(&mut [0; 100])).await.unwrap() > 0);
    drop(socket);
    assert_eq!(soon(answer).await.unwrap_err(), SendError::Broken);
    assert!(!soon(connection.ready()).await);

    let mut connection = dial(&url, Versions::Any, Trust::PublicRoots).await.unwrap();
    let answer = connection.send(connection.request(Method::GET, &Target::parse(&url).unwrap()));
    let (mut socket, _) = soon(listener.accept()).await.unwrap();
    socket.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    assert_eq!(soon(answer).await.unwrap_err(), SendError::NotHttp);
}

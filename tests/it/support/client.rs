//! TLS, HTTP/1.1 and HTTP/2 clients over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The body of a test's requests.
pub type RequestBody = BoxBody<Bytes, Infallible>;

/// No body.
pub fn empty() -> RequestBody {
    Empty::new().boxed()
}

/// This body.
pub fn full(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into()).boxed()
}

/// Where a server is, and who vouches for it.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub roots: Arc<RootCertStore>,
}

impl Target {
    /// A TLS connection with this ALPN offer, as far as the handshake succeeds.
    pub async fn try_tls(&self, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = "localhost".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// A TLS connection with this ALPN offer.
    pub async fn tls(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.try_tls(alpn).await.unwrap()
    }

    /// A TLS connection that speaks HTTP/1.1, by hand.
    pub async fn raw_h1(&self) -> TlsStream<TcpStream> {
        self.tls(&["http/1.1"]).await
    }

    /// Hyper's client over HTTP/1.1.
    pub async fn h1(&self) -> http1::SendRequest<RequestBody> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.raw_h1().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Hyper's client over HTTP/2.
    pub async fn h2(&self) -> http2::SendRequest<RequestBody> {
        self.h2_with(|_| {}).await
    }

    /// Hyper's client over HTTP/2, with settings of its own.
    pub async fn h2_with(
        &self,
        set: impl FnOnce(&mut http2::Builder<TokioExecutor>),
    ) -> http2::SendRequest<RequestBody> {
        let stream = self.tls(&["h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        set(&mut builder);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// A request without a body, good for both versions.
pub fn get(path: &str) -> Request<RequestBody> {
    request("GET", path, empty())
}

/// A request, good for both versions.
pub fn request(method: &str, path: &str, body: RequestBody) -> Request<RequestBody> {
    let uri = format!("https://localhost{path}");
    Request::builder().method(method).uri(uri).header("host", "localhost").body(body).unwrap()
}

/// The whole body as text.
pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Sends bytes, then reads until the server ends the connection.
pub async fn exchange(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    until_closed(stream).await
}

/// Reads until the server ends the connection, in whatever way.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    String::from_utf8_lossy(&read).into_owned()
}

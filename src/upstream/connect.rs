//! From an upstream's base URL to a connected transport: name, TCP (happy eyeballs), TLS, under one deadline.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::failure::Failure;
use crate::upstream::base_url::BaseUrl;
use crate::upstream::settings::Upstream;
use dial::connect_error::{Cause, ConnectError};

/// Bytes to and from an upstream.
pub(super) enum Transport {
    /// `http://`
    Plain(TcpStream),
    /// `https://`; boxed, for the state of TLS is large and most of it is cold.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes connections to one upstream.
pub(super) struct Connect {
    tcp: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    uri: Uri,
    /// Host and port, for the operator.
    place: String,
    timeout: Duration,
}

impl Connect {
    /// # Errors
    /// The upstream's host is no valid server name.
    pub(super) fn new(upstream: &Upstream) -> Result<Self, String> {
        let base = &upstream.base;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        tcp.set_connect_timeout(Some(upstream.connect_timeout));
        let tls = match base.tls {
            false => None,
            true => {
                let roots = upstream.roots.clone().unwrap_or_else(default_roots);
                let name = ServerName::try_from(base.host.clone()).map_err(|error| error.to_string())?;
                Some((TlsConnector::from(Arc::new(client_config(roots)?)), name))
            }
        };
        let uri = Uri::builder()
            .scheme(if base.tls { "https" } else { "http" })
            .authority(authority(base))
            .path_and_query("/")
            .build()
            .map_err(|error| error.to_string())?;
        let place = format!("{}:{}", bracketed(base), base.port);
        Ok(Self { tcp, tls, uri, place, timeout: upstream.connect_timeout })
    }

    /// A new connection, ready for HTTP.
    pub(super) async fn open(&self) -> Result<Transport, Failure> {
        let opened = tokio::time::timeout(self.timeout, self.open_unbounded()).await;
        opened.unwrap_or(Err(Cause::TimedOut(self.timeout))).map_err(|cause| {
            let place = self.place.clone();
            Failure::NoConnection(ConnectError { place, cause })
        })
    }

    async fn open_unbounded(&self) -> Result<Transport, Cause> {
        let tcp = self.tcp.clone().call(self.uri.clone()).await;
        let tcp = tcp.map_err(|error| Cause::of_tcp(&error, self.timeout))?.into_inner();
        match &self.tls {
            None => Ok(Transport::Plain(tcp)),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await.map_err(|error| Cause::of_tls(&error))?;
                Ok(Transport::Tls(Box::new(tls)))
            }
        }
    }
}

/// `host` or `host:port`, as `host` headers and URLs write it: a default port is left out.
pub(super) fn authority(base: &BaseUrl) -> String {
    let host = bracketed(base);
    let default_port = if base.tls { 443 } else { 80 };
    if base.port == default_port { host } else { format!("{host}:{}", base.port) }
}

/// The host as URLs write it (RFC 3986 §3.2.2).
fn bracketed(base: &BaseUrl) -> String {
    if base.host.contains(':') { format!("[{}]", base.host) } else { base.host.clone() }
}

fn default_roots() -> Arc<RootCertStore> {
    Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

fn client_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // HTTP/2 upstream is left out on purpose: one stalled stream would take its neighbours with it
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Transport::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

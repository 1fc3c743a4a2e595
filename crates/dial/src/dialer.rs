//! Name, TCP (happy eyeballs), TLS, and the beginning of HTTP, under one deadline, each phase timed.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Host;

use super::connection::{Connection, Phases};
use super::error::Error;
use super::tap::{Tap, Tapped};
use super::target::{Target, Versions};
use super::trust::Trust;
use crate::connect_error::Cause;

/// Makes connections to one target.
///
/// Its name is looked up once, by the first connection: a load test is no test of the resolver.
pub struct Dialer {
    target: Target,
    versions: Versions,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    addresses: OnceCell<Vec<SocketAddr>>,
}

impl Dialer {
    /// A dialer whose connections are made within `timeout`, or not at all.
    ///
    /// # Errors
    /// The host can stand in no certificate.
    pub fn new(target: Target, versions: Versions, trust: &Trust, timeout: Duration) -> Result<Self, Error> {
        let tls = match target.is_tls() {
            false => None,
            true => {
                let failed = |reason: String| Error::connect_error(place(&target), Cause::Handshake(reason));
                let config = trust.client_config(versions).map_err(|error| failed(error.to_string()))?;
                let name = match target.host() {
                    Host::Domain(name) => {
                        ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?
                    }
                    Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
                    Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
                };
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        Ok(Self { target, versions, tls, timeout, addresses: OnceCell::new() })
    }

    /// What is connected to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether a connection may come out as HTTP/2: `None` where only the handshake will tell.
    pub fn is_http2(&self) -> Option<bool> {
        match self.versions {
            Versions::Http1 => Some(false),
            Versions::Http2 => Some(true),
            Versions::Any if self.target.is_tls() => None,
            Versions::Any => Some(false),
        }
    }

    /// A new connection, ready for requests.
    ///
    /// # Errors
    /// There is none: see [`Error`].
    pub async fn dial(&self) -> Result<Connection, Error> {
        let late = Error::connect_error(self.place(), Cause::TimedOut(self.timeout));
        timeout(self.timeout, self.dial_unbounded()).await.unwrap_or(Err(late))
    }

    async fn dial_unbounded(&self) -> Result<Connection, Error> {
        let mut phases = Phases::default();
        let begun = Instant::now();
        let addresses = self.addresses().await?;
        phases.dns = begun.elapsed();

        let begun = Instant::now();
        let tcp = self.connect(addresses).await?;
        phases.tcp = begun.elapsed();
        let peer = tcp.peer_addr().map_err(|error| self.no_tcp(&error))?;
        let tap = Arc::new(Tap::default());
        let tcp = Tapped::new(tcp, Arc::clone(&tap));

        let failed = |error: hyper::Error| Error::connect_error(self.place(), Cause::Socket(error.to_string()));
        let Some((connector, name)) = &self.tls else {
            let http2 = self.versions == Versions::Http2;
            return Connection::open(tcp, http2, peer, phases, tap).await.map_err(failed);
        };
        let begun = Instant::now();
        let wanted = self.wanted();
        let tls = connector.connect(name.clone(), tcp).await;
        let tls = tls.map_err(|error| Error::tls(self.place(), wanted, &error))?;
        phases.tls = Some(begun.elapsed());
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.versions == Versions::Http2 && !http2 {
            return Err(Error::NotOffered { place: self.place(), wanted });
        }
        Connection::open(tls, http2, peer, phases, tap).await.map_err(failed)
    }

    async fn addresses(&self) -> Result<&[SocketAddr], Error> {
        let port = self.target.port();
        let found = self.addresses.get_or_try_init(async || match self.target.host() {
            Host::Ipv4(address) => Ok(vec![(*address, port).into()]),
            Host::Ipv6(address) => Ok(vec![(*address, port).into()]),
            Host::Domain(name) => {
                let found: Vec<_> =
                    tokio::net::lookup_host((name.as_str(), port)).await.into_iter().flatten().collect();
                if found.is_empty() { Err(Error::connect_error(self.place(), Cause::NoSuchHost)) } else { Ok(found) }
            }
        });
        found.await.map(Vec::as_slice)
    }

    /// RFC 8305 over these addresses.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let mut tcp = HttpConnector::new_with_resolver(Known(addresses.to_vec()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connected = tcp.call(self.target.uri().clone()).await;
        connected.map(|io| io.into_inner()).map_err(|error| self.no_tcp(&error))
    }

    fn wanted(&self) -> &'static str {
        match self.versions {
            Versions::Http1 => "HTTP/1.1",
            Versions::Any | Versions::Http2 => "HTTP/2",
        }
    }

    fn no_tcp(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        Error::connect_error(self.place(), Cause::of_tcp(error, self.timeout))
    }

    fn place(&self) -> String {
        place(&self.target)
    }
}

/// A resolver that has been told already.
#[derive(Clone)]
struct Known(Vec<SocketAddr>);

impl Service<Name> for Known {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

fn place(target: &Target) -> String {
    format!("{}:{}", target.host(), target.port())
}

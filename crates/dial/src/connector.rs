//! A TCP connection (happy eyeballs), with TLS where the URL asks for it, within one time limit.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;
use url::Host;

use crate::connect_error::{Cause, ConnectError};
use crate::lookup::Lookup;
use crate::proxy::Proxy;
use crate::target::{Target, Versions};
use crate::trust::Trust;

/// The interval of TCP keep-alive probes: a peer that has vanished is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The longest wait for a lookup, if an earlier one has found addresses.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// Opens connections to one host and port.
pub struct Connector {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    proxy: Option<Proxy>,
    /// Of the proxy's name, if there is a proxy; `None` for an IP address.
    lookup: Option<Lookup>,
    /// The result of the name lookup, where it is used again.
    addresses: Option<OnceCell<Vec<SocketAddr>>>,
}

/// The duration of each phase of opening a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// The name lookup; near zero for an IP address, and where the result is used again.
    pub dns: Duration,
    /// From the first SYN to a TCP connection.
    pub tcp: Duration,
    /// The TLS handshake; `None` without TLS.
    pub tls: Option<Duration>,
}

/// A connected byte stream over `S`: as it is for `http` URLs, with TLS for `https` URLs. The state of TLS is large and most of
/// it is rarely read, so it is boxed.
pub type Transport<S> = Either<S, Box<TlsStream<S>>>;

/// Why a connection was not opened.
pub(crate) enum Failure {
    Cause(Cause),
    /// The TLS handshake failed.
    Tls(io::Error),
}

impl Connector {
    /// A connector to the target's host and port that gives up after `timeout`. It looks the name up for each connection.
    ///
    /// # Errors
    /// The host is no valid name in a certificate, or the TLS configuration is invalid.
    pub fn new(target: Target, versions: Versions, trust: &Trust, timeout: Duration) -> Result<Self, ConnectError> {
        let tls = if target.is_tls() {
            let failed = |reason: String| ConnectError { place: target.place(), cause: Cause::Handshake(reason) };
            let config = trust.client_config(versions).map_err(|error| failed(error.to_string()))?;
            let name = match target.host() {
                Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?,
                Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
                Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
            };
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        let lookup = lookup(target.host(), target.port(), timeout);
        Ok(Self { target, tls, timeout, proxy: None, lookup, addresses: None })
    }

    /// The same connector, with one name lookup for all connections.
    #[must_use]
    pub fn with_one_lookup(self) -> Self {
        Self { addresses: Some(OnceCell::new()), ..self }
    }

    /// The same connector, through a tunnel of this proxy. The proxy looks the target's name up.
    #[must_use]
    pub fn through(self, proxy: Proxy) -> Self {
        let lookup = lookup(proxy.host(), proxy.port(), self.timeout);
        Self { proxy: Some(proxy), lookup, ..self }
    }

    /// The URL whose host and port this connects to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The phase that failed, or that the time limit ended.
    pub async fn connect(&self) -> Result<Transport<TcpStream>, ConnectError> {
        match self.connect_with(|tcp| tcp).await {
            Ok((transport, _)) => Ok(transport),
            Err(Failure::Cause(cause)) => Err(ConnectError { place: self.place(), cause }),
            Err(Failure::Tls(error)) => Err(ConnectError { place: self.place(), cause: Cause::of_tls(&error) }),
        }
    }

    fn place(&self) -> String {
        match &self.proxy {
            None => self.target.place(),
            Some(proxy) => format!("{} through the proxy {proxy}", self.target.place()),
        }
    }

    /// Opens a connection, measures its phases, and puts `wrap` around its socket, below TLS.
    pub(crate) async fn connect_with<S>(
        &self,
        wrap: impl FnOnce(TcpStream) -> S,
    ) -> Result<(Transport<S>, Phases), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let timed_out = Err(Failure::Cause(Cause::TimedOut(self.timeout)));
        timeout(self.timeout, self.connect_unbounded(wrap)).await.unwrap_or(timed_out)
    }

    async fn connect_unbounded<S>(&self, wrap: impl FnOnce(TcpStream) -> S) -> Result<(Transport<S>, Phases), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut phases = Phases::default();
        let begin = Instant::now();
        let addresses = match &self.addresses {
            Some(known) => known.get_or_try_init(|| self.look_up()).await?.clone(),
            None => self.look_up().await?,
        };
        phases.dns = begin.elapsed();

        let begin = Instant::now();
        // RFC 8305 over these addresses
        let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEP_ALIVE));
        // shared by the addresses, so that one that does not answer leaves time for the next
        connector.set_connect_timeout(Some(self.timeout));
        let uri = match &self.proxy {
            None => self.target.uri().clone(),
            Some(proxy) => proxy.uri().map_err(Failure::Cause)?,
        };
        let tcp = connector.call(uri).await;
        let mut tcp = tcp.map_err(|error| Failure::Cause(Cause::of_tcp(&error, self.timeout)))?.into_inner();
        if let Some(proxy) = &self.proxy {
            let authority = format!("{}:{}", self.target.host(), self.target.port());
            proxy.tunnel(&mut tcp, &authority).await.map_err(Failure::Cause)?;
        }
        phases.tcp = begin.elapsed();
        let socket = wrap(tcp);

        let Some((connector, name)) = &self.tls else { return Ok((Either::Left(socket), phases)) };
        let begin = Instant::now();
        let tls = connector.connect(name.clone(), socket).await.map_err(Failure::Tls)?;
        phases.tls = Some(begin.elapsed());
        Ok((Either::Right(Box::new(tls)), phases))
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = match &self.proxy {
            None => (self.target.host(), self.target.port()),
            Some(proxy) => (proxy.host(), proxy.port()),
        };
        let found = match (host, &self.lookup) {
            (Host::Ipv4(address), _) => return Ok(vec![(*address, port).into()]),
            (Host::Ipv6(address), _) => return Ok(vec![(*address, port).into()]),
            (Host::Domain(_), Some(lookup)) => lookup.addresses().await,
            (Host::Domain(_), None) => return Err(Failure::Cause(Cause::NoSuchHost)),
        };
        let found = found.map_err(|error| Failure::Cause(Cause::of_tcp(&*error, self.timeout)))?;
        if found.is_empty() { Err(Failure::Cause(Cause::NoSuchHost)) } else { Ok(found) }
    }
}

fn lookup(host: &Host<String>, port: u16, timeout: Duration) -> Option<Lookup> {
    match host {
        // a lookup that is slow leaves time for connecting to the last addresses
        Host::Domain(name) => Some(Lookup::new(name, port, timeout.min(MAX_PATIENCE * 2) / 2)),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// A resolver that gives these addresses for every name.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
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

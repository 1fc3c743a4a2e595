//! Configuration: raw input in, only usable values out, every error at once.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cors::policy::Policy;
use crate::route::table::Table;

/// A checked configuration. Every value can be used as it stands.
#[derive(Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[cors]`
    pub cors: Policy,
    /// `[stream]`
    pub stream: Stream,
    /// `[[upstreams]]`, at least one
    pub upstreams: Vec<Upstream>,
    /// `[[models]]` and `[routing]`
    pub models: Table,
    /// `[log]`
    pub log: Log,
}

/// `[server]`: the listeners and their bounds.
#[derive(Debug)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener, plaintext.
    pub admin: SocketAddr,
    /// Certificate and key; `None` where `plaintext = true`.
    pub identity: Option<Identity>,
    /// Accepted `Host` and `:authority` names.
    pub hosts: Hosts,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once from one address (IPv6: one /64); 0 = no limit.
    pub max_connections_per_ip: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From a connection's first byte, or the end of the last request, to the end of the request head.
    pub header_timeout: Duration,
    /// From the end of the request head to the end of the body.
    pub body_timeout: Duration,
    /// Most bytes of a request body.
    pub max_body: usize,
    /// A client that takes no byte for this long is cut off.
    pub write_timeout: Duration,
    /// How long open streams may go on after SIGTERM.
    pub drain: Duration,
    /// Networks whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
}

/// A certificate chain with its private key, read and matched.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// The leaf's key.
    pub key: Arc<rustls::pki_types::PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).field("key", &"…").finish()
    }
}

/// The names that a request may be addressed to, from `server.hosts` or the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// Lower-case DNS names; a leading `*.` stands for one label (RFC 6125 §6.4.3).
    pub names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// True where nothing restricts the name: `plaintext = true` without `hosts`.
    pub any: bool,
}

/// `[stream]`: deadlines and bounds of one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Silence after which a heartbeat is sent; `None` = off.
    pub heartbeat: Option<Duration>,
    /// Upstream silent before its first event.
    pub first_event_timeout: Duration,
    /// No output by then: the response head goes out.
    pub commit_after: Duration,
    /// Upstream silent between events.
    pub idle_timeout: Duration,
    /// The whole stream.
    pub max_duration: Duration,
    /// Most bytes of one event, and of all that is held before the commit point.
    pub max_event: usize,
}

/// `[[upstreams]]`: one provider.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in models, headers, logs and metrics.
    pub name: String,
    /// Where it is.
    pub base: BaseUrl,
    /// The provider's key, sent as `authorization: Bearer`; `None` for a server without keys.
    pub api_key: Option<Secret>,
    /// Trusted roots instead of the default ones.
    pub roots: Option<Arc<rustls::RootCertStore>>,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept for the next request.
    pub keep_alive: Duration,
}

/// `https://host:port/prefix`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`, or `http` for a server on this machine or a trusted network.
    pub tls: bool,
    /// A DNS name or an IP address without brackets.
    pub host: String,
    /// The written one, or 443 or 80.
    pub port: u16,
    /// Without a trailing slash: `/v1`.
    pub prefix: String,
}

/// A secret that no `Debug` shows; [`Secret::expose`] says where it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself: only for the place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
}

//! What a new connection needs to know of `[server]`; swapped whole on reload.

use std::sync::Arc;
use std::time::Duration;

use super::descriptors::connections_within;
use super::settings::Server;
use super::tls;

/// The checked `[server]` as connections use it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: plaintext HTTP/1.1.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once from one address (IPv6: one /64); 0 = no limit.
    pub max_connections_per_ip: usize,
    /// Beyond a cap, the oldest connection without a request is closed, instead of the new one.
    pub evict_idle: bool,
    /// Exempt from that: behind them are many clients.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For a connection without a request, after its first one.
    pub idle_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// Most bytes of a request body.
    pub max_body: usize,
    /// For a client that takes no byte.
    pub write_timeout: Duration,
}

impl Settings {
    /// With no more connections than the limit on open files allows.
    #[must_use]
    pub fn within(self, descriptor_limit: u64) -> Self {
        Self { max_connections: self.max_connections.min(connections_within(descriptor_limit)), ..self }
    }

    /// From the configuration.
    ///
    /// # Errors
    /// The key does not fit the certificate, or is of a kind that cannot sign.
    pub fn new(server: &Server) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: server.identity.as_ref().map(tls::server_config).transpose()?,
            max_connections: server.max_connections,
            max_connections_per_ip: server.max_connections_per_ip,
            evict_idle: false,
            trusted_proxies: server.trusted_proxies.clone(),
            handshake_timeout: server.handshake_timeout,
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            body_timeout: server.body_timeout,
            max_body: server.max_body,
            write_timeout: server.write_timeout,
        })
    }
}

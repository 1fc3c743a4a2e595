//! Opens connections to an upstream's base URL.

use tokio::net::TcpStream;

use super::failure::Failure;
use crate::upstream::base_url::BaseUrl;
use crate::upstream::settings::Upstream;
use dial::{Connector, Target, Trust, Versions};

/// A byte stream to an upstream.
pub(super) type Transport = dial::Transport<TcpStream>;

/// Opens connections to one upstream.
pub(super) struct Connect(Connector);

impl Connect {
    /// Makes the connector of this upstream.
    ///
    /// # Errors
    /// The upstream's host is not a valid server name.
    pub(super) fn new(upstream: &Upstream) -> Result<Self, String> {
        let base = &upstream.base;
        let scheme = if base.tls { "https" } else { "http" };
        let target = Target::parse(&format!("{scheme}://{}/", authority(base))).map_err(|error| error.to_string())?;
        let trust = upstream.roots.clone().map_or(Trust::PublicRoots, |roots| Trust::Roots(roots.0));
        // HTTP/1.1 only: one stalled HTTP/2 stream would block the others of its connection
        let connector = Connector::new(target, Versions::Http1, &trust, upstream.connect_timeout);
        let connector = connector.map_err(|error| error.to_string())?;
        Ok(Self(match &upstream.proxy {
            None => connector,
            Some(proxy) => connector.through(proxy.clone()),
        }))
    }

    /// Opens a new connection, ready for HTTP.
    pub(super) async fn open(&self) -> Result<Transport, Failure> {
        self.0.connect().await.map_err(Failure::NoConnection)
    }
}

/// Returns `host` or `host:port`, as in `host` headers and URLs: a default port is omitted.
pub(super) fn authority(base: &BaseUrl) -> String {
    let host = if base.host.contains(':') { format!("[{}]", base.host) } else { base.host.clone() };
    let default_port = if base.tls { 443 } else { 80 };
    if base.port == default_port { host } else { format!("{host}:{}", base.port) }
}

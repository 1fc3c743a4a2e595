//! An HTTP connection to one target: a [`Connector`]'s transport, and the HTTP version that both sides speak.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::either::Either;

use crate::connect_error::Cause;
use crate::connection::Connection;
use crate::connector::{Connector, Failure, Transport};
use crate::error::Error;
use crate::tap::{Tap, tapped};
use crate::target::{Target, Versions};
use crate::trust::Trust;

/// Opens HTTP connections to one target.
///
/// The first connection looks the name up, and the others use the result again: a load test does not test the resolver.
pub struct Dialer {
    connector: Connector,
    versions: Versions,
}

impl Dialer {
    /// A dialer whose connections are opened within `timeout`, or not at all.
    ///
    /// # Errors
    /// The host is no valid name in a certificate.
    pub fn new(target: Target, versions: Versions, trust: &Trust, timeout: Duration) -> Result<Self, Error> {
        let connector = Connector::new(target, versions, trust, timeout).map_err(Error::ConnectError)?;
        Ok(Self { connector: connector.with_one_lookup(), versions })
    }

    /// The URL that this connects to.
    pub fn target(&self) -> &Target {
        self.connector.target()
    }

    /// Whether connections speak HTTP/2; `None` where the TLS handshake decides.
    pub fn is_http2(&self) -> Option<bool> {
        match self.versions {
            Versions::Http1 => Some(false),
            Versions::Http2 => Some(true),
            Versions::Any if self.target().is_tls() => None,
            Versions::Any => Some(false),
        }
    }

    /// Opens a connection that is ready for requests.
    ///
    /// # Errors
    /// No connection, or the server does not speak the version that was asked for: see [`Error`].
    pub async fn dial(&self) -> Result<Connection, Error> {
        let place = || self.target().place();
        let wanted = match self.versions {
            Versions::Http1 => "HTTP/1.1",
            Versions::Any | Versions::Http2 => "HTTP/2",
        };
        let tap = Arc::new(Tap::default());
        let connected = self.connector.connect_with(|tcp| tapped(tcp, Arc::clone(&tap))).await;
        let (transport, phases) = connected.map_err(|failure| match failure {
            Failure::Cause(cause) => Error::connect_error(place(), cause),
            Failure::Tls(error) => Error::tls(place(), wanted, &error),
        })?;
        let asks_for_http2 = self.versions == Versions::Http2;
        let http2 = if self.target().is_tls() { chose_http2(&transport) } else { asks_for_http2 };
        if asks_for_http2 && !http2 {
            return Err(Error::NotOffered { place: place(), wanted });
        }
        let opened = Connection::open(transport, http2, phases, tap).await;
        opened.map_err(|error| Error::connect_error(place(), Cause::Socket(error.to_string())))
    }
}

/// Whether the TLS handshake chose HTTP/2 (ALPN).
fn chose_http2<S>(transport: &Transport<S>) -> bool {
    matches!(transport, Either::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
}

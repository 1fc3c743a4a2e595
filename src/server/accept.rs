//! The listener and the accept loop.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::backoff::Backoff;
use super::connection::{self, Context};
use super::connection_settings::Settings;
use super::connections::{Connections, Slot};
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::server::handler::Handler;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;
/// Idle time after which the kernel sends TCP keep-alive probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, source } = self;
        write!(f, "{key} = \"{address}\": ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => f.write_str("another process listens there: stop it, or choose another port"),
            io::ErrorKind::PermissionDenied => {
                f.write_str("not permitted: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE")
            }
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("no interface of this machine has the address: use one of its own, 127.0.0.1 or 0.0.0.0")
            }
            _ => write!(f, "cannot listen there: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Listens on `address`; `[::]` takes IPv4 connections as well. `key` is the configuration key, for errors.
///
/// # Errors
/// The address is taken, not permitted, or not one of this machine.
pub fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // a restart must not wait for the connections of the last run to leave TIME_WAIT
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| BindError { key, address, source })
}

/// Serves connections until the drain has begun and the last of them has ended.
///
/// Each new connection uses the settings that are current then. When the drain is over, open connections have two seconds for their
/// streams to end, then they are dropped.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: Arc<ArcSwap<Settings>>,
    handler: Arc<H>,
    metrics: Arc<Metrics>,
    drain: Drain,
) {
    let connections = Connections::new(metrics.connections_active.clone());
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                backoff.reset();
                let settings = settings.load_full();
                let peer = peer.ip().to_canonical();
                if let Some(slot) = admit(&connections, &settings, &metrics, peer) {
                    set_options(&tcp, &settings);
                    let context =
                        Context { settings, handler: handler.clone(), metrics: metrics.clone(), drain: drain.clone() };
                    tokio::spawn(connection::open(tcp, peer, slot, context));
                }
            }
            Err(error) => {
                let Some(wait) = backoff.after(&error) else { continue };
                tracing::warn!(%error, ?wait, "cannot accept connections: raise the limit on open files, or lower server.max_connections");
                tokio::select! {
                    () = drain.begun.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
    drop(listener);
    connections.none_left().await;
}

/// A slot for the connection; `None` if it is refused, which is counted.
fn admit(connections: &Arc<Connections>, settings: &Settings, metrics: &Metrics, peer: IpAddr) -> Option<Slot> {
    let proxy = settings.trusted_proxies.iter().any(|network| network.contains(&peer));
    let per_network = if proxy { 0 } else { settings.max_connections_per_ip };
    let admitted = connections.admit(peer, settings.max_connections, per_network);
    admitted.inspect_err(|full| metrics.connections_refused.with_label_values(&[full.as_str()]).inc()).ok()
}

/// Sets TCP_NODELAY, so that events leave at once, and keep-alive, so that a lost peer is noticed. A failed option is no reason to
/// refuse the client.
fn set_options(tcp: &TcpStream, settings: &Settings) {
    let socket = SockRef::from(tcp);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    // `write_timeout` for bytes that the kernel took and the client does not acknowledge (RFC 5482)
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(settings.write_timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = settings;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_names_the_key_and_the_mend() {
        let taken = bind("server.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind("server.listen", taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("server.listen = \"127.0.0.1:"), "{error}");
        assert!(error.ends_with("another process listens there: stop it, or choose another port"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_said_to_be_one() {
        let error = bind("server.admin", "192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no interface of this machine has the address"), "{error}");
    }
}

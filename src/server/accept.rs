//! The listeners and their accept loop.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{IntCounterVec, IntGauge, Opts};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::backoff::{Backoff, is_of_one_connection};
use super::connection::{self, Context};
use super::connection_settings::Settings;
use super::connections::{Connections, Slot};
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::server::handler::Handler;
use crate::supervise::{self, Failed};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;
/// How long a new connection may take for its first request while the listener closes.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How long a client may acknowledge nothing, at least.
#[cfg(target_os = "linux")]
const LOST_PEER: Duration = Duration::from_secs(60);
/// The bytes that the kernel takes beyond those that it can send at once.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;
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

/// Listens on `address`; `[::]` takes IPv4 connections as well. `key` is the configuration key, for errors. With `reuse_port`, other
/// processes of the same user may listen there, too.
///
/// # Errors
/// The address is taken, not permitted, or not one of this machine.
pub fn bind(key: &'static str, address: SocketAddr, reuse_port: bool) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // a restart must not wait for the connections of the last run to leave TIME_WAIT
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| BindError { key, address, source })
}

/// What a listener counts.
#[derive(Clone)]
pub(super) struct Counts {
    /// Open connections.
    pub(super) open: IntGauge,
    /// Connections that were closed without a response, by reason.
    pub(super) refused: IntCounterVec,
    /// 1 while connections are accepted.
    pub(super) accepting: IntGauge,
    /// Restarts of the accept loop.
    pub(super) restarts: IntCounterVec,
}

impl Counts {
    fn public(metrics: &Metrics) -> Self {
        Self {
            open: metrics.connections_active.clone(),
            refused: metrics.connections_refused.clone(),
            accepting: metrics.accepting.clone(),
            restarts: metrics.task_restarts.clone(),
        }
    }

    /// For a listener whose connections are in no metric.
    pub(super) fn unregistered(restarts: IntCounterVec) -> Self {
        let gauge = || IntGauge::new("unregistered", "unregistered").expect("a valid name");
        let refused = IntCounterVec::new(Opts::new("unregistered", "unregistered"), &["reason"]).expect("a valid name");
        Self { open: gauge(), refused, accepting: gauge(), restarts }
    }
}

/// One listener and what serves its connections.
pub(super) struct Accept<H> {
    /// The name of the accept loop as a task.
    pub(super) task: &'static str,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) handler: Arc<H>,
    pub(super) counts: Counts,
    pub(super) drain: Drain,
}

/// Serves connections of the public listener until the drain has begun and the last of them has ended.
///
/// Each new connection uses the settings that are current then. When the drain is over, open connections have two seconds for their
/// streams to end, then they are dropped.
///
/// # Errors
/// The accept loop failed again and again.
pub fn serve<H: Handler>(
    listener: TcpListener,
    settings: Arc<ArcSwap<Settings>>,
    handler: Arc<H>,
    metrics: Arc<Metrics>,
    drain: Drain,
) -> impl Future<Output = Result<(), Failed>> + Send {
    let counts = Counts::public(&metrics);
    // from now on the kernel accepts, and the loop is about to begin
    counts.accepting.set(1);
    Accept { task: "accept", settings, handler, counts, drain }.serve(listener)
}

impl<H: Handler> Accept<H> {
    /// Serves connections until the drain has begun and the last of them has ended.
    ///
    /// # Errors
    /// The accept loop failed again and again.
    pub(super) async fn serve(self, listener: TcpListener) -> Result<(), Failed> {
        let connections = Connections::new(self.counts.open.clone());
        let closed = self.drain.closed.clone().drop_guard();
        let is_over = || self.drain.closing.is_cancelled();
        let accept = || self.accept(&listener, &connections);
        supervise::keep(self.task, &self.counts.restarts, is_over, accept).await?;
        self.close(listener, &connections);
        // their first request is on its way, and no other process gets it
        while connections.any_young(|connection| connection.is_opening(FIRST_REQUEST)) {
            tokio::time::sleep(FIRST_REQUEST / 100).await;
        }
        drop(closed);
        connections.none_left().await;
        Ok(())
    }

    /// Closes the listener, and serves the connections in its queue, which no other process would.
    fn close(&self, listener: TcpListener, connections: &Arc<Connections>) {
        // the kernel now drops the first packets of new connections: their clients try again, and reach who listens then
        let _ = SockRef::from(&listener).listen(0);
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept() {
                Ok((tcp, peer)) => {
                    if let Ok(tcp) = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp)) {
                        self.open(tcp, peer, connections);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// The accept loop. No error ends it: what the kernel has no descriptor or memory for is tried again.
    async fn accept(&self, listener: &TcpListener, connections: &Arc<Connections>) {
        let _accepting = Accepting::new(&self.counts.accepting);
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.drain.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    backoff.reset();
                    self.open(tcp, peer, connections);
                }
                Err(error) => {
                    let Some(wait) = backoff.after(&error) else { continue };
                    tracing::warn!(%error, ?wait, "cannot accept connections: raise the limit on open files, or lower server.max_connections");
                    tokio::select! {
                        () = self.drain.closing.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Serves one connection in its own task, if there is a slot for it.
    fn open(&self, tcp: TcpStream, peer: SocketAddr, connections: &Arc<Connections>) {
        let settings = self.settings.load_full();
        let peer = peer.ip().to_canonical();
        if let Some(slot) = self.admit(connections, &settings, peer) {
            set_options(&tcp, &settings);
            let context = Context {
                settings,
                handler: Arc::clone(&self.handler),
                refused: self.counts.refused.clone(),
                drain: self.drain.clone(),
            };
            tokio::spawn(connection::open(tcp, peer, slot, context));
        }
    }

    /// A slot for the connection; `None` if it is refused, which is counted.
    fn admit(&self, connections: &Arc<Connections>, settings: &Settings, peer: IpAddr) -> Option<Slot> {
        let proxy = settings.trusted_proxies.iter().any(|network| network.contains(&peer));
        let per_network = if proxy { 0 } else { settings.max_connections_per_ip };
        let mut admitted = connections.admit(peer, settings.max_connections, per_network);
        if settings.evict_idle {
            if admitted.is_err() && connections.evict() {
                // the evicted connection gives its slot back in a moment
                admitted = connections.admit(peer, usize::MAX, 0);
            }
            admitted.iter().for_each(|slot| connections.may_evict(slot));
        }
        admitted.inspect_err(|full| self.counts.refused.with_label_values(&[full.as_str()]).inc()).ok()
    }
}

/// Says that the accept loop runs, until it is dropped.
struct Accepting<'a>(&'a IntGauge);

impl<'a> Accepting<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.set(1);
        Self(gauge)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// Sets TCP_NODELAY, so that events leave at once, and keep-alive, so that a lost peer is noticed. A failed option is no reason to
/// refuse the client.
fn set_options(tcp: &TcpStream, settings: &Settings) {
    let socket = SockRef::from(tcp);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    #[cfg(target_os = "linux")]
    {
        // for bytes that the kernel took and the client does not acknowledge (RFC 5482). The kernel counts the time of a closed
        // window as well: a client that reads slowly may have one for longer than `write_timeout`
        let _ = socket.set_tcp_user_timeout(Some(LOST_PEER.max(2 * settings.write_timeout)));
        // a slow client makes progress in small steps. Without it the next step is a third of the kernel's buffer, some megabytes
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = settings;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_names_the_key_and_the_mend() {
        let taken = bind("server.listen", "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let error = bind("server.listen", taken.local_addr().unwrap(), false).unwrap_err().to_string();
        assert!(error.starts_with("server.listen = \"127.0.0.1:"), "{error}");
        assert!(error.ends_with("another process listens there: stop it, or choose another port"), "{error}");
    }

    #[tokio::test]
    async fn with_reuse_port_two_listen_and_each_says_so() {
        let address = "127.0.0.1:0".parse().unwrap();
        let first = bind("server.listen", address, true).unwrap().local_addr().unwrap();
        let held = bind("server.listen", address, true).unwrap();
        assert!(bind("server.listen", held.local_addr().unwrap(), true).is_ok());
        assert!(bind("server.listen", held.local_addr().unwrap(), false).is_err());
        assert_ne!(first, held.local_addr().unwrap());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_said_to_be_one() {
        let error = bind("server.admin", "192.0.2.1:0".parse().unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("no interface of this machine has the address"), "{error}");
    }
}

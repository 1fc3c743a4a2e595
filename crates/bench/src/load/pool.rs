//! The connection pool of one target.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dial::{Connection, Dialer, Error, Target};

/// The streams on one HTTP/2 connection: what most servers allow (RFC 9113 §6.5.2 recommends at least 100).
const STREAMS_PER_CONNECTION: usize = 100;

/// Opens connections, and holds those that can carry another stream.
pub(super) struct Pool {
    dialer: Dialer,
    reuse: bool,
    /// HTTP/1.1 connections without a stream.
    idle: Mutex<Vec<Connection>>,
    /// HTTP/2 connections. Locked while one is opened, so that streams which start together share it.
    shared: tokio::sync::Mutex<Vec<Shared>>,
    /// Whether each stream needs a connection of its own: HTTP/1.1, or no reuse.
    exclusive: AtomicBool,
}

struct Shared {
    connection: Connection,
    /// Each stream holds another reference to this.
    streams: Arc<()>,
}

/// A connection that one stream uses.
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// Whether it has carried a stream before, or carries others.
    pub(super) reused: bool,
    stream: Option<Arc<()>>,
}

impl Pool {
    /// A pool that opens connections with `dialer`. With `reuse`, a connection can carry several streams.
    pub(super) fn new(dialer: Dialer, reuse: bool) -> Self {
        let exclusive = AtomicBool::new(!reuse || dialer.is_http2() == Some(false));
        Self { dialer, reuse, idle: Mutex::default(), shared: tokio::sync::Mutex::default(), exclusive }
    }

    pub(super) fn target(&self) -> &Target {
        self.dialer.target()
    }

    /// A connection that can carry a request.
    pub(super) async fn acquire(&self) -> Result<Lease, Error> {
        while let Some(mut connection) = self.pop() {
            // the server may have closed it in the meantime
            if connection.ready().await {
                return Ok(Lease { connection, reused: true, stream: None });
            }
        }
        if self.exclusive.load(Ordering::Relaxed) {
            return self.connect().await;
        }
        let mut shared = self.shared.lock().await;
        shared.retain(|shared| shared.connection.is_ready());
        for Shared { connection, streams } in shared.iter() {
            if let (true, Some(connection)) = (Arc::strong_count(streams) <= STREAMS_PER_CONNECTION, connection.share())
            {
                return Ok(Lease { connection, reused: true, stream: Some(Arc::clone(streams)) });
            }
        }
        let mut lease = self.connect().await?;
        match lease.connection.share() {
            Some(connection) => {
                let streams = Arc::new(());
                lease.stream = Some(Arc::clone(&streams));
                shared.push(Shared { connection, streams });
            }
            None => self.exclusive.store(true, Ordering::Relaxed),
        }
        Ok(lease)
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Lease, Error> {
        Ok(Lease { connection: self.dialer.dial().await?, reused: false, stream: None })
    }

    /// Returns a connection whose response was read to its end.
    pub(super) fn release(&self, lease: Lease) {
        if self.reuse && lease.stream.is_none() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lease.connection);
        }
    }

    fn pop(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

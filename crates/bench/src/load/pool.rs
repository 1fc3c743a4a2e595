//! The connections to one target, used again or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dial::{Connection, Dialer, Error, Target};

/// Streams on one HTTP/2 connection: what most servers allow (RFC 9113 §6.5.2 recommends at least 100).
const STREAMS_PER_CONNECTION: usize = 100;

/// Makes connections, and keeps those that are idle.
pub(super) struct Pool {
    dialer: Dialer,
    reuse: bool,
    /// HTTP/1.1, one stream at a time.
    idle: Mutex<Vec<Connection>>,
    /// HTTP/2. Held while one is made, so that streams which start together share it.
    shared: tokio::sync::Mutex<Vec<Shared>>,
    /// It has turned out that the server speaks HTTP/1.1.
    alone: AtomicBool,
}

struct Shared {
    connection: Connection,
    /// One more handle on this for every stream.
    streams: Arc<()>,
}

/// A connection for one stream.
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// It has carried a stream before, or carries others.
    pub(super) reused: bool,
    stream: Option<Arc<()>>,
}

impl Pool {
    /// With `reuse`, a connection that has carried a stream well carries another.
    pub(super) fn new(dialer: Dialer, reuse: bool) -> Self {
        let alone = AtomicBool::new(!reuse || dialer.is_http2() == Some(false));
        Self { dialer, reuse, idle: Mutex::default(), shared: tokio::sync::Mutex::default(), alone }
    }

    pub(super) fn target(&self) -> &Target {
        self.dialer.target()
    }

    /// A connection that can take a request.
    pub(super) async fn take(&self) -> Result<Lease, Error> {
        while let Some(mut connection) = self.pop() {
            // the server may have closed it meanwhile
            if connection.ready().await {
                return Ok(Lease { connection, reused: true, stream: None });
            }
        }
        if self.alone.load(Ordering::Relaxed) {
            return self.fresh().await;
        }
        let mut shared = self.shared.lock().await;
        shared.retain(|shared| shared.connection.is_ready());
        for Shared { connection, streams } in shared.iter() {
            if let (true, Some(connection)) = (Arc::strong_count(streams) <= STREAMS_PER_CONNECTION, connection.share())
            {
                return Ok(Lease { connection, reused: true, stream: Some(Arc::clone(streams)) });
            }
        }
        let mut lease = self.fresh().await?;
        match lease.connection.share() {
            Some(connection) => {
                let streams = Arc::new(());
                lease.stream = Some(Arc::clone(&streams));
                shared.push(Shared { connection, streams });
            }
            None => self.alone.store(true, Ordering::Relaxed),
        }
        Ok(lease)
    }

    /// A new connection.
    pub(super) async fn fresh(&self) -> Result<Lease, Error> {
        Ok(Lease { connection: self.dialer.dial().await?, reused: false, stream: None })
    }

    /// Takes back a connection whose answer was read to its end.
    pub(super) fn give_back(&self, lease: Lease) {
        if self.reuse && lease.stream.is_none() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lease.connection);
        }
    }

    fn pop(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

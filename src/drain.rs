//! The two moments of a shutdown that every part can wait for: draining has begun, and time is up.

use tokio_util::sync::CancellationToken;

/// Shared by the listener, the connections and the streams. Clones are the same drain.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Fires first: no new connection, no new request; streams go on.
    pub begun: CancellationToken,
    /// Fires when `server.drain` is over: streams end now, honestly.
    pub over: CancellationToken,
}

//! The two moments of a shutdown that every part can wait for: the drain begins, and the drain time is over.

use tokio_util::sync::CancellationToken;

/// Shared by the listener, the connections and the streams. Clones are the same drain.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Cancelled first: no new connection or request is accepted; streams continue.
    pub begun: CancellationToken,
    /// Cancelled when `server.drain` is over: streams end now with an error event.
    pub over: CancellationToken,
}

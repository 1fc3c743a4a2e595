//! The moments of a shutdown that every part can wait for.

use tokio_util::sync::CancellationToken;

/// Shared by the listeners, the connections and the streams. Clones are the same drain.
///
/// A moment implies those before it: if [`Self::begun`] alone is cancelled, `closing` and `announced` are cancelled too.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Cancelled first: the load balancer is informed, everything is still served, and responses ask clients to close.
    pub announced: CancellationToken,
    /// Cancelled after `server.shutdown_delay`: the public listener closes.
    pub closing: CancellationToken,
    /// The public listener is closed, and connections that it has just accepted had time for their first request.
    pub closed: CancellationToken,
    /// No new request is accepted; streams go on.
    pub begun: CancellationToken,
    /// Cancelled when `server.drain` is over: streams end now with an error event.
    pub over: CancellationToken,
}

impl Drain {
    /// A drain that begins at this moment, and is over at once: requests may end, and no new one is accepted.
    pub fn at(moment: CancellationToken) -> Self {
        Self { over: moment.clone(), ..Self::beginning(moment) }
    }

    fn beginning(begun: CancellationToken) -> Self {
        let closing = begun.child_token();
        let announced = closing.child_token();
        Self { announced, closing, closed: CancellationToken::new(), begun, over: CancellationToken::new() }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::beginning(CancellationToken::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_implies_those_before_it_and_none_after_it() {
        let drain = Drain::default();
        drain.announced.cancel();
        assert!(!drain.closing.is_cancelled());
        drain.closing.cancel();
        assert!(!drain.begun.is_cancelled());
        let drain = Drain::default();
        drain.begun.cancel();
        assert!(drain.closing.is_cancelled() && drain.announced.is_cancelled() && !drain.over.is_cancelled());
    }
}

//! What a connection is doing, as its listener and its timeouts see it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::body::Body;

/// The value of [`Activity::accepts_since`] while the socket accepts no byte.
const BLOCKED: u64 = u64::MAX;

/// The requests of one connection, and whether its socket accepts bytes.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// Requests whose head has come in, and whose response is not handed over yet.
    open: AtomicUsize,
    /// All requests so far.
    begun: AtomicUsize,
    /// Since when no request is open, in milliseconds after `accepted`.
    idle_since: AtomicU64,
    /// Since when the socket accepts bytes, in milliseconds after `accepted`; or [`BLOCKED`].
    accepts_since: AtomicU64,
    is_evicted: AtomicBool,
    /// The first request has begun, or the connection is evicted.
    changed: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            accepted: Instant::now(),
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            accepts_since: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl Activity {
    /// A request begins, until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.changed.notify_one();
        }
        Busy(Arc::clone(self))
    }

    /// The number of open requests.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The number of all requests so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ready once the first request has begun.
    pub(super) async fn first_request(&self) {
        while self.begun() == 0 {
            self.changed.notified().await;
        }
    }

    /// Whether the connection has been accepted so recently that its first request may be on its way.
    pub(super) fn is_opening(&self, within: Duration) -> bool {
        self.begun() == 0 && self.accepted.elapsed() < within
    }

    /// For how long no request is open; `None` if one is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        (self.open() == 0).then(|| self.accepted.elapsed().saturating_sub(since))
    }

    /// The socket accepts no byte.
    pub(super) fn block(&self) {
        self.accepts_since.store(BLOCKED, Ordering::Relaxed);
    }

    /// The socket has accepted bytes.
    pub(super) fn unblock(&self) {
        if self.is_blocked() {
            self.accepts_since.store(self.age(), Ordering::Relaxed);
        }
    }

    fn is_blocked(&self) -> bool {
        self.accepts_since.load(Ordering::Relaxed) == BLOCKED
    }

    /// For how long the socket has accepted all that there was; `None` if it accepts nothing now.
    pub(super) fn accepts_for(&self) -> Option<Duration> {
        let since = Some(self.accepts_since.load(Ordering::Relaxed)).filter(|since| *since != BLOCKED)?;
        Some(self.accepted.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// Closes the connection if it has no request and nothing to send; false otherwise, or if it is closing already.
    pub(super) fn evict(&self) -> bool {
        let evicts = self.open() == 0 && !self.is_blocked() && !self.is_evicted.swap(true, Ordering::Relaxed);
        if evicts {
            self.changed.notify_one();
        }
        evicts
    }

    /// Ready once the connection has to close.
    pub(super) async fn evicted(&self) {
        while !self.is_evicted.load(Ordering::Relaxed) {
            self.changed.notified().await;
        }
    }

    /// Milliseconds since the connection was accepted.
    fn age(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(BLOCKED).min(BLOCKED - 1)
    }
}

/// An open request.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle_since.store(self.0.age(), Ordering::Relaxed);
        }
    }
}

/// The body of a response; its request is open until the body is dropped, at its end or before.
pub(super) struct Tracked {
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn only_a_connection_without_a_request_and_without_bytes_to_send_is_evicted_and_only_once() {
        let activity = Arc::new(Activity::default());
        let busy = activity.begin();
        assert!(!activity.evict() && activity.evicted().now_or_never().is_none());
        drop(busy);
        activity.block();
        assert!(!activity.evict());
        activity.unblock();
        assert!(activity.evict() && !activity.evict());
        // for each that waits
        activity.evicted().await;
        activity.evicted().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_knows_for_how_long_nothing_was_asked_and_for_how_long_the_socket_accepts() {
        let activity = Arc::new(Activity::default());
        tokio::time::advance(SECOND).await;
        assert!(activity.is_opening(2 * SECOND) && !activity.is_opening(SECOND));
        assert_eq!((activity.idle_for(), activity.accepts_for()), (Some(SECOND), Some(SECOND)));
        let both = [activity.begin(), activity.begin()];
        activity.block();
        tokio::time::advance(SECOND).await;
        assert_eq!((activity.idle_for(), activity.accepts_for(), activity.open()), (None, None, 2));
        assert!(!activity.is_opening(9 * SECOND) && activity.begun() == 2);
        activity.first_request().await;
        activity.unblock();
        drop(both);
        tokio::time::advance(SECOND).await;
        activity.unblock();
        assert_eq!((activity.idle_for(), activity.accepts_for()), (Some(SECOND), Some(SECOND)));
    }
}

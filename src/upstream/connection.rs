//! A connection to an upstream between two exchanges, and how all connections are read.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::connect::Transport;

/// Most bytes of one read: this is how far a read can be ahead of the client.
const READ_AHEAD: usize = 32 * 1024;

thread_local! {
    /// The read buffer of a worker. Content is copied out of it, so a silent stream holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AHEAD].into());
}

/// A connection that is ready for a request.
pub(super) struct Connection<T = Transport> {
    pub(super) transport: T,
    pub(super) opened: Instant,
    /// How long the upstream keeps it open while it is idle, by its last answer, less a second.
    pub(super) keep_alive: Option<Duration>,
}

impl<T> Connection<T> {
    /// Makes a new connection.
    pub(super) fn new(transport: T) -> Self {
        Self { transport, opened: Instant::now(), keep_alive: None }
    }
}

impl<T: AsyncRead + Unpin> Connection<T> {
    /// Whether another request can be sent: the connection is open, and has no unrequested bytes.
    pub(super) fn is_reusable(&mut self) -> bool {
        // without the cooperative budget of the task: when that is used up, a closed connection would read as an open one
        let probe = pin!(unconstrained(poll_fn(|cx| poll_read(&mut self.transport, cx, |_| ()))));
        probe.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Reads once and passes on the bytes. No bytes mean that the connection has ended.
pub(super) fn poll_read<T: AsyncRead + Unpin, R>(
    transport: &mut T,
    cx: &mut Context<'_>,
    take: impl FnOnce(&mut [u8]) -> R,
) -> Poll<io::Result<R>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled_mut())))
    })
}

//! Between TLS and hyper's HTTP/1.1: detects that a client has left, also after it has sent more than its request, and has the
//! deadlines of heads and of idle connections.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use super::deadline::Deadline;
use super::handler::MAX_TARGET_BYTES;

/// The time between two checks while hyper does not read. A request must be cancelled within a second after its client has left; a
/// request that is answered at once is still answered.
const LOOK: Duration = Duration::from_millis(250);

/// The status line of hyper's response to a head that is too large.
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large";

/// A byte stream that fails once the client has left, also while nothing reads from it.
///
/// hyper detects by reading that a client has left, and while a response is sent it reads only until bytes come in. After a pipelined
/// request, or a stray line end, it would notice at the next write, a heartbeat later. From then on this checks periodically whether
/// the client has closed its side. Nothing is read for that: unread bytes cost no memory here, and are served later if the client
/// stays. A FIN behind more bytes than the kernel's receive buffer holds is not detected; a reset always is.
///
/// A client that has closed its side and still reads counts as gone, as in hyper (whose `half_close` is off): a socket does not
/// distinguish the two.
#[derive(Debug)]
pub(super) struct H1Guard<IO> {
    io: IO,
    has_left: fn(&IO) -> bool,
    /// hyper waits for bytes, and detects the end itself.
    reading: bool,
    /// Armed while hyper does not wait for bytes.
    look: Option<Pin<Box<Sleep>>>,
    wait: HeadWait,
}

/// The deadlines of a connection that waits for a request: the head timeout of the first one, from the beginning; then the idle
/// timeout, and from the first byte of the next head its timeout.
///
/// hyper has one timeout for both. It begins when the response before is written.
#[derive(Debug)]
pub(super) struct HeadWait {
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// The requests so far, when last looked at.
    seen: usize,
    has_begun: bool,
    /// The bytes of the request line so far.
    line: usize,
    line_is_open: bool,
    /// The stream has ended.
    is_over: bool,
    /// Since the deadline was set: a response before is still being written.
    has_written: bool,
    deadline: Deadline,
}

impl HeadWait {
    pub(super) fn new(activity: Arc<Activity>, header_timeout: Duration, idle_timeout: Duration) -> Self {
        Self {
            activity,
            header_timeout,
            idle_timeout,
            seen: 0,
            has_begun: false,
            line: 0,
            line_is_open: true,
            is_over: false,
            has_written: false,
            deadline: Deadline::default(),
        }
    }

    /// The connection has read these bytes.
    fn received(&mut self, bytes: &[u8]) {
        self.look();
        if self.activity.open() > 0 {
            return;
        }
        if !self.has_begun {
            self.has_begun = true;
            if self.seen > 0 {
                self.deadline.disarm();
            }
        }
        if self.line_is_open {
            let end = memchr::memchr(b'\n', bytes);
            // RFC 9112 §2.2: an empty line before the request is ignored
            self.line_is_open = end.is_none_or(|end| self.line + end < 2);
            self.line += end.unwrap_or(bytes.len());
        }
    }

    /// Whether the request line is longer than any that is served.
    fn line_is_too_long(&self) -> bool {
        self.line > MAX_TARGET_BYTES
    }

    /// Ready if the connection waits for a request for too long; wakes the task then.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.look();
        if self.activity.open() > 0 {
            self.deadline = Deadline::default();
            return Poll::Pending;
        }
        loop {
            let of_head = self.has_begun || self.seen == 0;
            self.deadline.arm(if of_head { self.header_timeout } else { self.idle_timeout });
            ready!(self.deadline.poll_expired(cx));
            if self.is_over || !std::mem::take(&mut self.has_written) {
                return Poll::Ready(());
            }
            self.deadline.disarm();
        }
    }

    /// A request that has come in ends the wait for it.
    fn look(&mut self) {
        let begun = self.activity.begun();
        if begun != self.seen {
            (self.seen, self.has_begun, self.has_written) = (begun, false, false);
            (self.line, self.line_is_open) = (0, true);
            self.deadline.disarm();
        }
    }
}

/// Whether the client has closed its side, by FIN or by reset; earlier bytes may still be unread. This reads the readiness that the
/// event loop has stored, without a system call.
pub(super) fn has_left(tcp: &TcpStream) -> bool {
    matches!(tcp.ready(Interest::READABLE).now_or_never(), Some(Ok(ready)) if ready.is_read_closed())
}

impl<IO> H1Guard<IO> {
    /// Guards `io`; `has_left` says whether the client has closed its side.
    pub(super) fn new(io: IO, has_left: fn(&IO) -> bool, wait: HeadWait) -> Self {
        Self { io, has_left, reading: false, look: None, wait }
    }

    /// Fails if the client has left and hyper does not read; wakes the task for the next check.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.reading {
            return Ok(());
        }
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            if (self.has_left)(&self.io) {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client left"));
            }
            look.as_mut().reset(Instant::now() + LOOK);
        }
        Ok(())
    }

    /// hyper's response to a head that is too large, with the status for a head whose first line is.
    fn uri_too_long(&self, response: &[u8]) -> Option<Vec<u8>> {
        let rest = response.strip_prefix(TOO_LARGE).filter(|_| self.wait.line_is_too_long())?;
        Some([&b"HTTP/1.1 414 URI Too Long"[..], rest].concat())
    }

    /// Checks when a write is pending: hyper does not flush then.
    fn checked<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written.is_pending() {
            true => self.check(cx)?,
            false => self.wait.has_written = true,
        }
        written
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for H1Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        this.reading = read.is_pending();
        if this.reading {
            this.look = None;
            ready!(this.wait.poll_late(cx));
            // the end of the stream: hyper closes the connection
            this.wait.is_over = true;
            return Poll::Ready(Ok(()));
        }
        if buf.filled().len() > before {
            this.wait.received(&buf.filled()[before..]);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for H1Guard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(response) = this.uri_too_long(buf) {
            // some 150 bytes, and the first of the connection or behind one that was read: they fit
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, &response));
            return Poll::Ready(written.map(|_| buf.len()));
        }
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.checked(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [first, ..] = bufs
            && self.wait.line_is_too_long()
        {
            return self.poll_write(cx, first);
        }
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.checked(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes at the end of each poll.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        // hyper need not read again after a response: its read still waits
        if this.reading && !this.wait.is_over && this.wait.poll_late(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "h1_guard_tests.rs"]
mod tests;

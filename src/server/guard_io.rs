//! The socket of a public connection, with a write timeout and a lingering close.
//!
//! It is below TLS, because only there a byte that the client took can be distinguished from a byte in a buffer.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::deadline::Deadline;

/// How long the client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// The bytes of one read while lingering.
const LINGER_READ: usize = 8 * 1024;

/// A byte stream with two bounds: a write without progress fails after `write_timeout`, and [`poll_shutdown`] lingers.
///
/// The kernel answers bytes for a closed socket with a reset, which may destroy the response before the client has read it: a 413
/// while the body is still coming in (RFC 9112 §9.6). So a shutdown closes the write side first, then reads and discards until the
/// client closes its side, for at most two seconds and `linger` bytes.
///
/// [`poll_shutdown`]: AsyncWrite::poll_shutdown
#[derive(Debug)]
pub(super) struct GuardIo<IO> {
    io: IO,
    write_timeout: Duration,
    /// Bytes that may still be discarded after a shutdown.
    linger: usize,
    /// The write side is closed.
    shut: bool,
    /// The deadline of a pending write, or of lingering.
    deadline: Deadline,
    /// Learns whether the socket accepts bytes.
    activity: Option<Arc<Activity>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> GuardIo<IO> {
    /// Guards `io`.
    pub(super) fn new(io: IO, write_timeout: Duration, linger: usize) -> Self {
        Self { io, write_timeout, linger, shut: false, deadline: Deadline::default(), activity: None }
    }

    /// Tells the connection whether the socket accepts bytes.
    pub(super) fn reporting_to(self, activity: Arc<Activity>) -> Self {
        Self { activity: Some(activity), ..self }
    }

    /// The guarded stream.
    pub(super) fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The timeout of a write. TLS flushes through writes, too, and a socket has nothing to flush.
    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline.disarm();
            self.activity.iter().for_each(|activity| activity.unblock());
            return written;
        }
        self.activity.iter().for_each(|activity| activity.block());
        self.deadline.arm(self.write_timeout);
        ready!(self.deadline.poll_expired(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took no byte within server.write_timeout")))
    }

    /// Reads and discards. How it ends does not matter.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); LINGER_READ];
        while self.linger > 0 {
            let mut discarded = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut discarded) {
                Poll::Ready(Ok(())) if !discarded.filled().is_empty() => {
                    self.linger = self.linger.saturating_sub(discarded.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(self.deadline.poll_expired(cx));
                    break;
                }
            }
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for GuardIo<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardIo<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.bound(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.shut = true;
            this.deadline.disarm();
            this.deadline.arm(LINGER);
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off_after_the_timeout() {
        let (server, _client) = duplex(10);
        let mut guard = GuardIo::new(server, TIMEOUT, 0);
        let begun = Instant::now();
        let error = guard.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_served_to_the_end() {
        let (server, mut client) = duplex(1);
        let mut guard = GuardIo::new(server, TIMEOUT, 0);
        let begun = Instant::now();
        let reader = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(TIMEOUT - Duration::from_secs(1)).await;
                client.read_u8().await.unwrap();
            }
        });
        guard.write_all(&[0; 10]).await.unwrap();
        reader.await.unwrap();
        assert!(begun.elapsed() > 5 * TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_the_clients_end_and_discards_what_comes_before_it() {
        let (server, mut client) = duplex(64);
        let mut guard = GuardIo::new(server, TIMEOUT, 10_000);
        let client = tokio::spawn(async move {
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
            client.write_all(&[0; 5000]).await.unwrap();
        });
        let begun = Instant::now();
        guard.shutdown().await.unwrap();
        client.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_ends_after_two_seconds() {
        let (server, _client) = duplex(64);
        let begun = Instant::now();
        GuardIo::new(server, TIMEOUT, 10_000).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_ends_after_its_bytes() {
        let (server, mut client) = duplex(64);
        let mut guard = GuardIo::new(server, TIMEOUT, 1000);
        let client = tokio::spawn(async move { client.write_all(&[0; 100_000]).await });
        let begun = Instant::now();
        guard.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(guard);
        assert!(client.await.unwrap().is_err());
    }
}

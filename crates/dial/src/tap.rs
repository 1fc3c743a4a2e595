//! Counts what a socket brings, below TLS and HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection's socket has brought so far. Events between which [`Tap::reads`] stays the same came in one read.
#[derive(Debug, Default)]
pub struct Tap {
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl Tap {
    /// Reads that brought something.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes, TLS records and HTTP framing included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A socket with a tap on it.
pub(super) struct Tapped<T> {
    inner: T,
    tap: Arc<Tap>,
}

impl<T> Tapped<T> {
    pub(super) fn new(inner: T, tap: Arc<Tap>) -> Self {
        Self { inner, tap }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read > 0 {
            this.tap.reads.fetch_add(1, Ordering::Relaxed);
            this.tap.bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn each_read_that_brings_something_is_counted() {
        let (mut far, near) = tokio::io::duplex(64);
        let tap = Arc::new(Tap::default());
        let mut near = Tapped::new(near, Arc::clone(&tap));
        let mut buffer = [0; 64];
        for (text, reads, bytes) in [("abc", 1, 3), ("de", 2, 5)] {
            far.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(near.read(&mut buffer).await.unwrap(), text.len());
            assert_eq!((tap.reads(), tap.bytes()), (reads, bytes));
        }
        drop(far);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(tap.reads(), 2, "an end brings nothing");
    }
}

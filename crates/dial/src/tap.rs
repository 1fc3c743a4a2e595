//! Counts the reads of a socket, below TLS and HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

/// Counters of a socket. Two events between which [`Tap::reads`] does not change came in one read.
#[derive(Debug, Default)]
pub struct Tap {
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl Tap {
    /// The reads that returned bytes.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The bytes read, with TLS records and HTTP framing.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Puts a tap on a socket.
pub(super) fn tapped<S: AsyncRead>(socket: S, tap: Arc<Tap>) -> InspectReader<S, impl FnMut(&[u8])> {
    InspectReader::new(socket, move |read: &[u8]| {
        // the end of the connection is a read of no bytes
        if !read.is_empty() {
            tap.reads.fetch_add(1, Ordering::Relaxed);
            tap.bytes.fetch_add(read.len() as u64, Ordering::Relaxed);
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn each_read_that_returns_bytes_is_counted() {
        let (mut far, near) = tokio::io::duplex(64);
        let tap = Arc::new(Tap::default());
        let mut near = tapped(near, Arc::clone(&tap));
        let mut buffer = [0; 64];
        for (text, reads, bytes) in [("abc", 1, 3), ("de", 2, 5)] {
            far.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(near.read(&mut buffer).await.unwrap(), text.len());
            assert_eq!((tap.reads(), tap.bytes()), (reads, bytes));
        }
        drop(far);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(tap.reads(), 2, "the end returns no bytes");
    }
}

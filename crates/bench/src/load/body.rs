//! The body of an answer as a stream of chunks, with notes of what came when.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use dial::Tap;

/// A body that takes notes.
pub(super) struct Chunks {
    body: Incoming,
    tap: Arc<Tap>,
    notes: Arc<Notes>,
}

/// What is known of a body while someone else reads it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    first: OnceLock<Instant>,
    bytes: AtomicU64,
    read: AtomicU64,
}

impl Chunks {
    pub(super) fn new(body: Incoming, tap: Arc<Tap>) -> (Self, Arc<Notes>) {
        let notes = Arc::<Notes>::default();
        (Self { body, tap, notes: Arc::clone(&notes) }, notes)
    }
}

impl Notes {
    /// When the first byte was there.
    pub(super) fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }

    /// How many bytes there were so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Which read of the socket brought the latest chunk. hyper reads no further before a chunk is taken.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, hyper::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // trailers say nothing about a stream
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    this.notes.first.get_or_init(Instant::now);
                    this.notes.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                    this.notes.read.store(this.tap.reads(), Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(data)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

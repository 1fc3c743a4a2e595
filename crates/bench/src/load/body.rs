//! A response body as a stream of chunks, with statistics of its arrival.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use tokio::time::Instant;

use dial::Tap;

/// Statistics of a body that another owner reads.
#[derive(Debug, Default)]
pub(super) struct BodyStats {
    first_byte: OnceLock<Instant>,
    bytes: AtomicU64,
    read: AtomicU64,
}

/// The chunks of a body, and its statistics, which are updated while it is read.
pub(super) fn observed(
    body: Incoming,
    tap: Arc<Tap>,
) -> (impl Stream<Item = Result<Bytes, hyper::Error>> + Unpin, Arc<BodyStats>) {
    let stats = Arc::<BodyStats>::default();
    let recorded = Arc::clone(&stats);
    let chunks = BodyDataStream::new(body).inspect_ok(move |data| {
        recorded.first_byte.get_or_init(Instant::now);
        recorded.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        recorded.read.store(tap.reads(), Ordering::Relaxed);
    });
    (chunks, stats)
}

impl BodyStats {
    /// The arrival of the first byte.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.first_byte.get().copied()
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of the socket read that brought the latest chunk. hyper does not read further before a chunk is taken.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

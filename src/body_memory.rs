//! The memory of all request bodies together.
//!
//! A body's memory is reserved while the body comes in, and is released when the last part of the body is dropped: when no
//! attempt at an upstream can need it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prometheus::IntGauge;

/// The smallest number of bytes that is reserved for a body.
const SMALLEST: usize = 1024;

/// Counts the memory of all request bodies.
pub struct BodyMemory {
    used: AtomicUsize,
    gauge: IntGauge,
}

/// There is no memory for more of the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// A body while it comes in.
pub struct GrowingBody {
    bytes: Vec<u8>,
    share: Share,
    /// Bytes of all bodies together, at most.
    limit: usize,
}

/// The bytes that a body takes of the memory.
struct Share {
    memory: Arc<BodyMemory>,
    bytes: usize,
}

/// A whole body together with its share of the memory.
struct Shared {
    bytes: Vec<u8>,
    _share: Share,
}

impl BodyMemory {
    /// Makes the counter without bodies. `gauge` shows the bytes in use.
    pub fn new(gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), gauge })
    }

    /// Makes an empty body, while all bodies together may take `limit` bytes.
    pub fn begin(self: &Arc<Self>, limit: usize) -> GrowingBody {
        GrowingBody { bytes: Vec::new(), share: Share { memory: Arc::clone(self), bytes: 0 }, limit }
    }

    fn take(&self, bytes: usize, limit: usize) -> Result<(), Full> {
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).map_err(|_| Full)?;
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl GrowingBody {
    /// Returns the number of bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte has come in.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds bytes. The buffer doubles, but never beyond `max`, the largest body that is read.
    ///
    /// # Errors
    /// All bodies together have no room for it.
    pub fn extend(&mut self, data: &[u8], max: usize) -> Result<(), Full> {
        let length = self.bytes.len() + data.len();
        if length > self.bytes.capacity() {
            let capacity = length.max((2 * self.bytes.capacity()).clamp(SMALLEST, max.max(SMALLEST)));
            self.share.memory.take(capacity - self.share.bytes, self.limit)?;
            self.share.bytes = capacity;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Returns the whole body. Its memory is released when the last clone and the last slice of it are dropped.
    pub fn finish(self) -> Bytes {
        if self.bytes.is_empty() {
            Bytes::new()
        } else {
            Bytes::from_owner(Shared { bytes: self.bytes, _share: self.share })
        }
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.gauge.sub(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory() -> Arc<BodyMemory> {
        BodyMemory::new(IntGauge::new("bytes", "bytes").unwrap())
    }

    #[test]
    fn a_body_is_refused_where_all_together_would_be_too_large_and_nothing_is_lost() {
        let memory = memory();
        let (mut one, mut other) = (memory.begin(5024), memory.begin(5024));
        one.extend(&[1; 4000], 8000).unwrap();
        assert_eq!(other.extend(&[2; 1500], 8000), Err(Full));
        other.extend(&[2; 1000], 8000).unwrap();
        let whole = one.finish();
        let slice = whole.slice(10..20);
        drop(whole);
        assert_eq!(memory.gauge.get(), 5024);
        drop(slice);
        assert_eq!(memory.gauge.get(), 1024);
        drop(other);
        assert_eq!((memory.gauge.get(), memory.used.load(Ordering::Relaxed)), (0, 0));
    }

    proptest! {
        #[test]
        fn a_body_is_what_came_in_and_takes_at_most_twice_its_bytes(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..12)
        ) {
            let memory = memory();
            let mut body = memory.begin(usize::MAX);
            let all = pieces.concat();
            for piece in &pieces {
                body.extend(piece, 16_000).unwrap();
            }
            prop_assert!(body.bytes.capacity() <= (2 * all.len()).max(SMALLEST));
            prop_assert_eq!(memory.used.load(Ordering::Relaxed), body.bytes.capacity());
            let whole = body.finish();
            prop_assert_eq!(&whole[..], &all[..]);
            drop(whole);
            prop_assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        }
    }
}

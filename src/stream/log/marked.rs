//! An event as a log returns it, and the metadata that a coalesced log stores with it. Pure except for the type of its
//! times.

use std::time::Duration;

use tokio::time::Instant;

use crate::stream::event::Flags;

/// An event that is passed to a reader.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The number of the event, from 1.
    pub number: u64,
    /// All of its bytes, the blank line included.
    pub bytes: &'a [u8],
    /// The flags of the event; none in a resumable log.
    pub flags: Flags,
    /// When the stream began, and the event's mark.
    marked: Option<(Instant, Mark)>,
}

impl<'a> Event<'a> {
    /// Makes an event without a mark.
    pub fn plain(number: u64, bytes: &'a [u8], flags: Flags) -> Self {
        Self { number, bytes, flags, marked: None }
    }

    /// Splits off the mark of an event, in a stream that began then.
    pub(super) fn marked(number: u64, marked: &'a [u8], began: Instant) -> Self {
        let Some((mark, bytes)) = marked.split_first_chunk() else {
            return Self::plain(number, marked, Flags::default());
        };
        let mark = Mark(*mark);
        Self { number, bytes, flags: mark.flags(), marked: Some((began, mark)) }
    }

    /// Returns when the event's last byte came in, if that is stored.
    pub fn complete(&self) -> Option<Instant> {
        self.marked.map(|(began, mark)| began + mark.after())
    }
}

/// The bytes of a mark.
const MARK: usize = 6;

/// The flags of an event, and the time between the first event and this one: microseconds, up to twelve days.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark([u8; MARK]);

impl Mark {
    pub(super) fn new(flags: Flags, after: Duration) -> Self {
        let micros = after.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(after.subsec_micros()));
        let micros = micros.min((1 << 40) - 1).to_le_bytes();
        Self([flags.bits(), micros[0], micros[1], micros[2], micros[3], micros[4]])
    }

    pub(super) fn bytes(self) -> [u8; MARK] {
        self.0
    }

    fn flags(self) -> Flags {
        Flags::from_bits(self.0[0])
    }

    fn after(self) -> Duration {
        let [_, a, b, c, d, e] = self.0;
        Duration::from_micros(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_is_read_back(bits: u8, micros in 0..1_u64 << 40) {
            let (flags, after) = (Flags::from_bits(bits), Duration::from_micros(micros));
            let mark = Mark::new(flags, after);
            prop_assert_eq!((mark.flags(), mark.after()), (flags, after));
        }
    }
}

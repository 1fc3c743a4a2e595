//! The last events of a stream by their numbers, within a bound of memory. Pure.
//!
//! Events are packed one behind the other into segments, each with its length before it. A `Bytes` for each would take
//! more than the events of many models do: 32 bytes, an allocation, and the whole buffer that it came in.

use std::collections::VecDeque;

/// What a segment holds, unless a single event is larger. Memory is given back in pieces of this size.
const SEGMENT: usize = 4096;

/// The most bytes that the length of an event takes: 7 bits to a byte.
const MAX_PREFIX: usize = usize::BITS.div_ceil(7) as usize;

/// A bounded log of events. The first event has the number 1, each further one the next number.
#[derive(Debug)]
pub struct Ring {
    segments: VecDeque<Segment>,
    /// The number of the latest event; 0 before the first.
    last: u64,
    /// Memory of all segments.
    held: usize,
    max: usize,
}

#[derive(Debug)]
struct Segment {
    /// The number of its first event.
    first: u64,
    /// Events, each behind its length.
    packed: Vec<u8>,
}

impl Ring {
    /// An empty log that takes up to `max` bytes of memory, or one event where that is larger.
    pub fn new(max: usize) -> Self {
        Self { segments: VecDeque::new(), last: 0, held: 0, max }
    }

    /// Adds an event, and returns its number. The oldest events go where there is no room for it.
    pub fn append(&mut self, event: &[u8]) -> u64 {
        self.last += 1;
        let mut prefix = [0; MAX_PREFIX];
        let prefix = write_length(event.len(), &mut prefix);
        let needed = prefix.len() + event.len();
        if self.segments.back().is_none_or(|open| open.packed.capacity() - open.packed.len() < needed) {
            self.open_segment(needed);
        }
        if let Some(open) = self.segments.back_mut() {
            open.packed.extend_from_slice(prefix);
            open.packed.extend_from_slice(event);
        }
        while self.memory() > self.max && self.evict() {}
        self.last
    }

    /// Gives up the oldest segment; false where there is but one left.
    pub fn evict(&mut self) -> bool {
        if self.segments.len() < 2 {
            return false;
        }
        if let Some(oldest) = self.segments.pop_front() {
            self.held -= oldest.packed.capacity();
        }
        true
    }

    /// Gives up all events. Their numbers are not given out again.
    pub fn clear(&mut self) {
        self.segments = VecDeque::new();
        self.held = 0;
    }

    /// Gives back what is kept for events that will not come.
    pub fn seal(&mut self) {
        self.seal_last();
        self.segments.shrink_to_fit();
    }

    /// The number of the oldest event that is still here; where there is none, of the next one to come.
    pub fn first(&self) -> u64 {
        self.segments.front().map_or(self.last + 1, |oldest| oldest.first)
    }

    /// The number of the latest event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Bytes of memory that the log takes.
    pub fn memory(&self) -> usize {
        self.held + self.segments.capacity() * size_of::<Segment>()
    }

    /// Shows the events behind `after` to `each`, in order, until `limit` bytes of events have been shown; at least one,
    /// if there is one. Returns the number of the last one shown, or `after`.
    ///
    /// What has gone is not shown: see [`Ring::first`].
    pub fn read(&self, after: u64, limit: usize, mut each: impl FnMut(u64, &[u8])) -> u64 {
        let wanted = (after + 1).max(self.first());
        let holds_it = self.segments.partition_point(|segment| segment.first <= wanted).saturating_sub(1);
        let (mut shown, mut bytes) = (after, 0);
        for segment in self.segments.range(holds_it.min(self.segments.len())..) {
            let events = Events(&segment.packed);
            for (number, event) in (segment.first..).zip(events).skip_while(|(number, _)| *number < wanted) {
                if shown > after && bytes + event.len() > limit {
                    return shown;
                }
                each(number, event);
                bytes += event.len();
                shown = number;
            }
        }
        shown
    }

    fn open_segment(&mut self, needed: usize) {
        self.seal_last();
        let packed = Vec::with_capacity(needed.max(SEGMENT));
        self.held += packed.capacity();
        self.segments.push_back(Segment { first: self.last, packed });
    }

    fn seal_last(&mut self) {
        if let Some(full) = self.segments.back_mut() {
            self.held -= full.packed.capacity();
            full.packed.shrink_to_fit();
            self.held += full.packed.capacity();
        }
    }
}

/// The events of a segment.
struct Events<'a>(&'a [u8]);

impl<'a> Iterator for Events<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (event, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(event)
    }
}

/// Writes a length, seven bits to a byte, the lowest first; the high bit says that more follow.
fn write_length(mut length: usize, space: &mut [u8; MAX_PREFIX]) -> &[u8] {
    let mut used = 0;
    for byte in space.iter_mut() {
        *byte = (length & 0x7f) as u8;
        length >>= 7;
        used += 1;
        if length == 0 {
            break;
        }
        *byte |= 0x80;
    }
    &space[..used]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(ring: &Ring, after: u64, limit: usize) -> BTreeMap<u64, Vec<u8>> {
        let mut read = BTreeMap::new();
        let last = ring.read(after, limit, |number, event| assert!(read.insert(number, event.to_vec()).is_none()));
        assert_eq!(last, read.keys().next_back().copied().unwrap_or(after));
        read
    }

    #[test]
    fn a_thousand_events_take_little_more_than_their_bytes() {
        // from the shortest chunk that a model sends to a long one with log probabilities
        for size in [30, 60, 180, 320, 1200, 2049, 5000] {
            let mut ring = Ring::new(usize::MAX);
            let event = vec![b'x'; size];
            for _ in 0..1000 {
                ring.append(&event);
            }
            let open = ring.memory() as f64 / (1000 * size) as f64;
            ring.seal();
            let sealed = ring.memory() as f64 / (1000 * size) as f64;
            assert!(open < 1.3 && sealed <= open && sealed < 1.1, "{size}: {open} {sealed}");
        }
    }

    #[test]
    fn the_latest_event_stays_however_large_it_is() {
        let mut ring = Ring::new(100);
        ring.append(b"small");
        ring.append(&[b'x'; 10_000]);
        assert_eq!((ring.first(), ring.last()), (2, 2));
        assert_eq!(all(&ring, 1, 1)[&2].len(), 10_000);
        ring.append(&[b'y'; 10_000]);
        assert_eq!((ring.first(), ring.last()), (3, 3));
    }

    #[test]
    fn a_cleared_log_gives_out_no_number_twice() {
        let mut ring = Ring::new(1000);
        ring.append(b"a");
        ring.clear();
        assert_eq!((ring.first(), ring.last(), ring.memory()), (2, 1, 0));
        assert_eq!(ring.append(b"b"), 2);
    }

    #[test]
    fn an_empty_log_shows_nothing() {
        assert_eq!(all(&Ring::new(10), 0, 10), BTreeMap::new());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended_and_memory_is_bounded(
            sizes in prop::collection::vec(prop_oneof![0..40usize, 100..300usize, 3000..9000usize], 1..120),
            max in 0..40_000usize,
            after in 0..130u64,
            limit in 0..9000usize,
        ) {
            let mut ring = Ring::new(max);
            let events: Vec<Vec<u8>> = (1u8..).zip(&sizes).map(|(i, size)| vec![i; *size]).collect();
            for (number, event) in (1..).zip(&events) {
                prop_assert_eq!(ring.append(event), number);
                let latest = all(&ring, number - 1, 0);
                prop_assert_eq!(latest.get(&number), Some(event), "the latest is there");
                let newest = event.len().max(SEGMENT) + MAX_PREFIX + ring.segments.capacity() * size_of::<Segment>();
                prop_assert!(ring.memory() <= max.max(newest));
            }
            let held: usize = ring.segments.iter().map(|segment| segment.packed.capacity()).sum();
            prop_assert_eq!(held, ring.held);
            let read = all(&ring, after, limit);
            let wanted: BTreeMap<u64, Vec<u8>> =
                (1..).zip(events).filter(|(number, _)| *number >= ring.first() && *number > after).collect();
            prop_assert!(read.iter().eq(wanted.iter().take(read.len())), "in order, without a hole");
            let bytes: usize = read.values().map(Vec::len).sum();
            let first = wanted.values().next().map_or(0, Vec::len);
            prop_assert!(bytes <= limit.max(first));
            match wanted.get(&(after.max(ring.first() - 1) + read.len() as u64 + 1)) {
                Some(next) => prop_assert!(!read.is_empty() && bytes + next.len() > limit, "as many as fit"),
                None => prop_assert_eq!(read.len(), wanted.len()),
            }
        }

        #[test]
        fn every_length_is_read_back(length: u32) {
            let mut space = [0; MAX_PREFIX];
            let prefix = write_length(length as usize & 0xf_ffff, &mut space).to_vec();
            let packed = [prefix, vec![7; length as usize & 0xf_ffff], vec![0]].concat();
            let events: Vec<usize> = Events(&packed).map(<[u8]>::len).collect();
            prop_assert_eq!(events, [length as usize & 0xf_ffff, 0]);
        }
    }
}

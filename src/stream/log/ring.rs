//! The last events of a stream by their numbers, within a bound of memory. Pure.
//!
//! Events are packed one behind the other into segments, each with its length before it. A `Bytes` for each would take
//! more than the events of many models do: 32 bytes, an allocation, and the whole buffer that it came in.

use std::collections::VecDeque;

/// The bytes of a segment, unless a single event is larger. Memory is freed in pieces of this size.
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
    /// Bytes that are packed in them.
    bytes: usize,
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
    /// Makes an empty log of up to `max` bytes of memory, or one event if that is larger.
    pub fn new(max: usize) -> Self {
        Self { segments: VecDeque::new(), last: 0, held: 0, bytes: 0, max }
    }

    /// Adds an event under the next number, as these two parts. If there is no room, the oldest events are evicted.
    pub fn append(&mut self, head: &[u8], event: &[u8]) {
        self.last += 1;
        let mut prefix = [0; MAX_PREFIX];
        let prefix = write_length(head.len() + event.len(), &mut prefix);
        let needed = prefix.len() + head.len() + event.len();
        if self.segments.back().is_none_or(|open| open.packed.capacity() - open.packed.len() < needed) {
            self.open_segment(needed);
        }
        if let Some(open) = self.segments.back_mut() {
            open.packed.extend_from_slice(prefix);
            open.packed.extend_from_slice(head);
            open.packed.extend_from_slice(event);
        }
        self.bytes += needed;
        while self.memory() > self.max && self.evict() {}
    }

    /// Evicts the oldest segment. Returns false if it is the only one.
    pub fn evict(&mut self) -> bool {
        if self.segments.len() < 2 {
            return false;
        }
        if let Some(oldest) = self.segments.pop_front() {
            self.held -= oldest.packed.capacity();
            self.bytes -= oldest.packed.len();
        }
        true
    }

    /// Evicts the segments whose events all have smaller numbers than this one.
    pub fn evict_before(&mut self, number: u64) {
        while self.segments.get(1).is_some_and(|next| next.first <= number) && self.evict() {}
    }

    /// Evicts all events. Their numbers are not used again.
    pub fn clear(&mut self) {
        self.segments = VecDeque::new();
        (self.held, self.bytes) = (0, 0);
    }

    /// Frees the memory that is reserved for further events. None will follow.
    pub fn seal(&mut self) {
        self.seal_last();
        self.segments.shrink_to_fit();
    }

    /// Returns the number of the oldest stored event, or of the next event if none is stored.
    pub fn first(&self) -> u64 {
        self.segments.front().map_or(self.last + 1, |oldest| oldest.first)
    }

    /// Returns the number of the latest event, or 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns the bytes of all stored events, with their lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes of memory that the log takes.
    pub fn memory(&self) -> usize {
        self.held + self.segments.capacity() * size_of::<Segment>()
    }

    /// Passes the events behind `place` to `each`, in order, until `limit` bytes of events have been passed; at least one,
    /// if there is one. The place is then behind the last one.
    ///
    /// Evicted events are skipped: see [`Ring::first`].
    pub fn read(&self, place: &mut Place, limit: usize, mut each: impl FnMut(u64, &[u8])) {
        let wanted = (place.after + 1).max(self.first());
        let (mut shown, mut bytes) = (false, 0);
        // by index: nearly always this is the last segment alone, and making a range iterator costs more than the rest
        for segment in (self.holder(wanted)..self.segments.len()).map(|index| &self.segments[index]) {
            let (mut number, mut offset) = match segment.first == place.segment {
                true => (place.after + 1, place.offset),
                false => (segment.first, 0),
            };
            while let Some((event, end)) = event_at(&segment.packed, offset) {
                if number >= wanted {
                    bytes += event.len();
                    if shown && bytes > limit {
                        return;
                    }
                    each(number, event);
                    shown = true;
                    *place = Place { after: number, segment: segment.first, offset: end };
                }
                number += 1;
                offset = end;
            }
        }
    }

    /// Returns the place behind the latest event.
    pub fn end(&self) -> Place {
        let latest = self.segments.back();
        let (segment, offset) = latest.map_or((0, 0), |latest| (latest.first, latest.packed.len()));
        Place { after: self.last, segment, offset }
    }

    /// Returns the index of the segment that holds this event or would hold it: readers are nearly always at the latest one.
    fn holder(&self, number: u64) -> usize {
        match self.segments.back() {
            Some(latest) if latest.first > number => {
                self.segments.partition_point(|segment| segment.first <= number).saturating_sub(1)
            }
            _ => self.segments.len().saturating_sub(1),
        }
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

/// The place of a reader in a [`Ring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number of the event before it.
    after: u64,
    /// The number of the first event in the segment of the place; 0 if the segment must be searched for.
    segment: u64,
    /// The offset in the segment at which the next event begins.
    offset: usize,
}

impl Place {
    /// Returns the place behind the event of this number; 0 is the beginning.
    pub fn behind(after: u64) -> Self {
        Self { after, segment: 0, offset: 0 }
    }

    /// Returns the number of the event before the place.
    pub fn after(&self) -> u64 {
        self.after
    }
}

/// Returns the event that begins at this offset, without its length, and the offset of its end.
fn event_at(packed: &[u8], offset: usize) -> Option<(&[u8], usize)> {
    let (mut length, mut shift, mut at) = (0, 0, offset);
    loop {
        let byte = *packed.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((packed.get(at..at + length)?, at + length))
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
        let mut place = Place::behind(after);
        read(ring, &mut place, limit)
    }

    fn read(ring: &Ring, place: &mut Place, limit: usize) -> BTreeMap<u64, Vec<u8>> {
        let (mut read, before) = (BTreeMap::new(), place.after());
        ring.read(place, limit, |number, event| assert!(read.insert(number, event.to_vec()).is_none()));
        assert_eq!(place.after(), read.keys().next_back().copied().unwrap_or(before));
        read
    }

    #[test]
    fn a_thousand_events_take_little_more_than_their_bytes() {
        // from the shortest chunk that a model sends to a long one with log probabilities
        for size in [30, 60, 180, 320, 1200, 2049, 5000] {
            let mut ring = Ring::new(usize::MAX);
            let event = vec![b'x'; size];
            for _ in 0..1000 {
                ring.append(b"", &event);
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
        ring.append(b"", b"small");
        ring.append(b"", &[b'x'; 10_000]);
        assert_eq!((ring.first(), ring.last()), (2, 2));
        assert_eq!(all(&ring, 1, 1)[&2].len(), 10_000);
        ring.append(b"", &[b'y'; 10_000]);
        assert_eq!((ring.first(), ring.last()), (3, 3));
    }

    #[test]
    fn a_cleared_log_gives_out_no_number_twice() {
        let mut ring = Ring::new(1000);
        ring.append(b"", b"a");
        ring.clear();
        assert_eq!((ring.first(), ring.last(), ring.memory()), (2, 1, 0));
        ring.append(b"", b"b");
        assert_eq!((ring.first(), ring.last()), (2, 2));
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
                ring.append(b"", event);
                prop_assert_eq!(ring.last(), number);
                let latest = all(&ring, number - 1, 0);
                prop_assert_eq!(latest.get(&number), Some(event), "the latest is there");
                let newest = event.len().max(SEGMENT) + MAX_PREFIX + ring.segments.capacity() * size_of::<Segment>();
                prop_assert!(ring.memory() <= max.max(newest));
            }
            let held: usize = ring.segments.iter().map(|segment| segment.packed.capacity()).sum();
            prop_assert_eq!(held, ring.held);
            let packed: usize = ring.segments.iter().map(|segment| segment.packed.len()).sum();
            prop_assert_eq!(packed, ring.bytes());
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
        fn a_reader_that_goes_on_sees_what_one_that_looks_for_its_place_sees(
            steps in prop::collection::vec((prop_oneof![0..40usize, 100..300usize, 3000..9000usize], any::<bool>()), 1..80),
            max in 0..40_000usize,
            limit in 0..9000usize,
        ) {
            let mut ring = Ring::new(max);
            let mut place = Place::behind(0);
            for (size, reads) in steps {
                ring.append(b"", &vec![b'x'; size]);
                if reads {
                    let looked_for = all(&ring, place.after(), limit);
                    prop_assert_eq!(read(&ring, &mut place, limit), looked_for);
                }
            }
        }

        #[test]
        fn every_length_is_read_back(length: u32) {
            let mut space = [0; MAX_PREFIX];
            let prefix = write_length(length as usize & 0xf_ffff, &mut space).to_vec();
            let packed = [prefix, vec![7; length as usize & 0xf_ffff], vec![0]].concat();
            let (first, end) = event_at(&packed, 0).unwrap();
            let (second, end) = event_at(&packed, end).unwrap();
            prop_assert_eq!((first.len(), second.len(), end), (length as usize & 0xf_ffff, 0, packed.len()));
            prop_assert_eq!(event_at(&packed, end), None);
        }
    }
}

//! The events of a cached stream, packed, with the metadata of each.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;

use crate::stream::event::Flags;
use families::answer::Piece;
use families::family::Family;
use sse::event::Fields;

/// The events of a stream, packed one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    text: Bytes,
    marks: Arc<[Mark]>,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// All of its bytes, the blank line included.
    pub block: &'a [u8],
    /// Time between the first event and this one, in milliseconds.
    pub after: u32,
    /// The flags of the event.
    pub flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    end: u32,
    after: u32,
    flags: u8,
}

/// The flags that an entry stores for each event.
const STORED: u8 = Flags::OUTPUT.bits()
    | Flags::USAGE_ONLY.bits()
    | Flags::DATA.bits()
    | Flags::ID_OR_RETRY.bits()
    | Flags::UNENDED.bits();

/// Collects the events of an answer, in their order.
#[derive(Default)]
pub struct Collector {
    text: BytesMut,
    marks: Vec<Mark>,
    first: Option<Instant>,
    /// The events have more than 4 GiB.
    too_large: bool,
}

impl Collector {
    /// Adds an event, with the time at which its last byte came in.
    pub fn push(&mut self, block: &[u8], flags: Flags, complete: Option<Instant>) {
        let first = self.first.or(complete);
        let after = complete.zip(first).map(|(complete, first)| complete.saturating_duration_since(first));
        self.first = first;
        let after = u32::try_from(after.unwrap_or_default().as_millis()).unwrap_or(u32::MAX);
        self.add(Event { block, after, flags });
    }

    fn add(&mut self, event: Event<'_>) {
        self.text.put_slice(event.block);
        let end = u32::try_from(self.text.len());
        self.too_large |= end.is_err();
        self.marks.push(Mark { end: end.unwrap_or(u32::MAX), after: event.after, flags: event.flags.bits() & STORED });
    }

    /// Returns the events, or `None` if they have more than 4 GiB.
    pub fn finish(self) -> Option<Events> {
        let Self { text, marks, too_large, .. } = self;
        (!too_large).then(|| Events { text: text.freeze(), marks: marks.into() })
    }
}

impl Events {
    /// Returns the event with this number, from 0.
    pub fn get(&self, number: usize) -> Option<Event<'_>> {
        let mark = self.marks.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.marks[before].end);
        let block = &self.text[start as usize..mark.end as usize];
        Some(Event { block, after: mark.after, flags: Flags::from_bits(mark.flags) })
    }

    /// Returns the events that stream this completion, or `None` if its family cannot split it.
    pub fn streaming(completion: &[u8], family: &dyn Family) -> Option<Self> {
        let mut events = Collector::default();
        for Piece { event, output, usage_only } in family.split(completion)? {
            let flags = Flags::DATA | Flags::OUTPUT.when(output) | Flags::USAGE_ONLY.when(usage_only);
            events.push(&event, flags, None);
        }
        events.finish()
    }

    /// Returns the completion of these events, or `None` if their family cannot join them.
    pub fn completion(&self, family: &dyn Family) -> Option<Vec<u8>> {
        completion(self.iter().map(|event| event.block), family)
    }

    /// Iterates over all events.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.marks.len()).filter_map(|number| self.get(number))
    }
}

/// Returns the completion of these events, or `None` if their family cannot join them.
pub fn completion(events: impl IntoIterator<Item: AsRef<[u8]>>, family: &dyn Family) -> Option<Vec<u8>> {
    let events: Vec<_> = events.into_iter().collect();
    let data: Vec<_> = events.iter().filter_map(|event| Fields::of(event.as_ref()).data).collect();
    family.join(&data.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

impl Events {
    /// Returns about the bytes of memory that the events take.
    pub fn weight(&self) -> usize {
        self.text.len() + self.marks.len() * size_of::<Mark>()
    }

    /// Serializes the events for [`Events::decode`].
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // an event has at least two bytes, so at most 2^31 events fit
        out.put_u32(self.marks.len() as u32);
        for mark in self.marks.iter() {
            out.put_u32(mark.end);
            out.put_u32(mark.after);
            out.put_u8(mark.flags);
        }
        out.put_slice(&self.text);
    }

    /// Deserializes events. Returns `None` if a length is wrong.
    pub(super) fn decode(mut input: Input) -> Option<Self> {
        let count = input.u32()?;
        // checked before memory is allocated for them
        (count as usize <= input.0.len() / 9).then_some(())?;
        let mut marks: Vec<Mark> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let mark = Mark { end: input.u32()?, after: input.u32()?, flags: input.u8()? };
            let before = marks.last().map_or(0, |mark| mark.end);
            (mark.end > before && mark.flags & !STORED == 0).then_some(())?;
            marks.push(mark);
        }
        let end = marks.last().map_or(0, |mark| mark.end);
        (end as usize == input.0.len()).then(|| Self { text: input.0, marks: marks.into() })
    }
}

/// The bytes that are still to be read.
pub(super) struct Input(pub(super) Bytes);

impl Input {
    pub(super) fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.number().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) type Written = (Vec<u8>, u32, u8);

    pub(crate) fn events() -> impl Strategy<Value = Vec<Written>> {
        let event = (prop::collection::vec(any::<u8>(), 1..40), any::<u32>(), 0..=STORED);
        prop::collection::vec(event, 0..20)
    }

    pub(crate) fn collect(events: &[Written]) -> Events {
        let mut collector = Collector::default();
        for (block, after, flags) in events {
            collector.add(Event { block, after: *after, flags: Flags::from_bits(*flags) });
        }
        collector.finish().unwrap()
    }

    proptest! {
        #[test]
        fn events_come_out_as_they_went_in(events in events()) {
            let collected = collect(&events);
            let read = collected.iter().map(|event| (event.block.to_vec(), event.after, event.flags.bits()));
            prop_assert_eq!(read.collect::<Vec<_>>(), events);
        }
    }
}

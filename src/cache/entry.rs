//! A cached answer, and its serialized form for other instances.
//!
//! Bytes are accepted only if all of them are correct: the version of the format, the key, the owner, a hash over every
//! byte, and every length. All other bytes are not an entry.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use ring::digest::{SHA256, digest};

use super::events::{Events, Input};
use super::key::{Key, Owner};
use crate::spend::tally::Tally;
use families::family::Family;
use families::usage::Usage;

/// The first bytes of a serialized entry: format and version.
const MAGIC: &[u8; 8] = b"twcache3";
const HASH: usize = 32;
/// About the bytes that an entry needs in addition to its text: the value itself and its slot in the store.
const OVERHEAD: usize = 512;

/// A cached answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When the answer was complete, in milliseconds since the epoch.
    pub stored_at: u64,
    /// The counts of the answer, for meters. Its estimate of the prompt is 0.
    pub tally: Tally,
    /// The answer.
    pub answer: Answer,
}

/// The form in which the upstream sent the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A stream of events.
    Streamed(Events),
    /// One JSON object.
    Whole(Bytes),
}

impl Entry {
    /// Makes the entry of an answer that was complete at this time, in milliseconds since the epoch.
    pub fn new(stored_at: u64, tally: Tally, answer: Answer) -> Self {
        // each request has its own prompt
        Self { stored_at, tally: Tally { prompt_tokens: 0, ..tally }, answer }
    }

    /// Returns the complete answer, or `None` if its events cannot be joined.
    pub fn completion(&self, family: &dyn Family) -> Option<Bytes> {
        match &self.answer {
            Answer::Whole(json) => Some(json.clone()),
            Answer::Streamed(events) => events.completion(family).map(Bytes::from),
        }
    }

    /// Returns the age of the entry at this time.
    pub fn age(&self, now: u64) -> Duration {
        // clocks of instances differ: an entry from the future counts as new
        Duration::from_millis(now.saturating_sub(self.stored_at))
    }

    /// Whether the answer can be sent in this form. The original form is always possible. For the other form the answer must
    /// be parsed, and an upstream can send content that a client ignores and no parser accepts.
    pub fn can_be_sent(&self, streamed: bool, family: &dyn Family) -> bool {
        match (&self.answer, streamed) {
            (Answer::Streamed(_), true) | (Answer::Whole(_), false) => true,
            (Answer::Streamed(events), false) => events.completion(family).is_some(),
            (Answer::Whole(json), true) => Events::streaming(json, family).is_some(),
        }
    }

    /// Returns about the bytes of memory that the entry takes.
    pub fn weight(&self) -> usize {
        OVERHEAD
            + match &self.answer {
                Answer::Whole(json) => json.len(),
                Answer::Streamed(events) => events.weight(),
            }
    }

    /// Serializes the entry under this key for this owner.
    pub fn encode(&self, key: Key, owner: Owner) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.weight());
        out.put_slice(MAGIC);
        out.put_slice(&key.0.0);
        out.put_slice(&owner.0.0);
        out.put_u64(self.stored_at);
        let Tally { output_events, output_bytes, usage, finished, done, .. } = &self.tally;
        out.put_u64(*output_events);
        out.put_u64(*output_bytes);
        out.put_u8(u8::from(*finished) | u8::from(*done) << 1 | u8::from(usage.is_some()) << 2);
        let usage = usage.unwrap_or_default();
        [usage.prompt, usage.completion, usage.cached, usage.cache_write, usage.reasoning]
            .into_iter()
            .for_each(|count| out.put_u64(count));
        match &self.answer {
            Answer::Whole(json) => {
                out.put_u8(0);
                out.put_slice(json);
            }
            Answer::Streamed(events) => {
                out.put_u8(1);
                events.encode(&mut out);
            }
        }
        let hash = digest(&SHA256, &out);
        out.put_slice(hash.as_ref());
        out
    }

    /// Deserializes an entry. Returns `None` for bytes that were not written under this key, for this owner, by this
    /// version.
    pub fn decode(bytes: Bytes, key: Key, owner: Owner) -> Option<Self> {
        let (signed, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if digest(&SHA256, signed).as_ref() != hash {
            return None;
        }
        let mut input = Input(bytes.slice(..signed.len()));
        let expected = [MAGIC.as_slice(), &key.0.0, &owner.0.0];
        for part in expected {
            (input.take(part.len())? == part).then_some(())?;
        }
        let stored_at = input.u64()?;
        let (output_events, output_bytes) = (input.u64()?, input.u64()?);
        let flags = input.u8()?;
        (flags < 8).then_some(())?;
        let usage = Usage {
            prompt: input.u64()?,
            completion: input.u64()?,
            cached: input.u64()?,
            cache_write: input.u64()?,
            reasoning: input.u64()?,
        };
        let tally = Tally {
            output_events,
            output_bytes,
            usage: (flags & 4 != 0).then_some(usage),
            finished: flags & 1 != 0,
            done: flags & 2 != 0,
            ..Tally::default()
        };
        let answer = match input.u8()? {
            0 => Answer::Whole(input.0),
            1 => Answer::Streamed(Events::decode(input)?),
            _ => return None,
        };
        Some(Self { stored_at, tally, answer })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::events::tests::{collect, events};
    use crate::cache::key::{Asked, Route};

    fn key(request: &str) -> (Key, Owner) {
        let owner = Owner::everybody();
        (Asked::new("chat", request.as_bytes(), owner).key(&Route::new("m", "u", "b", "m")), owner)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let answer = prop_oneof![
            events().prop_map(|events| Answer::Streamed(collect(&events))),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|json| Answer::Whole(json.into())),
        ];
        let usage = prop::option::of(any::<[u64; 5]>());
        (answer, usage, any::<u64>(), any::<(u64, u64, bool, bool)>()).prop_map(
            |(answer, usage, stored_at, (output_events, output_bytes, finished, done))| {
                let usage = usage.map(|[prompt, completion, cached, cache_write, reasoning]| Usage {
                    prompt,
                    completion,
                    cached,
                    cache_write,
                    reasoning,
                });
                let tally = Tally { output_events, output_bytes, usage, finished, done, ..Tally::default() };
                Entry { stored_at, tally, answer }
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_was(entry in entry()) {
            let (key, owner) = key("{}");
            prop_assert_eq!(Entry::decode(entry.encode(key, owner).into(), key, owner), Some(entry));
        }

        #[test]
        fn one_that_was_changed_anywhere_is_none(entry in entry(), at: prop::sample::Index, bit in 0..8_u8) {
            let (key, owner) = key("{}");
            let mut bytes = entry.encode(key, owner);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Entry::decode(bytes.into(), key, owner), None);
        }

        #[test]
        fn one_of_another_length_is_none(entry in entry(), cut: prop::sample::Index, more in prop::collection::vec(any::<u8>(), 1..9)) {
            let (key, owner) = key("{}");
            let bytes = entry.encode(key, owner);
            let shorter = Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]);
            prop_assert_eq!(Entry::decode(shorter, key, owner), None);
            prop_assert_eq!(Entry::decode([bytes, more].concat().into(), key, owner), None);
        }

        /// Bytes with the right hash are still parsed with care.
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..120), form in 0..3_u8, count: u8) {
            let (key, owner) = key("{}");
            let head = Entry { stored_at: 0, tally: Tally::default(), answer: Answer::Whole(Bytes::new()) }.encode(key, owner);
            let mut bytes = head[..head.len() - HASH - 1].to_vec();
            bytes.extend([form, 0, 0, 0, count]);
            bytes.extend(body);
            let hash = digest(&SHA256, &bytes);
            bytes.extend_from_slice(hash.as_ref());
            let _ = Entry::decode(bytes.into(), key, owner);
        }
    }

    #[test]
    fn one_of_another_key_or_owner_is_none() {
        let entry = Entry { stored_at: 7, tally: Tally::default(), answer: Answer::Whole(Bytes::from_static(b"{}")) };
        let (one, owner) = key("{}");
        let (other, _) = key("{ }");
        let bytes: Bytes = entry.encode(one, owner).into();
        assert!(Entry::decode(bytes.clone(), one, owner).is_some());
        assert_eq!(Entry::decode(bytes.clone(), other, owner), None);
        assert_eq!(Entry::decode(bytes, one, Owner(other.0)), None);
        assert_eq!(Entry::decode(Bytes::new(), one, owner), None);
    }
}

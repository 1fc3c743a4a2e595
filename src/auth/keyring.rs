//! Finds gateway keys by their hash, compared in constant time, with one answer for unknown, revoked and expired keys. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::caller::{Caller, Terms};
use super::key::{self, KeyHash};
use super::refusal::Refusal;

/// One key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The unique name, for logs and metrics.
    pub name: Arc<str>,
    /// The hash.
    pub hash: KeyHash,
    /// The end of its validity, in seconds since the epoch.
    pub expires: Option<u64>,
    /// When it was revoked, in seconds since the epoch. The record stays, so that its name is not used again.
    pub revoked: Option<u64>,
    /// The terms of its holder.
    pub terms: Terms,
}

/// Every key of the keys file.
#[derive(Debug, Default)]
pub struct Keyring {
    records: Vec<Held>,
    /// The buckets, by the first 8 bytes of the hash. A client does not choose the hash of its text, so the time to find a
    /// bucket reveals nothing about the stored keys.
    buckets: HashMap<u64, Vec<usize>>,
}

#[derive(Debug)]
struct Held {
    record: KeyRecord,
    /// The caller's [`Caller::id`], made once.
    id: Arc<str>,
}

impl Keyring {
    /// Makes a keyring of these keys.
    pub fn new(records: Vec<KeyRecord>) -> Self {
        let mut buckets: HashMap<u64, Vec<usize>> = HashMap::with_capacity(records.len());
        for (place, record) in records.iter().enumerate() {
            buckets.entry(bucket(&record.hash)).or_default().push(place);
        }
        let held = |record: KeyRecord| Held { id: format!("key:{}", record.name).into(), record };
        Self { records: records.into_iter().map(held).collect(), buckets }
    }

    /// Returns every key, in the order of the file.
    pub fn records(&self) -> impl Iterator<Item = &KeyRecord> {
        self.records.iter().map(|held| &held.record)
    }

    /// Returns the caller that presents this text at the time `now`, in seconds since the epoch.
    ///
    /// Any text is hashed and compared before anything else is checked, so that the time reveals no more than the answer.
    ///
    /// # Errors
    /// The reason of the refusal; the response does not contain it.
    pub fn find(&self, text: &str, address: IpAddr, now: u64) -> Result<Caller, Refusal> {
        let presented = KeyHash::of(text);
        let refusal = match self.matching(&presented) {
            Some(Held { record, id }) => match refused(record, now) {
                None => {
                    let (name, id) = (Arc::clone(&record.name), Arc::clone(id));
                    return Ok(Caller::key(name, id, address, record.terms.clone()));
                }
                Some(refusal) => refusal,
            },
            None => Refusal::Unknown,
        };
        // a text without a valid checksum was damaged on its way, which helps the operator
        let damaged = !key::is_whole(text);
        Err(if damaged && refusal == Refusal::Unknown { Refusal::Malformed } else { refusal })
    }

    fn matching(&self, presented: &KeyHash) -> Option<&Held> {
        const NONE: u32 = u32::MAX;
        let candidates = self.buckets.get(&bucket(presented)).map_or(&[][..], Vec::as_slice);
        // one comparison at least, also without a bucket
        let unknown = KeyHash([0; 32]);
        let mut found = NONE;
        for place in candidates.iter().copied().map(Some).chain([None]) {
            let stored = place.map_or(&unknown, |place| &self.records[place].record.hash);
            let place = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(NONE);
            let same: Choice = stored.0.ct_eq(&presented.0);
            found = u32::conditional_select(&found, &place, same);
        }
        self.records.get(found as usize)
    }
}

fn refused(record: &KeyRecord, now: u64) -> Option<Refusal> {
    let revoked = record.revoked.is_some_and(|since| since <= now);
    let expired = record.expires.is_some_and(|end| end <= now);
    match (revoked, expired) {
        (true, _) => Some(Refusal::Revoked),
        (false, true) => Some(Refusal::Expired),
        (false, false) => None,
    }
}

fn bucket(hash: &KeyHash) -> u64 {
    hash.0.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use tokio::time::Instant;

    use super::super::key::Key;
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn key(number: u8) -> Key {
        Key::from_random([number; 32])
    }

    fn record(name: &str, key: &Key) -> KeyRecord {
        KeyRecord { name: name.into(), hash: key.hash(), expires: None, revoked: None, terms: Terms::default() }
    }

    fn ring() -> Keyring {
        let mut records: Vec<_> = (0..50).map(|number| record(&format!("bot-{number}"), &key(number))).collect();
        records[1].expires = Some(NOW);
        records[2].revoked = Some(NOW - 5);
        records[3].expires = Some(NOW + 1);
        records[4].terms.models = Some(vec!["m".to_owned()].into());
        Keyring::new(records)
    }

    #[test]
    fn a_key_is_its_caller_with_its_own_terms() {
        let find = |number| ring().find(key(number).expose(), ADDRESS, NOW).unwrap();
        assert_eq!((find(0).id(), find(0).label()), ("key:bot-0", "bot-0"));
        assert!(find(0).may_use("x") && find(4).may_use("m") && !find(4).may_use("x"));
        assert_eq!(find(3).label(), "bot-3");
        assert_eq!(find(49).label(), "bot-49");
    }

    #[test]
    fn unknown_expired_revoked_and_damaged_keys_are_refused_with_one_answer() {
        let refused = |text: &str| ring().find(text, ADDRESS, NOW).unwrap_err();
        assert_eq!(refused(key(99).expose()), Refusal::Unknown);
        assert_eq!(refused(key(1).expose()), Refusal::Expired);
        assert_eq!(refused(key(2).expose()), Refusal::Revoked);
        let cut = &key(0).expose()[..51].to_owned();
        for damaged in [cut, "", "tw_", "tw_0", "sk-other", &format!("{} ", key(0).expose())] {
            assert_eq!(refused(damaged), Refusal::Malformed, "{damaged}");
        }
        let answer = refused(cut).reject();
        for number in [99, 1, 2] {
            assert_eq!(refused(key(number).expose()).reject(), answer);
        }
        assert!(Keyring::default().find(key(0).expose(), ADDRESS, NOW).is_err());
    }

    #[test]
    fn keys_of_one_bucket_are_distinguished() {
        let (a, b) = (key(1), key(2));
        let mut twin = record("b", &b);
        twin.hash.0[..8].copy_from_slice(&a.hash().0[..8]);
        let ring = Keyring::new(vec![twin, record("a", &a)]);
        assert_eq!(ring.find(a.expose(), ADDRESS, NOW).unwrap().label(), "a");
        assert!(ring.find(b.expose(), ADDRESS, NOW).is_err());
    }

    /// Times the three cases that must look alike in turn, so that other load of the machine affects each of them. A
    /// comparison that ends at the first difference, or a hash that is skipped, moves the medians apart.
    #[test]
    fn time_does_not_distinguish_unknown_from_expired_keys_and_from_keys_with_a_good_beginning() {
        let ring = ring();
        let mut near = key(0).expose().to_owned();
        near.replace_range(48..52, "zzzz");
        let texts = [key(99).expose().to_owned(), key(1).expose().to_owned(), near];
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..10_000 {
            for (text, times) in texts.iter().zip(&mut times) {
                let begun = Instant::now();
                let refused = black_box(ring.find(black_box(text), ADDRESS, NOW));
                times.push(begun.elapsed().as_nanos());
                assert!(refused.is_err());
            }
        }
        let medians = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        // unoptimised code counts for more than the differences that would matter: a skipped hash is a factor
        assert!(*most <= *least + *least / 4 + 200, "{medians:?} ns");
    }
}

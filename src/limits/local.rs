//! The counts of all callers in one process.
//!
//! If a set is full, a new caller evicts one whose limits have all recovered, which loses nothing; if there is none, the one that
//! recovers next. So a million addresses with one request each evict each other, and never a caller that has used up its burst.

use std::sync::MutexGuard;

use tokio::time::Instant;

use crate::bounded_table::{BoundedTable, Key, Set};
use crate::limits::claim::{Claims, Counts, Refusal, Scoped, Settlement};

/// The counts of this process.
pub(super) struct Table {
    places: BoundedTable<Counts>,
    epoch: Instant,
}

/// The reply of a store to a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    /// The store's time, microseconds.
    pub(super) now: u64,
    /// The counts after the claim; unchanged if it was refused.
    pub(super) counts: Scoped<Counts>,
    /// `None` if the claim was granted.
    pub(super) refusal: Option<Refusal>,
}

impl Table {
    /// A table with room for so many callers: 80 bytes each, once the first request is counted.
    pub(super) fn new(callers: usize) -> Self {
        Self { places: BoundedTable::new(callers), epoch: Instant::now() }
    }

    /// Decides a claim, and takes all of it or nothing.
    pub(super) fn admit(&self, claims: &Claims) -> Reply {
        let places = claims.scopes.map(|claim| claim.map(|claim| (self.places.set_of(claim.key), claim.key)));
        let mut sets = self.lock(places.map(|place| place.map(|(set, _)| set)));
        // read under the locks, so that no two claims are out of order
        let now = self.now();
        let counts = [0, 1].map(|scope| places[scope].map(|(set, key)| sets.counts(set, key)));
        match claims.admit(counts, now) {
            Err(refusal) => Reply { now, counts, refusal: Some(refusal) },
            Ok(after) => {
                for ((set, key), counts) in places.into_iter().zip(after).filter_map(|(place, after)| place.zip(after))
                {
                    sets.write(set, key, counts);
                }
                Reply { now, counts: after, refusal: None }
            }
        }
    }

    /// Settles at the end. An evicted caller stays evicted.
    pub(super) fn settle(&self, settlement: &Settlement) {
        let mut set = self.places.lock(self.places.set_of(settlement.key));
        if let Some(counts) = set.find(settlement.key) {
            *counts = settlement.apply(*counts, self.now());
        }
    }

    /// Microseconds since the table was made.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Locks these sets, the lower one first, so that there is no deadlock.
    fn lock(&self, sets: Scoped<usize>) -> Locked<'_> {
        let lock = |set: usize| (set, self.places.lock(set));
        match sets {
            [Some(a), Some(b)] if a != b => {
                let (low, high) = (lock(a.min(b)), lock(a.max(b)));
                Locked([Some(low), Some(high)])
            }
            [Some(set), _] | [None, Some(set)] => Locked([Some(lock(set)), None]),
            [None, None] => Locked([None, None]),
        }
    }
}

/// The locked sets of a request.
struct Locked<'t>([Option<(usize, MutexGuard<'t, Set<Counts>>)>; 2]);

impl Locked<'_> {
    fn set(&mut self, set: usize) -> Option<&mut Set<Counts>> {
        self.0.iter_mut().flatten().find(|(number, _)| *number == set).map(|(_, set)| &mut **set)
    }

    fn counts(&mut self, set: usize, key: Key) -> Counts {
        self.set(set).and_then(|set| set.find(key)).copied().unwrap_or_default()
    }

    fn write(&mut self, set: usize, key: Key, counts: Counts) {
        if let Some(set) = self.set(set) {
            set.write(key, counts, Counts::forgettable_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::bounded_table::{Entry, WAYS};
    use crate::limits::policy::Limits;
    use crate::percent::Percent;

    const PER_MINUTE: Limits =
        Limits { requests_per_minute: 60, burst: 2, tokens_per_minute: 0, concurrent_streams: 0 };

    fn claims(caller: &str, limits: Limits) -> Claims {
        Claims::new(caller, "", [limits.quota(Percent::WHOLE), None], 0).unwrap()
    }

    fn passes(table: &Table, claims: &Claims) -> bool {
        table.admit(claims).refusal.is_none()
    }

    #[test]
    fn an_entry_is_as_large_as_is_said() {
        assert_eq!(size_of::<Entry<Counts>>(), 40);
        assert!(size_of::<Mutex<Set<Counts>>>() <= WAYS * 40 + 8);
        let table = Table::new(1_000_000);
        assert!(table.places.planned() * size_of::<Mutex<Set<Counts>>>() <= 82_000_000, "{}", table.places.planned());
        assert!(table.places.made().is_none(), "nothing is limited yet");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_counted_apart_and_recover() {
        let table = Table::new(1000);
        let (one, other) = (claims("addr:1", PER_MINUTE), claims("addr:2", PER_MINUTE));
        assert!(passes(&table, &one) && passes(&table, &one) && !passes(&table, &one));
        assert!(passes(&table, &other));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(passes(&table, &one) && !passes(&table, &one));
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_addresses_do_not_make_it_grow_nor_free_the_one_that_is_over_its_limit() {
        let table = Table::new(2000);
        let hog = claims("addr:hog", Limits { burst: 50, ..PER_MINUTE });
        while passes(&table, &hog) {}
        let streaming = claims("addr:streaming", Limits { concurrent_streams: 1, ..Limits::default() });
        assert!(passes(&table, &streaming));
        for address in 0..1_000_000 {
            assert!(passes(&table, &claims(&format!("addr:{address}"), PER_MINUTE)));
        }
        assert!(!passes(&table, &hog));
        assert!(!passes(&table, &streaming));
        assert_eq!(table.places.made().unwrap(), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn nearly_no_caller_is_evicted_up_to_the_size_of_the_table() {
        let table = Table::new(20_000);
        let limits = Limits { burst: 1, ..PER_MINUTE };
        let callers: Vec<_> = (0..20_000).map(|n| claims(&format!("key:{n}"), limits)).collect();
        assert!(callers.iter().all(|claims| passes(&table, claims)));
        let forgotten = callers.iter().filter(|claims| passes(&table, claims)).count();
        assert!(forgotten < 60, "{forgotten}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_scopes_in_any_order_do_not_block_each_other() {
        let table = std::sync::Arc::new(Table::new(100));
        let limits = Limits { requests_per_minute: 1_000_000, ..Limits::default() };
        let both = |model: &str| {
            let quota = limits.quota(Percent::WHOLE);
            Claims::new("key:a", model, [quota, quota], 0).unwrap()
        };
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (table, claims) = (table.clone(), both(&format!("model-{n}")));
                std::thread::spawn(move || (0..10_000).filter(|_| passes(&table, &claims)).count())
            })
            .collect();
        let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(passed, 40_000);
    }
}

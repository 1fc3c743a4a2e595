//! The cache in the memory of this process: entries by their key, within a bound of bytes and of time.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::entry::Entry;
use super::key::Key;

/// The entries and their bounds.
pub struct Memory(RwLock<Entries>);

struct Entries {
    max_bytes: u64,
    ttl: Duration,
    entries: Cache<Key, Arc<Entry>>,
}

impl Memory {
    /// Makes an empty store of this size. Entries are evicted after `ttl` at the latest.
    pub fn new(max_bytes: u64, ttl: Duration) -> Self {
        Self(RwLock::new(Entries::new(max_bytes, ttl)))
    }

    /// Sets the bounds. If they change, the store is emptied.
    pub fn set_bounds(&self, max_bytes: u64, ttl: Duration) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if (entries.max_bytes, entries.ttl) != (max_bytes, ttl) {
            *entries = Entries::new(max_bytes, ttl);
        }
    }

    /// Returns the entry of this key.
    pub fn get(&self, key: Key) -> Option<Arc<Entry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries.get(&key)
    }

    /// Stores an entry. If there is no room, the least recently used entries are evicted.
    pub fn put(&self, key: Key, entry: Arc<Entry>) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries.insert(key, entry);
    }
}

impl Entries {
    fn new(max_bytes: u64, ttl: Duration) -> Self {
        let weight = |_: &Key, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX);
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weight)
            .time_to_live(ttl)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { max_bytes, ttl, entries }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cache::entry::Answer;
    use crate::cache::key::Digest;
    use crate::spend::tally::Tally;

    const HOUR: Duration = Duration::from_hours(1);

    fn entry(bytes: usize) -> Arc<Entry> {
        Arc::new(Entry::new(7, Tally::default(), Answer::Whole(Bytes::from(vec![b' '; bytes]))))
    }

    fn key(number: u8) -> Key {
        Key(Digest([number; 32]))
    }

    #[test]
    fn what_was_used_longest_ago_goes_where_there_is_no_room() {
        let memory = Memory::new(5 * 10_512, HOUR);
        let settle = || memory.0.read().unwrap().entries.run_pending_tasks();
        (0..5).for_each(|number| memory.put(key(number), entry(10_000)));
        settle();
        assert!(memory.get(key(0)).is_some());
        settle();
        memory.put(key(5), entry(10_000));
        settle();
        let cached: Vec<u8> = (0..6).filter(|number| memory.get(key(*number)).is_some()).collect();
        assert_eq!(cached, [0, 2, 3, 4, 5]);
    }

    #[test]
    fn other_bounds_empty_the_store_and_the_same_do_not() {
        let memory = Memory::new(1 << 20, HOUR);
        memory.put(key(1), entry(10));
        memory.set_bounds(1 << 20, HOUR);
        assert!(memory.get(key(1)).is_some());
        memory.set_bounds(1 << 21, HOUR);
        assert!(memory.get(key(1)).is_none());
    }
}

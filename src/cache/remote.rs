//! The cache that several instances share, in Redis.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use super::key::{Key, Owner};
use crate::redis::store::Store;

/// The largest difference between an entry's serialized size and its weight, in bytes.
const SLACK: usize = 4096;

/// The shared entries.
pub struct Remote(Arc<Store>);

impl Remote {
    /// Makes the cache in this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Returns the entry of this key if it exists, is valid and arrives within the budget of time. An entry larger than
    /// `max` is cut off, and so is not valid.
    pub async fn get(&self, key: Key, owner: Owner, max: usize, budget: Duration) -> Option<Entry> {
        let bytes = self.0.get(&name(key), max + SLACK, budget).await?;
        Entry::decode(bytes, key, owner)
    }

    /// Stores an entry for `ttl`. The call returns at once, and a failure is ignored.
    pub fn put(&self, key: Key, owner: Owner, entry: Arc<Entry>, ttl: Duration) {
        self.0.put(name(key), move || entry.encode(key, owner), ttl);
    }
}

fn name(key: Key) -> String {
    format!("tokenway:cache:{}", key.0)
}

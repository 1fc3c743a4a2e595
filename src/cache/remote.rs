//! Entries in the store that several instances share.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use super::key::{Key, Owner};
use crate::redis::store::Store;

/// What an entry is larger by than its weight says, at most.
const SLACK: usize = 4096;

/// The entries.
pub struct Remote(Arc<Store>);

impl Remote {
    /// In this store, wherever that is.
    pub fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// The entry of this key, if it is there, fits and comes within the budget. What weighs more than `max` is cut off, and so no
    /// entry.
    pub async fn get(&self, key: Key, owner: Owner, max: usize, budget: Duration) -> Option<Entry> {
        let bytes = self.0.get(&name(key), max + SLACK, budget).await?;
        Entry::decode(bytes, key, owner)
    }

    /// Keeps an entry for so long, if there is time for it. Nobody waits for that.
    pub fn put(&self, key: Key, owner: Owner, entry: Arc<Entry>, ttl: Duration) {
        self.0.put(name(key), move || entry.encode(key, owner), ttl);
    }
}

fn name(key: Key) -> String {
    format!("tokenway:cache:{}", key.0)
}

//! The store that several instances share, in Redis: read within a budget, written when nobody waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Value, cmd};
use tokio::sync::Semaphore;

use super::entry::Entry;
use super::key::{Key, Owner};
use crate::redis::link::Link;

/// Entries on their way to Redis at once; beyond that they stay with this instance.
const WRITES_AT_ONCE: usize = 8;
/// How long a write may take. Nobody waits for it.
const WRITE_BUDGET: Duration = Duration::from_secs(1);
/// What an entry is larger by than its weight says, at most.
const SLACK: usize = 4096;

/// Redis.
pub struct Remote {
    reads: Link,
    writes: Link,
    permits: Arc<Semaphore>,
}

impl Remote {
    /// Over these links, which are the cache's own: a large entry on the way must delay neither a decision about limits nor a
    /// read, and a reply that came too late must not cost the others their connection.
    pub fn new(reads: Link, writes: Link) -> Arc<Self> {
        Arc::new(Self { reads, writes, permits: Arc::new(Semaphore::new(WRITES_AT_ONCE)) })
    }

    /// The entry of this key, if it is there, fits and comes within the budget. No more than `max` bytes are ever asked for: what is
    /// larger is cut off, and so no entry.
    pub async fn get(&self, key: Key, owner: Owner, max: usize, budget: Duration) -> Option<Entry> {
        let mut command = cmd("GETRANGE");
        command.arg(name(key)).arg(0).arg(max + SLACK);
        match self.reads.call(&command, budget).await.ok()? {
            Value::BulkString(bytes) if bytes.is_empty() => None,
            Value::BulkString(bytes) => Entry::decode(Bytes::from(bytes), key, owner),
            _ => {
                self.reads.misunderstood();
                None
            }
        }
    }

    /// Keeps an entry for so long, if there is time for it. Nobody waits for that.
    pub fn put(self: &Arc<Self>, key: Key, owner: Owner, entry: Arc<Entry>, ttl: Duration) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        let this = Arc::clone(self);
        self.writes.runtime().spawn(async move {
            let mut command = cmd("SET");
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(name(key)).arg(entry.encode(key, owner)).arg("PX").arg(ttl);
            // told of and counted by the link
            let _ = this.writes.call(&command, WRITE_BUDGET).await;
            drop(permit);
        });
    }
}

fn name(key: Key) -> String {
    format!("tokenway:cache:{}", key.0)
}

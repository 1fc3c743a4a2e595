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
/// How long a write may take. Nobody waits for it, but for reads on the same connection.
const WRITE_BUDGET: Duration = Duration::from_secs(1);
/// What an entry is larger by than its weight says, at most.
const SLACK: usize = 4096;

/// Redis.
pub struct Remote {
    link: Link,
    writes: Arc<Semaphore>,
}

impl Remote {
    /// Over this link, which is the cache's own: a large entry on the way must not delay a decision about limits, and an
    /// answer that came too late must not cost the others their connection.
    pub fn new(link: Link) -> Arc<Self> {
        Arc::new(Self { link, writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)) })
    }

    /// The entry of this key, if it is there, fits and comes within the budget. No more than `max` bytes are ever asked for: what is
    /// larger is cut off, and so no entry.
    pub async fn get(&self, key: Key, owner: Owner, max: usize, budget: Duration) -> Option<Entry> {
        let mut command = cmd("GETRANGE");
        command.arg(name(key)).arg(0).arg(max + SLACK);
        match self.link.call(&command, budget).await.ok()? {
            Value::BulkString(bytes) if bytes.is_empty() => None,
            Value::BulkString(bytes) => Entry::decode(Bytes::from(bytes), key, owner),
            _ => {
                self.link.misunderstood();
                None
            }
        }
    }

    /// Keeps an entry for so long, if there is time for it. Nobody waits for that.
    pub fn put(self: &Arc<Self>, key: Key, owner: Owner, entry: Arc<Entry>, ttl: Duration) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let this = Arc::clone(self);
        self.link.runtime().spawn(async move {
            let mut command = cmd("SET");
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(name(key)).arg(entry.encode(key, owner)).arg("PX").arg(ttl);
            // told of and counted by the link
            let _ = this.link.call(&command, WRITE_BUDGET).await;
            drop(permit);
        });
    }
}

fn name(key: Key) -> String {
    format!("tokenway:cache:{}", key.0)
}

//! Bytes by name, in the Redis that several instances share: read within a budget, written when nobody waits.
//!
//! A reload may lead it to another Redis, or to none. What is under way ends where it began.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::{Value, cmd};
use tokio::join;
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::settings::Redis;
use crate::metrics::Metrics;

/// Values on their way to Redis at once; beyond that they stay with this instance.
const WRITES_AT_ONCE: usize = 8;
/// How long a write may take. Nobody waits for it.
const WRITE_BUDGET: Duration = Duration::from_secs(1);

/// The store. While it is nowhere, nothing is found in it, and nothing is kept.
pub struct Store {
    place: ArcSwapOption<Place>,
    metrics: Arc<Metrics>,
}

/// One Redis. Dropping the last of these closes its connections.
pub struct Place {
    config: Redis,
    reads: Connection,
    writes: Connection,
    permits: Arc<Semaphore>,
}

impl Store {
    /// It is nowhere yet.
    pub fn nowhere(metrics: Arc<Metrics>) -> Self {
        Self { place: ArcSwapOption::empty(), metrics }
    }

    /// The place that this section means: the one that there is, if it is that, else a new one, which begins to connect on
    /// this runtime. It is not used before [`Store::move_to`].
    ///
    /// # Errors
    /// What in the configuration cannot be used.
    pub fn place(&self, redis: Option<&Redis>) -> Result<Option<Arc<Place>>, String> {
        let Some(redis) = redis else { return Ok(None) };
        match self.place.load_full() {
            Some(place) if place.config == *redis => Ok(Some(place)),
            _ => Place::start(redis, &self.metrics).map(|place| Some(Arc::new(place))),
        }
    }

    /// From now on it is there; `None` = nowhere.
    pub fn move_to(&self, place: Option<Arc<Place>>) {
        let before = self.place.swap(place);
        if before.is_some() && self.place.load().is_none() {
            tracing::info!("answers are no longer shared through Redis");
        }
    }

    /// Waits for its connections, but no longer than this.
    pub async fn is_ready_within(&self, patience: Duration) -> bool {
        let Some(place) = self.place.load_full() else { return true };
        let (reads, writes) = join!(place.reads.is_ready_within(patience), place.writes.is_ready_within(patience));
        reads && writes
    }

    /// The value of this name, if it is there and comes within the budget. No more than `max` bytes are ever asked for: the
    /// rest of a larger one is cut off.
    pub async fn get(&self, name: &str, max: usize, budget: Duration) -> Option<Bytes> {
        let place = self.place.load_full()?;
        let mut command = cmd("GETRANGE");
        command.arg(name).arg(0).arg(max.saturating_sub(1));
        match place.reads.call(&command, budget).await.ok()? {
            Value::BulkString(bytes) => Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()),
            _ => {
                place.reads.misunderstood();
                None
            }
        }
    }

    /// Keeps a value for so long, if there is time for it. Nobody waits for that; `value` is made when it is sent.
    pub fn put(&self, name: String, value: impl FnOnce() -> Vec<u8> + Send + 'static, ttl: Duration) {
        let Some(place) = self.place.load_full() else { return };
        let Ok(permit) = Arc::clone(&place.permits).try_acquire_owned() else { return };
        place.writes.runtime().clone().spawn(async move {
            let mut command = cmd("SET");
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(name).arg(value()).arg("PX").arg(ttl);
            // told of and counted by the link
            let _ = place.writes.call(&command, WRITE_BUDGET).await;
            drop(permit);
        });
    }
}

impl Place {
    /// Over links of its own: a large value on the way must delay neither a decision about limits nor a read, and a reply that
    /// came too late must not cost the others their connection.
    fn start(redis: &Redis, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let link = |serves| Connection::start(redis, serves, Arc::clone(metrics));
        let (reads, writes) = (link("cache reads")?, link("cache writes")?);
        Ok(Self { config: redis.clone(), reads, writes, permits: Arc::new(Semaphore::new(WRITES_AT_ONCE)) })
    }
}

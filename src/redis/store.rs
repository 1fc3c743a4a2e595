//! Bytes by name, in the Redis that several instances share: read within a timeout, written in the background.
//!
//! A reload may move the store to another Redis, or to none. Running calls end at the old one.

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

/// The most concurrent writes; further values are not written.
const WRITES_AT_ONCE: usize = 8;
/// The timeout of a write. No request waits for it.
const WRITE_BUDGET: Duration = Duration::from_secs(1);

/// The store. Without a place it returns nothing and writes nothing.
pub struct Store {
    place: ArcSwapOption<Place>,
    metrics: Arc<Metrics>,
}

/// One Redis. Dropping the last clone closes its connections.
pub struct Place {
    config: Redis,
    reads: Connection,
    writes: Connection,
    permits: Arc<Semaphore>,
}

impl Store {
    /// Makes a store without a place.
    pub fn nowhere(metrics: Arc<Metrics>) -> Self {
        Self { place: ArcSwapOption::empty(), metrics }
    }

    /// Returns the place for this section: the present one if it is the same, otherwise a new one, which begins to connect
    /// on this runtime. It is not used before [`Store::move_to`].
    ///
    /// # Errors
    /// Names the setting that cannot be used.
    pub fn place(&self, redis: Option<&Redis>) -> Result<Option<Arc<Place>>, String> {
        let Some(redis) = redis else { return Ok(None) };
        match self.place.load_full() {
            Some(place) if place.config == *redis => Ok(Some(place)),
            _ => Place::start(redis, &self.metrics).map(|place| Some(Arc::new(place))),
        }
    }

    /// Moves the store to this place; `None` = to none.
    pub fn move_to(&self, place: Option<Arc<Place>>) {
        let before = self.place.swap(place);
        if before.is_some() && self.place.load().is_none() {
            tracing::info!("answers are no longer shared through Redis");
        }
    }

    /// Waits for its connections within this time.
    pub async fn is_ready_within(&self, patience: Duration) -> bool {
        let Some(place) = self.place.load_full() else { return true };
        let (reads, writes) = join!(place.reads.is_ready_within(patience), place.writes.is_ready_within(patience));
        reads && writes
    }

    /// Returns the value of this name, if there is one and it arrives within the timeout. No more than `max` bytes are read:
    /// a larger value is cut off.
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

    /// Writes a value with this time to live, in the background; `value` is called when it is sent.
    pub fn put(&self, name: String, value: impl FnOnce() -> Vec<u8> + Send + 'static, ttl: Duration) {
        let Some(place) = self.place.load_full() else { return };
        let Ok(permit) = Arc::clone(&place.permits).try_acquire_owned() else { return };
        place.writes.runtime().clone().spawn(async move {
            let mut command = cmd("SET");
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(name).arg(value()).arg("PX").arg(ttl);
            // the connection logs and counts errors
            let _ = place.writes.call(&command, WRITE_BUDGET).await;
            drop(permit);
        });
    }
}

impl Place {
    /// Starts connections for this store alone: a large value must delay neither a decision about limits nor a read, and a
    /// late reply must not close the connection of others.
    fn start(redis: &Redis, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let link = |serves| Connection::start(redis, serves, Arc::clone(metrics));
        let (reads, writes) = (link("cache reads")?, link("cache writes")?);
        Ok(Self { config: redis.clone(), reads, writes, permits: Arc::new(Semaphore::new(WRITES_AT_ONCE)) })
    }
}

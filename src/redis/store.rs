//! Bytes by name, in the Redis that several instances share: read within a timeout, written in the background.
//!
//! A reload may move the store to another Redis, or to none. Running calls end at the old one.
//!
//! With a secret, each value is followed by its HMAC-SHA256, which includes its name: a value that another program has written,
//! or moved to another name, is not found.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::{Value, cmd};
use ring::hmac::{Context, HMAC_SHA256, Key, Tag};
use settings::Secret;
use subtle::ConstantTimeEq;
use tokio::join;
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::settings::Redis;
use crate::metrics::Metrics;

/// The most concurrent writes; further values are not written.
const WRITES_AT_ONCE: usize = 8;
/// The timeout of a write. No request waits for it.
const WRITE_BUDGET: Duration = Duration::from_secs(1);
/// The bytes of a tag.
const TAG: usize = 32;

/// The store. Without a place it returns nothing and writes nothing.
pub struct Store {
    place: ArcSwapOption<Place>,
    secret: ArcSwapOption<Key>,
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
        Self { place: ArcSwapOption::empty(), secret: ArcSwapOption::empty(), metrics }
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

    /// Sets the secret by which values are authenticated; `None` = they are not.
    pub fn set_secret(&self, secret: Option<&Secret>) {
        self.secret.store(secret.map(|secret| Arc::new(Key::new(HMAC_SHA256, secret.expose().as_bytes()))));
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
        let secret = self.secret.load_full();
        let max = if secret.is_some() { max.saturating_add(TAG) } else { max };
        let mut command = cmd("GETRANGE");
        command.arg(name).arg(0).arg(max.saturating_sub(1));
        match place.reads.call(&command, budget).await.ok()? {
            Value::BulkString(bytes) if bytes.is_empty() => None,
            Value::BulkString(bytes) => match secret {
                None => Some(bytes.into()),
                Some(secret) => verified(&secret, name, bytes.into()).or_else(|| {
                    self.metrics.cache_unverified.inc();
                    None
                }),
            },
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
        let secret = self.secret.load_full();
        place.writes.runtime().clone().spawn(async move {
            let mut value = value();
            if let Some(secret) = secret {
                value.extend_from_slice(tag(&secret, &name, &value).as_ref());
            }
            let mut command = cmd("SET");
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(name).arg(value).arg("PX").arg(ttl);
            // the connection logs and counts errors
            let _ = place.writes.call(&command, WRITE_BUDGET).await;
            drop(permit);
        });
    }
}

/// Returns the tag of this value under this name.
fn tag(secret: &Key, name: &str, value: &[u8]) -> Tag {
    let mut context = Context::with_key(secret);
    context.update(&(name.len() as u64).to_be_bytes());
    context.update(name.as_bytes());
    context.update(value);
    context.sign()
}

/// Returns the value without its tag; `None` if the tag is not the one of this value under this name.
fn verified(secret: &Key, name: &str, bytes: Bytes) -> Option<Bytes> {
    let length = bytes.len().checked_sub(TAG)?;
    let (value, theirs) = bytes.split_at(length);
    // in constant time: a tag cannot be guessed byte by byte
    let ours = tag(secret, name, value);
    bool::from(ours.as_ref().ct_eq(theirs)).then(|| bytes.slice(..length))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_what_was_written_under_this_name_with_this_secret_is_found(
            value: Vec<u8>, names: [String; 2], secrets: [Vec<u8>; 2], at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let key = |secret: &[u8]| Key::new(HMAC_SHA256, secret);
            let mut sealed = value.clone();
            sealed.extend_from_slice(tag(&key(&secrets[0]), &names[0], &value).as_ref());
            let open = |secret: &[u8], name: &str, bytes: &[u8]| verified(&key(secret), name, Bytes::copy_from_slice(bytes));
            prop_assert_eq!(open(&secrets[0], &names[0], &sealed), Some(value.clone().into()));
            prop_assert_eq!(open(&secrets[0], &names[1], &sealed).is_some(), names[0] == names[1]);
            prop_assert_eq!(open(&[1], &names[0], &sealed).is_some(), secrets[0] == [1]);
            prop_assert_eq!(open(&secrets[0], &names[0], &value), None);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(open(&secrets[0], &names[0], &sealed), None);
        }
    }
}

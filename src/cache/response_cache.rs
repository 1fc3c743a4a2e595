//! The cache that the gateway uses: cached answers in memory and in Redis, and coalesced answers that are still streamed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use families::family::Family;

use super::directives::RequestCacheControl;
use super::entry::{Answer, Entry};
use super::key::{Asked, Key, Route};
use super::memory::Memory;
use super::remote::Remote;
use crate::cache::settings::Cache as Rules;
use crate::redis::store::Store;
use crate::spend::tally::Tally;
use crate::stream::log::coalescer::{self, Coalescer, CoalescingKey, Leader, Subscriber};
use crate::stream::log::core::Bounds;

/// All cached and all coalesced answers. It lives as long as the process: a reload does not empty it.
pub struct ResponseCache {
    memory: Memory,
    remote: Remote,
    coalescer: Arc<Coalescer>,
}

/// A cached answer and its age.
pub struct Found {
    /// The answer.
    pub entry: Arc<Entry>,
    /// When it was found, in milliseconds since the epoch by this machine's clock.
    pub now: u64,
}

/// An answer that needs no upstream request.
pub enum Reuse {
    /// A cache hit.
    Hit(Found),
    /// An identical request is being answered, and this one subscribes to its answer.
    Coalesced(Subscriber),
}

/// The result of [`ResponseCache::enter`].
pub enum Entered {
    /// An answer can be reused.
    Reuse(Reuse),
    /// This request leads and asks an upstream. Its own subscriber exists already.
    Leads(Leader, Subscriber),
}

/// The parameters of a lookup.
pub struct Lookup<'a> {
    /// The request and its owner.
    pub asked: Asked,
    /// The cache key of the answer of the first candidate; `None` while that model is not known.
    pub key: Option<Key>,
    /// The key of the coalesced answer that the request may join, or lead.
    pub coalescing_key: CoalescingKey,
    /// The keys of other coalesced answers that the request may join.
    pub also: Vec<CoalescingKey>,
    /// The family of the request.
    pub family: &'static dyn Family,
    /// The client wants a stream.
    pub streamed: bool,
    /// The request's `cache-control`.
    pub cache_control: RequestCacheControl,
    /// `[cache]`
    pub rules: &'a Rules,
}

impl ResponseCache {
    /// Makes an empty cache with these rules. `store` holds the entries of other instances.
    pub fn new(rules: Option<&Rules>, store: Arc<Store>) -> Arc<Self> {
        let (max_bytes, ttl) = rules.map(|rules| (rules.max_bytes as u64, rules.ttl)).unwrap_or_default();
        Arc::new(Self { memory: Memory::new(max_bytes, ttl), remote: Remote::new(store), coalescer: Arc::default() })
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Option<&Rules>) {
        let (max_bytes, ttl) = rules.map(|rules| (rules.max_bytes as u64, rules.ttl)).unwrap_or_default();
        self.memory.set_bounds(max_bytes, ttl);
    }

    /// Returns a cached or a coalesced answer, or makes this request the leader.
    pub async fn enter(&self, lookup: &Lookup<'_>) -> Entered {
        let Lookup { rules, cache_control, .. } = lookup;
        let bounds = Bounds { one: rules.max_entry, all: rules.max_bytes };
        if cache_control.no_cache {
            // others may join: the answer is new to them as well
            let (leader, subscriber) = self.coalescer.lead(lookup.coalescing_key, bounds);
            return Entered::Leads(leader, subscriber);
        }
        if let Some(reuse) = self.reuse(lookup).await {
            return Entered::Reuse(reuse);
        }
        match self.coalescer.enter(lookup.coalescing_key, bounds, || self.here(lookup)) {
            coalescer::Entered::Joined(subscriber) => Entered::Reuse(Reuse::Coalesced(subscriber)),
            coalescer::Entered::Instead(found) => Entered::Reuse(Reuse::Hit(found)),
            coalescer::Entered::Leads(leader, subscriber) => Entered::Leads(leader, subscriber),
        }
    }

    /// Returns an answer for which no upstream is asked. The memory of this process comes first, then coalesced answers,
    /// then Redis.
    pub async fn reuse(&self, lookup: &Lookup<'_>) -> Option<Reuse> {
        let RequestCacheControl { no_cache, only_if_cached, .. } = lookup.cache_control;
        if no_cache {
            return None;
        }
        if let Some(found) = self.here(lookup) {
            return Some(Reuse::Hit(found));
        }
        let mut keys = std::iter::once(&lookup.coalescing_key).chain(&lookup.also).filter(|_| !only_if_cached);
        if let Some(subscriber) = keys.find_map(|key| self.coalescer.join(*key)) {
            return Some(Reuse::Coalesced(subscriber));
        }
        self.elsewhere(lookup).await.map(Reuse::Hit)
    }

    /// Caches the answer of the model by this route.
    pub fn store(&self, asked: &Asked, route: &Route, rules: &Rules, tally: Tally, answer: Answer) {
        let entry = Arc::new(Entry::new(now(), tally, answer));
        if entry.weight() > rules.max_entry {
            return;
        }
        let key = asked.key(route);
        self.memory.put(key, Arc::clone(&entry));
        self.remote.put(key, asked.owner(), entry, rules.ttl);
    }

    fn here(&self, lookup: &Lookup<'_>) -> Option<Found> {
        acceptable(lookup, self.memory.get(lookup.key?)?)
    }

    async fn elsewhere(&self, lookup: &Lookup<'_>) -> Option<Found> {
        let key = lookup.key?;
        let Lookup { asked, rules, .. } = lookup;
        let entry = self.remote.get(key, asked.owner(), rules.max_entry, rules.redis_timeout).await?;
        let found = acceptable(lookup, Arc::new(entry))?;
        self.memory.put(key, Arc::clone(&found.entry));
        Some(found)
    }
}

fn acceptable(lookup: &Lookup<'_>, entry: Arc<Entry>) -> Option<Found> {
    let now = now();
    let will_do = lookup.cache_control.accept(entry.age(now), lookup.rules.ttl)
        && entry.can_be_sent(lookup.streamed, lookup.family);
    will_do.then_some(Found { entry, now })
}

/// Returns milliseconds since the epoch: entries are shared between machines.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! The cache as the gateway uses it: the cached answers, here and in Redis, and the coalesced answers that are coming in.

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

/// All cached and all coalesced answers. It lives as long as the process: a reload keeps it.
pub struct ResponseCache {
    memory: Memory,
    remote: Remote,
    coalescer: Arc<Coalescer>,
}

/// A kept answer and its age.
pub struct Found {
    /// The answer.
    pub entry: Arc<Entry>,
    /// Milliseconds since the epoch, by this machine's clock, when it was found.
    pub now: u64,
}

/// An answer that nobody has to be asked for.
pub enum Reuse {
    /// It is kept.
    Hit(Found),
    /// It is just coming in.
    Coalesced(Subscriber),
}

/// What entering gives.
pub enum Entered {
    /// There is an answer.
    Reuse(Reuse),
    /// It is to be asked for; the first reader is there already.
    Leads(Leader, Subscriber),
}

/// What is looked for.
pub struct Lookup<'a> {
    /// The request and its owner.
    pub asked: Asked,
    /// Where the answer of the model that is asked first is kept; `None` while it is not known which one that is.
    pub key: Option<Key>,
    /// Of the answer that the request may join, or is to lead.
    pub coalescing_key: CoalescingKey,
    /// Of other answers that will do as well.
    pub also: Vec<CoalescingKey>,
    /// The family of the request.
    pub family: &'static dyn Family,
    /// It wants a stream.
    pub streamed: bool,
    /// Its `cache-control`.
    pub wishes: RequestCacheControl,
    /// `[cache]`
    pub rules: &'a Rules,
}

impl ResponseCache {
    /// Empty, under these rules; what other instances keep is in this store, wherever that is.
    pub fn new(rules: Option<&Rules>, store: Arc<Store>) -> Arc<Self> {
        let (max_bytes, ttl) = rules.map(|rules| (rules.max_bytes as u64, rules.ttl)).unwrap_or_default();
        Arc::new(Self { memory: Memory::new(max_bytes, ttl), remote: Remote::new(store), coalescer: Arc::default() })
    }

    /// From now on these rules hold.
    pub fn set_rules(&self, rules: Option<&Rules>) {
        let (max_bytes, ttl) = rules.map(|rules| (rules.max_bytes as u64, rules.ttl)).unwrap_or_default();
        self.memory.set_bounds(max_bytes, ttl);
    }

    /// A cached answer, or a coalesced one.
    pub async fn enter(&self, lookup: &Lookup<'_>) -> Entered {
        let Lookup { rules, wishes, .. } = lookup;
        let bounds = Bounds { one: rules.max_entry, all: rules.max_bytes };
        if wishes.no_cache {
            // others may join: what they get is new to them as well
            let (leader, subscriber) = self.coalescer.lead(lookup.coalescing_key, bounds);
            return Entered::Leads(leader, subscriber);
        }
        if let Some(free) = self.free(lookup).await {
            return Entered::Reuse(free);
        }
        match self.coalescer.enter(lookup.coalescing_key, bounds, || self.here(lookup)) {
            coalescer::Entered::Joined(subscriber) => Entered::Reuse(Reuse::Coalesced(subscriber)),
            coalescer::Entered::Instead(found) => Entered::Reuse(Reuse::Hit(found)),
            coalescer::Entered::Leads(leader, subscriber) => Entered::Leads(leader, subscriber),
        }
    }

    /// An answer for which no upstream is asked. What is in this process comes first: only when nothing is, and nobody is just
    /// asking, Redis is looked into.
    pub async fn free(&self, lookup: &Lookup<'_>) -> Option<Reuse> {
        let RequestCacheControl { no_cache, only_if_cached, .. } = lookup.wishes;
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

    /// Keeps the answer of the model by this route.
    pub fn keep(&self, asked: &Asked, route: &Route, rules: &Rules, tally: Tally, answer: Answer) {
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
    let will_do =
        lookup.wishes.accept(entry.age(now), lookup.rules.ttl) && entry.can_be_told(lookup.streamed, lookup.family);
    will_do.then_some(Found { entry, now })
}

/// Milliseconds since the epoch: entries go from machine to machine.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

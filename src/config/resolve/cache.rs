//! `[cache]`: sizes that fit into each other.

use super::Resolver;
use crate::config::problem::Mistake;
use crate::config::raw_cache::{self, Replay, Scope};
use crate::config::{Cache, format_size};

impl Resolver<'_> {
    /// `None` where nothing is kept.
    pub(super) fn cache(&mut self, cache: &raw_cache::Cache) -> Option<Cache> {
        let (all, one) = (cache.max_bytes.value.0, cache.max_entry.value.0);
        if one > all {
            // at the key that is written; where both are, either mend will do
            let place = if cache.max_bytes.is_written() { &cache.max_bytes.place } else { &cache.max_entry.place };
            let (all, one) = (format_size(all), format_size(one));
            let reason = format!("contradicts its neighbour: cache.max_entry ({one}) is over cache.max_bytes ({all})");
            self.problems.report(place, Mistake::new(reason, "raise max_bytes, or lower max_entry"));
        }
        if !cache.enabled.value {
            return None;
        }
        if cache.scope.value == Scope::Shared {
            self.warn(
                "cache.scope",
                "is \"shared\": whoever asks the same gets the answer that somebody else was given",
            );
        }
        Some(Cache {
            ttl: cache.ttl.value,
            max_bytes: all,
            max_entry: one,
            shared: cache.scope.value == Scope::Shared,
            paced: cache.replay.value == Replay::Paced,
            redis_timeout: cache.redis_timeout.value,
        })
    }
}

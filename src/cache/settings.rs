//! `[cache]`, as it is written and checked: which answers are cached, and for whom. Pure.

use std::time::Duration;

use settings::{Mistake, Resolver, Size, format_size};

settings::section! {
    /// Response cache and request coalescing: identical requests get the same answer, and share an answer that is still
    /// streaming. See docs/CACHE.md.
    #[renamed(redis_budget => redis_timeout)]
    pub struct Written {
        /// true: answers are cached, and shared while they stream.
        enabled: bool = false;
        /// How long an answer is cached.
        ttl: Duration = "1h" in "1s" ..= "720h";
        /// The memory for cached answers in this process, and the same amount again for streaming ones. A change of max_bytes
        /// or ttl empties the cache.
        max_bytes: Size = "256MiB" in "64KiB" ..= "1024GiB";
        /// The largest answer that is cached, or shared while it streams.
        max_entry: Size = "1MiB" in "4KiB" ..= "64MiB";
        /// "client": each caller gets only its own answers again. "shared": all callers with the same request get the same
        /// answer.
        scope: Scope = "client";
        /// "instant": a cached answer comes at once. "paced": in its original rhythm, with no pause over 250 ms.
        replay: Replay = "instant";
        /// With [redis], instances share cached answers. A request waits for Redis for at most this time.
        redis_timeout: Duration = "10ms" in "1ms" ..= "1s";
    }
}

/// `cache.scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each caller gets only its own answers again.
    Client,
    /// Callers get each other's answers.
    Shared,
}

settings::words!(Scope { Client = "client", Shared = "shared" }, "write one of the two, in quotes");

/// `cache.replay`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// A cached answer comes at once.
    Instant,
    /// It comes in its original rhythm.
    Paced,
}

settings::words!(Replay { Instant = "instant", Paced = "paced" }, "write one of the two, in quotes");

/// Which answers are cached, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// How long an answer is cached.
    pub ttl: Duration,
    /// Most bytes of all cached answers in this process, and the same amount again for answers that are still streamed.
    pub max_bytes: usize,
    /// Most bytes of one answer; a larger one is neither cached nor shared.
    pub max_entry: usize,
    /// Callers get each other's answers.
    pub shared: bool,
    /// Cached answers come in their original rhythm.
    pub paced: bool,
    /// The longest time that a request waits for Redis.
    pub redis_timeout: Duration,
}

impl Written {
    /// Returns the checked section, or `None` if nothing is cached.
    pub fn resolve(&self, resolver: &mut Resolver<'_>) -> Option<Cache> {
        let (all, one) = (self.max_bytes.value.0, self.max_entry.value.0);
        if one > all {
            // reported at the key that is written; if both are written, either one can be changed
            let place = if self.max_bytes.is_written() { &self.max_bytes.place } else { &self.max_entry.place };
            let (all, one) = (format_size(all), format_size(one));
            let reason = format!("contradicts its neighbour: cache.max_entry ({one}) is over cache.max_bytes ({all})");
            resolver.report(place, Mistake::new(reason, "raise max_bytes, or lower max_entry"));
        }
        if !self.enabled.value {
            return None;
        }
        let shared = self.scope.value == Scope::Shared;
        if shared {
            resolver.warn("cache.scope", "is \"shared\": callers with identical requests get each other's answers");
        }
        Some(Cache {
            ttl: self.ttl.value,
            max_bytes: all,
            max_entry: one,
            shared,
            paced: self.replay.value == Replay::Paced,
            redis_timeout: self.redis_timeout.value,
        })
    }
}

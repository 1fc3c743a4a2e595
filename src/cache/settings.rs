//! `[cache]`, as it is written and checked: which answers are cached, and for whom. Pure.

use std::time::Duration;

use settings::{EnvName, Mistake, Resolver, Secret, Size, format_size};

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
        /// The environment variable with a secret of 32 bytes or more, the same for all instances. It authenticates what they
        /// cache in Redis. Without it, whoever can write to Redis can answer requests.
        redis_secret_env: Option<EnvName>, commented "TOKENWAY_CACHE_SECRET";
    }
}

/// The least bytes of `redis_secret_env`: those of a tag (RFC 2104 §3).
const LEAST_SECRET: usize = 32;

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
    /// Authenticates what is cached in Redis; `None` = Redis is trusted.
    pub redis_secret: Option<Secret>,
}

impl Written {
    /// Returns the checked section, or `None` if nothing is cached. `has_redis`: instances share what is cached.
    pub fn resolve(&self, has_redis: bool, resolver: &mut Resolver<'_>) -> Option<Cache> {
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
            redis_secret: self.redis_secret(has_redis, resolver),
        })
    }

    fn redis_secret(&self, has_redis: bool, resolver: &mut Resolver<'_>) -> Option<Secret> {
        let place = &self.redis_secret_env.place;
        let Some(name) = &self.redis_secret_env.value else {
            if has_redis {
                let what = "is not set: Redis is trusted, and whoever can write to it can answer requests";
                resolver.warn("cache.redis_secret_env", what);
            }
            return None;
        };
        if !has_redis {
            let mistake = Mistake::new("is not used: redis.url is empty", "write redis.url, or remove this key");
            resolver.report(place, mistake);
            return None;
        }
        let mend = "put 32 random bytes or more there, such as those of `openssl rand -hex 32`";
        let secret = resolver.variable(name).map(|value| Secret::parse(value.as_bytes()));
        match secret {
            Some(Ok(secret)) if secret.expose().len() >= LEAST_SECRET => Some(secret),
            Some(_) => {
                resolver.report(place, Mistake::new("names a variable that holds no secret of 32 bytes or more", mend));
                None
            }
            None => {
                resolver.report(place, Mistake::new("names a variable that is not set", mend));
                None
            }
        }
    }
}

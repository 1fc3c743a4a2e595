//! `[cache]` as it is written. Pure.

use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Field, Mistake};
use super::section::Section;
use super::values::{Size, Value};

/// `[cache]`
#[derive(Debug, PartialEq)]
pub(super) struct Cache {
    pub(super) enabled: Field<bool>,
    pub(super) ttl: Field<Duration>,
    pub(super) max_bytes: Field<Size>,
    pub(super) max_entry: Field<Size>,
    pub(super) scope: Field<Scope>,
    pub(super) replay: Field<Replay>,
    pub(super) redis_timeout: Field<Duration>,
}

/// `cache.scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Client,
    Shared,
}

/// `cache.replay`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    Instant,
    Paced,
}

impl Cache {
    pub(super) fn read(cache: &mut Section<'_, '_>) -> Self {
        cache.renamed("redis_budget", "redis_timeout");
        Self {
            enabled: cache.or("enabled", false),
            ttl: cache.within("ttl", Duration::from_hours(1), Duration::from_secs(1)..=Duration::from_hours(30 * 24)),
            max_bytes: cache.within("max_bytes", Size(256 << 20), Size(64 << 10)..=Size(1 << 40)),
            max_entry: cache.within("max_entry", Size(1 << 20), Size(4 << 10)..=Size(64 << 20)),
            scope: cache.or("scope", Scope::Client),
            replay: cache.or("replay", Replay::Instant),
            redis_timeout: cache.within(
                "redis_timeout",
                Duration::from_millis(10),
                Duration::from_millis(1)..=Duration::from_secs(1),
            ),
        }
    }
}

impl Value for Scope {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("client") => Ok(Self::Client),
            Some("shared") => Ok(Self::Shared),
            _ => Err(Mistake::new("must be \"client\" or \"shared\"", "write one of the two, in quotes")),
        }
    }
}

impl Value for Replay {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("instant") => Ok(Self::Instant),
            Some("paced") => Ok(Self::Paced),
            _ => Err(Mistake::new("must be \"instant\" or \"paced\"", "write one of the two, in quotes")),
        }
    }
}

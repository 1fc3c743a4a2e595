//! `[limits]` and `[redis]` as they are written. Pure.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Field, Mistake};
use super::section::Section;
use super::values::{EnvName, Value, kind};
use crate::percent::Percent;

/// A limit; 0 = off. Beyond the upper bound, times would no longer be exact in Lua's doubles.
const LIMIT: RangeInclusive<usize> = 0..=1_000_000_000;

/// `[limits]`
#[derive(Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) caller: Scope,
    pub(super) reserve_tokens: Field<usize>,
    pub(super) max_callers: Field<usize>,
    pub(super) models: Field<Vec<ModelLimits>>,
}

/// One of `[[limits.models]]`
#[derive(Debug, PartialEq)]
pub(super) struct ModelLimits {
    pub(super) name: Field<String>,
    pub(super) scope: Scope,
}

/// The limits of one scope.
#[derive(Debug, PartialEq)]
pub(super) struct Scope {
    pub(super) requests_per_minute: Field<usize>,
    pub(super) burst: Field<usize>,
    pub(super) tokens_per_minute: Field<usize>,
    pub(super) concurrent_streams: Field<usize>,
}

/// `[redis]`
#[derive(Debug, PartialEq)]
pub(super) struct Redis {
    pub(super) url: Field<String>,
    pub(super) username: Field<Option<String>>,
    pub(super) password_env: Field<Option<EnvName>>,
    pub(super) password_file: Field<Option<PathBuf>>,
    pub(super) ca_file: Field<PathBuf>,
    pub(super) timeout: Field<Duration>,
    pub(super) local_share: Field<Share>,
    pub(super) lease: Field<Duration>,
}

/// A part of a whole, written as a number from 0.01 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(pub(super) Percent);

impl Limits {
    pub(super) fn read(limits: &mut Section<'_, '_>) -> Self {
        Self {
            caller: Scope::read(limits, 60),
            reserve_tokens: limits.within("reserve_tokens", 1024, LIMIT),
            max_callers: limits.within("max_callers", 100_000, 1_000..=100_000_000),
            models: limits.sections("models", ModelLimits::read),
        }
    }
}

impl ModelLimits {
    fn read(model: &mut Section<'_, '_>) -> Self {
        Self { name: model.required("name", "write the name of one of the models"), scope: Scope::read(model, 0) }
    }
}

impl Scope {
    fn read(scope: &mut Section<'_, '_>, requests_per_minute: usize) -> Self {
        Self {
            requests_per_minute: scope.within("requests_per_minute", requests_per_minute, LIMIT),
            burst: scope.within("burst", 0, 0..=1_000_000),
            tokens_per_minute: scope.within("tokens_per_minute", 0, LIMIT),
            concurrent_streams: scope.within("concurrent_streams", 0, 0..=1_000_000),
        }
    }
}

impl Redis {
    pub(super) fn read(redis: &mut Section<'_, '_>) -> Self {
        redis.refuse(
            "password",
            "secrets never stand in the file",
            "use password_env or password_file, and replace this password: whoever read the file has it",
        );
        redis.renamed("budget", "timeout");
        Self {
            url: redis.or("url", String::new()),
            username: redis.or("username", None),
            password_env: redis.or("password_env", None),
            password_file: redis.or("password_file", None),
            ca_file: redis.or("ca_file", PathBuf::new()),
            timeout: redis.within(
                "timeout",
                Duration::from_millis(50),
                Duration::from_millis(1)..=Duration::from_secs(5),
            ),
            local_share: redis.or("local_share", Share(Percent::new(50))),
            lease: redis.within("lease", Duration::from_secs(30), Duration::from_secs(1)..=Duration::from_mins(10)),
        }
    }
}

impl Value for Share {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write a number from 0.01 to 1.0, such as 0.5";
        let number = match value {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
            _ => return Err(Mistake::new(format!("must be a number, not {}", kind(value)), mend)),
        };
        match number {
            Some(number) if (0.01..=1.0).contains(&number) => Ok(Self(Percent::new((number * 100.0).round() as u64))),
            _ => Err(Mistake::new("is out of range", mend)),
        }
    }
}

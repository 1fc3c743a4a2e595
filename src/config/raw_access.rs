//! `[access]` as it is written. Pure.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Field, Mistake};
use super::section::Section;
use super::values::{EnvName, Value};
use crate::auth::cookie::SameSite;

/// A token that lives for a day is hardly short-lived.
const TOKEN_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// Until a session ends, it can be taken back only by a logout.
const SESSION_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);

/// `[access]`
#[derive(Debug, PartialEq)]
pub(super) struct Access {
    pub(super) accept: Field<Vec<Field<String>>>,
    pub(super) keys_file: Field<PathBuf>,
    pub(super) token_secret_env: Field<EnvName>,
    pub(super) token_public_key_file: Field<PathBuf>,
    pub(super) token_jwks_file: Field<PathBuf>,
    pub(super) token_audience: Field<String>,
    pub(super) token_max_age: Field<Duration>,
    pub(super) session_secret_env: Field<EnvName>,
    pub(super) session_secret_previous_env: Field<Option<EnvName>>,
    pub(super) session_ttl: Field<Duration>,
    pub(super) same_site: Field<SameSite>,
}

impl Access {
    pub(super) fn read(access: &mut Section<'_, '_>) -> Self {
        for secret in ["token_secret", "session_secret"] {
            access.refuse(
                secret,
                "secrets never stand in the file",
                "name a variable with token_secret_env or session_secret_env, and replace this secret: whoever read the \
                 file has it",
            );
        }
        let variable = |name: &str| EnvName(name.to_owned());
        Self {
            accept: access.strings("accept"),
            keys_file: access.or("keys_file", "keys.toml".into()),
            token_secret_env: access.or("token_secret_env", variable("TOKENWAY_TOKEN_SECRET")),
            token_public_key_file: access.or("token_public_key_file", PathBuf::new()),
            token_jwks_file: access.or("token_jwks_file", PathBuf::new()),
            token_audience: access.or("token_audience", String::new()),
            token_max_age: access.within("token_max_age", Duration::from_mins(15), TOKEN_AGE),
            session_secret_env: access.or("session_secret_env", variable("TOKENWAY_SESSION_SECRET")),
            session_secret_previous_env: access.or("session_secret_previous_env", None),
            session_ttl: access.within("session_ttl", Duration::from_hours(1), SESSION_TTL),
            same_site: access.or("same_site", SameSite::None),
        }
    }
}

impl Value for SameSite {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("none") => Ok(Self::None),
            Some("lax") => Ok(Self::Lax),
            _ => Err(Mistake::new(
                "must be \"none\" or \"lax\"",
                "write \"lax\" where pages and gateway are subdomains of one site, else \"none\"",
            )),
        }
    }
}

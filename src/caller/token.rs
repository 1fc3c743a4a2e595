//! Tokens: short-lived JWTs (RFC 7519) that the app's own backend signs for its pages. Pure.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::claims::{Audience, Claims};
use super::refusal::Refusal;
use super::token_key::TokenKey;
use super::{Allowance, Terms};
use crate::route::price::Cost;

/// How far the clocks of backend and gateway may be apart.
pub const LEEWAY: Duration = Duration::from_secs(10);
/// Most bytes of a token: more fits in no request head, and no honest token comes near.
const MAX_TOKEN: usize = 8 * 1024;
/// Most bytes of a subject.
const MAX_SUBJECT: usize = 256;
/// Most models that a token may list.
const MAX_MODELS: usize = 64;

/// What a good token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Who.
    pub subject: Arc<str>,
    /// The one origin whose pages may use it.
    pub origin: Option<String>,
    /// What the caller may use.
    pub terms: Terms,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: Vec<TokenKey>,
    max_age: Duration,
    audience: Option<String>,
}

impl Tokens {
    /// Tokens that one of these keys verifies, that end at most `max_age` from now, and that are for this audience; without
    /// one, those that name none.
    pub fn new(keys: Vec<TokenKey>, max_age: Duration, audience: Option<String>) -> Self {
        Self { keys, max_age, audience }
    }

    /// Checks a token that came with this `Origin` at the time `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// Why it is refused; the caller is not told.
    pub fn check(&self, token: &str, origin: Option<&str>, now: u64) -> Result<Verified, Refusal> {
        let claims = self.verified_claims(token)?;
        self.check_times(&claims, now)?;
        self.check_audience(claims.aud.as_ref())?;
        // Two origins are the same when their serialisations are, byte for byte (RFC 6454 §5 and §6.2).
        if claims.origin.is_some() && claims.origin.as_deref() != origin {
            return Err(Refusal::WrongOrigin);
        }
        let subject_is_usable =
            matches!(claims.sub.len(), 1..=MAX_SUBJECT) && !claims.sub.chars().any(char::is_control);
        let models_are_usable = claims.models.as_ref().is_none_or(|models| models.len() <= MAX_MODELS);
        if !subject_is_usable || !models_are_usable {
            return Err(Refusal::BadClaims);
        }
        // the shortest decimal that is this number: what the backend wrote
        let budget = claims.budget.map(|dollars| Cost::parse(&dollars.to_string())).transpose();
        let budget_per_day = budget.map_err(|_| Refusal::BadClaims)?;
        let allowance = Allowance {
            requests_per_minute: claims.rpm,
            tokens_per_minute: claims.tpm,
            concurrent_streams: claims.streams,
            budget_per_day,
        };
        let terms = Terms { allowance, models: claims.models.map(Into::into) };
        Ok(Verified { subject: claims.sub.into(), origin: claims.origin, terms })
    }

    /// The claims, once a signature is found good. Nothing in the token but `alg`, `kid` and `crit` is used before that.
    ///
    /// The library's own `decode` reads the header three times and the claims twice, and looks at a clock: 2.3 µs where
    /// this takes half. Its keys, algorithms and signatures are used.
    fn verified_claims(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Malformed);
        }
        // RFC 7515 §7.1: three parts
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        // `none` is no algorithm of the library: a header with it cannot be read
        let header: Header = part(header).ok_or(Refusal::Malformed)?;
        // RFC 7515 §4.1.11: what is critical and not understood makes the token invalid; we understand no extension
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let mut refusal = Refusal::Unknown;
        for key in self.keys.iter().filter(|key| key.may_verify(header.alg, header.kid.as_deref())) {
            match verify(signature, message.as_bytes(), key.key(), header.alg) {
                Ok(true) => return part(claims).ok_or(Refusal::BadClaims),
                Ok(false) => refusal = Refusal::BadSignature,
                // a signature that is no base64url
                Err(_) => return Err(Refusal::Malformed),
            }
        }
        Err(refusal)
    }

    fn check_times(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        let (now, leeway) = (now as f64, LEEWAY.as_secs_f64());
        // JSON knows neither NaN nor infinity
        if now > claims.exp + leeway {
            return Err(Refusal::Expired);
        }
        if claims.exp > now + self.max_age.as_secs_f64() + leeway {
            return Err(Refusal::LivesTooLong);
        }
        match claims.nbf {
            Some(begins) if now < begins - leeway => Err(Refusal::NotYetValid),
            _ => Ok(()),
        }
    }

    /// RFC 7519 §4.1.3: a token with an audience that is not us must be rejected. An identity provider signs for many
    /// services with one key: none of their tokens may open this one.
    fn check_audience(&self, named: Option<&Audience>) -> Result<(), Refusal> {
        let good = match (&self.audience, named) {
            (None, None) => true,
            (Some(ours), Some(Audience::One(name))) => name == ours,
            (Some(ours), Some(Audience::Several(names))) => names.contains(ours),
            _ => false,
        };
        if good { Ok(()) } else { Err(Refusal::WrongAudience) }
    }
}

/// What is read of a header (RFC 7515 §4.1); key material that it brings along (`jwk`, `jku`, `x5c`) is not.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// One part of a token: JSON in base64url, without padding.
fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64.decode(encoded).ok()?).ok()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;

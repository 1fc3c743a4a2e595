//! Tokens: short-lived JWTs (RFC 7519) that the app's own backend signs for its pages. Pure.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::caller::{Allowance, Terms};
use super::claims::{Audience, Claims};
use super::refusal::Refusal;
use super::token_key::TokenKey;
use crate::price::Cost;

/// The tolerated difference between the clocks of backend and gateway.
pub const LEEWAY: Duration = Duration::from_secs(10);
/// The most bytes of a token: far more than an ordinary token has.
const MAX_TOKEN: usize = 8 * 1024;
/// The most bytes of a subject.
const MAX_SUBJECT: usize = 256;
/// The most models of a token.
const MAX_MODELS: usize = 64;

/// The claims of a valid token.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The subject.
    pub subject: Arc<str>,
    /// The one origin whose pages may use it.
    pub origin: Option<String>,
    /// The terms of the caller.
    pub terms: Terms,
}

/// A token with a valid signature, and its claims.
///
/// It depends on the token and the keys alone, so that it may be cached as long as the keys do not change; [`Tokens::judge`] decides
/// at each request whether the token is valid now.
#[derive(Debug, PartialEq)]
pub struct Signed {
    verified: Verified,
    exp: f64,
    nbf: Option<f64>,
    aud: Option<Audience>,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: Vec<TokenKey>,
    max_age: Duration,
    audience: Option<String>,
}

impl Tokens {
    /// Makes tokens that one of these keys verifies, that end at most `max_age` from now, and that are for this audience;
    /// without an audience, tokens that name none.
    pub fn new(keys: Vec<TokenKey>, max_age: Duration, audience: Option<String>) -> Self {
        Self { keys, max_age, audience }
    }

    /// Checks a token that came with this `Origin` at the time `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// The reason of the refusal; the response does not contain it.
    pub fn check(&self, token: &str, origin: Option<&str>, now: u64) -> Result<Verified, Refusal> {
        self.judge(&self.verify(token)?, origin, now)
    }

    /// The expensive half of a check: the signature and the claims.
    ///
    /// # Errors
    /// The reason of the refusal, independent of the time.
    pub fn verify(&self, token: &str) -> Result<Signed, Refusal> {
        let Claims { sub, exp, nbf, aud, origin, models, rpm, tpm, streams, budget } = self.verified_claims(token)?;
        let subject_is_usable = matches!(sub.len(), 1..=MAX_SUBJECT) && !sub.chars().any(char::is_control);
        let models_are_usable = models.as_ref().is_none_or(|models| models.len() <= MAX_MODELS);
        if !subject_is_usable || !models_are_usable {
            return Err(Refusal::BadClaims);
        }
        // the shortest decimal of this number, which is what the backend wrote
        let budget = budget.map(|dollars| Cost::parse(&dollars.to_string())).transpose();
        let budget_per_day = budget.map_err(|_| Refusal::BadClaims)?;
        let allowance =
            Allowance { requests_per_minute: rpm, tokens_per_minute: tpm, concurrent_streams: streams, budget_per_day };
        let terms = Terms { allowance, models: models.map(Into::into) };
        Ok(Signed { verified: Verified { subject: sub.into(), origin, terms }, exp, nbf, aud })
    }

    /// The other half: whether a signed token is valid for a request with this `Origin` at the time `now`, in seconds since the
    /// epoch.
    ///
    /// # Errors
    /// The reason of the refusal; the response does not contain it.
    pub fn judge(&self, signed: &Signed, origin: Option<&str>, now: u64) -> Result<Verified, Refusal> {
        self.check_times(signed, now)?;
        self.check_audience(signed.aud.as_ref())?;
        let only = signed.verified.origin.as_deref();
        // Two origins are the same when their serialisations are, byte for byte (RFC 6454 §5 and §6.2).
        if only.is_some() && only != origin {
            return Err(Refusal::WrongOrigin);
        }
        Ok(signed.verified.clone())
    }

    /// Returns the claims of a token with a valid signature. Nothing in the token but `alg`, `kid` and `crit` is used before
    /// that.
    ///
    /// The library's own `decode` parses the header three times and the claims twice, and reads a clock: it takes 2.3 µs,
    /// twice as long as this. Its keys, algorithms and signatures are used.
    fn verified_claims(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Malformed);
        }
        // RFC 7515 §7.1: three parts
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        // the library has no algorithm `none`: a header with it cannot be read
        let header: Header = part(header).ok_or(Refusal::Malformed)?;
        // RFC 7515 §4.1.11: a critical extension that is not understood makes the token invalid; none is understood here
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let mut refusal = Refusal::Unknown;
        for key in self.keys.iter().filter(|key| key.may_verify(header.alg, header.kid.as_deref())) {
            match verify(signature, message.as_bytes(), key.key(), header.alg) {
                Ok(true) => return part(claims).ok_or(Refusal::BadClaims),
                Ok(false) => refusal = Refusal::BadSignature,
                // the signature is not base64url
                Err(_) => return Err(Refusal::Malformed),
            }
        }
        Err(refusal)
    }

    fn check_times(&self, signed: &Signed, now: u64) -> Result<(), Refusal> {
        let (now, leeway) = (now as f64, LEEWAY.as_secs_f64());
        // JSON has neither NaN nor infinity
        if now > signed.exp + leeway {
            return Err(Refusal::Expired);
        }
        if signed.exp > now + self.max_age.as_secs_f64() + leeway {
            return Err(Refusal::LivesTooLong);
        }
        match signed.nbf {
            Some(begins) if now < begins - leeway => Err(Refusal::NotYetValid),
            _ => Ok(()),
        }
    }

    /// RFC 7519 §4.1.3: a token for another audience must be rejected. An identity provider signs for many services with one key:
    /// their tokens must not be valid here.
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

/// The fields of a header that are read (RFC 7515 §4.1); key material in it (`jwk`, `jku`, `x5c`) is ignored.
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

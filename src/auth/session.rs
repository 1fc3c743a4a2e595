//! Sessions: the claims of a token, sealed into a cookie. The gateway stores nothing of them. Pure.
//!
//! The seal is AES-256-GCM: the holder of the cookie can neither read nor change it. A value is
//! `version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16)` in base64url. Nonces are random: NIST SP 800-38D §8.3 allows 2³² of them
//! for one key, which is a login each 10 ms for over a year; rotate the secret before that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use serde::{Deserialize, Serialize};

use super::caller::{Allowance, Caller, SessionId, Terms};
use super::cookie;
use super::refusal::Refusal;
use super::token::Verified;
use crate::price::Cost;

/// The fewest bytes of a session secret.
pub const MIN_SECRET: usize = 32;
/// By RFC 6265 §6.1 browsers store 4096 bytes of name, value and attributes together.
const MAX_VALUE: usize = 3800;
/// The first byte of every value: the version of its form.
const VERSION: u8 = 1;

/// Seals sessions into cookies and opens them.
pub struct Sessions {
    current: LessSafeKey,
    /// The secret before a rotation, which opens older cookies.
    previous: Option<LessSafeKey>,
    ttl: Duration,
    same_site: cookie::SameSite,
}

/// The randomness of one login: new each time, so that an attacker cannot fix a session.
#[derive(Clone, Copy)]
pub struct Fresh {
    /// The session's id.
    pub id: [u8; 16],
    /// The seal's nonce.
    pub nonce: [u8; NONCE_LEN],
}

/// A session, opened from a cookie.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its end, in seconds since the epoch.
    pub expires: u64,
    subject: Arc<str>,
    origin: Option<String>,
    terms: Terms,
}

/// The sealed text. Names are short because a cookie is sent with every request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    i: [u8; 16],
    s: String,
    e: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    /// Micro-dollars per day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<u64>,
}

/// The claims of the token exceed a cookie: the list of models is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Sessions {
    /// Makes sessions that seal with `secret`, and open cookies of both secrets.
    ///
    /// # Errors
    /// A secret is too short.
    pub fn new(
        secret: &[u8],
        previous: Option<&[u8]>,
        ttl: Duration,
        same_site: cookie::SameSite,
    ) -> Result<Self, String> {
        Ok(Self { current: sealing_key(secret)?, previous: previous.map(sealing_key).transpose()?, ttl, same_site })
    }

    /// Returns the `set-cookie` of a session that begins at `now`, in seconds since the epoch, with the claims of a token.
    ///
    /// # Errors
    /// The claims exceed a cookie.
    pub fn begin(&self, verified: &Verified, now: u64, fresh: Fresh) -> Result<String, TooLong> {
        let Verified { subject, origin, terms } = verified;
        let sealed = Sealed {
            i: fresh.id,
            s: subject.as_ref().to_owned(),
            e: now.saturating_add(self.ttl.as_secs()),
            o: origin.clone(),
            m: terms.models.as_ref().map(|models| models.to_vec()),
            r: terms.allowance.requests_per_minute,
            t: terms.allowance.tokens_per_minute,
            c: terms.allowance.concurrent_streams,
            b: terms.allowance.budget_per_day.map(Cost::micro),
        };
        let mut text = serde_json::to_vec(&sealed).map_err(|_| TooLong)?;
        let nonce = Nonce::assume_unique_for_key(fresh.nonce);
        self.current.seal_in_place_append_tag(nonce, Aad::from(cookie::NAME), &mut text).map_err(|_| TooLong)?;
        let value = BASE64.encode([&[VERSION][..], &fresh.nonce, &text].concat());
        match value.len() {
            ..=MAX_VALUE => Ok(cookie::set(&value, self.same_site, self.ttl)),
            _ => Err(TooLong),
        }
    }

    /// Opens the session in a cookie's value, at the time `now`, for a request with this `Origin`.
    ///
    /// # Errors
    /// The reason of the refusal; the response does not contain it.
    pub fn open(&self, value: &str, origin: Option<&str>, now: u64) -> Result<Session, Refusal> {
        let Sealed { i, s, e, o, m, r, t, c, b } = self.unseal(value)?;
        if now >= e {
            return Err(Refusal::Expired);
        }
        if o.is_some() && o.as_deref() != origin {
            return Err(Refusal::WrongOrigin);
        }
        let allowance = Allowance {
            requests_per_minute: r,
            tokens_per_minute: t,
            concurrent_streams: c,
            budget_per_day: b.map(Cost::from_micro),
        };
        let terms = Terms { allowance, models: m.map(Into::into) };
        Ok(Session { id: SessionId(i), expires: e, subject: s.into(), origin: o, terms })
    }

    fn unseal(&self, value: &str) -> Result<Sealed, Refusal> {
        if value.len() > MAX_VALUE {
            return Err(Refusal::Malformed);
        }
        let bytes = BASE64.decode(value).map_err(|_| Refusal::Malformed)?;
        let (version, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::Malformed)?;
        if *version != VERSION {
            return Err(Refusal::Malformed);
        }
        for key in [Some(&self.current), self.previous.as_ref()].into_iter().flatten() {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            if let Ok(text) = key.open_in_place(nonce, Aad::from(cookie::NAME), &mut sealed) {
                // a sealed text can be parsed, unless another version of this program has sealed it
                return serde_json::from_slice(text).map_err(|_| Refusal::Malformed);
            }
        }
        Err(Refusal::BadSignature)
    }
}

impl Session {
    /// Returns the caller of the session.
    pub fn caller(self, address: IpAddr) -> Caller {
        Caller::session(self.subject, self.id, address, self.terms)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ttl, same_site, .. } = self;
        f.debug_struct("Sessions").field("ttl", ttl).field("same_site", same_site).finish_non_exhaustive()
    }
}

/// Checks the length of a session secret.
///
/// # Errors
/// The secret is too short. The text is a clause.
pub fn check_secret(secret: &[u8]) -> Result<(), String> {
    match secret.len() {
        MIN_SECRET.. => Ok(()),
        _ => Err(format!("holds fewer than {MIN_SECRET} bytes; make one with `openssl rand -hex 32`")),
    }
}

/// HKDF (RFC 5869) derives a key for this use alone from the operator's text.
fn sealing_key(secret: &[u8]) -> Result<LessSafeKey, String> {
    check_secret(secret)?;
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tokenway").extract(secret);
    let key = extracted.expand(&[b"session cookie 1"], &AES_256_GCM).map(UnboundKey::from);
    key.map(LessSafeKey::new).map_err(|_| "cannot be used as a key".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::caller::Kind;

    const SECRET: &[u8] = b"the session secret of this gateway";
    const NEXT: &[u8] = b"the session secret after a rotation";
    const NOW: u64 = 1_800_000_000;
    const TTL: Duration = Duration::from_secs(3600);

    fn sessions(secret: &[u8], previous: Option<&[u8]>) -> Sessions {
        Sessions::new(secret, previous, TTL, cookie::SameSite::None).unwrap()
    }

    fn fresh(number: u8) -> Fresh {
        Fresh { id: [number; 16], nonce: [number; NONCE_LEN] }
    }

    fn verified(origin: Option<&str>) -> Verified {
        let budget_per_day = Cost::parse("2.5").ok();
        let allowance = Allowance { tokens_per_minute: Some(7), budget_per_day, ..Allowance::default() };
        let terms = Terms { allowance, models: Some(vec!["m".to_owned()].into()) };
        Verified { subject: "ann".into(), origin: origin.map(str::to_owned), terms }
    }

    fn value(sessions: &Sessions, verified: &Verified, fresh: Fresh) -> String {
        let cookie = sessions.begin(verified, NOW, fresh).unwrap();
        cookie.strip_prefix("__Host-tokenway=").unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_says_what_its_token_said_until_it_ends() {
        let sessions = sessions(SECRET, None);
        let value = value(&sessions, &verified(None), fresh(1));
        let session = sessions.open(&value, None, NOW + 3599).unwrap();
        assert_eq!((session.id, session.expires), (SessionId([1; 16]), NOW + 3600));
        let caller = session.caller(std::net::Ipv4Addr::LOCALHOST.into());
        assert_eq!(caller.kind(), &Kind::Session { subject: "ann".into(), session: SessionId([1; 16]) });
        assert!(caller.may_use("m") && !caller.may_use("n"));
        assert_eq!(caller.allowance(), verified(None).terms.allowance);
        assert_eq!(sessions.open(&value, None, NOW + 3600), Err(Refusal::Expired));
        assert!(!value.contains("ann"));
    }

    #[test]
    fn each_login_makes_another_value() {
        let sessions = sessions(SECRET, None);
        assert_ne!(value(&sessions, &verified(None), fresh(1)), value(&sessions, &verified(None), fresh(2)));
    }

    #[test]
    fn the_previous_secret_opens_what_it_sealed_and_a_forgotten_one_does_not() {
        let old = value(&sessions(SECRET, None), &verified(None), fresh(1));
        assert!(sessions(NEXT, Some(SECRET)).open(&old, None, NOW).is_ok());
        assert_eq!(sessions(NEXT, None).open(&old, None, NOW), Err(Refusal::BadSignature));
        // a value that is sealed after the rotation needs the new one
        let new = value(&sessions(NEXT, Some(SECRET)), &verified(None), fresh(2));
        assert!(sessions(NEXT, None).open(&new, None, NOW).is_ok());
        assert_eq!(sessions(SECRET, None).open(&new, None, NOW), Err(Refusal::BadSignature));
    }

    #[test]
    fn a_session_of_a_token_for_one_origin_is_good_for_its_pages_alone() {
        let sessions = sessions(SECRET, None);
        let value = value(&sessions, &verified(Some("https://a.example")), fresh(1));
        assert!(sessions.open(&value, Some("https://a.example"), NOW).is_ok());
        for other in [None, Some("https://b.example")] {
            assert_eq!(sessions.open(&value, other, NOW), Err(Refusal::WrongOrigin));
        }
    }

    #[test]
    fn what_is_no_value_of_ours_is_refused() {
        let sessions = sessions(SECRET, None);
        let good = BASE64.decode(value(&sessions, &verified(None), fresh(1))).unwrap();
        let version = BASE64.encode([&[2], &good[1..]].concat());
        let long = "A".repeat(MAX_VALUE + 1);
        for bad in ["", "A", "AQ", "not base64!", "AQAAAAAAAAAAAAAA", &version, &long] {
            let refusal = sessions.open(bad, None, NOW).unwrap_err();
            assert!(matches!(refusal, Refusal::Malformed | Refusal::BadSignature), "{bad}");
        }
    }

    #[test]
    fn a_short_secret_and_a_long_token_are_refused() {
        assert!(Sessions::new(&[b'a'; 31], None, TTL, cookie::SameSite::Lax).is_err());
        assert!(Sessions::new(SECRET, Some(b"short"), TTL, cookie::SameSite::Lax).is_err());
        let mut long = verified(None);
        long.terms.models = Some(vec!["x".repeat(100); 40].into());
        assert_eq!(sessions(SECRET, None).begin(&long, NOW, fresh(1)), Err(TooLong));
        assert!(!format!("{:?}", sessions(SECRET, None)).contains("secret"));
    }

    proptest! {
        #[test]
        fn no_change_of_a_single_bit_is_opened(at: prop::sample::Index, bit in 0..8) {
            let sessions = sessions(SECRET, None);
            let mut bytes = BASE64.decode(value(&sessions, &verified(None), fresh(1))).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(sessions.open(&BASE64.encode(bytes), None, NOW).is_err());
        }

        #[test]
        fn any_text_is_refused(text in "[A-Za-z0-9_-]{0,120}") {
            prop_assert!(sessions(SECRET, Some(NEXT)).open(&text, None, NOW).is_err());
        }
    }
}

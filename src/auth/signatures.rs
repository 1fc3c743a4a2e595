//! A cache of verified tokens: a page sends one token with each request, and the signature of a public key takes tens of
//! microseconds to verify.

use std::sync::Arc;

use ring::digest;

use crate::auth::refusal::Refusal;
use crate::auth::token::{Signed, Tokens, Verified};
use crate::recent_map::RecentMap;

/// The most tokens in the cache.
const MOST: usize = 8192;
/// Longer tokens are not cached: so the cache takes 20 MB at most, and some 4 MB with usual tokens.
const LONGEST: usize = 2048;

/// The tokens that one set of keys has verified. Other keys need another cache.
///
/// It holds only what cannot change: that one of the keys has signed this text, and its claims. Times, audience and origin are
/// checked at every request. A token without a valid signature is never cached, so that invented tokens evict nothing.
pub struct Signatures(RecentMap<TokenHash, Arc<Signed>>);

/// The SHA-256 of a whole token, signature included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct TokenHash([u8; digest::SHA256_OUTPUT_LEN]);

impl TokenHash {
    fn of(token: &str) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

impl Default for Signatures {
    fn default() -> Self {
        Self(RecentMap::new(MOST))
    }
}

impl Signatures {
    /// Does the same as [`Tokens::check`]; `tokens` must always be the same.
    ///
    /// # Errors
    /// As [`Tokens::check`].
    pub fn check(&self, tokens: &Tokens, token: &str, origin: Option<&str>, now: u64) -> Result<Verified, Refusal> {
        tokens.judge(&*self.signed(tokens, token)?, origin, now)
    }

    fn signed(&self, tokens: &Tokens, token: &str) -> Result<Arc<Signed>, Refusal> {
        if token.len() > LONGEST {
            return tokens.verify(token).map(Arc::new);
        }
        let hash = TokenHash::of(token);
        if let Some(signed) = self.0.get(&hash) {
            return Ok(signed);
        }
        let signed = Arc::new(tokens.verify(token)?);
        self.0.insert(hash, Arc::clone(&signed));
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::claims::{Audience, Claims};
    use crate::auth::token_key::{SigningKey, TokenKey};

    const SECRET: &[u8] = b"a secret that backend and gateway share";
    const NOW: u64 = 1_800_000_000;

    fn tokens() -> Tokens {
        Tokens::new(vec![TokenKey::from_secret(SECRET).unwrap()], Duration::from_mins(15), None)
    }

    fn mint(exp: u64, nbf: Option<u64>, origin: Option<&str>, aud: Option<&str>, sub: &str) -> String {
        let (exp, nbf) = (exp as f64, nbf.map(|nbf| nbf as f64));
        let (origin, aud) = (origin.map(str::to_owned), aud.map(|aud| Audience::One(aud.to_owned())));
        let claims = Claims {
            sub: sub.to_owned(),
            exp,
            nbf,
            aud,
            origin,
            models: None,
            rpm: None,
            tpm: None,
            streams: None,
            budget: None,
        };
        SigningKey::from_secret(SECRET).unwrap().sign(&claims).unwrap()
    }

    #[test]
    fn the_last_byte_of_a_token_makes_another_hash() {
        assert_eq!(TokenHash::of("a.b.c"), TokenHash::of("a.b.c"));
        assert_ne!(TokenHash::of("a.b.c"), TokenHash::of("a.b.d"));
    }

    #[test]
    fn a_token_that_was_good_is_refused_when_its_time_is_over_and_from_another_origin() {
        let (signatures, tokens) = (Signatures::default(), tokens());
        let token = mint(NOW + 60, None, Some("https://a.example"), None, "ann");
        let check = |origin, now| signatures.check(&tokens, &token, origin, now).map(|_| ());
        assert_eq!(check(Some("https://a.example"), NOW), Ok(()));
        assert_eq!(check(Some("https://b.example"), NOW), Err(Refusal::WrongOrigin));
        assert_eq!(check(None, NOW), Err(Refusal::WrongOrigin));
        assert_eq!(check(Some("https://a.example"), NOW + 71), Err(Refusal::Expired));
        assert_eq!(check(Some("https://a.example"), NOW + 60), Ok(()));
    }

    #[test]
    fn a_signature_is_verified_once_and_one_that_differs_is_another_token() {
        let (signatures, tokens) = (Signatures::default(), tokens());
        let token = mint(NOW + 60, None, None, None, "ann");
        assert!(signatures.check(&tokens, &token, None, NOW).is_ok());
        // if the signature were verified again, these keys would refuse it
        let none = Tokens::new(Vec::new(), Duration::from_mins(15), None);
        assert!(signatures.check(&none, &token, None, NOW).is_ok());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        for forged in [format!("{message}."), format!("{message}.{first}{}", &signature[1..]), format!("{token}A")] {
            assert!(signatures.check(&tokens, &forged, None, NOW).is_err(), "{forged}");
        }
    }

    #[test]
    fn refused_and_long_tokens_are_not_cached() {
        let signatures = Signatures::default();
        let (token, long) =
            (mint(NOW + 60, None, None, None, "ann"), mint(NOW + 60, None, None, Some(&"a".repeat(2000)), "ann"));
        let none = Tokens::new(Vec::new(), Duration::from_mins(15), None);
        assert_eq!(signatures.check(&none, &token, None, NOW), Err(Refusal::Unknown));
        assert!(signatures.check(&tokens(), &token, None, NOW).is_ok());
        assert_eq!(signatures.check(&tokens(), &long, None, NOW), Err(Refusal::WrongAudience));
        assert_eq!(signatures.check(&none, &long, None, NOW), Err(Refusal::Unknown));
    }

    proptest! {
        #[test]
        fn it_answers_as_a_check_without_memory_does(
            steps in prop::collection::vec((0..4usize, 0..2000u64, prop::option::of(0..2usize)), 0..40),
        ) {
            const ORIGINS: [&str; 2] = ["https://a.example", "https://b.example"];
            let (signatures, tokens) = (Signatures::default(), tokens());
            let mut all = [
                mint(NOW + 60, None, None, None, "ann"),
                mint(NOW + 900, Some(NOW + 300), Some(ORIGINS[0]), None, "ben"),
                mint(NOW + 900, None, None, Some("another"), "cid"),
                mint(NOW + 900, None, None, None, "dan"),
            ];
            all[3].pop();
            for (token, after, origin) in steps {
                let (token, origin, now) = (&all[token], origin.map(|origin| ORIGINS[origin]), NOW + after);
                prop_assert_eq!(signatures.check(&tokens, token, origin, now), tokens.check(token, origin, now));
            }
        }
    }
}

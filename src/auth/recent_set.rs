//! What was found of the tokens that came last, within a bound. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use ring::digest;

/// The SHA-256 of a whole token, signature included. No two tokens that anybody can make have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; digest::SHA256_OUTPUT_LEN]);

impl TokenHash {
    /// Of this token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

/// The values of the tokens that were used last.
///
/// Two generations: when the younger one is full, it becomes the elder, and what was the elder is forgotten. What is used
/// moves to the younger one. So whatever is among the last `max / 2` different tokens is there, and to forget costs no
/// search and no clock.
#[derive(Debug)]
pub struct Recent<T> {
    half: usize,
    younger: HashMap<TokenHash, Arc<T>>,
    elder: HashMap<TokenHash, Arc<T>>,
}

impl<T> Recent<T> {
    /// Holds at most `max`, which is at least 2.
    pub fn new(max: usize) -> Self {
        Self { half: (max / 2).max(1), younger: HashMap::new(), elder: HashMap::new() }
    }

    /// What was kept of a token.
    pub fn find(&mut self, token: TokenHash) -> Option<Arc<T>> {
        if let Some(value) = self.younger.get(&token) {
            return Some(Arc::clone(value));
        }
        let value = self.elder.remove(&token)?;
        self.keep(token, Arc::clone(&value));
        Some(value)
    }

    /// Keeps this of a token.
    pub fn keep(&mut self, token: TokenHash, value: Arc<T>) {
        if self.younger.len() >= self.half && !self.younger.contains_key(&token) {
            self.elder = std::mem::take(&mut self.younger);
        }
        self.younger.insert(token, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(number: u8) -> TokenHash {
        TokenHash([number; 32])
    }

    #[test]
    fn the_last_byte_of_a_token_makes_another_hash() {
        assert_eq!(TokenHash::of("a.b.c"), TokenHash::of("a.b.c"));
        assert_ne!(TokenHash::of("a.b.c"), TokenHash::of("a.b.d"));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(4);
        recent.keep(token(0), Arc::new(0));
        for number in 1..50 {
            recent.keep(token(number), Arc::new(number));
            assert_eq!(recent.find(token(0)).as_deref(), Some(&0));
        }
        assert!(recent.find(token(1)).is_none());
    }

    proptest! {
        #[test]
        fn it_holds_the_bound_the_last_half_and_never_anothers_value(
            steps in prop::collection::vec((any::<bool>(), 0..12u8), 0..100), max in 2..20usize,
        ) {
            let mut recent = Recent::new(max);
            let mut used: Vec<u8> = Vec::new();
            for (keep, number) in steps {
                let is_recent = used.iter().rev().take(max / 2).any(|other| *other == number);
                let found = if keep {
                    recent.keep(token(number), Arc::new(number));
                    true
                } else {
                    let found = recent.find(token(number));
                    prop_assert!(found.is_some() || !is_recent);
                    prop_assert!(found.as_ref().is_none_or(|found| **found == number));
                    found.is_some()
                };
                if found {
                    used.retain(|other| *other != number);
                    used.push(number);
                }
                prop_assert!(recent.younger.len() + recent.elder.len() <= max);
            }
        }
    }
}

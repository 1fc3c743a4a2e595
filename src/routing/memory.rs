//! What the classifier has said, of the prompts that were asked last.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

use crate::routing::verdict::Verdict;

/// SHA-256 of what the classifier saw.
type Key = [u8; 32];

/// So many prompts are remembered at least, and twice as many at most: 33 bytes each, and what the map needs.
const GENERATION: usize = 16 * 1024;

/// A map that forgets the oldest half at once: bounded, and of constant time.
#[derive(Default)]
pub(super) struct Memory(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Verdict>,
    old: HashMap<Key, Verdict>,
}

impl Memory {
    /// The verdict on a prompt, if it is remembered.
    pub(super) fn get(&self, key: &Key) -> Option<Verdict> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = generations.young.get(key) {
            return Some(*verdict);
        }
        let verdict = generations.old.remove(key)?;
        // whoever is asked for again is young again
        generations.keep(*key, verdict);
        Some(verdict)
    }

    /// Remembers a verdict.
    pub(super) fn keep(&self, key: Key, verdict: Verdict) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(key, verdict);
    }
}

impl Generations {
    fn keep(&mut self, key: Key, verdict: Verdict) {
        if self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn what_was_said_is_remembered_and_the_latest_word_holds() {
        let memory = Memory::default();
        assert_eq!(memory.get(&key(1)), None);
        memory.keep(key(1), Verdict::Hard);
        memory.keep(key(2), Verdict::Easy);
        assert_eq!((memory.get(&key(1)), memory.get(&key(2))), (Some(Verdict::Hard), Some(Verdict::Easy)));
        memory.keep(key(1), Verdict::Easy);
        assert_eq!(memory.get(&key(1)), Some(Verdict::Easy));
    }

    #[test]
    fn it_is_bounded_and_what_is_asked_for_stays() {
        let memory = Memory::default();
        for number in 0..5 * GENERATION {
            memory.keep(key(number), Verdict::Easy);
            assert_eq!(memory.get(&key(0)), Some(Verdict::Easy), "{number}");
        }
        let Generations { young, old } = memory.0.into_inner().unwrap();
        assert!(young.len() + old.len() <= 2 * GENERATION);
        assert!(young.contains_key(&key(5 * GENERATION - 1)) && !young.contains_key(&key(1)));
    }
}

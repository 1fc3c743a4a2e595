//! A table of callers with a fixed size, for counts of each caller in one process.
//!
//! It is set-associative, as a processor's cache is: a key's hash selects a set of [`WAYS`] entries, and a new caller
//! replaces the entry with the smallest loss. The owner of the table defines the loss.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ring::digest;

/// Entries in a set. With twice as many entries as callers, fewer than one caller in a thousand finds its set full.
pub const WAYS: usize = 16;
/// Entries per expected caller.
const ROOM: usize = 2;

/// The key of a caller's counts, for all models or for one: 128 bits of SHA-256, so that callers can neither be read from a
/// store nor made to collide in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// A value for each caller, as long as there is room.
pub struct BoundedTable<V> {
    /// Allocated at the first use: a gateway that counts nothing needs no memory for it.
    sets: OnceLock<Box<[Mutex<Set<V>>]>>,
    len: usize,
    /// Randomly keyed, so that a client cannot choose an address that collides with another one.
    hasher: RandomState,
}

/// The entries of one set.
#[derive(Debug, Default)]
pub struct Set<V>([Entry<V>; WAYS]);

/// One caller. An empty entry has the key of a caller for whom nothing is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<V> {
    key: Key,
    value: V,
}

impl Key {
    /// Returns the key of a caller for all models (`model` = ""), or for one model.
    pub fn of(caller: &str, model: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        // neither a caller's id nor the name of a model has a zero byte
        [caller.as_bytes(), b"\0", model.as_bytes()].iter().for_each(|part| hash.update(part));
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finish().as_ref()[..16]);
        Self(key)
    }
}

impl fmt::Display for Key {
    /// Writes 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl<V: Copy + Default> BoundedTable<V> {
    /// Makes a table for so many callers: twice the size of an [`Entry`] each, once the first set is used.
    pub fn new(callers: usize) -> Self {
        Self { sets: OnceLock::new(), len: (callers * ROOM).div_ceil(WAYS).max(1), hasher: RandomState::new() }
    }

    /// Returns how many sets there will be.
    #[cfg(test)]
    pub fn planned(&self) -> usize {
        self.len
    }

    /// Returns how many sets there are, or `None` before the first use.
    #[cfg(test)]
    pub fn made(&self) -> Option<usize> {
        self.sets.get().map(|sets| sets.len())
    }

    /// Returns the index of the set that may hold this caller.
    pub fn set_of(&self, key: Key) -> usize {
        // the remainder of a uniform hash is uniform enough, because the table is far smaller than 2⁶⁴
        (self.hasher.hash_one(key) % self.len as u64) as usize
    }

    /// Locks the set with this index. A caller that needs two sets locks the lower index first.
    pub fn lock(&self, set: usize) -> MutexGuard<'_, Set<V>> {
        let sets = self.sets.get_or_init(|| (0..self.len).map(|_| Mutex::default()).collect());
        // each change of a set is complete before anything could panic
        sets[set].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Copy + Default> Set<V> {
    /// Returns the caller's value, if it has an entry.
    pub fn find(&mut self, key: Key) -> Option<&mut V> {
        self.0.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    /// Writes the caller's value: into its own entry, or into the one with the smallest `loss`.
    pub fn write<L: Ord>(&mut self, key: Key, value: V, loss: impl Fn(&V) -> L) {
        let own = self.0.iter().position(|entry| entry.key == key);
        let place = own.or_else(|| (0..WAYS).min_by_key(|place| loss(&self.0[*place].value)));
        if let Some(place) = place {
            self.0[place] = Entry { key, value };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_caller_and_by_model() {
        let keys = [Key::of("a", ""), Key::of("a", "m"), Key::of("am", ""), Key::of("b", "m")];
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(i));
        }
    }
}

//! A table of callers that never grows: for what is counted of each of them in one process.
//!
//! Set-associative, as a processor's cache is: a key's hash names a set of [`WAYS`] places, and whoever comes new takes the
//! place of the one that loses least by it. Who that is, the owner of the table says.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ring::digest;

/// Places in a set. With twice as many places as callers, fewer than one caller in a thousand finds its set full.
pub const WAYS: usize = 16;
/// Places per caller that there is to be room for.
const ROOM: usize = 2;

/// Names what is counted of a caller, in all or at one model: 128 bits of SHA-256, so that callers can neither be read out of
/// a store nor made to collide in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// A value for each caller, as long as there is room.
pub struct BoundedTable<V> {
    /// Made at the first use: a gateway that counts nothing pays nothing.
    sets: OnceLock<Box<[Mutex<Set<V>>]>>,
    len: usize,
    /// Keyed at random, so that nobody can choose an address that meets another one's.
    hasher: RandomState,
}

/// The callers that share so many places.
#[derive(Debug, Default)]
pub struct Set<V>([Entry<V>; WAYS]);

/// One caller. An empty place is that of a caller for whom nothing is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<V> {
    key: Key,
    value: V,
}

impl Key {
    /// Of a caller in all (`model` = ""), or at one model.
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
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl<V: Copy + Default> BoundedTable<V> {
    /// With room for so many callers: twice the size of an [`Entry`] each, once the first set is used.
    pub fn new(callers: usize) -> Self {
        Self { sets: OnceLock::new(), len: (callers * ROOM).div_ceil(WAYS).max(1), hasher: RandomState::new() }
    }

    /// How many sets there will be.
    #[cfg(test)]
    pub fn planned(&self) -> usize {
        self.len
    }

    /// How many sets there are; `None` before the first use.
    #[cfg(test)]
    pub fn made(&self) -> Option<usize> {
        self.sets.get().map(|sets| sets.len())
    }

    /// The number of the set that holds this caller, if any does.
    pub fn set_of(&self, key: Key) -> usize {
        // the remainder of an even hash is even enough: the table is far smaller than 2⁶⁴
        (self.hasher.hash_one(key) % self.len as u64) as usize
    }

    /// Locks the set of this number. Who needs two takes the lower one first.
    pub fn lock(&self, set: usize) -> MutexGuard<'_, Set<V>> {
        let sets = self.sets.get_or_init(|| (0..self.len).map(|_| Mutex::default()).collect());
        // each change of a set is whole before anything could panic
        sets[set].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Copy + Default> Set<V> {
    /// The caller's value, if it has a place.
    pub fn find(&mut self, key: Key) -> Option<&mut V> {
        self.0.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    /// Writes the caller's value: in its own place, or in that of the one for whom `loss` is least.
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

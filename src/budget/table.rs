//! What callers have spent, in one process, in a table that never grows.
//!
//! Set-associative, like the limits' table: a key's hash names a set of [`WAYS`] places. Whoever comes new takes the place of
//! one who spent on another day, for whom being forgotten changes nothing; if there is none, of the one who has spent least.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::limit::budget::{Claim, Spent, Verdict};
use crate::limit::claim::Key;

/// Places in a set. With twice as many places as callers, fewer than one caller in a thousand finds its set full.
const WAYS: usize = 16;
/// Places per caller that there is to be room for.
const ROOM: usize = 2;

/// The spending of this process.
pub(super) struct Table {
    /// Made at the first claim: a gateway without budgets pays nothing.
    sets: OnceLock<Box<[Mutex<Set>]>>,
    len: usize,
    /// Keyed at random, so that nobody can choose an address that meets another one's.
    hasher: RandomState,
}

type Set = [Entry; WAYS];

/// 32 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: Key,
    spent: Spent,
}

impl Table {
    /// A table with room for so many callers: 64 bytes each.
    pub(super) fn new(callers: usize) -> Self {
        Self { sets: OnceLock::new(), len: (callers * ROOM).div_ceil(WAYS).max(1), hasher: RandomState::new() }
    }

    /// Takes what is claimed on this day.
    pub(super) fn admit(&self, claim: &Claim, day: u64) -> Verdict {
        let mut set = self.set(claim.key);
        let own = set.iter().position(|entry| entry.key == claim.key);
        let spent = own.map(|place| set[place].spent).unwrap_or_default();
        let (verdict, spent) = claim.admit(spent, day);
        let place = own.or_else(|| (0..WAYS).min_by_key(|place| set[*place].spent.on(day)));
        if let Some(place) = place {
            set[place] = Entry { key: claim.key, spent };
        }
        verdict
    }

    /// Writes what was really spent. A caller that was forgotten meanwhile stays so.
    pub(super) fn settle(&self, claim: &Claim, day: u64, taken: u64, used: u64) {
        if let Some(entry) = self.set(claim.key).iter_mut().find(|entry| entry.key == claim.key) {
            entry.spent = entry.spent.settled(day, taken, used);
        }
    }

    fn set(&self, key: Key) -> MutexGuard<'_, Set> {
        let table = self.sets.get_or_init(|| (0..self.len).map(|_| Mutex::default()).collect());
        // the remainder of an even hash is even enough: the table is far smaller than 2⁶⁴
        let set = (self.hasher.hash_one(key) % self.len as u64) as usize;
        // each change is whole before anything could panic
        table[set].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(caller: &str, estimate: u64) -> Claim {
        Claim { key: Key::of(caller, ""), budget: 100, estimate, otherwise: None }
    }

    #[test]
    fn callers_spend_apart_and_are_settled() {
        let table = Table::new(1000);
        assert_eq!(table.admit(&claim("a", 60), 1), Verdict::Within);
        assert_eq!(table.admit(&claim("a", 60), 1), Verdict::Over);
        assert_eq!(table.admit(&claim("b", 60), 1), Verdict::Within);
        table.settle(&claim("a", 60), 1, 60, 40);
        assert_eq!(table.admit(&claim("a", 60), 1), Verdict::Within);
        assert_eq!(table.admit(&claim("a", 60), 2), Verdict::Within);
    }

    #[test]
    fn many_callers_do_not_make_it_grow_nor_free_the_one_who_has_spent_all() {
        assert_eq!(size_of::<Entry>(), 32);
        let table = Table::new(1000);
        assert_eq!(table.admit(&claim("hog", 100), 1), Verdict::Within);
        for number in 0..100_000 {
            table.admit(&claim(&format!("addr:{number}"), 1), 1);
        }
        assert_eq!(table.admit(&claim("hog", 1), 1), Verdict::Over);
        assert_eq!(table.sets.get().unwrap().len(), 125);
    }
}

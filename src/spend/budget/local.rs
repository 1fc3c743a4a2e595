//! The spending of callers in one process. If a set is full, a new caller evicts one whose spending is of another day, which loses
//! nothing; if there is none, the one that has spent least.

use crate::bounded_table::BoundedTable;
use crate::spend::budget::claim::{Claim, Spent, Verdict};

/// The spending of this process.
pub(super) struct Table(BoundedTable<Spent>);

impl Table {
    /// A table with room for so many callers: 64 bytes each.
    pub(super) fn new(callers: usize) -> Self {
        Self(BoundedTable::new(callers))
    }

    /// Decides a claim on this day by the clock, and reserves. Returns the day on which it is counted, too.
    pub(super) fn admit(&self, claim: &Claim, day: u64) -> (Verdict, u64) {
        let mut set = self.0.lock(self.0.set_of(claim.key));
        let spent = set.find(claim.key).copied().unwrap_or_default();
        let (verdict, spent) = claim.admit(spent, day);
        set.write(claim.key, spent, |other| other.on(other.day_from(day)));
        (verdict, spent.day)
    }

    /// Settles a request with its real cost. An evicted caller stays evicted.
    pub(super) fn settle(&self, claim: &Claim, day: u64, taken: u64, used: u64) {
        if let Some(spent) = self.0.lock(self.0.set_of(claim.key)).find(claim.key) {
            *spent = spent.settled(day, taken, used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded_table::{Entry, Key};

    fn claim(caller: &str, estimate: u64) -> Claim {
        Claim { key: Key::of(caller, ""), budget: 100, estimate, cheaper: None }
    }

    #[test]
    fn callers_spend_apart_and_are_settled() {
        let table = Table::new(1000);
        assert_eq!(table.admit(&claim("a", 60), 1).0, Verdict::Within);
        assert_eq!(table.admit(&claim("a", 60), 1).0, Verdict::Exceeded);
        assert_eq!(table.admit(&claim("b", 60), 1).0, Verdict::Within);
        table.settle(&claim("a", 60), 1, 60, 40);
        assert_eq!(table.admit(&claim("a", 60), 1).0, Verdict::Within);
        assert_eq!(table.admit(&claim("a", 60), 2).0, Verdict::Within);
    }

    #[test]
    fn many_callers_do_not_make_it_grow_nor_free_the_one_who_has_spent_all() {
        assert_eq!(size_of::<Entry<Spent>>(), 32);
        let table = Table::new(1000);
        assert_eq!(table.admit(&claim("hog", 100), 1).0, Verdict::Within);
        for number in 0..100_000 {
            table.admit(&claim(&format!("addr:{number}"), 1), 1);
        }
        assert_eq!(table.admit(&claim("hog", 1), 1).0, Verdict::Exceeded);
        assert_eq!(table.0.made().unwrap(), 125);
    }
}

//! What one caller may spend in a day: taken by estimate before, corrected by what was spent after. Pure.
//!
//! Amounts are whole nano-dollars (10⁻⁹ US dollars), rounded up, so that a Lua number (IEEE 754 binary64) holds each of them
//! exactly up to nine million dollars.

use crate::bounded_table::Key;

/// Seconds in a day of UTC.
pub const DAY: u64 = 86_400;
/// Beyond it Lua's numbers are no longer exact.
pub const MOST: u64 = 1 << 53;

/// What one request wants of its caller's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whose budget.
    pub key: Key,
    /// Nano-dollars a day.
    pub budget: u64,
    /// Nano-dollars that it may take.
    pub estimate: u64,
    /// What it takes instead, where that is more than is left; `None` = nothing, and it is refused.
    pub otherwise: Option<u64>,
}

/// What one caller has spent. The default is that of a caller who was never here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// On this day: days since the epoch.
    pub day: u64,
    /// Nano-dollars, estimates of what is under way included.
    pub nano: u64,
}

/// What comes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the budget.
    Within,
    /// It is beyond it, and takes what it takes otherwise.
    Otherwise,
    /// It is beyond it.
    Over,
}

impl Spent {
    /// What was spent on this day.
    pub fn on(self, day: u64) -> u64 {
        if self.day == day { self.nano } else { 0 }
    }

    /// What was taken on `day` for a request that has really cost this much. What began yesterday changes nothing today.
    pub fn settled(self, day: u64, taken: u64, used: u64) -> Self {
        if self.day != day {
            return self;
        }
        Self { nano: self.nano.saturating_sub(taken).saturating_add(used).min(MOST), ..self }
    }
}

impl Claim {
    /// What comes of it on this day, and what is spent then.
    pub fn admit(&self, spent: Spent, day: u64) -> (Verdict, Spent) {
        let so_far = spent.on(day);
        let after = |nano: u64| Spent { day, nano: so_far.saturating_add(nano).min(MOST) };
        if so_far.saturating_add(self.estimate) <= self.budget {
            return (Verdict::Within, after(self.estimate));
        }
        match self.otherwise {
            Some(nano) => (Verdict::Otherwise, after(nano)),
            None => (Verdict::Over, after(0)),
        }
    }

    /// What is taken by a claim of which this came.
    pub fn taken(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Within => self.estimate,
            Verdict::Otherwise => self.otherwise.unwrap_or_default(),
            Verdict::Over => 0,
        }
    }
}

/// Seconds until the next day begins.
pub fn until_midnight(now: u64) -> u64 {
    DAY - now % DAY
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(budget: u64, estimate: u64, otherwise: Option<u64>) -> Claim {
        Claim { key: Key::of("key:a", ""), budget, estimate, otherwise }
    }

    #[test]
    fn a_new_day_begins_with_nothing_spent() {
        let full = Spent { day: 7, nano: 100 };
        assert_eq!(claim(100, 1, None).admit(full, 7), (Verdict::Over, full));
        assert_eq!(claim(100, 1, None).admit(full, 8), (Verdict::Within, Spent { day: 8, nano: 1 }));
        assert_eq!(claim(100, 1, Some(3)).admit(full, 7), (Verdict::Otherwise, Spent { day: 7, nano: 103 }));
    }

    #[test]
    fn what_began_yesterday_changes_nothing_today() {
        let today = Spent { day: 8, nano: 5 };
        assert_eq!(today.settled(7, 3, 100), today);
        assert_eq!(today.settled(8, 3, 100), Spent { day: 8, nano: 102 });
    }

    #[test]
    fn midnight_is_ahead() {
        assert_eq!((until_midnight(0), until_midnight(DAY - 1), until_midnight(3 * DAY + 5)), (DAY, 1, DAY - 5));
    }

    proptest! {
        #[test]
        fn without_another_way_estimates_never_go_beyond_the_budget(
            budget in 1u64..10_000, steps in prop::collection::vec((0u64..3_000, 0u64..3_000, any::<bool>()), 0..50),
        ) {
            let (mut spent, mut open, mut settled) = (Spent::default(), 0, 0);
            for (estimate, used, ends) in steps {
                let (verdict, after) = claim(budget, estimate, None).admit(spent, 1);
                prop_assert_eq!(verdict == Verdict::Within, spent.on(1) + estimate <= budget);
                spent = after;
                if verdict == Verdict::Within {
                    if ends { spent = spent.settled(1, estimate, used); settled += used; } else { open += estimate; }
                }
                prop_assert_eq!(spent.on(1), open + settled);
            }
        }
    }
}

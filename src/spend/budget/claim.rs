//! The daily budget of one caller: the estimated cost of a request is reserved before it, and settled with its real cost. Pure.
//!
//! Amounts are whole nano-dollars (10⁻⁹ US dollars), rounded up, so that a Lua number (IEEE 754 binary64) holds each of them
//! exactly up to nine million dollars.

use crate::bounded_table::Key;

/// Seconds in a day of UTC.
pub const DAY: u64 = 86_400;
/// The largest whole number below which Lua's numbers are exact.
pub const MOST: u64 = 1 << 53;

/// One request's claim on its caller's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The caller.
    pub key: Key,
    /// The budget: nano-dollars a day.
    pub budget: u64,
    /// The estimated cost: nano-dollars.
    pub estimate: u64,
    /// The estimate for the cheapest model, to which a request goes that exceeds the budget: nano-dollars; `None` = it is
    /// refused.
    pub cheaper: Option<u64>,
}

/// What one caller has spent. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// The day: days since the epoch.
    pub day: u64,
    /// Nano-dollars, with the estimates of requests under way.
    pub nano: u64,
}

/// The verdict on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the budget: the estimate is reserved.
    Within,
    /// It exceeds the budget: the estimate for the cheapest model is reserved.
    Cheaper,
    /// It exceeds the budget: nothing is reserved.
    Exceeded,
}

impl Spent {
    /// The day on which a request is counted that comes in on `day` by the clock. The day of a caller never goes back: if the
    /// clock was set back over midnight, the later day goes on. A day that is further ahead is the work of a wrong clock, and
    /// does not hold.
    pub fn day_from(self, day: u64) -> u64 {
        if self.day == day + 1 { self.day } else { day }
    }

    /// The amount of this day.
    pub fn on(self, day: u64) -> u64 {
        if self.day == day { self.nano } else { 0 }
    }

    /// After a request for which `taken` was reserved on `day` has cost `used`. A request of yesterday changes nothing today.
    pub fn settled(self, day: u64, taken: u64, used: u64) -> Self {
        if self.day != day {
            return self;
        }
        Self { nano: self.nano.saturating_sub(taken).saturating_add(used).min(MOST), ..self }
    }
}

impl Claim {
    /// The verdict on this day by the clock, and what the caller has spent after it.
    pub fn admit(&self, spent: Spent, day: u64) -> (Verdict, Spent) {
        let day = spent.day_from(day);
        let so_far = spent.on(day);
        let after = |nano: u64| Spent { day, nano: so_far.saturating_add(nano).min(MOST) };
        if so_far.saturating_add(self.estimate) <= self.budget {
            return (Verdict::Within, after(self.estimate));
        }
        match self.cheaper {
            Some(nano) => (Verdict::Cheaper, after(nano)),
            None => (Verdict::Exceeded, after(0)),
        }
    }

    /// What is reserved after this verdict.
    pub fn taken(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Within => self.estimate,
            Verdict::Cheaper => self.cheaper.unwrap_or_default(),
            Verdict::Exceeded => 0,
        }
    }
}

/// Seconds until this day ends; it is the day of `now`, or the one after it.
pub fn until_end_of(day: u64, now: u64) -> u64 {
    (day + 1).saturating_mul(DAY).saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(budget: u64, estimate: u64, cheaper: Option<u64>) -> Claim {
        Claim { key: Key::of("key:a", ""), budget, estimate, cheaper }
    }

    #[test]
    fn a_new_day_begins_with_nothing_spent() {
        let full = Spent { day: 7, nano: 100 };
        assert_eq!(claim(100, 1, None).admit(full, 7), (Verdict::Exceeded, full));
        assert_eq!(claim(100, 1, None).admit(full, 8), (Verdict::Within, Spent { day: 8, nano: 1 }));
        assert_eq!(claim(100, 1, Some(3)).admit(full, 7), (Verdict::Cheaper, Spent { day: 7, nano: 103 }));
    }

    #[test]
    fn what_began_yesterday_changes_nothing_today() {
        let today = Spent { day: 8, nano: 5 };
        assert_eq!(today.settled(7, 3, 100), today);
        assert_eq!(today.settled(8, 3, 100), Spent { day: 8, nano: 102 });
    }

    #[test]
    fn midnight_is_ahead() {
        assert_eq!((until_end_of(0, 0), until_end_of(0, DAY - 1), until_end_of(3, 3 * DAY + 5)), (DAY, 1, DAY - 5));
        assert_eq!(until_end_of(1, DAY - 1), DAY + 1);
    }

    #[test]
    fn a_clock_that_is_set_back_over_midnight_restores_no_budget_and_doubles_none() {
        // yesterday, midnight, back to yesterday, midnight again
        let full = Spent { day: 7, nano: 100 };
        let (verdict, today) = claim(100, 60, None).admit(full, 8);
        assert_eq!((verdict, today), (Verdict::Within, Spent { day: 8, nano: 60 }));
        let (verdict, back) = claim(100, 60, None).admit(today, 7);
        assert_eq!((verdict, back), (Verdict::Exceeded, today));
        let (verdict, again) = claim(100, 40, None).admit(back, 7);
        assert_eq!((verdict, again), (Verdict::Within, Spent { day: 8, nano: 100 }));
        assert_eq!(again.settled(8, 40, 10), Spent { day: 8, nano: 70 });
        assert_eq!(claim(100, 1, None).admit(again, 8), (Verdict::Exceeded, again));
        // a clock that was far ahead for a moment does not lock anyone out
        let ahead = Spent { day: 3000, nano: 100 };
        assert_eq!(claim(100, 1, None).admit(ahead, 8), (Verdict::Within, Spent { day: 8, nano: 1 }));
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

//! The generic cell rate algorithm, in its virtual scheduling form (ITU-T I.371 Annex A, ATM Forum TM 4.0 §4.4.2). Pure.
//!
//! The state of a bucket is one number, the *theoretical arrival time* (TAT): when the bucket will be full again. A charge moves it
//! later by its cost, and is refused if that would be further ahead than the tolerance.
//!
//! Times and costs are whole microseconds, by the clock of the store. Every value stays below 2⁵³, so that Lua's
//! doubles in Redis compute the same.

/// Microseconds in a minute, in which limits are written.
const MINUTE: u64 = 60_000_000;

/// How far ahead late charges can move a TAT: a wrong usage that an upstream reports must not lock a caller out for ever.
pub const MOST_DEBT: u64 = 60 * MINUTE;

/// A rate: `per` units in `micros`, and `burst` units at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    micros: u64,
    per: u64,
    burst: u64,
}

impl Rate {
    /// This many requests per minute, each at the same cost; `None` for 0, which means no limit.
    ///
    /// A request costs whole microseconds, rounded up, and the tolerance is `burst` times that: exactly `burst` pass at
    /// once, and never more than the rate afterwards.
    pub fn of_requests(per_minute: u64, burst: u64) -> Option<Self> {
        (per_minute > 0).then(|| Self { micros: MINUTE.div_ceil(per_minute), per: 1, burst: burst.max(1) })
    }

    /// This many tokens per minute, all of them at once if they are there; `None` for 0, which means no limit.
    pub fn of_tokens(per_minute: u64) -> Option<Self> {
        (per_minute > 0).then_some(Self { micros: MINUTE, per: per_minute, burst: per_minute })
    }

    /// The cost of `units`: the time in which they refill, rounded up.
    pub fn cost(self, units: u64) -> u64 {
        let exact = u128::from(units) * u128::from(self.micros);
        u64::try_from(exact.div_ceil(u128::from(self.per))).unwrap_or(u64::MAX)
    }

    /// How far ahead of now the TAT may be: the cost of a whole burst.
    pub fn tolerance(self) -> u64 {
        self.cost(self.burst)
    }

    /// The units that could be taken at once now.
    pub fn remaining(self, tat: u64, now: u64) -> u64 {
        let free = self.tolerance().saturating_sub(tat.saturating_sub(now));
        let units = u128::from(free) * u128::from(self.per) / u128::from(self.micros);
        u64::try_from(units).unwrap_or(u64::MAX).min(self.burst)
    }

    /// The units of a full bucket.
    pub fn burst(self) -> u64 {
        self.burst
    }
}

/// A charge to one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Microseconds; at most the tolerance, so that it can pass at all.
    pub cost: u64,
    /// Microseconds.
    pub tolerance: u64,
}

impl Charge {
    /// These units at this rate. More than a burst counts as a burst: the real use is settled afterwards.
    pub fn new(rate: Rate, units: u64) -> Self {
        let tolerance = rate.tolerance();
        Self { cost: rate.cost(units).min(tolerance), tolerance }
    }

    /// The TAT after this charge.
    ///
    /// # Errors
    /// The microseconds after which the charge would pass if no other came before: exactly, not one earlier.
    pub fn admit(self, tat: u64, now: u64) -> Result<u64, u64> {
        let after = tat.max(now).saturating_add(self.cost);
        match after.saturating_sub(self.tolerance).checked_sub(now) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(wait),
        }
    }
}

/// A charge that is to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// When it was charged, by the clock of the store.
    pub at: u64,
    /// Microseconds.
    pub cost: u64,
}

/// How a TAT is corrected once the real cost is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Moves the TAT back, but not before now.
    pub back: u64,
    /// Until then the TAT can move back: later, the units would have refilled by themselves.
    pub until: u64,
    /// Moves the TAT ahead.
    pub ahead: u64,
}

impl Reserved {
    /// The correction if the real cost is `cost`.
    pub fn correction(self, cost: u64) -> Correction {
        Correction {
            back: self.cost.saturating_sub(cost),
            until: self.at.saturating_add(self.cost),
            ahead: cost.saturating_sub(self.cost),
        }
    }
}

impl Correction {
    /// The TAT after it.
    ///
    /// A bucket that was charged `used` instead of `reserved` at `at` refills until `at + used` at least; from then until now it
    /// may have been full. So no more than `at + reserved − now` is given back: this keeps the bound of the burst also for a caller
    /// that reserves much, uses little and settles late.
    pub fn apply(self, tat: u64, now: u64) -> u64 {
        let back = self.back.min(self.until.saturating_sub(now));
        let tat = tat.saturating_sub(back);
        match self.ahead {
            0 => tat,
            ahead => tat.max(now).saturating_add(ahead).min(now.saturating_add(MOST_DEBT)).max(tat),
        }
    }

    /// Whether it changes nothing.
    pub fn is_nothing(self) -> bool {
        self.back == 0 && self.ahead == 0
    }
}

#[cfg(test)]
#[path = "gcra_tests.rs"]
mod tests;

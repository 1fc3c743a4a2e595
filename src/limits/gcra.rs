//! The generic cell rate algorithm, in its virtual scheduling form (ITU-T I.371 Annex A, ATM Forum TM 4.0 §4.4.2). Pure.
//!
//! All that is kept of a caller is one number, the *theoretical arrival time* (TAT): when the bucket will be full again.
//! What is taken moves it later by its cost, and is refused if that would be further ahead than the tolerance.
//!
//! Times and costs are whole microseconds, of whatever clock the store has. Every value stays below 2⁵³, so that Lua's
//! doubles in Redis compute the same.

/// Microseconds in a minute, in which limits are written.
const MINUTE: u64 = 60_000_000;

/// How far ahead late charges can move a TAT: an upstream that reports an absurd usage must not lock a caller out for good.
pub const MOST_DEBT: u64 = 60 * MINUTE;

/// How fast something may be used: `micros` for each `per` units, and `burst` units at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    micros: u64,
    per: u64,
    burst: u64,
}

impl Rate {
    /// So many requests a minute, each of which costs the same; `None` for 0, which is no limit.
    ///
    /// A request costs whole microseconds, rounded up, and the tolerance is `burst` times that: exactly `burst` pass at
    /// once, and never more than the rate afterwards.
    pub fn of_requests(per_minute: u64, burst: u64) -> Option<Self> {
        (per_minute > 0).then(|| Self { micros: MINUTE.div_ceil(per_minute), per: 1, burst: burst.max(1) })
    }

    /// So many tokens a minute, a minute's worth of them at once; `None` for 0, which is no limit.
    pub fn of_tokens(per_minute: u64) -> Option<Self> {
        (per_minute > 0).then_some(Self { micros: MINUTE, per: per_minute, burst: per_minute })
    }

    /// What `units` cost: the time in which they come back, rounded up.
    pub fn cost(self, units: u64) -> u64 {
        let exact = u128::from(units) * u128::from(self.micros);
        u64::try_from(exact.div_ceil(u128::from(self.per))).unwrap_or(u64::MAX)
    }

    /// How far ahead of now the TAT may be: the cost of a whole burst.
    pub fn tolerance(self) -> u64 {
        self.cost(self.burst)
    }

    /// How many units could be taken at once now.
    pub fn remaining(self, tat: u64, now: u64) -> u64 {
        let free = self.tolerance().saturating_sub(tat.saturating_sub(now));
        let units = u128::from(free) * u128::from(self.per) / u128::from(self.micros);
        u64::try_from(units).unwrap_or(u64::MAX).min(self.burst)
    }

    /// How many units may be taken at once.
    pub fn burst(self) -> u64 {
        self.burst
    }
}

/// What is to be taken from one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Microseconds; at most the tolerance, so that it can pass at all.
    pub cost: u64,
    /// Microseconds.
    pub tolerance: u64,
}

impl Charge {
    /// These units at this rate. More than a burst is bounded to a burst: what it really was is settled afterwards.
    pub fn new(rate: Rate, units: u64) -> Self {
        let tolerance = rate.tolerance();
        Self { cost: rate.cost(units).min(tolerance), tolerance }
    }

    /// The TAT after this charge.
    ///
    /// # Errors
    /// How many microseconds later it would pass, if nothing else is taken until then: exactly, not one earlier.
    pub fn admit(self, tat: u64, now: u64) -> Result<u64, u64> {
        let after = tat.max(now).saturating_add(self.cost);
        match after.saturating_sub(self.tolerance).checked_sub(now) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(wait),
        }
    }
}

/// What was taken and will be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// When, by the clock of the store.
    pub at: u64,
    /// Microseconds.
    pub cost: u64,
}

/// How a TAT is corrected once the real cost is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Moves the TAT back, unless that time has passed already.
    pub back: u64,
    /// Up to then there is something to move back: what would have come back by itself, had less been taken, is gone.
    pub until: u64,
    /// Moves the TAT ahead.
    pub ahead: u64,
}

impl Reserved {
    /// The correction if it really `cost` that.
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
    /// A bucket that took `used` instead of `reserved` at `at` was busy with that until `at + used` at least; what lies
    /// between then and now it may have spent full, gaining nothing. So no more than `at + reserved − now` comes back:
    /// that keeps the bound of the burst also for those who reserve much, use little, and settle late.
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

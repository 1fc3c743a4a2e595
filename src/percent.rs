//! A part of a limit, in percent. Pure.

/// The part of a limit that applies: 100 percent, or less for one of several instances while they share no counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u64);

impl Percent {
    /// The whole limit.
    pub const WHOLE: Self = Self(100);

    /// Makes a part of `percent`; more than 100 is 100.
    pub fn new(percent: u64) -> Self {
        Self(percent.min(100))
    }

    /// Returns this part of a limit. It is at least 1, because a limit of 0 means no limit.
    pub fn of(self, limit: u64) -> u64 {
        let part = u128::from(limit) * u128::from(self.0) / 100;
        u64::try_from(part).unwrap_or(limit).max(limit.min(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_of_a_limit_is_a_limit_and_never_more(limit: u64, percent in 0u64..200) {
            let part = Percent::new(percent).of(limit);
            prop_assert!(part <= limit);
            prop_assert_eq!(part == 0, limit == 0);
            prop_assert_eq!(Percent::WHOLE.of(limit), limit);
        }
    }
}

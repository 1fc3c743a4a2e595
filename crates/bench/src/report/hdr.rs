//! HDR histograms: values of any size with three or four digits, in bounded memory. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The resolution of values, in decimal digits.
const DIGITS: u8 = 3;
/// The finer resolution, which takes ten times the memory (some 2 MB).
const FINE_DIGITS: u8 = 4;
/// Larger values count as this: 146,000 years, in microseconds.
const MAX_VALUE: u64 = 1 << 62;

/// Durations, to the microsecond.
#[derive(Debug, Clone, Default)]
pub struct Durations(Values);

/// Whole numbers.
#[derive(Debug, Clone)]
pub struct Values(Histogram<u64>);

/// Differences of durations, which may be negative, to the microsecond.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    below: Values,
    from_zero: Values,
}

impl Default for Values {
    fn default() -> Self {
        Self::with_digits(DIGITS)
    }
}

impl Values {
    fn with_digits(digits: u8) -> Self {
        Self(Histogram::new(digits).expect("the crate allows up to five digits"))
    }

    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        // the histogram resizes itself for every value of 62 bits
        self.0.record(value.min(MAX_VALUE)).expect("a value of 62 bits");
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantile (0 to 1); `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let value = match share {
            _ if self.count() == 0 => return None,
            share if share <= 0.0 => self.0.min(),
            share => self.0.value_at_quantile(share),
        };
        // the middle of the bucket, not its end
        Some(self.0.median_equivalent(value) as f64)
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.0.mean())
    }

    /// Each recorded value, in ascending order, with its count.
    pub fn each(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let middle = |value| self.0.median_equivalent(value);
        self.0.iter_recorded().map(move |bucket| (middle(bucket.value_iterated_to()), bucket.count_at_value()))
    }
}

impl Durations {
    /// Durations with four digits instead of three: for values that lie close together.
    pub fn fine() -> Self {
        Self(Values::with_digits(FINE_DIGITS))
    }

    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        self.0.add(micros(duration));
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// The quantile (0 to 1) in milliseconds; `None` without values.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        self.0.quantile(share).map(|micros| micros / 1e3)
    }

    /// The arithmetic mean in milliseconds.
    pub fn mean_ms(&self) -> Option<f64> {
        self.0.mean().map(|micros| micros / 1e3)
    }

    /// Each recorded duration in milliseconds, in ascending order, with its count.
    pub fn each_ms(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.0.each().map(|(micros, count)| (micros as f64 / 1e3, count))
    }
}

impl Differences {
    /// Adds `a` minus `b`.
    pub fn add(&mut self, a: Duration, b: Duration) {
        match (micros(a), micros(b)) {
            (a, b) if a < b => self.below.add(b - a),
            (a, b) => self.from_zero.add(a - b),
        }
    }

    /// The number of differences.
    pub fn count(&self) -> u64 {
        self.below.count() + self.from_zero.count()
    }

    /// The difference in milliseconds at this position (from 1) of the ascending order.
    pub fn at_ms(&self, place: u64) -> Option<f64> {
        let below = self.below.count();
        let micros = if place <= below {
            // the largest distance below zero is the smallest difference
            -nth(&self.below, below + 1 - place)?
        } else {
            nth(&self.from_zero, place - below)?
        };
        Some(micros / 1e3)
    }
}

fn nth(values: &Values, place: u64) -> Option<f64> {
    let mut seen = 0;
    let mut each = values.each();
    each.find(|(_, count)| {
        seen += count;
        seen >= place
    })
    .filter(|_| place > 0)
    .map(|(value, _)| value as f64)
}

fn micros(duration: Duration) -> u64 {
    // rounded: truncation would make all durations half a microsecond shorter on average
    u64::try_from((duration.as_nanos() + 500) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_distribution_has_no_quantile_and_no_mean() {
        let none = Durations::default();
        assert_eq!((none.count(), none.quantile_ms(0.5), none.mean_ms()), (0, None, None));
        assert_eq!(Differences::default().at_ms(1), None);
    }

    proptest! {
        // each place is found by walking through a histogram
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_quantile_is_the_value_of_the_sorted_list_to_three_digits(
            mut list in prop::collection::vec(0..100_000_000_u64, 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let mut durations = Durations::default();
            list.iter().for_each(|micros| durations.add(Duration::from_micros(*micros)));
            list.sort_unstable();
            let place = ((share * list.len() as f64).ceil() as usize).clamp(1, list.len());
            let (want, is) = (list[place - 1] as f64 / 1e3, durations.quantile_ms(share).unwrap());
            prop_assert!((want - is).abs() <= want * 0.001 + 1e-9, "{want} {is}");
        }

        #[test]
        fn differences_come_in_the_order_of_the_sorted_list(
            pairs in prop::collection::vec((0..10_000_000_u64, 0..10_000_000_u64), 1..100),
        ) {
            let mut differences = Differences::default();
            pairs.iter().for_each(|(a, b)| differences.add(Duration::from_micros(*a), Duration::from_micros(*b)));
            let mut list: Vec<_> = pairs.iter().map(|(a, b)| *a as f64 / 1e3 - *b as f64 / 1e3).collect();
            list.sort_by(f64::total_cmp);
            prop_assert_eq!(differences.count(), list.len() as u64);
            prop_assert_eq!(differences.at_ms(0), None);
            prop_assert_eq!(differences.at_ms(list.len() as u64 + 1), None);
            for (index, want) in list.into_iter().enumerate() {
                let is = differences.at_ms(index as u64 + 1).unwrap();
                prop_assert!((want - is).abs() <= want.abs() * 0.001 + 1e-9, "{want} {is}");
            }
        }
    }
}

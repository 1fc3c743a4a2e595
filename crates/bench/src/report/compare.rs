//! Compares two targets pair by pair. Pure.
//!
//! A pair is one stream of each target, started together. A change of the machine or the network affects both streams, so it
//! does not affect their difference. The median of the differences has a confidence interval by order statistics: for any
//! distribution, the k-th smallest and the k-th largest of n differences enclose the median unless fewer than k of them are
//! on one side of it, which has a binomial probability (the sign test; Hahn and Meeker, *Statistical Intervals*, §5.2). The
//! interval assumes no normal distribution, uses no random numbers, and is the same for the same differences.

use std::collections::HashMap;
use std::time::Duration;

use super::hdr::Differences;
use super::sample::{Outcome, Sample};

/// The confidence level: the share of intervals that enclose the true median.
pub const CONFIDENCE: f64 = 0.95;

/// The differences of complete pairs (first target minus second), and the streams whose partner has not ended.
#[derive(Debug, Default)]
pub struct Pairs {
    halves: HashMap<u64, Half>,
    /// Of the head, the first token, each later token, and the end.
    differences: [Differences; 4],
    /// The pairs of which a stream was not whole. No difference includes them.
    pub broken: u64,
}

/// The median of differences, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// The median.
    pub ms: f64,
    /// Both ends of the confidence interval; `None` for too few pairs.
    pub interval_ms: Option<(f64, f64)>,
}

#[derive(Debug)]
struct Half {
    target: usize,
    values: Option<[Option<Duration>; 4]>,
}

impl Pairs {
    /// Adds one stream.
    pub fn add(&mut self, sample: &Sample) {
        let whole = sample.outcome == Outcome::Whole;
        let half = Half { target: sample.target, values: whole.then(|| values(sample)) };
        let Some(other) = self.halves.remove(&sample.number) else {
            self.halves.insert(sample.number, half);
            return;
        };
        let (first, second) = if half.target < other.target { (half, other) } else { (other, half) };
        let (Some(first), Some(second)) = (first.values, second.values) else {
            self.broken += 1;
            return;
        };
        for (differences, values) in self.differences.iter_mut().zip(first.into_iter().zip(second)) {
            if let (Some(first), Some(second)) = values {
                differences.add(first, second);
            }
        }
    }

    /// The number of pairs of which both streams were whole.
    pub fn count(&self) -> u64 {
        self.differences.iter().map(Differences::count).max().unwrap_or_default()
    }

    /// The median differences of the head, the first token, each later token, and the end.
    pub fn medians(&self) -> [Option<Median>; 4] {
        std::array::from_fn(|index| median(&self.differences[index]))
    }
}

fn values(sample: &Sample) -> [Option<Duration>; 4] {
    [sample.head, sample.first_token(), sample.time_per_output_token(), Some(sample.total)]
}

fn median(differences: &Differences) -> Option<Median> {
    let count = differences.count();
    let (low, high) = (differences.at_ms(count.div_ceil(2))?, differences.at_ms(count / 2 + 1)?);
    let interval_ms = depth(count).and_then(|k| Some((differences.at_ms(k)?, differences.at_ms(count + 1 - k)?)));
    Some(Median { ms: f64::midpoint(low, high), interval_ms })
}

/// The largest k for which the k-th smallest and k-th largest of `count` values enclose the median with [`CONFIDENCE`]: the
/// probability that fewer than k values are below it is at most half of the remaining probability.
fn depth(count: u64) -> Option<u64> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let n = count as f64;
    // for large counts, the normal approximation with continuity correction is exact enough
    if count > 2000 {
        return Some((n / 2.0 - 1.959_964 * n.sqrt() / 2.0 - 0.5).floor() as u64 + 1);
    }
    let (mut log, mut below, mut k) = (-n * std::f64::consts::LN_2, 0.0, 0);
    loop {
        below += log.exp();
        if below > tail {
            return Some(k).filter(|k| *k > 0);
        }
        // C(n, k+1) = C(n, k) (n − k) / (k + 1)
        log += ((n - k as f64) / (k as f64 + 1.0)).ln();
        k += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::sample::tests::sample;
    use crate::report::sample::{Failure, Kind};

    #[test]
    fn the_depth_is_that_of_the_published_table() {
        // Hahn and Meeker, table A.6 and every table of the sign test, two-sided 5 %
        let table = [
            (5, None),
            (6, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (12, Some(3)),
            (20, Some(6)),
            (50, Some(18)),
            (100, Some(40)),
        ];
        for (count, want) in table {
            assert_eq!(depth(count), want, "{count}");
        }
        assert!(depth(2001).unwrap().abs_diff(depth(2000).unwrap()) <= 1, "both formulas agree");
    }

    #[test]
    fn a_pair_counts_if_both_streams_were_whole_in_either_order() {
        let mut pairs = Pairs::default();
        let of = |target, number, first| sample(target, number, first, &[10, 10, 10]);
        for (number, (first, second)) in [(150, 100), (151, 100), (149, 100)].into_iter().enumerate() {
            let number = number as u64;
            let halves = [of(0, number, first), of(1, number, second)];
            let order = if number == 1 { [1, 0] } else { [0, 1] };
            order.into_iter().for_each(|index| pairs.add(&halves[index]));
        }
        let mut failed = of(0, 9, 500);
        failed.outcome = Outcome::Failed(Failure { kind: Kind::TimedOut, message: String::new() });
        pairs.add(&failed);
        pairs.add(&of(1, 9, 100));
        pairs.add(&of(1, 10, 100));
        assert_eq!((pairs.count(), pairs.broken), (3, 1));
        let [_, first_token, per_token, _] = pairs.medians();
        let first_token = first_token.unwrap();
        assert!((first_token.ms - 50.0).abs() < 0.05 && first_token.interval_ms.is_none(), "{first_token:?}");
        assert_eq!(per_token.unwrap().ms, 0.0);
    }

    proptest! {
        #[test]
        fn the_interval_encloses_the_median_and_changes_its_sign_with_the_order_of_the_targets(
            list in prop::collection::vec((0..3000_u64, 0..3000_u64), 6..200),
        ) {
            let (mut forth, mut back) = (Pairs::default(), Pairs::default());
            for (number, (a, b)) in list.iter().enumerate() {
                for (pairs, [a, b]) in [(&mut forth, [a, b]), (&mut back, [b, a])] {
                    pairs.add(&sample(0, number as u64, *a, &[5]));
                    pairs.add(&sample(1, number as u64, *b, &[5]));
                }
            }
            let [_, Some(forth), ..] = forth.medians() else { panic!() };
            let [_, Some(back), ..] = back.medians() else { panic!() };
            let (low, high) = forth.interval_ms.unwrap();
            prop_assert!(low <= forth.ms && forth.ms <= high);
            let near = |a: f64, b: f64| (a - b).abs() <= 0.001 * a.abs() + 1e-6;
            prop_assert!(near(forth.ms, -back.ms));
            let (turned_low, turned_high) = back.interval_ms.unwrap();
            prop_assert!(near(low, -turned_high) && near(high, -turned_low));
        }
    }

    #[test]
    fn nineteen_of_twenty_intervals_enclose_the_true_median() {
        // a fixed generator (Knuth's MMIX), a skewed distribution: exponential with median 100 ms
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let runs = 1000;
        let enclosed = (0..runs).filter(|_| {
            let mut differences = Differences::default();
            for _ in 0..45 {
                let value = -uniform().ln() / std::f64::consts::LN_2 * 0.1;
                differences.add(Duration::from_secs_f64(value), Duration::ZERO);
            }
            let (low, high) = median(&differences).unwrap().interval_ms.unwrap();
            low <= 100.0 && 100.0 <= high
        });
        let enclosed = enclosed.count();
        assert!((935..=985).contains(&enclosed), "{enclosed} of {runs}");
    }
}

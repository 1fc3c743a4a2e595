//! The latency of a model's first output: a small histogram with decay. Pure.

use std::time::Duration;

/// Buckets per doubling: an estimate is at most an eighth too high.
const PER_DOUBLING: u32 = 8;
/// 2¹⁰ µs, about a millisecond: faster answers count as this.
const LOWEST: u32 = 10;
/// 2³⁰ µs, about 18 minutes: slower answers count as this.
const HIGHEST: u32 = 30;
const BUCKETS: usize = ((HIGHEST - LOWEST) * PER_DOUBLING) as usize;

/// With fewer answers, no percentile is known.
pub(super) const FEWEST: u32 = 40;
/// When this many answers are counted, all counts are halved.
const MOST: u32 = 2000;

/// The times of the last answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Latency {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Latency {
    /// Adds the time to an answer's first output.
    pub(super) fn observe(&mut self, time: Duration) {
        if self.total >= MOST {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
        self.counts[bucket(time)] += 1;
        self.total += 1;
    }

    /// Returns the 95th percentile, rounded up to a bucket, or `None` before there were [`FEWEST`] answers.
    pub(super) fn p95(&self) -> Option<Duration> {
        if self.total < FEWEST {
            return None;
        }
        let slower = self.total / 20;
        let mut above = 0;
        let last = self.counts.iter().rposition(|count| {
            above += u32::from(*count);
            above > slower
        });
        last.map(upper_end)
    }
}

/// Returns the bucket of a time: its power of two, and the three bits behind.
fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let micros = micros.clamp(1 << LOWEST, (1 << HIGHEST) - 1);
    let power = micros.ilog2();
    let eighth = (micros >> (power - PER_DOUBLING.ilog2())) as u32 % PER_DOUBLING;
    ((power - LOWEST) * PER_DOUBLING + eighth) as usize
}

fn upper_end(bucket: usize) -> Duration {
    let bucket = bucket as u32;
    let (power, eighth) = (LOWEST + bucket / PER_DOUBLING, bucket % PER_DOUBLING);
    Duration::from_micros(u64::from(PER_DOUBLING + eighth + 1) << (power - PER_DOUBLING.ilog2()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observed(millis: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        millis.into_iter().for_each(|millis| latency.observe(Duration::from_millis(millis)));
        latency
    }

    #[test]
    fn a_few_answers_say_nothing() {
        assert_eq!(observed(vec![100; FEWEST as usize - 1]).p95(), None);
        assert!(observed(vec![100; FEWEST as usize]).p95().is_some());
    }

    #[test]
    fn one_in_twenty_may_be_slower() {
        let p95 = observed((0..100).map(|i| if i < 5 { 10_000 } else { 100 })).p95().unwrap();
        assert!((100..=113).contains(&p95.as_millis()), "{p95:?}");
        let p95 = observed((0..100).map(|i| if i < 6 { 10_000 } else { 100 })).p95().unwrap();
        assert!((10_000..=11_250).contains(&p95.as_millis()), "{p95:?}");
    }

    #[test]
    fn a_model_that_has_become_faster_is_believed_in_time() {
        let latency = observed(std::iter::repeat_n(8_000, 50_000).chain(std::iter::repeat_n(100, 20_000)));
        assert!(latency.p95().unwrap() < Duration::from_millis(120));
    }

    #[test]
    fn any_time_has_its_place() {
        for time in [Duration::ZERO, Duration::MAX, Duration::from_micros((1 << HIGHEST) - 1)] {
            assert!(bucket(time) < BUCKETS);
        }
    }

    proptest! {
        #[test]
        fn a_time_is_at_most_an_eighth_below_its_bucket_s_end(micros in 1u64 << LOWEST..1 << HIGHEST) {
            let (time, end) = (Duration::from_micros(micros), upper_end(bucket(Duration::from_micros(micros))));
            prop_assert!(time < end && end <= time + time / PER_DOUBLING + Duration::from_micros(1));
        }

        #[test]
        fn the_estimate_is_the_p95_of_what_came_within_an_eighth(times in prop::collection::vec(2u64..900_000, 40..1500)) {
            let p95 = observed(times.iter().copied()).p95().unwrap();
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let exact = Duration::from_millis(sorted[sorted.len() - 1 - sorted.len() / 20]);
            prop_assert!(exact < p95 && p95 <= exact + exact / 8 + Duration::from_micros(1), "{:?} {:?}", exact, p95);
        }
    }
}

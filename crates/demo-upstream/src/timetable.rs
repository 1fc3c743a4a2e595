//! The due times of output events, and the seeded random numbers for jitter and cuts. Pure.

use std::time::Duration;

use super::knobs::Knobs;

/// The due times of output events, since the end of the request.
///
/// Each is computed from the event's number only, so a late event does not delay the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timetable {
    first: Duration,
    /// The nanoseconds between events; 0: all at once.
    interval: f64,
    jitter: Duration,
    seed: u64,
}

impl Timetable {
    pub(super) fn new(knobs: &Knobs) -> Self {
        let interval = if knobs.tokens_per_second > 0.0 { 1e9 / knobs.tokens_per_second } else { 0.0 };
        Self { first: knobs.first_token, interval, jitter: knobs.jitter, seed: knobs.seed }
    }

    /// The due time of the output event with this number (from 0).
    pub(super) fn due(&self, number: u64) -> Duration {
        // a float-to-integer cast saturates, so no rate panics
        let paced = Duration::from_nanos((number as f64 * self.interval).round() as u64);
        self.first.saturating_add(paced).saturating_add(self.lateness(number))
    }

    /// The time from one output event to the next, without jitter.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval.round() as u64)
    }

    fn lateness(&self, number: u64) -> Duration {
        let bound = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        match bound {
            0 => Duration::ZERO,
            bound => Duration::from_nanos(Random::new(self.seed ^ number.rotate_left(32)).below(bound)),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_millionth_token_is_on_time() {
        let knobs = Knobs { first_token: Duration::from_millis(150), tokens_per_second: 40.0, ..Knobs::default() };
        assert_eq!(Timetable::new(&knobs).due(1_000_000), Duration::from_millis(150 + 25_000_000));
    }

    #[test]
    fn jitter_spreads_over_its_range() {
        let times = Timetable::new(&Knobs { jitter: Duration::from_millis(10), ..Knobs::default() });
        let quarter = |quarter: u32| {
            let range = Duration::from_micros(2500) * quarter..Duration::from_micros(2500) * (quarter + 1);
            (0..400).filter(|number| range.contains(&times.due(*number))).count()
        };
        assert!((0..4).map(quarter).all(|count| count > 60));
    }

    proptest! {
        #[test]
        fn jitter_only_delays_and_never_by_more_than_its_bound(
            number in 0..1_000_000u64, rate in 0.001..1e6f64, jitter in 0..10_000u64, seed: u64,
        ) {
            let even = Knobs { tokens_per_second: rate, seed, ..Knobs::default() };
            let jitter = Duration::from_micros(jitter);
            let late = Knobs { jitter, ..even.clone() };
            let (even, late) = (Timetable::new(&even).due(number), Timetable::new(&late).due(number));
            prop_assert!(even <= late && late <= even + jitter);
        }

        #[test]
        fn no_knob_panics(number: u64, rate: f64, first: u64, jitter: u64, seed: u64) {
            let knobs = Knobs {
                tokens_per_second: rate,
                first_token: Duration::from_millis(first),
                jitter: Duration::from_millis(jitter),
                seed,
                ..Knobs::default()
            };
            Timetable::new(&knobs).due(number);
        }
    }
}

//! The start times of streams: by a fixed number of users (closed loop), or fixed before the run (open loop). Pure.

use std::time::Duration;

use crate::report::document::{Arrivals, Load};

/// The schedule of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// How streams are started.
    pub load: Load,
    /// The number of targets: 1 or 2. With 2, streams start in pairs, one to each target.
    pub targets: usize,
    /// When the run stops starting streams.
    pub limit: Limit,
    /// Streams that start within this initial time are not measured.
    pub warmup: Duration,
    /// Within this initial time, the load increases evenly from zero.
    pub ramp: Duration,
    /// The seed of Poisson arrivals: the same seed gives the same times.
    pub seed: u64,
}

/// When to stop starting streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// After this number of measured streams to each target.
    Streams(u64),
    /// After this time, the warm-up not counted.
    Duration(Duration),
}

/// One stream to one target, or with two targets a pair of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The number, from 0.
    pub number: u64,
    /// Whether it is measured; `false` in the warm-up.
    pub measured: bool,
}

impl Turn {
    /// The targets in the order of their requests. The order alternates from pair to pair, so that it favours no target.
    pub fn order(self, targets: usize) -> impl Iterator<Item = usize> {
        let swapped = (self.number % 2) as usize;
        (0..targets).map(move |place| if targets == 2 { place ^ swapped } else { place })
    }
}

/// Gives out turns until the limit.
#[derive(Debug, Clone)]
pub struct Turns {
    warmup: Duration,
    limit: Limit,
    given: u64,
    measured: u64,
}

impl Turns {
    /// The turns of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self { warmup: plan.warmup, limit: plan.limit, given: 0, measured: 0 }
    }

    /// The turn that starts at this time after the start of the run; `None` when the limit is reached.
    pub fn next_at(&mut self, at: Duration) -> Option<Turn> {
        let over = match self.limit {
            Limit::Streams(most) => self.measured >= most,
            Limit::Duration(length) => at >= self.warmup.saturating_add(length),
        };
        if over {
            return None;
        }
        let turn = Turn { number: self.given, measured: at >= self.warmup };
        self.given += 1;
        self.measured += u64::from(turn.measured);
        Some(turn)
    }
}

/// When the user with this number (from 0) of a closed loop starts.
pub fn user_start(user: usize, users: usize, ramp: Duration) -> Duration {
    ramp.mul_f64(user as f64 / users.max(1) as f64)
}

/// The start times of an open loop, in order and without end, for each target in turn.
#[derive(Debug, Clone)]
pub struct Times {
    /// Streams a second to all targets together.
    rate: f64,
    ramp: f64,
    arrivals: Arrivals,
    random: Random,
    /// The integral of the rate up to the next stream.
    mass: f64,
}

impl Times {
    /// The start times of this plan with this rate to each target.
    pub fn new(plan: &Plan, rate: f64, arrivals: Arrivals) -> Self {
        let mut times = Self {
            rate: rate * plan.targets as f64,
            ramp: plan.ramp.as_secs_f64(),
            arrivals,
            random: Random(plan.seed),
            mass: 0.0,
        };
        // a Poisson process has no stream at time zero; an even one starts at once
        times.mass = match arrivals {
            Arrivals::Poisson => times.gap(),
            Arrivals::Uniform => 0.0,
        };
        times
    }

    /// The integral of the rate between two streams, 1 on average.
    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Uniform => 1.0,
            // inversion: the logarithm of a number above 0 and at most 1
            Arrivals::Poisson => -(1.0 - self.random.fraction()).ln(),
        }
    }

    /// The inverse of the rate's integral, which grows as t² during the ramp and as t after it.
    fn due(&self, mass: f64) -> f64 {
        let in_ramp = self.rate * self.ramp / 2.0;
        if mass < in_ramp {
            (2.0 * mass * self.ramp / self.rate).sqrt()
        } else {
            self.ramp + (mass - in_ramp) / self.rate
        }
    }
}

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // a rate near zero exceeds the range of a duration
        let time = Duration::try_from_secs_f64(self.due(self.mass)).unwrap_or(Duration::MAX);
        self.mass += self.gap();
        Some(time)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(targets: usize, limit: Limit, warmup: u64, ramp: u64, seed: u64) -> Plan {
        Plan {
            load: Load::Closed { users: 1 },
            targets,
            limit,
            warmup: Duration::from_millis(warmup),
            ramp: Duration::from_millis(ramp),
            seed,
        }
    }

    fn times(rate: f64, arrivals: Arrivals, ramp: u64, seed: u64) -> Times {
        Times::new(&plan(1, Limit::Streams(1), 0, ramp, seed), rate, arrivals)
    }

    #[test]
    fn the_order_of_targets_alternates_from_pair_to_pair() {
        let order = |number, targets| Turn { number, measured: true }.order(targets).collect::<Vec<_>>();
        assert_eq!([order(0, 2), order(1, 2), order(2, 2)], [vec![0, 1], vec![1, 0], vec![0, 1]]);
        assert_eq!([order(0, 1), order(1, 1)], [vec![0], vec![0]]);
    }

    #[test]
    fn even_times_have_equal_intervals_and_the_ramp_is_a_square() {
        let even: Vec<_> = times(4.0, Arrivals::Uniform, 0, 0).take(3).collect();
        assert_eq!(even, [0, 250, 500].map(Duration::from_millis));
        // 2 streams in the 1 s of the ramp, as 4 t²/2 grows
        let ramped: Vec<_> = times(4.0, Arrivals::Uniform, 1000, 0).take(5).map(|time| time.as_millis()).collect();
        assert_eq!(ramped, [0, 707, 1000, 1250, 1500]);
    }

    #[test]
    fn two_targets_get_the_rate_each() {
        let mut two = plan(2, Limit::Streams(1), 0, 0, 0);
        two.load = Load::Open { rate: 5.0, arrivals: Arrivals::Uniform };
        assert_eq!(Times::new(&two, 5.0, Arrivals::Uniform).nth(10), Some(Duration::from_secs(1)));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let times: Vec<_> = times(50.0, Arrivals::Poisson, 0, 7).take(20_001).map(|time| time.as_secs_f64()).collect();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.02).abs() < 0.001, "{mean}");
        assert!((variance.sqrt() - mean).abs() < 0.001, "{}", variance.sqrt());
    }

    #[test]
    fn users_start_one_by_one_over_the_ramp() {
        let ramp = Duration::from_secs(8);
        let starts: Vec<_> = (0..4).map(|user| user_start(user, 4, ramp).as_secs()).collect();
        assert_eq!(starts, [0, 2, 4, 6]);
    }

    proptest! {
        #[test]
        fn times_never_go_back_and_keep_the_rate(rate in 0.1..2000.0f64, ramp in 0..20_000u64, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Uniform };
            let times: Vec<_> = times(rate, arrivals, ramp, seed).take(2000).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            let last = times[1999].as_secs_f64();
            let ramp = ramp as f64 / 1e3;
            let expected = if last < ramp { rate * last * last / ramp / 2.0 } else { rate * (last - ramp / 2.0) };
            // 2000 arrivals of a Poisson process vary by √2000 = 45; six of those never happen
            let room = if poisson { 6.0 * 45.0 } else { 2.0 };
            prop_assert!((expected - 2000.0).abs() <= room, "{expected}");
        }

        #[test]
        fn so_many_measured_turns_are_given_and_none_before_the_warm_up_is_over(
            most in 0..50u64, warmup in 0..2000u64, mut steps in prop::collection::vec(0..200u64, 60..120),
        ) {
            steps.push(10_000);
            let mut turns = Turns::new(&plan(1, Limit::Streams(most), warmup, 0, 0));
            let (mut now, mut measured, mut number) = (0, 0, 0);
            for step in steps {
                now += step;
                let Some(turn) = turns.next_at(Duration::from_millis(now)) else {
                    prop_assert_eq!(measured, most);
                    break;
                };
                prop_assert_eq!(turn, Turn { number, measured: now >= warmup });
                number += 1;
                measured += u64::from(turn.measured);
            }
            prop_assert!(measured <= most);
        }

        #[test]
        fn no_turn_is_given_after_the_duration(length in 0..5000u64, warmup in 0..5000u64, at in 0..12_000u64) {
            let limit = Limit::Duration(Duration::from_millis(length));
            let turn = Turns::new(&plan(1, limit, warmup, 0, 0)).next_at(Duration::from_millis(at));
            prop_assert_eq!(turn.map(|turn| turn.measured), (at < warmup + length).then_some(at >= warmup));
        }

        #[test]
        fn no_plan_panics(rate in prop_oneof![Just(f64::MIN_POSITIVE), Just(f64::MAX), 1e-9..1e9f64], ramp: u64, seed: u64) {
            for arrivals in [Arrivals::Poisson, Arrivals::Uniform] {
                let _ = times(rate, arrivals, ramp, seed).take(50).last();
            }
        }
    }
}

//! Turns the verdicts of streams into the verdict of a run. Pure.

use std::time::Duration;

use super::{Delivery, Pattern, Rule, UnknownReason};
use crate::report::hdr::{Durations, Values};

/// The number of streams with each verdict.
#[derive(Debug, Clone, Default)]
pub struct Votes {
    streaming: u64,
    uneven: u64,
    at_once: u64,
    /// In the order of [`RULES`].
    bursts: [Bursts; 4],
    /// In the order of [`UNKNOWN_REASONS`].
    unknown: [u64; 3],
}

/// Streams whose bursts follow one rule.
#[derive(Debug, Clone, Default)]
struct Bursts {
    streams: u64,
    /// In tenths of events, because a median can lie between two counts.
    events: Values,
    bytes: Values,
    periods: Durations,
}

/// The verdict of most streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The verdict.
    pub delivery: Delivery,
    /// The number of streams with it.
    pub agree: u64,
    /// The number of streams with any verdict but unknown.
    pub of: u64,
}

const RULES: [Rule; 4] = [Rule::Size, Rule::Count, Rule::Timer, Rule::Either];
const UNKNOWN_REASONS: [UnknownReason; 3] =
    [UnknownReason::FewEvents, UnknownReason::TooFast, UnknownReason::FewBursts];

impl Votes {
    /// Counts one stream.
    pub fn add(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Streaming => self.streaming += 1,
            Delivery::Uneven => self.uneven += 1,
            Delivery::AtOnce => self.at_once += 1,
            Delivery::Bursts(pattern) => {
                for (rule, bursts) in RULES.into_iter().zip(&mut self.bursts) {
                    if rule == pattern.rule {
                        bursts.add(pattern);
                    }
                }
            }
            Delivery::Unknown(why) => {
                for (known, count) in UNKNOWN_REASONS.into_iter().zip(&mut self.unknown) {
                    *count += u64::from(known == why);
                }
            }
        }
    }

    /// The verdict of most streams.
    pub fn verdict(&self) -> Verdict {
        let bursts = self.bursts.iter().map(|bursts| bursts.streams).sum();
        let counts = [self.streaming, self.uneven, self.at_once, bursts];
        let of: u64 = counts.iter().sum();
        let agree = counts.into_iter().max().unwrap_or_default();
        if of == 0 {
            let most = UNKNOWN_REASONS.into_iter().zip(self.unknown).rev().max_by_key(|(_, count)| *count);
            let why = most.map_or(UnknownReason::FewEvents, |(why, _)| why);
            return Verdict { delivery: Delivery::Unknown(why), agree, of };
        }
        // the milder one of two equal counts: half of the streams are not enough to report a buffer
        let delivery = match () {
            () if agree == self.streaming => Delivery::Streaming,
            () if agree == self.uneven => Delivery::Uneven,
            () if agree == bursts => self.pattern(),
            () => Delivery::AtOnce,
        };
        Verdict { delivery, agree, of }
    }

    fn pattern(&self) -> Delivery {
        let most = RULES.into_iter().zip(&self.bursts).max_by_key(|(_, bursts)| bursts.streams);
        most.map_or(Delivery::Uneven, |(rule, bursts)| Delivery::Bursts(bursts.median(rule)))
    }
}

impl Bursts {
    fn add(&mut self, pattern: Pattern) {
        self.streams += 1;
        self.events.add((pattern.events * 10.0) as u64);
        self.bytes.add(pattern.bytes as u64);
        self.periods.add(pattern.period);
    }

    fn median(&self, rule: Rule) -> Pattern {
        let median = |values: &Values| values.quantile(0.5).unwrap_or_default();
        let period = self.periods.quantile_ms(0.5).unwrap_or_default();
        Pattern {
            rule,
            events: median(&self.events) / 10.0,
            bytes: median(&self.bytes),
            period: Duration::from_secs_f64(period / 1e3),
        }
    }
}

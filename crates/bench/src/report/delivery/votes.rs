//! From the delivery of each stream to that of a run. Pure.

use std::time::Duration;

use super::{Delivery, Pattern, Rule, Why};
use crate::report::hdr::{Durations, Values};

/// How many streams were delivered how.
#[derive(Debug, Clone, Default)]
pub struct Votes {
    streaming: u64,
    uneven: u64,
    at_once: u64,
    /// In the order of [`RULES`].
    bursts: [Bursts; 4],
    /// In the order of [`WHYS`].
    unknown: [u64; 3],
}

/// Streams whose bursts follow one rule.
#[derive(Debug, Clone, Default)]
struct Bursts {
    streams: u64,
    /// Tenths of events, for medians lie between whole ones.
    events: Values,
    bytes: Values,
    periods: Durations,
}

/// What most streams say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// How most streams were delivered.
    pub delivery: Delivery,
    /// So many streams say so.
    pub agree: u64,
    /// Of so many that say anything.
    pub of: u64,
}

const RULES: [Rule; 4] = [Rule::Size, Rule::Count, Rule::Timer, Rule::Either];
const WHYS: [Why; 3] = [Why::FewEvents, Why::TooFast, Why::FewBursts];

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
                for (known, count) in WHYS.into_iter().zip(&mut self.unknown) {
                    *count += u64::from(known == why);
                }
            }
        }
    }

    /// What most streams say.
    pub fn verdict(&self) -> Verdict {
        let bursts = self.bursts.iter().map(|bursts| bursts.streams).sum();
        let said = [self.streaming, self.uneven, self.at_once, bursts];
        let of: u64 = said.iter().sum();
        let agree = said.into_iter().max().unwrap_or_default();
        if of == 0 {
            let most = WHYS.into_iter().zip(self.unknown).rev().max_by_key(|(_, count)| *count);
            let why = most.map_or(Why::FewEvents, |(why, _)| why);
            return Verdict { delivery: Delivery::Unknown(why), agree, of };
        }
        // of equals, the milder one: nobody is to be sent looking for a buffer by half of the streams
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

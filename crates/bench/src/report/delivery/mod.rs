//! How the events of a stream were delivered: one by one, or held back by something between the model and here, and how.
//!
//! The decision needs nothing but when each event was there and which read brought it. A model makes tokens one after the other,
//! and its steps are milliseconds apart or more; what comes in one read was therefore held somewhere. What holds has a rule, and
//! the rule shows in what is the same from burst to burst: the bytes (a buffer that fills), the number of events (a server that
//! sends every n-th step), or the time (a flush timer). Bursts without a rule are a network's. Pure.

mod bursts;
mod votes;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::sample::Arrival;
use bursts::{Bursts, group};
pub use votes::{Verdict, Votes};

/// How the events of a stream, or of most streams, were delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delivery {
    /// Each when it was made, as far as can be seen.
    Streaming,
    /// In groups of no fixed size and no fixed period, as a busy network or server makes them.
    Uneven,
    /// In bursts that follow a rule.
    Bursts(Pattern),
    /// Nearly all at once, when the stream was over.
    AtOnce,
    /// It cannot be told.
    Unknown(Why),
}

/// Bursts, and what they have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pattern {
    /// What is the same from burst to burst.
    pub rule: Rule,
    /// Median events of a burst.
    pub events: f64,
    /// Median bytes of a burst.
    pub bytes: f64,
    /// Median time from burst to burst.
    pub period: Duration,
}

/// What is the same from burst to burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Its bytes.
    Size,
    /// Its number of events.
    Count,
    /// The time between them.
    Timer,
    /// Size and time, both: the source is too steady to tell which is the cause.
    Either,
}

/// Why it cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// There were too few events.
    FewEvents,
    /// Everything came so soon that nothing can have been held for long.
    TooFast,
    /// There were too few bursts to see a rule.
    FewBursts,
}

/// Fewer events say nothing.
const FEW_EVENTS: usize = 8;
/// A stream that is over sooner has not been held so that anyone could notice.
const FAST: Duration = Duration::from_millis(50);
/// Events that follow each other faster were not made one by one.
const ONE_BY_ONE: Duration = Duration::from_millis(1);
/// Bursts closer than this are what a socket that is read late looks like.
const CLOSE: Duration = Duration::from_millis(5);
/// What varies by more than this share from burst to burst is not the rule.
const SAME: f64 = 0.12;
/// Two things that both vary by no more than this are equally good as the rule.
const STEADY: f64 = 0.03;
/// Finer differences are a matter of clocks and of chance.
const FINEST: f64 = 0.003;
/// A rule must have held back so many events to be believed: chance makes a few equal groups.
const EVIDENCE: usize = 32;

/// How the events of one stream were delivered.
pub fn of(events: &[Arrival]) -> Delivery {
    let outputs: Vec<Arrival> = events.iter().filter(|event| event.output).copied().collect();
    let (Some(first), Some(last)) = (outputs.first(), outputs.last()) else { return Delivery::Unknown(Why::FewEvents) };
    if outputs.len() < FEW_EVENTS {
        return Delivery::Unknown(Why::FewEvents);
    }
    if last.at < FAST {
        return Delivery::Unknown(Why::TooFast);
    }
    let span = last.at.saturating_sub(first.at);
    let mean_gap = span.div_f64((outputs.len() - 1) as f64);
    let reads = 1 + outputs.windows(2).filter(|pair| pair[0].read != pair[1].read).count();
    // held to the end, a body comes as fast as the network can, many events a read
    if span * 20 <= last.at && mean_gap < ONE_BY_ONE && outputs.len() >= 4 * reads {
        return Delivery::AtOnce;
    }
    let bursts = group(&outputs);
    if bursts.mean_events() < 1.5 || bursts.mean_period() < CLOSE || !bursts.are_instant() {
        return Delivery::Streaming;
    }
    if bursts.end_with_everything() && last.at <= 2 * bursts.last_start() {
        return Delivery::AtOnce;
    }
    pattern(&bursts)
}

fn pattern(bursts: &Bursts) -> Delivery {
    let inner = bursts.inner();
    let Some((events, bytes, periods)) = inner.series() else { return Delivery::Unknown(Why::FewBursts) };
    let rule = rule(&events, &bytes, &periods);
    let singles = inner.singles() * 20 > inner.len();
    match rule {
        // a clock also lets single events go; a size or a number does not
        Some(rule) if rule == Rule::Timer || !singles => {
            if inner.held() < EVIDENCE {
                return Delivery::Unknown(Why::FewBursts);
            }
            Delivery::Bursts(Pattern {
                rule,
                events: median(&events),
                bytes: median(&bytes),
                period: Duration::from_secs_f64(median(&periods)),
            })
        }
        _ => Delivery::Uneven,
    }
}

/// Which of the three series is (nearly) constant.
fn rule(events: &[f64], bytes: &[f64], periods: &[f64]) -> Option<Rule> {
    let (count, size, time) = (deviation(events), deviation(bytes), deviation(periods));
    let amount = count.min(size);
    if amount.min(time) > SAME {
        return None;
    }
    let amount_rule = if count < size / 2.0 { Rule::Count } else { Rule::Size };
    // both are steady if the source is; then the cause must be much steadier than its effect to be told from it
    let (apart, finest) = if amount.max(time) <= STEADY { (3.0, FINEST) } else { (1.5, 0.0) };
    let (amount, time) = (amount.max(finest), time.max(finest));
    Some(match () {
        () if amount * apart < time => amount_rule,
        () if amount <= STEADY && is_buffer_size(median(bytes)) => Rule::Size,
        () if time * apart < amount => Rule::Timer,
        () => Rule::Either,
    })
}

/// Buffers are made in whole KiB. A steady source does not meet one to a hundredth by chance often.
fn is_buffer_size(bytes: f64) -> bool {
    let kib = (bytes / 1024.0).round();
    kib >= 1.0 && (kib as u64).is_power_of_two() && (bytes - kib * 1024.0).abs() <= 0.005 * bytes
}

/// Mean distance from the median, as a share of it, without the tenth that is farthest: two bursts that met count as one of twice
/// the length, and say nothing of the rule.
fn deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    if middle <= 0.0 {
        return f64::INFINITY;
    }
    let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    distances.sort_by(f64::total_cmp);
    distances.truncate(values.len() - values.len() / 10);
    distances.iter().sum::<f64>() / distances.len() as f64 / middle
}

/// The middle value, 0 where there is none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (even, half) if even % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
        (_, half) => sorted[half],
    }
}

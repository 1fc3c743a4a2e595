//! Decides whether events arrived one by one, or whether something between the model and the client buffers them. Pure.
//!
//! The decision needs only the time and the socket read of each event. A model makes tokens one after the other, milliseconds
//! apart or more, so events that arrive in one read were held back somewhere. A buffer follows a rule, and the rule is the
//! property that stays the same from burst to burst: the bytes (a buffer that fills), the number of events (a server that
//! sends every n-th step), or the time (a flush timer). Bursts without a rule come from the network.

mod bursts;
mod votes;
mod description;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::sample::Arrival;
use bursts::{Bursts, group};
pub use votes::{Verdict, Votes};

/// How the events of a stream, or of most streams, were delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delivery {
    /// One by one, as far as the arrivals show.
    Streaming,
    /// In groups of no fixed size or period, as a network or a server under load delivers them.
    Uneven,
    /// In bursts that follow a rule.
    Bursts(Pattern),
    /// Nearly all at once, at the end of the stream.
    AtOnce,
    /// The arrivals do not decide.
    Unknown(UnknownReason),
}

/// The common properties of bursts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pattern {
    /// The property that is the same from burst to burst.
    pub rule: Rule,
    /// The median number of events of a burst.
    pub events: f64,
    /// The median bytes of a burst.
    pub bytes: f64,
    /// The median time from burst to burst.
    pub period: Duration,
}

/// The property that is the same from burst to burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The bytes.
    Size,
    /// The number of events.
    Count,
    /// The time between bursts.
    Timer,
    /// The bytes and the time: the source is too steady to decide which is the cause.
    Either,
}

/// Why the arrivals do not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnknownReason {
    /// There were too few events.
    FewEvents,
    /// The stream was too short for a noticeable buffer.
    TooFast,
    /// There were too few bursts to see a rule.
    FewBursts,
}

/// Fewer events do not decide.
const FEW_EVENTS: usize = 8;
/// A buffer in a shorter stream is not noticeable.
const FAST: Duration = Duration::from_millis(50);
/// Events that follow each other faster were not generated one by one.
const ONE_BY_ONE: Duration = Duration::from_millis(1);
/// Bursts that are closer than this come from a socket that is read late.
const CLOSE: Duration = Duration::from_millis(5);
/// A property that varies more than this from burst to burst is not the rule.
const SAME: f64 = 0.12;
/// Two properties that both vary at most this much are equally good as the rule.
const STEADY: f64 = 0.03;
/// Smaller variations come from clocks and chance.
const FINEST: f64 = 0.003;
/// The events that a rule must have held back before it is accepted: a few equal groups occur by chance.
const EVIDENCE: usize = 32;

/// How the events of one stream were delivered.
pub fn of(events: &[Arrival]) -> Delivery {
    let outputs: Vec<Arrival> = events.iter().filter(|event| event.output).copied().collect();
    let (Some(first), Some(last)) = (outputs.first(), outputs.last()) else {
        return Delivery::Unknown(UnknownReason::FewEvents);
    };
    if outputs.len() < FEW_EVENTS {
        return Delivery::Unknown(UnknownReason::FewEvents);
    }
    if last.at < FAST {
        return Delivery::Unknown(UnknownReason::TooFast);
    }
    let span = last.at.saturating_sub(first.at);
    let mean_gap = span.div_f64((outputs.len() - 1) as f64);
    let reads = 1 + outputs.windows(2).filter(|pair| pair[0].read != pair[1].read).count();
    // a body that was held to the end arrives as fast as the network can, with many events in each read
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
    let Some((events, bytes, periods)) = inner.series() else { return Delivery::Unknown(UnknownReason::FewBursts) };
    let rule = rule(&events, &bytes, &periods);
    let singles = inner.singles() * 20 > inner.len();
    match rule {
        // a timer also sends single events; a buffer of a size or a count does not
        Some(rule) if rule == Rule::Timer || !singles => {
            if inner.held() < EVIDENCE {
                return Delivery::Unknown(UnknownReason::FewBursts);
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
    // with a steady source, both are steady, and the cause must be much steadier than its effect
    let (apart, finest) = if amount.max(time) <= STEADY { (3.0, FINEST) } else { (1.5, 0.0) };
    let (amount, time) = (amount.max(finest), time.max(finest));
    Some(match () {
        () if amount * apart < time => amount_rule,
        () if amount <= STEADY && is_buffer_size(median(bytes)) => Rule::Size,
        () if time * apart < amount => Rule::Timer,
        () => Rule::Either,
    })
}

/// Buffers have sizes in whole KiB, which a steady source rarely matches by chance.
fn is_buffer_size(bytes: f64) -> bool {
    let kib = (bytes / 1024.0).round();
    kib >= 1.0 && (kib as u64).is_power_of_two() && (bytes - kib * 1024.0).abs() <= 0.005 * bytes
}

/// The mean distance from the median, relative to it, without the farthest tenth: two bursts that arrive together look like
/// one of twice the size, which is no evidence against the rule.
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

/// The median, 0 without values.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (even, half) if even % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
        (_, half) => sorted[half],
    }
}

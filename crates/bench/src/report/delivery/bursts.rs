//! Groups events that arrived together into bursts. Pure.

use std::time::Duration;

use super::{FEW_EVENTS, ONE_BY_ONE};
use crate::report::sample::Arrival;

/// Bursts of events, in order.
#[derive(Debug)]
pub(super) struct Bursts {
    bursts: Vec<Burst>,
    /// The median time between two events of one burst.
    gap_within: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    start: Duration,
    end: Duration,
    events: usize,
    /// The bytes of the body up to its end.
    bytes: u64,
}

/// All bursts but the first and the last, which the start and the end of the stream cut.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    /// The first burst of all, which precedes the first inner one.
    before: Option<&'a Burst>,
    bursts: &'a [Burst],
}

/// A gap ends a burst if it is longer than this share of the time from burst to burst.
const SHARE: f64 = 0.2;

/// Groups events that came in one read, or much closer to each other than the bursts are. The limit is found step by step: the
/// larger the bursts, the further they are apart.
pub(super) fn group(events: &[Arrival]) -> Bursts {
    let span = match events {
        [first, .., last] => last.at.saturating_sub(first.at),
        _ => Duration::ZERO,
    };
    let mut limit = span.mul_f64(SHARE / (events.len().max(2) - 1) as f64);
    loop {
        let bursts = split(events, limit);
        let next = bursts.mean_period().mul_f64(SHARE);
        // each round has fewer bursts, or is the last one
        if next <= limit || bursts.bursts.len() < 2 {
            return bursts;
        }
        limit = next;
    }
}

fn split(events: &[Arrival], limit: Duration) -> Bursts {
    let mut bursts: Vec<Burst> = Vec::new();
    let mut gaps = Vec::new();
    let mut before: Option<&Arrival> = None;
    for event in events {
        let near =
            before.is_some_and(|before| before.read == event.read || event.at.saturating_sub(before.at) <= limit);
        match bursts.last_mut().filter(|_| near) {
            Some(burst) => {
                gaps.extend(before.map(|before| event.at.saturating_sub(before.at)));
                burst.end = event.at;
                burst.events += 1;
                burst.bytes = event.bytes;
            }
            None => bursts.push(Burst { start: event.at, end: event.at, events: 1, bytes: event.bytes }),
        }
        before = Some(event);
    }
    gaps.sort_unstable();
    Bursts { bursts, gap_within: gaps.get(gaps.len() / 2).copied().unwrap_or_default() }
}

impl Bursts {
    pub(super) fn mean_events(&self) -> f64 {
        self.events() as f64 / self.bursts.len().max(1) as f64
    }

    /// The mean time from burst to burst; zero for fewer than two.
    pub(super) fn mean_period(&self) -> Duration {
        match self.bursts.as_slice() {
            [first, .., last] => (last.start - first.start).div_f64((self.bursts.len() - 1) as f64),
            _ => Duration::ZERO,
        }
    }

    /// Whether bursts are short. Otherwise their events came one by one, with pauses between the bursts.
    pub(super) fn are_instant(&self) -> bool {
        let wide: Duration = self.bursts.iter().map(|burst| burst.end - burst.start).sum();
        let span = self.mean_period() * self.bursts.len() as u32;
        self.gap_within <= ONE_BY_ONE && wide * 3 <= span
    }

    /// Whether the last burst contains nearly all events.
    pub(super) fn end_with_everything(&self) -> bool {
        let all = self.events();
        all >= 2 * FEW_EVENTS && self.bursts.last().is_some_and(|last| last.events * 5 >= all * 4)
    }

    /// The start of the last burst.
    pub(super) fn last_start(&self) -> Duration {
        self.bursts.last().map_or(Duration::ZERO, |last| last.start)
    }

    pub(super) fn inner(&self) -> Inner<'_> {
        match self.bursts.as_slice() {
            [first, inner @ .., _] => Inner { before: Some(first), bursts: inner },
            _ => Inner { before: None, bursts: &[] },
        }
    }

    fn events(&self) -> usize {
        self.bursts.iter().map(|burst| burst.events).sum()
    }
}

impl Inner<'_> {
    pub(super) fn len(&self) -> usize {
        self.bursts.len()
    }

    /// The number of bursts with one event.
    pub(super) fn singles(&self) -> usize {
        self.bursts.iter().filter(|burst| burst.events == 1).count()
    }

    /// The number of events that came with another one.
    pub(super) fn held(&self) -> usize {
        self.bursts.iter().map(|burst| burst.events - 1).sum()
    }

    /// The events, the bytes and the period in seconds of each burst; `None` for fewer than five.
    pub(super) fn series(&self) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
        let before = self.before.filter(|_| self.bursts.len() >= 5)?;
        let events = self.bursts.iter().map(|burst| burst.events as f64).collect();
        let pairs = || std::iter::once(before).chain(self.bursts).zip(self.bursts);
        let bytes = pairs().map(|(before, burst)| (burst.bytes.saturating_sub(before.bytes)) as f64).collect();
        let periods = pairs().map(|(before, burst)| (burst.start - before.start).as_secs_f64()).collect();
        Some((events, bytes, periods))
    }
}

//! Adds up samples in memory that does not grow with their number. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::Pairs;
use super::decimated::Decimated;
use super::delivery::{self, Votes};
use super::document::Streams;
use super::hdr::{Durations, Values};
use super::sample::{Cors, Outcome, Sample};

/// The points of each target in the chart of first tokens over the run, besides the slowest streams.
const POINTS: usize = 1500;
/// The slowest streams that are always in that chart.
const SLOWEST: usize = 16;
/// The most rows of each target in the raster of arrivals.
const ROWS: usize = 24;
/// The most reads in such a row.
const TICKS: usize = 2000;

/// The sums of a run.
#[derive(Debug)]
pub struct Totals {
    goals: Goals,
    pub(super) targets: Vec<Target>,
    /// The paired differences, with two targets.
    pub(super) pairs: Option<Pairs>,
}

/// The sums of one target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) streams: Streams,
    /// The count and the first message of each kind of failure.
    pub(super) failures: BTreeMap<String, (u64, String)>,
    /// The streams that a browser would allow.
    pub(super) allowed: u64,
    /// The streams that it would block, by the response (`preflight` or `answer`) and Chromium's name of the failing step.
    pub(super) refused: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) good: u64,
    pub(super) new_connections: u64,
    pub(super) reused_connections: u64,
    pub(super) times: Times,
    /// The speed of each whole stream, in thousandths of tokens a second.
    pub(super) speed: Values,
    pub(super) events_per_read: Values,
    pub(super) output_tokens: u64,
    pub(super) bytes: u64,
    pub(super) counted: u64,
    pub(super) estimated: u64,
    pub(super) votes: Votes,
    pub(super) points: Decimated<Point>,
    /// Sorted, the slowest first.
    pub(super) slowest: Vec<Point>,
    pub(super) rows: Decimated<Row>,
    /// The start of the first stream and the end of the last one.
    window: Option<(Duration, Duration)>,
}

/// The distribution of each time.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) start_lag: Durations,
    pub(super) dns: Durations,
    pub(super) connect: Durations,
    pub(super) tls: Durations,
    pub(super) preflight: Durations,
    pub(super) head: Durations,
    pub(super) first_byte: Durations,
    pub(super) first_token: Durations,
    pub(super) inter_token: Durations,
    pub(super) time_per_output_token: Durations,
    pub(super) total: Durations,
}

/// One stream in the chart of first tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) scheduled: Duration,
    pub(super) first_token: Duration,
}

/// One stream in the raster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) scheduled: Duration,
    pub(super) whole: bool,
    /// The time of each read with output, with its number of events.
    pub(super) reads: Vec<(Duration, u64)>,
}

impl Totals {
    /// Sums for this number of targets.
    pub fn new(targets: usize, goals: Goals) -> Self {
        let pairs = (targets > 1).then(Pairs::default);
        Self { goals, targets: (0..targets).map(|_| Target::new()).collect(), pairs }
    }

    /// Adds one stream. A stream of an unknown target is ignored.
    pub fn add(&mut self, sample: &Sample) {
        let Some(target) = self.targets.get_mut(sample.target) else { return };
        target.add(sample, self.goals);
        if let Some(pairs) = &mut self.pairs {
            pairs.add(sample);
        }
    }

    /// The whole streams of all targets.
    pub fn whole(&self) -> u64 {
        self.targets.iter().map(|target| target.streams.whole).sum()
    }
}

impl Target {
    fn new() -> Self {
        Self {
            streams: Streams::default(),
            failures: BTreeMap::new(),
            allowed: 0,
            refused: BTreeMap::new(),
            good: 0,
            new_connections: 0,
            reused_connections: 0,
            times: Times::new(),
            speed: Values::default(),
            events_per_read: Values::default(),
            output_tokens: 0,
            bytes: 0,
            counted: 0,
            estimated: 0,
            votes: Votes::default(),
            points: Decimated::new(POINTS),
            slowest: Vec::new(),
            rows: Decimated::new(ROWS),
            window: None,
        }
    }

    /// The time from the start of the first stream to the end of the last one.
    pub(super) fn window(&self) -> Duration {
        self.window.map_or(Duration::ZERO, |(begin, end)| end.saturating_sub(begin))
    }

    fn add(&mut self, sample: &Sample, goals: Goals) {
        let end = sample.scheduled + sample.total;
        let (first, last) = self.window.unwrap_or((sample.scheduled, end));
        self.window = Some((first.min(sample.scheduled), last.max(end)));
        self.outcome(sample, goals);
        self.cors(sample.cors);
        self.times.add(sample);
        self.new_connections += u64::from(sample.connect.is_some());
        self.reused_connections += u64::from(sample.reused);
        self.bytes += sample.bytes;
        self.output_tokens += sample.output_tokens;
        if sample.output_tokens > 0 {
            self.counted += u64::from(sample.counted);
            self.estimated += u64::from(!sample.counted);
        }
        let reads = reads(sample);
        reads.clone().for_each(|(_, events)| self.events_per_read.add(events));
        if let Some(first_token) = sample.first_token() {
            self.point(Point { scheduled: sample.scheduled, first_token });
            self.votes.add(delivery::of(&sample.events));
            self.rows.add(|| Row {
                scheduled: sample.scheduled,
                whole: sample.outcome == Outcome::Whole,
                reads: reads.take(TICKS).collect(),
            });
        }
    }

    fn outcome(&mut self, sample: &Sample, goals: Goals) {
        match &sample.outcome {
            Outcome::Whole => {
                self.streams.whole += 1;
                self.good += u64::from(goals.met_by(sample));
                if let Some(speed) = sample.tokens_per_second() {
                    self.speed.add((speed * 1e3) as u64);
                }
            }
            Outcome::Truncated => self.streams.truncated += 1,
            Outcome::Failed(failure) => {
                self.streams.failed += 1;
                let kind = failure.kind.name().into_owned();
                let (count, _) = self.failures.entry(kind).or_insert_with(|| (0, failure.message.clone()));
                *count += 1;
            }
        }
    }

    fn cors(&mut self, cors: Option<Cors>) {
        let refused = match cors {
            None => return,
            Some(Cors::Allowed) => {
                self.allowed += 1;
                return;
            }
            Some(Cors::PreflightRefused { code }) => ("preflight", code),
            Some(Cors::AnswerRefused { code }) => ("answer", code),
        };
        *self.refused.entry(refused).or_default() += 1;
    }

    fn point(&mut self, point: Point) {
        self.points.add(|| point);
        let place = self.slowest.partition_point(|slow| slow.first_token >= point.first_token);
        if place < SLOWEST {
            self.slowest.insert(place, point);
            self.slowest.truncate(SLOWEST);
        }
    }
}

/// The goals that a whole stream must meet to count as goodput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Goals {
    /// The longest time to first token.
    pub first_token: Option<Duration>,
    /// The longest mean time per output token after the first.
    pub time_per_output_token: Option<Duration>,
}

impl Goals {
    fn met_by(self, sample: &Sample) -> bool {
        let within = |goal: Option<Duration>, is: Duration| goal.is_none_or(|goal| is <= goal);
        // a stream of one token has no time between tokens
        sample.time_per_output_token().is_none_or(|each| within(self.time_per_output_token, each))
            && sample.first_token().is_some_and(|first| within(self.first_token, first))
    }
}

impl Times {
    /// Values that are compared have the same resolution: otherwise a first token could seem to precede the first byte.
    fn new() -> Self {
        let fine = Durations::fine;
        Self { head: fine(), first_byte: fine(), first_token: fine(), ..Self::default() }
    }

    fn add(&mut self, sample: &Sample) {
        self.start_lag.add(sample.started.saturating_sub(sample.scheduled));
        if let Some(connect) = sample.connect {
            // an IP address needs no lookup
            if !connect.dns.is_zero() {
                self.dns.add(connect.dns);
            }
            self.connect.add(connect.tcp);
            add_some(&mut self.tls, connect.tls);
        }
        add_some(&mut self.preflight, sample.preflight);
        add_some(&mut self.head, sample.head);
        add_some(&mut self.first_byte, sample.first_byte);
        add_some(&mut self.first_token, sample.first_token());
        for (before, after) in sample.outputs().zip(sample.outputs().skip(1)) {
            self.inter_token.add(after.saturating_sub(before));
        }
        // those of a truncated stream would be too good
        if sample.outcome == Outcome::Whole {
            add_some(&mut self.time_per_output_token, sample.time_per_output_token());
            self.total.add(sample.total);
        }
    }
}

fn add_some(durations: &mut Durations, duration: Option<Duration>) {
    if let Some(duration) = duration {
        durations.add(duration);
    }
}

/// The time of each read with output, with its number of events with output.
fn reads(sample: &Sample) -> impl Iterator<Item = (Duration, u64)> + Clone {
    let runs = sample.events.chunk_by(|before, after| before.read == after.read);
    runs.filter_map(|run| {
        let mut outputs = run.iter().filter(|event| event.output);
        let first = outputs.next()?;
        Some((first.at, 1 + outputs.count() as u64))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::sample::tests::sample;
    use crate::report::sample::{Failure, Kind};

    fn totals(samples: impl IntoIterator<Item = Sample>, goals: Goals) -> Totals {
        let mut totals = Totals::new(1, goals);
        samples.into_iter().for_each(|sample| totals.add(&sample));
        totals
    }

    #[test]
    fn a_truncated_stream_counts_for_its_first_token_and_not_for_its_length() {
        let mut truncated = sample(0, 1, 100, &[10, 10]);
        truncated.outcome = Outcome::Truncated;
        let mut refused = sample(0, 2, 100, &[]);
        refused.events.clear();
        refused.outcome = Outcome::Failed(Failure { kind: Kind::Status(503), message: "first".to_owned() });
        let mut again = refused.clone();
        again.outcome = Outcome::Failed(Failure { kind: Kind::Status(503), message: "second".to_owned() });
        let totals = totals([sample(0, 0, 100, &[10, 10]), truncated, refused, again], Goals::default());
        let target = &totals.targets[0];
        assert_eq!((target.streams.whole, target.streams.truncated, target.streams.failed), (1, 1, 2));
        assert_eq!((target.times.first_token.count(), target.times.total.count(), target.speed.count()), (2, 1, 1));
        assert_eq!(target.times.inter_token.count(), 4);
        assert_eq!(target.failures["status_503"], (2, "first".to_owned()));
        assert_eq!(totals.whole(), 1);
    }

    #[test]
    fn goodput_is_the_whole_streams_within_the_goals() {
        let goals = Goals {
            first_token: Some(Duration::from_millis(200)),
            time_per_output_token: Some(Duration::from_millis(20)),
        };
        let mut silent = sample(0, 3, 100, &[]);
        silent.events.clear();
        let streams = [sample(0, 0, 200, &[20, 20]), sample(0, 1, 201, &[5, 5]), sample(0, 2, 5, &[30, 30]), silent];
        assert_eq!(totals(streams.clone(), goals).targets[0].good, 1);
        assert_eq!(totals(streams, Goals::default()).targets[0].good, 3, "a stream without output is no goodput");
    }

    #[test]
    fn streams_that_a_browser_blocks_are_counted_by_step_and_name() {
        let with = |cors| Sample { cors: Some(cors), ..sample(0, 0, 1, &[1]) };
        let code = "WildcardOriginNotAllowed";
        let totals = totals(
            [with(Cors::Allowed), with(Cors::PreflightRefused { code }), with(Cors::AnswerRefused { code })],
            Goals::default(),
        );
        assert_eq!(totals.targets[0].allowed, 1);
        assert_eq!(totals.targets[0].refused, BTreeMap::from([(("preflight", code), 1), (("answer", code), 1)]));
    }

    proptest! {
        #[test]
        fn the_stored_points_are_bounded_and_contain_the_slowest(firsts in prop::collection::vec(1..5000_u64, 1..400)) {
            let streams = firsts.iter().enumerate().map(|(number, first)| sample(0, number as u64, *first, &[1, 2, 3]));
            let totals = totals(streams, Goals::default());
            let target = &totals.targets[0];
            prop_assert!(target.rows.items().len() <= ROWS && target.points.items().len() <= POINTS);
            prop_assert_eq!(target.times.first_token.count(), firsts.len() as u64);
            let mut sorted = firsts;
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.truncate(SLOWEST);
            let slowest: Vec<_> = target.slowest.iter().map(|point| point.first_token.as_millis() as u64).collect();
            prop_assert_eq!(slowest, sorted);
        }
    }
}

//! The measurement of one running stream, which ends in a [`Sample`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::body::BodyStats;
use super::pool::Lease;
use crate::report::sample::{Arrival, Outcome, Sample};
use families::estimate;
use families::event::Meaning;
use families::usage::Usage;

/// The most events of a stream whose arrival is stored: ten times the longest answers.
const MAX_EVENTS: usize = 1_000_000;

/// The place of one stream in the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) target: usize,
    pub(super) number: u64,
    /// The start of the run.
    pub(super) run_start: Instant,
    /// The scheduled start of the stream.
    pub(super) scheduled: Instant,
}

/// The values measured so far.
pub(super) struct Measurement {
    pub(super) sample: Sample,
    scheduled: Instant,
    /// The statistics of the body, once there is one.
    pub(super) body: Arc<BodyStats>,
    /// Whether an event had a finish reason.
    pub(super) finished: bool,
    text_bytes: u64,
    /// The number of events with output.
    pub(super) outputs: u64,
    usage: Option<Usage>,
    last_event: Option<Duration>,
}

impl Measurement {
    pub(super) fn start(slot: Slot) -> Self {
        let sample = Sample {
            target: slot.target,
            number: slot.number,
            scheduled: slot.scheduled - slot.run_start,
            started: slot.run_start.elapsed(),
            connect: None,
            reused: false,
            preflight: None,
            head: None,
            first_byte: None,
            events: Vec::new(),
            total: Duration::ZERO,
            bytes: 0,
            output_tokens: 0,
            counted: false,
            cors: None,
            outcome: Outcome::Truncated,
        };
        Self {
            sample,
            scheduled: slot.scheduled,
            body: Arc::default(),
            finished: false,
            text_bytes: 0,
            outputs: 0,
            usage: None,
            last_event: None,
        }
    }

    /// The time since the scheduled start of the stream.
    pub(super) fn elapsed(&self) -> Duration {
        self.scheduled.elapsed()
    }

    pub(super) fn connected(&mut self, lease: &Lease) {
        self.sample.connect = (!lease.reused).then_some(lease.connection.phases);
        self.sample.reused = lease.reused;
    }

    /// Records an event that has just arrived.
    pub(super) fn record(&mut self, event: &Meaning) {
        let (at, output) = (self.elapsed(), event.output);
        self.outputs += u64::from(output);
        self.text_bytes += event.text_bytes;
        self.finished |= event.finished;
        // some servers send a running count with every event: the last one counts
        self.usage = event.usage.or(self.usage);
        self.last_event = Some(at);
        if self.sample.events.len() < MAX_EVENTS {
            self.sample.events.push(Arrival { at, read: self.body.read(), bytes: self.body.bytes(), output });
        }
    }

    pub(super) fn finish(mut self, outcome: Outcome) -> Sample {
        self.sample.total = match (&outcome, self.last_event) {
            (Outcome::Whole, Some(last)) => last,
            _ => self.elapsed(),
        };
        self.sample.first_byte = self.body.first_byte().map(|first| first.saturating_duration_since(self.scheduled));
        self.sample.bytes = self.body.bytes();
        self.sample.counted = self.usage.is_some();
        self.sample.output_tokens = match self.usage {
            Some(usage) => usage.completion,
            None => estimate::output_tokens(self.text_bytes, self.outputs),
        };
        self.sample.outcome = outcome;
        self.sample
    }
}

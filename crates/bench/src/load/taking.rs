//! The sample of a stream that is under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::body::Notes;
use super::pool::Lease;
use crate::report::sample::{Arrival, Connect, Outcome, Sample};
use families::estimate;
use families::event::Meaning;
use families::usage::Usage;

/// Most events of which a sample keeps the arrival, so that a stream without end has one: ten times the longest answers.
const MAX_EVENTS: usize = 1_000_000;

/// One stream's place in the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) target: usize,
    pub(super) number: u64,
    /// Of the run.
    pub(super) beginning: Instant,
    /// When the stream is to start.
    pub(super) scheduled: Instant,
}

/// A sample that is being taken.
pub(super) struct Taking {
    pub(super) sample: Sample,
    scheduled: Instant,
    /// Of the body, once there is one.
    pub(super) notes: Arc<Notes>,
    /// A finish reason was seen.
    pub(super) finished: bool,
    text_bytes: u64,
    /// Events with output.
    pub(super) outputs: u64,
    usage: Option<Usage>,
    last: Option<Duration>,
}

impl Taking {
    pub(super) fn begin(place: Place) -> Self {
        let sample = Sample {
            target: place.target,
            number: place.number,
            scheduled: place.scheduled - place.beginning,
            started: place.beginning.elapsed(),
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
            scheduled: place.scheduled,
            notes: Arc::default(),
            finished: false,
            text_bytes: 0,
            outputs: 0,
            usage: None,
            last: None,
        }
    }

    /// The time since the stream was to start.
    pub(super) fn now(&self) -> Duration {
        self.scheduled.elapsed()
    }

    pub(super) fn connected(&mut self, lease: &Lease) {
        let phases = lease.connection.phases;
        let made = Connect { dns: phases.dns, tcp: phases.tcp, tls: phases.tls };
        self.sample.connect = (!lease.reused).then_some(made);
        self.sample.reused = lease.reused;
    }

    pub(super) fn arrived(&mut self, event: &Meaning) {
        let (at, output) = (self.now(), event.output);
        self.outputs += u64::from(output);
        self.text_bytes += event.text_bytes;
        self.finished |= event.finished;
        // some servers send a running count with every event: the last one holds
        self.usage = event.usage.or(self.usage);
        self.last = Some(at);
        let (read, bytes) = (self.notes.read(), self.notes.bytes());
        if self.sample.events.len() < MAX_EVENTS {
            self.sample.events.push(Arrival { at, read, bytes, output });
        }
    }

    pub(super) fn end(mut self, outcome: Outcome) -> Sample {
        self.sample.total = match (&outcome, self.last) {
            (Outcome::Whole, Some(last)) => last,
            _ => self.now(),
        };
        self.sample.first_byte = self.notes.first().map(|first| first.saturating_duration_since(self.scheduled));
        self.sample.bytes = self.notes.bytes();
        self.sample.counted = self.usage.is_some();
        self.sample.output_tokens = match self.usage {
            Some(usage) => usage.completion,
            None => estimate::output_tokens(self.text_bytes, self.outputs),
        };
        self.sample.outcome = outcome;
        self.sample
    }
}

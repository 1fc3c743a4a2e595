//! One try at one model: what it has produced so far, and, once it is over, what the upstream charges for it.
//!
//! An attempt is settled exactly once: at its end, at its failure, or when it is dropped, which is how it is cancelled. What
//! it is charged goes onto the bill of its request; several attempts at one request may be under way at the same time.

use std::sync::Arc;

use tokio::time::Instant;

use super::meter::Meter;
use crate::models::Target;
use crate::spend::bill::{Charge, Purpose};
use crate::spend::tally::Tally;
use crate::upstream::failure::Failure;

/// A try that is under way. Dropping it cancels and settles it.
pub struct Attempt {
    meter: Meter,
    /// Which of its request's attempts it is, from 1.
    number: u32,
    purpose: Purpose,
    who: Arc<Target>,
    asked: Instant,
    /// Its upstream has still to say something.
    waiting: bool,
    stage: Stage,
    upstream_request_id: Option<Box<str>>,
    tally: Tally,
    settled: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The request has not left.
    Connecting,
    /// The request has left: from here on, the upstream is at work.
    Sent,
    /// A head of success has come.
    Answered,
    /// It is over, and the upstream did no work for it.
    Refused,
}

impl Attempt {
    /// Begins now; `prompt_tokens` feeds the estimate.
    pub fn begin(meter: &Meter, target: &Arc<Target>, prompt_tokens: u64, purpose: Purpose) -> Self {
        let who = Arc::clone(target);
        let asked = Instant::now();
        let number = meter.record().attempt_began(&who, purpose, asked);
        Self {
            meter: meter.clone(),
            number,
            purpose,
            who,
            asked,
            waiting: true,
            stage: Stage::Connecting,
            upstream_request_id: None,
            tally: Tally::new(prompt_tokens),
            settled: false,
        }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.asked
    }

    /// The request is about to leave: from here on a cancelled request pays its prompt.
    pub fn sent(&mut self) {
        self.stage = Stage::Sent;
    }

    /// A head of success has come.
    pub fn answered(&mut self) {
        self.stage = Stage::Answered;
    }

    /// Sets the upstream's own id of the request.
    pub fn upstream_request_id(&mut self, id: String) {
        if self.purpose == Purpose::Answer {
            self.meter.record().upstream_request_id(self.number, &id);
        }
        self.upstream_request_id = Some(id.into());
    }

    /// What ended it. Without a word of this it was cancelled.
    pub fn failed(&mut self, failure: &Failure) {
        if is_refusal(failure, self.stage) && self.tally.output_events == 0 {
            self.stage = Stage::Refused;
        }
    }

    /// The first output has come in.
    pub fn first_output_came(&mut self) {
        let now = Instant::now();
        let after = now.saturating_duration_since(self.asked);
        let metrics = Arc::clone(self.meter.record().metrics());
        let histogram = &metrics.upstream_time_to_first_token;
        histogram.with_label_values(&[self.who.upstream.as_str()]).observe(after.as_secs_f64());
        self.answers_at(now);
    }

    /// It is the one that answers, as far as one can know: the upstream is no longer waited for.
    pub fn answers(&mut self) {
        self.answers_at(Instant::now());
    }

    fn answers_at(&mut self, now: Instant) {
        let mut record = self.meter.record();
        if self.purpose == Purpose::Answer {
            record.answers(self.number, &self.who);
            if let Some(id) = &self.upstream_request_id {
                record.upstream_request_id(self.number, id);
            }
        }
        if std::mem::replace(&mut self.waiting, false) {
            record.wait_ended(now);
        }
    }

    /// What it has produced so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same, to be added to.
    pub fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Puts it onto the bill of its request. Whatever comes later changes nothing.
    pub fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let mut record = self.meter.record();
        if std::mem::replace(&mut self.waiting, false) {
            record.wait_ended(Instant::now());
        }
        if self.tally.implausible {
            let labels = [self.who.model.name.as_str()];
            record.metrics().usage_implausible.with_label_values(&labels).inc();
        }
        if self.is_billed() {
            record.charge(Charge { number: self.number, who: Arc::clone(&self.who), tokens: self.tally.tokens() });
        }
    }

    fn is_billed(&self) -> bool {
        match self.stage {
            Stage::Sent | Stage::Answered => true,
            Stage::Connecting | Stage::Refused => self.tally.usage.is_some(),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Whether the upstream has said, or shown, that it does not do the work. What it is cancelled at, by whatever patience is
/// at an end, it has begun.
fn is_refusal(failure: &Failure, stage: Stage) -> bool {
    match failure {
        Failure::NoConnection(_) => true,
        Failure::Refused(_) | Failure::InBody(_) | Failure::BadHead(_) => true,
        Failure::Broken => stage != Stage::Answered,
        Failure::SilentBeforeFirstEvent | Failure::SilentBeforeWhole | Failure::SilentBetweenEvents => false,
        Failure::TooLong | Failure::Deadline => false,
        Failure::BadBody(_) | Failure::Empty | Failure::Limited(_) | Failure::Draining => false,
        Failure::Defect => false,
    }
}

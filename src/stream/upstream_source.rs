//! A completion that an upstream streams: the source of a direct answer, and of the answers in a log.
//!
//! It is read when it is polled, so a sink that takes nothing stops the reading upstream. Every stream ends with the
//! upstream's own end or with one error event.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use families::family::Family;
use tokio::time::Instant;

use super::deadlines::{Deadlines, Due};
use super::event::{Batch, Flags};
use super::feed::{Feed, Opened, Opening};
use super::open::{Cut, OpenStreams, Ticket};
use super::settings::Stream;
use super::source::{Broken, Next, Source};
use crate::error::Reject;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::spend::tally::Tally;
use crate::upstream::failure::Failure;

/// The source of an upstream's stream. Dropping it cancels the upstream's completion and settles the meter.
pub struct UpstreamSource {
    core: Arc<Mutex<Core>>,
    _ticket: Ticket,
}

/// How far a completion is at the commit point.
pub enum Start {
    /// The first output has come in.
    Opened(Opened),
    /// The head is sent before the first output. The events will be of this family.
    Opening(Opening, &'static dyn Family),
}

/// The destination of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// One client: events of one read are sent in one batch, with heartbeats between batches.
    Body,
    /// A log, event by event. Its readers have heartbeats of their own.
    Log,
}

/// What all streams of a gateway share.
#[derive(Clone, Copy)]
pub struct Streams<'a> {
    /// The deadlines.
    pub rules: &'a Stream,
    /// The list of open streams.
    pub open: &'a Arc<OpenStreams>,
}

struct Core {
    family: &'static dyn Family,
    phase: Phase,
    /// Events that are sent before anything else.
    held: VecDeque<Batch>,
    broken: Option<Box<Broken>>,
    /// An event with an `id` or a `retry` field was sent.
    numbered: bool,
    sink: Sink,
    meter: Meter,
    deadlines: Deadlines,
    waker: Waker,
}

enum Phase {
    /// The head was sent at `commit_after`; there is no output yet.
    Opening(Opening),
    Reading(Box<Feed>),
    /// The stream has ended. Holds what it has produced.
    Ended(Tally),
}

impl UpstreamSource {
    /// Makes the source of a completion. Without output, the heartbeats of a body begin at once, and a failure is an event
    /// of the stream.
    pub fn new(start: Start, sink: Sink, meter: Meter, streams: Streams<'_>) -> Self {
        let (heard, family) = match &start {
            Start::Opened(opened) => (Some(opened.feed.heard()), opened.feed.family()),
            Start::Opening(_, family) => (None, *family),
        };
        let deadlines = Deadlines::of_upstream(streams.rules, meter.started(), sink == Sink::Body, heard);
        let (phase, held) = match start {
            Start::Opened(Opened { held, feed }) => (Phase::Reading(feed), held.into()),
            Start::Opening(opening, _) => {
                let first = streams.rules.heartbeat.filter(|_| sink == Sink::Body).map(|_| heartbeat(family, false));
                (Phase::Opening(opening), first.into_iter().collect())
            }
        };
        let core = Core {
            family,
            phase,
            held,
            broken: None,
            numbered: false,
            sink,
            meter,
            deadlines,
            waker: Waker::noop().clone(),
        };
        let core = Arc::new(Mutex::new(core));
        let weak: Weak<Mutex<Core>> = Arc::downgrade(&core);
        Self { _ticket: streams.open.enter(weak), core }
    }
}

impl Source for UpstreamSource {
    #[inline(always)] // for each event, of every stream
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut core = lock(&self.core);
        let polled = catch_unwind(AssertUnwindSafe(|| core.poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(core.panicked()))
    }

    fn is_ended(&self) -> bool {
        let core = lock(&self.core);
        matches!(core.phase, Phase::Ended(_)) && core.held.is_empty() && core.broken.is_none()
    }

    fn tally(&self) -> Tally {
        match &lock(&self.core).phase {
            Phase::Opening(_) => Tally::default(),
            Phase::Reading(feed) => feed.tally().clone(),
            Phase::Ended(tally) => tally.clone(),
        }
    }
}

fn heartbeat(family: &dyn Family, numbered: bool) -> Batch {
    Batch::own(Bytes::from_static(family.heartbeat(numbered)), Flags::default())
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    // a panic inside is caught in poll_next and ends the stream: the state stays usable
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(batch) = self.held.pop_front() {
                if self.held.is_empty() {
                    // it fills no more: its memory would be held for as long as the stream is open
                    self.held = VecDeque::new();
                }
                return Poll::Ready(Next::Events(self.hand_over(batch)));
            }
            match self.poll_upstream(cx) {
                Poll::Ready(Ok(Some(batch))) => return Poll::Ready(Next::Events(self.hand_over(batch))),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(self.fail(&failure)),
                Poll::Pending => return self.poll_deadlines(cx),
            }
            if matches!(self.phase, Phase::Ended(_)) {
                return Poll::Ready(self.broken.take().map_or(Next::End, Next::Broken));
            }
        }
    }

    /// Returns the upstream's next events, or `None` if the phase has changed.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Batch>, Failure>> {
        match &mut self.phase {
            Phase::Reading(feed) => {
                let Poll::Ready(batch) = feed.poll(cx) else { return Poll::Pending };
                let Some(batch) = batch? else {
                    self.end(Outcome::Ok);
                    return Poll::Ready(Ok(None));
                };
                // an upstream that always has more events prevents the timer from being polled
                if batch.complete.is_some_and(|complete| self.deadlines.is_over(complete)) {
                    return Poll::Ready(Err(Failure::TooLong));
                }
                Poll::Ready(Ok(Some(batch)))
            }
            Phase::Opening(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return Poll::Pending };
                let Opened { held, feed } = opened?;
                self.deadlines.watch_idle(feed.heard());
                self.held = held.into();
                self.phase = Phase::Reading(feed);
                Poll::Ready(Ok(None))
            }
            Phase::Ended(_) => Poll::Ready(Ok(None)),
        }
    }

    fn hand_over(&mut self, mut batch: Batch) -> Batch {
        if self.sink == Sink::Body {
            self.join(&mut batch);
        }
        self.numbered |= batch.flags.has(Flags::ID_OR_RETRY);
        let now = Instant::now();
        self.deadlines.sent(now);
        if let Some(complete) = batch.complete {
            self.meter.record().taken(complete, now, batch.flags.has(Flags::OUTPUT));
        }
        // the end is known with the last event: both are sent in the same write
        if let Phase::Reading(feed) = &self.phase
            && self.held.is_empty()
            && feed.is_done()
        {
            self.end(Outcome::Ok);
        }
        batch
    }

    /// Adds further events of the same read.
    fn join(&mut self, batch: &mut Batch) {
        while let Some(next) = self.held.pop_front() {
            if let Err(next) = batch.join(next) {
                return self.held.push_front(next);
            }
        }
        if let Phase::Reading(feed) = &mut self.phase {
            feed.join_ready(batch);
        }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let feed = match &mut self.phase {
            Phase::Reading(feed) => Some(feed),
            // silence while the stream is being opened is watched elsewhere
            Phase::Opening(_) | Phase::Ended(_) => None,
        };
        let may_write = || feed.as_ref().is_none_or(|feed| feed.is_between_events());
        let failure = match self.deadlines.poll(cx, feed.as_ref().map(|feed| feed.heard()), may_write) {
            Poll::Ready(Due::Heartbeat) => return Poll::Ready(Next::Events(heartbeat(self.family, self.numbered))),
            Poll::Ready(Due::Idle) => Failure::SilentBetweenEvents,
            Poll::Ready(Due::End) => Failure::TooLong,
            Poll::Pending => {
                if !self.waker.will_wake(cx.waker()) {
                    self.waker = cx.waker().clone();
                }
                return Poll::Pending;
            }
        };
        if let Some(feed) = feed {
            feed.failed(&failure);
        }
        Poll::Ready(self.fail(&failure))
    }

    fn fail(&mut self, failure: &Failure) -> Next {
        Next::Broken(self.break_off(failure.reject(), failure.reason()))
    }

    /// Ends the stream with one error event, and no `[DONE]`.
    fn break_off(&mut self, reject: Reject, reason: &'static str) -> Box<Broken> {
        self.held.clear();
        self.meter.record().error(reason);
        let broken = match &self.phase {
            Phase::Reading(feed) => Broken::new(reject, feed.reader(), self.meter.record().request_id()),
            Phase::Opening(_) | Phase::Ended(_) => {
                Broken::new(reject, &*self.family.reader(), self.meter.record().request_id())
            }
        };
        self.end(Outcome::Truncated);
        broken
    }

    fn panicked(&mut self) -> Next {
        if matches!(self.phase, Phase::Ended(_)) {
            return Next::End;
        }
        self.meter.record().metrics().panics.inc();
        Next::Broken(self.break_off(Reject::defect(), "panic"))
    }

    /// Releases the upstream and settles the meter.
    fn end(&mut self, outcome: Outcome) {
        let tally = match &self.phase {
            Phase::Reading(feed) => feed.tally().clone(),
            Phase::Opening(_) => Tally::default(),
            Phase::Ended(_) => return,
        };
        match std::mem::replace(&mut self.phase, Phase::Ended(tally)) {
            Phase::Reading(feed) => feed.finish(),
            Phase::Opening(opening) => drop(opening),
            Phase::Ended(_) => return,
        }
        // the attempts are settled by now, so the bill is complete
        self.meter.record().settle(outcome);
    }
}

impl Cut for Mutex<Core> {
    fn cut(&self) {
        let mut core = lock(self);
        if matches!(core.phase, Phase::Ended(_)) {
            return;
        }
        let broken = core.break_off(Failure::Draining.reject(), Failure::Draining.reason());
        core.broken = Some(Box::new(Broken { is_shutdown: true, ..*broken }));
        core.waker.wake_by_ref();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone);
    }
}

//! The body of a streamed answer: hands each event to the client's connection the moment it is complete.
//!
//! Polled by the client's connection, it polls the upstream's connection in turn: one task, no queue, so that a client
//! that takes nothing stops the reading upstream. Every end is honest: the upstream's own, or one error event.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::feed::{Batch, Feed, Opened};
use super::open::{Cut, OpenStreams, Ticket};
use crate::config;
use crate::error::{Code, Reject};
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::upstream::failure::Failure;

/// One comment line, without a blank line after it: a client that counts blocks sees none (WHATWG HTML §9.2.6).
pub const HEARTBEAT: Bytes = Bytes::from_static(b": hb\n");

/// A stream that is still being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>;

/// The body. Dropping it cancels the upstream's completion and settles the meter.
pub struct Relay {
    core: Arc<Mutex<Core>>,
    _ticket: Ticket,
}

struct Core {
    phase: Phase,
    /// Came in before the commit point.
    held: VecDeque<Batch>,
    meter: Meter,
    rules: config::Stream,
    started: Instant,
    last_sent: Instant,
    /// Set for the earliest deadline as it was when the timer was last armed; deadlines only ever move later, so
    /// that an event costs no timer work.
    timer: Alarm,
    waker: Waker,
    /// The gateway's shutdown has ended it.
    cut: bool,
}

enum Phase {
    /// The head went out at `commit_after`; no output yet.
    Opening(Opening),
    Relaying(Box<Feed>),
    /// The body ends here.
    Ended,
}

impl Relay {
    /// A body whose upstream has given its first output.
    pub fn opened(opened: Opened, meter: Meter, rules: &config::Stream, open: &Arc<OpenStreams>) -> Self {
        let held = opened.held.into();
        Self::new(Phase::Relaying(opened.feed), held, meter, rules, open)
    }

    /// A body whose upstream is not there yet: heartbeats begin at once, failures are told in-stream.
    pub fn opening(opening: Opening, meter: Meter, rules: &config::Stream, open: &Arc<OpenStreams>) -> Self {
        let heartbeat = rules.heartbeat.is_some().then(|| Batch::own(HEARTBEAT));
        Self::new(Phase::Opening(opening), heartbeat.into_iter().collect(), meter, rules, open)
    }

    fn new(phase: Phase, held: VecDeque<Batch>, meter: Meter, rules: &config::Stream, open: &Arc<OpenStreams>) -> Self {
        let now = Instant::now();
        let started = meter.started();
        let mut core = Core {
            phase,
            held,
            meter,
            rules: rules.clone(),
            started,
            last_sent: now,
            timer: Alarm::at(now),
            waker: Waker::noop().clone(),
            cut: false,
        };
        let first = core.next_deadline();
        core.timer.set(first);
        let core = Arc::new(Mutex::new(core));
        let weak: Weak<Mutex<Core>> = Arc::downgrade(&core);
        Self { _ticket: open.enter(weak), core }
    }

    /// What goes into a log: as the body's frames, but that a shutdown is told apart from the upstream's own events.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut core = lock(&self.core);
        if core.cut {
            return Poll::Ready(Next::Cut);
        }
        core.poll_safely(cx).map(|events| events.map_or(Next::End, Next::Events))
    }
}

/// What a relay has next.
#[derive(Debug)]
pub enum Next {
    /// Whole events, but for a last one that lacks its blank line.
    Events(Bytes),
    /// Its last event was the last.
    End,
    /// The gateway's shutdown has ended it.
    Cut,
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    // a panic inside is caught in poll_frame and ends the stream: the state stays usable
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut core = lock(&self.core);
        core.poll_safely(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        let core = lock(&self.core);
        matches!(core.phase, Phase::Ended) && core.held.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Core {
    #[inline(always)] // for each event, of every stream
    fn poll_safely(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(self.panicked()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(batch) = self.held.pop_front() {
                return Poll::Ready(Some(self.hand_over(batch)));
            }
            match self.poll_upstream(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(None),
                Poll::Ready(Err(failure)) => return Poll::Ready(Some(self.fail(&failure.reject(), failure.reason()))),
                Poll::Pending => match self.poll_deadlines(cx) {
                    Poll::Ready(Ok(heartbeat)) => return Poll::Ready(Some(heartbeat)),
                    Poll::Ready(Err(failure)) => {
                        if let Phase::Relaying(feed) = &mut self.phase {
                            feed.failed(&failure);
                        }
                        return Poll::Ready(Some(self.fail(&failure.reject(), failure.reason())));
                    }
                    Poll::Pending => {
                        if !self.waker.will_wake(cx.waker()) {
                            self.waker = cx.waker().clone();
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Moves what the upstream has into `held`: true if there may be more, false at the proper end.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        match &mut self.phase {
            Phase::Opening(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return Poll::Pending };
                let opened = opened?;
                self.held = opened.held.into();
                self.phase = Phase::Relaying(opened.feed);
                // the only moment at which a deadline moves nearer: from here on the upstream's silence counts
                let next = self.next_deadline();
                self.timer.set(next);
                Poll::Ready(Ok(true))
            }
            Phase::Relaying(feed) => {
                let Poll::Ready(batch) = feed.poll(cx) else { return Poll::Pending };
                let Some(batch) = batch? else {
                    self.end(Outcome::Ok);
                    return Poll::Ready(Ok(false));
                };
                // an upstream that always has more never lets the timer have its turn
                if batch.complete >= self.started + self.rules.max_duration {
                    return Poll::Ready(Err(Failure::TooLong));
                }
                self.held.push_back(batch);
                Poll::Ready(Ok(true))
            }
            Phase::Ended => Poll::Ready(Ok(false)),
        }
    }

    fn hand_over(&mut self, batch: Batch) -> Bytes {
        let now = Instant::now();
        self.last_sent = now;
        if batch.measured {
            self.meter.record().taken(batch.complete, now, batch.output);
        }
        // the end is known with the last event: it leaves in the same write
        if let Phase::Relaying(feed) = &self.phase
            && self.held.is_empty()
            && feed.is_done()
        {
            self.end(Outcome::Ok);
        }
        batch.bytes
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failure>> {
        while self.timer.poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.started + self.rules.max_duration {
                return Poll::Ready(Err(Failure::TooLong));
            }
            if self.silence_ends().is_some_and(|end| now >= end) {
                return Poll::Ready(Err(Failure::SilentBetweenEvents));
            }
            let due = self.rules.heartbeat.is_some_and(|every| now >= self.last_sent + every);
            let heartbeat = due && self.is_between_events();
            if due {
                self.last_sent = now;
            }
            let next = self.next_deadline();
            self.timer.set(next);
            if heartbeat {
                return Poll::Ready(Ok(HEARTBEAT));
            }
        }
        Poll::Pending
    }

    fn is_between_events(&self) -> bool {
        match &self.phase {
            Phase::Relaying(feed) => feed.is_between_events(),
            Phase::Opening(_) | Phase::Ended => true,
        }
    }

    /// When the upstream's silence is too long. While the stream is being opened, that is watched there.
    fn silence_ends(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Relaying(feed) => Some(feed.heard() + self.rules.idle_timeout),
            Phase::Opening(_) | Phase::Ended => None,
        }
    }

    fn next_deadline(&self) -> Instant {
        let mut next = self.started + self.rules.max_duration;
        if let Some(end) = self.silence_ends() {
            next = next.min(end);
        }
        if let Some(every) = self.rules.heartbeat {
            next = next.min(self.last_sent + every);
        }
        next
    }

    /// Ends the stream with one error event, and no `[DONE]`.
    fn fail(&mut self, reject: &Reject, reason: &'static str) -> Bytes {
        self.held.clear();
        self.meter.record().error(reason);
        self.end(Outcome::Truncated);
        reject.event(self.meter.record().request_id()).into()
    }

    fn panicked(&mut self) -> Option<Bytes> {
        if matches!(self.phase, Phase::Ended) {
            return None;
        }
        self.meter.record().metrics().panics.inc();
        let reject = Reject::new(Code::InternalError, "The gateway failed: this is a defect of it.");
        Some(self.fail(&reject, "panic"))
    }

    /// Lets go of the upstream and settles the meter.
    fn end(&mut self, outcome: Outcome) {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Relaying(feed) => feed.finish(),
            Phase::Opening(opening) => drop(opening),
            Phase::Ended => return,
        }
        // the attempts are settled by now: the bill is whole
        self.meter.record().settle(outcome);
    }
}

impl Cut for Mutex<Core> {
    fn cut(&self) {
        let mut core = lock(self);
        if matches!(core.phase, Phase::Ended) {
            return;
        }
        let event = core.fail(&Failure::Draining.reject(), Failure::Draining.reason());
        core.held.push_back(Batch::own(event));
        core.cut = true;
        core.waker.wake_by_ref();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone);
    }
}

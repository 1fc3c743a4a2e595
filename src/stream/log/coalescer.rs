//! Request coalescing: identical requests at the same time share one upstream stream. The first request leads, and the
//! others subscribe to its log.
//!
//! While the log is whole, a request joins from the beginning. When the last subscriber leaves, the leader stops.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderValue;

use super::core::{Bounds, Fenced, Log, Phase};
use super::marked::Event;
use super::reader::{Read, Reader, Taken};
use super::writer::Append;
use crate::error::Reject;
use crate::routing::verdict::Decision;
use crate::spend::tally::Tally;
use crate::stream::event::Batch;
use crate::stream::source::Broken;
use crate::upstream::failure::Failure;

/// Requests with the same key share one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoalescingKey(pub [u8; 32]);

/// The coalesced answers that are being streamed.
#[derive(Default)]
pub struct Coalescer {
    running: Mutex<HashMap<CoalescingKey, Arc<Answer>>>,
    /// Bytes of all logs.
    held: Arc<AtomicUsize>,
}

/// One coalesced answer.
struct Answer {
    log: Arc<Log>,
    head: Mutex<Option<Arc<Head>>>,
}

/// Which model and upstream answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The model's name.
    pub model: String,
    /// Its upstream's name.
    pub upstream: String,
    /// How `auto` was decided, if the request was for `auto`.
    pub route: Option<Decision>,
    /// The upstream's `vary`.
    pub vary: Option<HeaderValue>,
    /// The complete answer, where it is not streamed.
    pub whole: Option<Bytes>,
}

/// The result of [`Coalescer::enter`].
pub enum Entered<T> {
    /// Another request leads.
    Joined(Subscriber),
    /// This request leads. Its own subscriber is there already.
    Leads(Leader, Subscriber),
    /// `instead` returned a value, and no answer was joined or led.
    Instead(T),
}

impl Coalescer {
    /// Joins the answer of this key, or leads it. An answer leaves the list only after it is in the cache, so `instead`
    /// looks there once more before this request leads.
    pub fn enter<T>(
        self: &Arc<Self>,
        key: CoalescingKey,
        bounds: Bounds,
        instead: impl FnOnce() -> Option<T>,
    ) -> Entered<T> {
        let mut running = self.running();
        if let Some(subscriber) = running.get(&key).and_then(Answer::join) {
            return Entered::Joined(subscriber);
        }
        if let Some(instead) = instead() {
            return Entered::Instead(instead);
        }
        let (leader, subscriber) = self.start(bounds, Some(key));
        running.insert(key, Arc::clone(&leader.answer));
        Entered::Leads(leader, subscriber)
    }

    /// Joins the answer of this key, if there is one.
    pub fn join(&self, key: CoalescingKey) -> Option<Subscriber> {
        self.running().get(&key).and_then(Answer::join)
    }

    /// Leads a new answer. If an answer of this key is running already, no other request joins the new one.
    pub fn lead(self: &Arc<Self>, key: CoalescingKey, bounds: Bounds) -> (Leader, Subscriber) {
        let mut running = self.running();
        let vacant = !running.contains_key(&key);
        let (leader, subscriber) = self.start(bounds, Some(key).filter(|_| vacant));
        if vacant {
            running.insert(key, Arc::clone(&leader.answer));
        }
        (leader, subscriber)
    }

    fn start(self: &Arc<Self>, bounds: Bounds, key: Option<CoalescingKey>) -> (Leader, Subscriber) {
        let log = Arc::new(Log::coalesced(bounds, Arc::clone(&self.held)));
        let reader = Reader::new(&log, &mut log.state(), 0);
        let answer = Arc::new(Answer { log, head: Mutex::default() });
        let leader = Leader {
            answer: Arc::clone(&answer),
            coalescer: Arc::clone(self),
            key,
            waiting: Vec::new(),
            is_whole: true,
            registered: Waker::noop().clone(),
        };
        (leader, Subscriber { answer, reader })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CoalescingKey, Arc<Answer>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all logs.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Answer {
    fn join(self: &Arc<Self>) -> Option<Subscriber> {
        let mut state = self.log.state();
        let open = state.whole && !state.abandoned;
        state.is_shared |= open;
        open.then(|| Subscriber { answer: Arc::clone(self), reader: Reader::new(&self.log, &mut state, 0) })
    }

    fn head(&self) -> MutexGuard<'_, Option<Arc<Head>>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer of a coalesced answer. If it is dropped before the end, the subscribers get an error.
pub struct Leader {
    answer: Arc<Answer>,
    coalescer: Arc<Coalescer>,
    key: Option<CoalescingKey>,
    /// Subscribers to be woken.
    waiting: Vec<Waker>,
    /// The log was whole when the latest event was added. While it is, its writer never waits for room.
    is_whole: bool,
    /// The task that the end of the last subscriber wakes, while the log is whole.
    registered: Waker,
}

impl Leader {
    /// Returns once the last subscriber has left.
    pub async fn abandoned(&mut self) {
        poll_fn(|cx| self.poll_stopped(cx)).await;
    }

    /// Publishes which model and upstream answer.
    pub fn open(&mut self, head: Head, tally: Tally) {
        *self.answer.head() = Some(Arc::new(head));
        // the log's waker is taken here: the next poll registers it again
        self.registered = Waker::noop().clone();
        let mut state = self.answer.log.state();
        state.tally = tally;
        self.answer.log.wake_all(state);
    }

    /// Passes all events so far to `each`. Returns false if some were evicted; then no event is passed.
    pub fn recorded(&self, mut each: impl FnMut(Event<'_>)) -> bool {
        self.answer.log.show_whole(&mut each)
    }

    /// Adds one event; `tally` counts all events up to it. Subscribers are not woken yet.
    ///
    /// # Errors
    /// The last subscriber has left.
    #[inline]
    pub fn publish(&mut self, event: Batch, tally: impl FnOnce() -> Tally) -> Result<(), Fenced> {
        self.is_whole = self.answer.log.append(event, tally, &mut self.waiting)?.is_whole;
        if !self.is_whole {
            self.close();
        }
        Ok(())
    }

    /// Removes the answer from the list, so that no other request joins it.
    pub fn close(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut running = self.coalescer.running();
        // if this answer was abandoned, another one may be in the list under its key
        if running.get(&key).is_some_and(|answer| Arc::ptr_eq(answer, &self.answer)) {
            running.remove(&key);
        }
    }

    /// Ends the answer without output: no upstream has answered.
    pub fn fail_before_output(mut self, failure: Failure) {
        self.finish(Phase::Failed(failure));
    }

    fn finish(&mut self, phase: Phase) {
        self.close();
        self.answer.log.finish(phase, None);
    }
}

impl Append for Leader {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_whole {
            return Poll::Ready(());
        }
        self.answer.log.poll_until(cx, super::core::State::has_room)
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let log = &self.answer.log;
        // while the log is whole, only a stop takes the waker out of it, and that is stored before
        if self.is_whole && self.registered.will_wake(cx.waker()) && !log.is_stopped() {
            return Poll::Pending;
        }
        self.registered.clone_from(cx.waker());
        log.poll_until(cx, |state| state.abandoned)
    }

    fn append(&mut self, event: Batch, tally: impl FnOnce() -> Tally) -> Result<(), Fenced> {
        self.publish(event, tally)
    }

    fn wake(&mut self) {
        while let Some(waker) = self.waiting.pop() {
            waker.wake();
        }
    }

    fn end(mut self, tally: Tally) {
        self.answer.log.state().tally = tally;
        self.finish(Phase::Ended);
    }

    fn fail(mut self, broken: Broken, tally: Tally) {
        self.answer.log.state().tally = tally;
        self.finish(Phase::Broken(broken.reject));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let phase = match std::thread::panicking() {
            false => Phase::Lost,
            // an error event can follow only a head
            true if self.answer.head().is_some() => Phase::Broken(Reject::defect()),
            true => Phase::Failed(Failure::Defect),
        };
        self.finish(phase);
        self.wake();
    }
}

/// One request's place in a coalesced answer. Dropping it unsubscribes.
pub struct Subscriber {
    answer: Arc<Answer>,
    reader: Reader,
}

impl Subscriber {
    /// Waits until it is known which model answers.
    ///
    /// # Errors
    /// No upstream has answered.
    pub async fn head(&mut self) -> Result<Arc<Head>, Failure> {
        poll_fn(|cx| {
            if let Some(head) = self.known_head() {
                return Poll::Ready(Ok(head));
            }
            match self.reader.poll_end(cx) {
                // the head may have been published between the two checks
                Poll::Pending => self.known_head().map_or(Poll::Pending, |head| Poll::Ready(Ok(head))),
                Poll::Ready(Read::Failed(failure)) => Poll::Ready(Err(*failure)),
                Poll::Ready(_) => Poll::Ready(self.known_head().ok_or(Failure::Draining)),
            }
        })
        .await
    }

    /// Returns which model answers, if that is known.
    pub fn known_head(&self) -> Option<Arc<Head>> {
        self.answer.head().clone()
    }

    /// Returns what the completion has produced so far.
    pub fn tally(&self) -> Tally {
        self.answer.log.state().tally.clone()
    }

    /// Reads the events after the subscriber's place, as [`Reader::poll_read`]. A gap is an end: the subscriber was too
    /// slow, and is detached.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize, each: impl FnMut(Event<'_>)) -> Poll<Read> {
        self.reader.poll_read(cx, limit, each)
    }

    /// The same, as [`Reader::poll_take`].
    #[inline]
    pub fn poll_take(&mut self, cx: &mut Context<'_>, limit: usize, each: impl FnMut(Event<'_>)) -> Poll<Taken> {
        self.reader.poll_take(cx, limit, each)
    }
}

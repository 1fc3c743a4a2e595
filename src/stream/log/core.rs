//! One log: a writer appends events, and any number of readers follow it, each from its own place.
//!
//! Readers cost O(1) each per event: an event is copied into the ring once, and each reader that waits is woken once.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use families::family::Family;
use slab::Slab;
use tokio::time::Instant;

use super::block::stored;
use super::marked::{Event, Mark};
use super::ring::{Place, Ring};
use crate::error::Reject;
use crate::spend::tally::Tally;
use crate::stream::event::{Batch, Flags};
use crate::upstream::failure::Failure;

/// How far the writer may be ahead of the foremost reader of a coalesced log that is not whole, and the least that a reader
/// may be behind the foremost one; bytes.
pub const WINDOW: u64 = 64 * 1024;

/// One log.
pub struct Log {
    /// The request that created the log.
    pub(super) author: Author,
    policy: Policy,
    /// The writer must stop: the log has ended, was stopped or is abandoned. It is read without the lock.
    stopped: AtomicBool,
    state: Mutex<State>,
}

/// The request that created a log: the gateway's own events in the log name it, in the form of its family.
#[derive(Debug, Clone)]
pub struct Author {
    /// The id of the request.
    pub request_id: Arc<str>,
    /// The id of its caller.
    pub caller: Arc<str>,
    /// The family of the events.
    pub family: &'static dyn Family,
}

impl Author {
    /// Returns the event that ends a stream with this error.
    pub(super) fn failure(&self, reject: &Reject) -> Vec<u8> {
        self.family.reader().failure(&reject.api_error(&self.request_id))
    }
}

#[cfg(test)]
impl From<&str> for Author {
    fn from(request_id: &str) -> Self {
        Self { request_id: request_id.into(), caller: "key:a".into(), family: families::DEFAULT }
    }
}

/// What happens to the events, and to the slowest reader.
enum Policy {
    /// If memory is short, the oldest events are evicted, and a reader that misses them gets a gap with their numbers. Only
    /// events with data are stored: their numbers are the clients' event ids.
    Resumable,
    /// All events are stored, with their marks. Beyond its bounds the log is no longer whole: no request joins, and a reader
    /// too far behind the foremost one loses its events.
    Coalesced { bounds: Bounds, held: Arc<AtomicUsize> },
}

/// The bytes that one coalesced log, and all of them together, may hold to stay whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one.
    pub one: usize,
    /// Bytes of all.
    pub all: usize,
}

pub(super) struct State {
    pub(super) ring: Ring,
    /// The latest event, while a reader waits for it: see [`Latest`].
    pub(super) latest: Option<Latest>,
    pub(super) phase: Phase,
    pub(super) readers: Slab<Slot>,
    /// When the last reader left, or the log was made.
    pub(super) left: Instant,
    /// The writer, while it waits.
    pub(super) writer: Option<Waker>,
    /// The writer waits for the foremost reader.
    pub(super) is_full: bool,
    /// The first event of the stream is still there, and the log is within its bounds.
    pub(super) whole: bool,
    /// The last reader of a coalesced log has left, or all readers have lost events: no request joins any more.
    pub(super) abandoned: bool,
    /// When the first event came in.
    pub(super) began: Option<Instant>,
    /// Bytes of all events that were ever appended.
    pub(super) written: u64,
    /// Another request has joined: it needs the tally.
    pub(super) is_shared: bool,
    /// What the completion has produced so far.
    pub(super) tally: Tally,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The writer is appending.
    Running,
    /// The log is complete.
    Ended,
    /// The writer was dropped before the end.
    Lost,
    /// No upstream has answered.
    Failed(Failure),
    /// The upstream broke.
    Broken(Reject),
}

/// One reader.
pub(super) struct Slot {
    /// The reader, while it waits.
    pub(super) waker: Option<Waker>,
    /// The number of the last event that it has.
    pub(super) after: u64,
    /// Bytes of the events up to that one.
    pub(super) read: u64,
}

/// The latest event with the upstream's own bytes, which a reader that has all others takes without a copy. A reader that takes it
/// holds the buffer that the event came in, as a direct answer does; a log does so only until its readers have taken it.
#[derive(Debug, Clone)]
pub struct Latest {
    /// Its bytes, as the log has stored them.
    pub bytes: Bytes,
    /// What is known of it.
    pub flags: Flags,
}

/// What one more event has changed.
pub(super) struct Appended {
    /// The memory of the log.
    pub(super) resized: Resized,
    /// The log is whole.
    pub(super) is_whole: bool,
}

/// How the memory of a log has changed: before, after.
pub(super) type Resized = (usize, usize);

/// The stream has ended: its writer must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced;

impl Log {
    /// Makes an empty log of up to `max` bytes of memory that evicts its oldest events.
    pub(super) fn resumable(author: Author, max: usize) -> Self {
        Self::new(author, Policy::Resumable, max)
    }

    /// Makes an empty log that is whole within these bounds. `held` counts the bytes of all such logs.
    pub(super) fn coalesced(bounds: Bounds, held: Arc<AtomicUsize>) -> Self {
        // the log has no events of the gateway's own: each subscriber writes errors itself
        let author = Author { request_id: Arc::default(), caller: Arc::default(), family: families::DEFAULT };
        Self::new(author, Policy::Coalesced { bounds, held }, usize::MAX)
    }

    fn new(author: Author, policy: Policy, max: usize) -> Self {
        let state = State {
            ring: Ring::new(max),
            latest: None,
            phase: Phase::Running,
            readers: Slab::new(),
            left: Instant::now(),
            writer: None,
            is_full: false,
            whole: true,
            abandoned: false,
            began: None,
            written: 0,
            is_shared: false,
            tally: Tally::default(),
        };
        Self { author, policy, stopped: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Adds one event. The wakers of the readers that wait for it are moved to `waiting`.
    pub(super) fn append(
        &self,
        event: Batch,
        tally: impl FnOnce() -> Tally,
        waiting: &mut Vec<Waker>,
    ) -> Result<Appended, Fenced> {
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.is_running() || state.abandoned {
            return Err(Fenced);
        }
        let (before, flags) = (state.ring.memory(), event.flags);
        let is_unchanged = match &self.policy {
            Policy::Resumable if !flags.has(Flags::DATA) => {
                return Ok(Appended { resized: (before, before), is_whole: state.whole });
            }
            Policy::Resumable => {
                let (has_own, is_ended) = (flags.has(Flags::ID_OR_RETRY), !flags.has(Flags::UNENDED));
                let stored = stored(event.as_slice(), has_own, is_ended);
                state.ring.append(b"", &stored);
                matches!(stored, Cow::Borrowed(_))
            }
            Policy::Coalesced { bounds, held } => {
                let bytes = state.ring.bytes();
                let complete = event.complete.unwrap_or_else(Instant::now);
                let began = *state.began.get_or_insert(complete);
                let mark = Mark::new(flags, complete.saturating_duration_since(began));
                state.ring.append(&mark.bytes(), event.as_slice());
                state.written += event.as_slice().len() as u64;
                if state.is_shared {
                    state.tally = tally();
                }
                state.bound(*bounds, held, bytes);
                true
            }
        };
        let waited = waiting.len();
        for (_, slot) in &mut state.readers {
            waiting.extend(slot.waker.take());
        }
        state.latest = (is_unchanged && waiting.len() > waited).then(|| Latest { bytes: event.into_bytes(), flags });
        Ok(Appended { resized: (before, state.ring.memory()), is_whole: state.whole })
    }

    /// Ends a running stream, with a last event if there is one. Returns `None` if it has already ended.
    pub(super) fn finish(&self, phase: Phase, last: Option<&[u8]>) -> Option<Resized> {
        let mut state = self.state();
        if !state.is_running() {
            return None;
        }
        let before = state.ring.memory();
        if let Some(event) = last {
            state.ring.append(b"", event);
        }
        // an event that no reader has taken yet is read from the ring
        state.latest = None;
        state.ring.seal();
        state.phase = phase;
        self.stop();
        let after = state.ring.memory();
        self.wake_all(state);
        Some((before, after))
    }

    /// Wakes all readers and the writer.
    pub(super) fn wake_all(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers: Vec<Waker> = state.readers.iter_mut().filter_map(|(_, slot)| slot.waker.take()).collect();
        wakers.extend(state.writer.take());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Passes all events of a coalesced log to `each`. Returns false if some were evicted; then no event is passed.
    pub(super) fn show_whole(&self, each: &mut impl FnMut(Event<'_>)) -> bool {
        let state = self.state();
        if let Some(began) = state.began.filter(|_| state.whole) {
            let mut place = Place::behind(0);
            state.ring.read(&mut place, usize::MAX, |number, marked| each(Event::marked(number, marked, began)));
        }
        state.whole
    }

    /// Evicts all events, to make room for others.
    pub(super) fn clear(&self) -> Resized {
        let mut state = self.state();
        let before = state.ring.memory();
        state.ring.clear();
        state.latest = None;
        (before, 0)
    }

    /// Evicts the oldest events, a few kilobytes. Returns `None` if only the latest are left.
    pub(super) fn evict(&self) -> Option<Resized> {
        let mut state = self.state();
        let before = state.ring.memory();
        state.ring.evict().then(|| (before, state.ring.memory()))
    }

    /// Whether identical requests share the log. Then its events have marks.
    pub(super) fn is_coalesced(&self) -> bool {
        matches!(self.policy, Policy::Coalesced { .. })
    }

    /// Returns since when the log has no reader, or `None` if it has one or is not running.
    pub(super) fn unattended_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.is_running() && state.readers.is_empty()).then_some(state.left)
    }

    /// Whether the log has a reader now.
    pub(super) fn is_read(&self) -> bool {
        !self.state().readers.is_empty()
    }

    /// Whether no event was ever appended.
    pub(super) fn is_empty(&self) -> bool {
        self.state().ring.last() == 0
    }

    /// Ready once the condition holds. Until then, an end, and readers that read or leave, wake the writer.
    pub(super) fn poll_until(&self, cx: &mut Context<'_>, holds: impl Fn(&mut State) -> bool) -> Poll<()> {
        let mut state = self.state();
        if holds(&mut state) {
            return Poll::Ready(());
        }
        if !state.writer.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Signals the writer to stop. This is stored before the writer is woken, which then reads it.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the writer must stop, without the lock.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // every change leaves the state usable
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let bytes = self.state().ring.bytes();
        if let Policy::Coalesced { held, .. } = &self.policy {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl State {
    /// Whether the writer is appending.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Applies the bounds of a coalesced log that had `before` bytes before the latest event.
    fn bound(&mut self, bounds: Bounds, held: &AtomicUsize, before: usize) {
        let added = self.ring.bytes() - before;
        let all = held.fetch_add(added, Ordering::Relaxed) + added;
        self.whole &= self.ring.bytes() <= bounds.one && all <= bounds.all;
        if self.whole {
            return;
        }
        // a reader may stay as far behind as the bounds allow, but not while memory is short
        let window = if all > bounds.all { WINDOW } else { WINDOW.max(bounds.one as u64) };
        let foremost = self.foremost();
        let within = self.readers.iter().filter(|(_, slot)| slot.read + window >= foremost);
        let slowest = within.map(|(_, slot)| slot.after).min().unwrap_or(0);
        let bytes = self.ring.bytes();
        self.ring.evict_before(slowest + 1);
        held.fetch_sub(bytes - self.ring.bytes(), Ordering::Relaxed);
    }

    /// Returns how many bytes the foremost reader has read.
    fn foremost(&self) -> u64 {
        self.readers.iter().map(|(_, slot)| slot.read).max().unwrap_or(0)
    }

    /// Whether the writer may continue: it waits for the foremost reader of a log that is not whole, as it waits for the
    /// client of a direct answer. Slower readers are detached before they would throttle it.
    pub(super) fn has_room(&mut self) -> bool {
        self.is_full = !self.whole && !self.abandoned && self.written > self.foremost() + WINDOW;
        !self.is_full
    }
}

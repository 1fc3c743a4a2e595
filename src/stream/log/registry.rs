//! The resumable streams of this process by their ids, within one budget of memory.
//!
//! - **Ordering.** The events of a stream have the numbers 1, 2, 3 … without a hole; every reader gets them in this order.
//!   A reader that is too late for some events gets a [`Read::Gap`](super::reader::Read::Gap) with their numbers, once, in
//!   their place.
//! - **Fencing.** A stream has one writer, the value that [`Registry::create`] returned. Once the stream has ended, by its
//!   writer or by a stop, nothing is appended any more.
//! - **Expiry.** A stream without readers is stopped after `resume.grace`; one that has ended is removed after
//!   `resume.retention`, or earlier where memory is short, the one that ended first before the others.
//! - **Owner.** To anybody but its owner a stream does not exist.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::core::{Author, Fenced, Log, Phase, Resized};
use super::id::StreamId;
use super::owner::Owner;
use super::reader::Reader;
use super::settings::Resume as Rules;
use super::writer::Append;
use crate::drain::Drain;
use crate::error::{Code, Reject};
use crate::metrics::Metrics;
use crate::spend::tally::Tally;
use crate::stream::event::Batch;
use crate::stream::source::Broken;

/// All resumable streams of this process. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    streams: Mutex<Streams>,
    /// Memory of all logs.
    used: AtomicUsize,
    /// `resume.max_bytes`.
    budget: AtomicUsize,
    metrics: Arc<Metrics>,
    drain: Drain,
}

struct Streams {
    by_id: HashMap<StreamId, Entry>,
    /// Streams that have ended, and when, the earliest first.
    finished: VecDeque<(Instant, StreamId)>,
    rules: Rules,
}

/// One stream.
struct Entry {
    owner: Owner,
    log: Arc<Log>,
}

/// The result of [`Registry::open`].
pub enum Opened {
    /// There are events to read, or there can be more.
    Reader(Reader),
    /// The stream has ended, and the place is its end.
    AtEnd,
}

/// Why no reader was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// No such stream, or not this owner's.
    Unknown,
    /// The place lies beyond the stream's last event so far.
    TooLarge {
        /// The number of that event.
        last: u64,
    },
}

/// No such stream, or not this owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// There is no room for another stream, and no stream can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Why a stream is stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Its owner has stopped it.
    Asked,
    /// It had no reader for the grace time.
    Unattended,
}

impl Stop {
    /// Returns the last event of the stream.
    fn event(self, author: &Author) -> Vec<u8> {
        let message = match self {
            Stop::Asked => "The stream was stopped by its owner.",
            Stop::Unattended => "The stream was stopped, because it had no reader for resume.grace.",
        };
        author.failure(&Reject::new(Code::StreamStopped, message))
    }
}

impl Registry {
    /// Makes an empty registry under these rules.
    pub fn new(rules: Rules, metrics: Arc<Metrics>, drain: Drain) -> Self {
        let budget = AtomicUsize::new(rules.max_bytes);
        let streams = Streams { by_id: HashMap::new(), finished: VecDeque::new(), rules };
        Self(Arc::new(Shared { streams: Mutex::new(streams), used: AtomicUsize::new(0), budget, metrics, drain }))
    }

    /// Replaces the rules. An existing stream keeps its own bound of memory; all other rules apply to it as well.
    pub fn set_rules(&self, rules: Rules) {
        self.0.budget.store(rules.max_bytes, Ordering::Relaxed);
        self.0.streams().rules = rules;
        self.0.make_room();
    }

    /// Stops streams without a reader for the grace time, and removes streams that ended a retention ago. While the process
    /// shuts down there is no grace, because a client that has left cannot reconnect.
    pub fn sweep(&self, now: Instant) {
        let shared = &self.0;
        let mut streams = shared.streams();
        let retention = streams.rules.retention;
        while let Some(id) = streams.take_finished(|ended| now.saturating_duration_since(ended) >= retention) {
            shared.remove(&mut streams, id);
        }
        let draining = shared.drain.begun.is_cancelled();
        let grace = if draining { Duration::ZERO } else { streams.rules.grace };
        let late = |entry: &Entry| {
            entry.log.unattended_since().is_some_and(|since| now.saturating_duration_since(since) >= grace)
        };
        let late: Vec<(StreamId, Arc<Log>)> = streams
            .by_id
            .iter()
            .filter(|(_, entry)| late(entry))
            .map(|(id, entry)| (*id, Arc::clone(&entry.log)))
            .collect();
        drop(streams);
        late.into_iter().for_each(|(id, log)| shared.stop(id, &log, Stop::Unattended));
    }

    /// Creates an empty stream for its author.
    ///
    /// # Errors
    /// There is no room.
    pub fn create(&self, owner: Owner, author: Author) -> Result<(StreamId, Writer), Full> {
        let mut bits = [0; 16];
        // without randomness, ids could be guessed, so no stream is created
        getrandom::fill(&mut bits).map_err(|_| Full)?;
        let id = StreamId::from_bits(bits);
        let shared = &self.0;
        shared.make_room();
        let mut streams = shared.streams();
        if shared.is_over_budget() {
            return Err(Full);
        }
        if streams.by_id.len() >= streams.rules.max_streams {
            let oldest = streams.take_expendable().ok_or(Full)?;
            shared.remove(&mut streams, oldest);
        }
        let log = Arc::new(Log::resumable(author, streams.rules.max_stream_bytes));
        streams.by_id.insert(id, Entry { owner, log: Arc::clone(&log) });
        shared.count(&streams);
        drop(streams);
        Ok((id, Writer { id, log, registry: self.clone(), waiting: Vec::new(), registered: Waker::noop().clone() }))
    }

    /// Opens a reader that continues behind the event `place`, 0 for the beginning.
    ///
    /// # Errors
    /// The stream does not exist, or the place does not exist in it.
    pub fn open(&self, id: StreamId, owner: &Owner, place: u64) -> Result<Opened, Unopened> {
        let log = self.0.find(id, owner).ok_or(Unopened::Unknown)?;
        let mut state = log.state();
        let last = state.ring.last();
        if place > last {
            return Err(Unopened::TooLarge { last });
        }
        if place == last && state.phase == Phase::Ended {
            return Ok(Opened::AtEnd);
        }
        Ok(Opened::Reader(Reader::new(&log, &mut state, place)))
    }

    /// Stops the writer and ends the stream with an error event. Does nothing if the stream has ended.
    ///
    /// # Errors
    /// The stream does not exist.
    pub fn stop(&self, id: StreamId, owner: &Owner) -> Result<(), Unknown> {
        let log = self.0.find(id, owner).ok_or(Unknown)?;
        self.0.stop(id, &log, Stop::Asked);
        Ok(())
    }
}

impl Shared {
    /// Finds a stream of this owner. The result for an unknown stream and for a stream of another owner is the same.
    fn find(&self, id: StreamId, owner: &Owner) -> Option<Arc<Log>> {
        self.streams().by_id.get(&id).filter(|entry| entry.owner == *owner).map(|entry| Arc::clone(&entry.log))
    }

    fn stop(&self, id: StreamId, log: &Log, why: Stop) {
        let event = why.event(&log.author);
        if let Some(resized) = log.finish(Phase::Ended, Some(&event)) {
            self.ended(id, resized);
        }
    }

    /// Registers that a stream has ended now.
    fn ended(&self, id: StreamId, resized: Resized) {
        self.resize(resized);
        let mut streams = self.streams();
        streams.finished.push_back((Instant::now(), id));
        drop(streams);
        self.make_room();
    }

    fn remove(&self, streams: &mut Streams, id: StreamId) {
        let removed = streams.by_id.remove(&id);
        removed.into_iter().for_each(|entry| self.resize(entry.log.clear()));
        self.count(streams);
    }

    /// Removes streams that have ended, in the order of [`Streams::take_expendable`], until the budget holds or none is
    /// left.
    fn make_room(&self) {
        if !self.is_over_budget() {
            return;
        }
        let mut streams = self.streams();
        while self.is_over_budget() {
            let Some(oldest) = streams.take_expendable() else { break };
            self.remove(&mut streams, oldest);
        }
    }

    fn is_over_budget(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.budget.load(Ordering::Relaxed)
    }

    fn resize(&self, (before, after): Resized) {
        if after != before {
            // wraps around if the size decreases, so the sum is right
            let used = self.used.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            self.metrics.resumable_bytes.set(used.wrapping_add(after.wrapping_sub(before)) as i64);
        }
    }

    fn count(&self, streams: &Streams) {
        self.metrics.streams_resumable.set(streams.by_id.len() as i64);
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    /// Takes the stream that ended first off the list, if the time of its end satisfies the condition.
    fn take_finished(&mut self, such: impl Fn(Instant) -> bool) -> Option<StreamId> {
        self.finished.front().filter(|(ended, _)| such(*ended))?;
        self.finished.pop_front().map(|(_, id)| id)
    }

    /// Takes a stream off the list: the one that ended first of those without a reader, or else the one that ended first.
    fn take_expendable(&mut self) -> Option<StreamId> {
        let is_read = |id: &StreamId| self.by_id.get(id).is_some_and(|entry| entry.log.is_read());
        let place = self.finished.iter().position(|(_, id)| !is_read(id)).unwrap_or(0);
        self.finished.remove(place).map(|(_, id)| id)
    }
}

/// The writer of one stream.
pub struct Writer {
    id: StreamId,
    log: Arc<Log>,
    registry: Registry,
    /// Wakers of readers that are to be woken.
    waiting: Vec<Waker>,
    /// The task that a stop wakes.
    registered: Waker,
}

impl Append for Writer {
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // only an end takes the waker out of the log
        if self.registered.will_wake(cx.waker()) && !self.log.is_stopped() {
            return Poll::Pending;
        }
        self.registered.clone_from(cx.waker());
        self.log.poll_until(cx, |state| !state.is_running())
    }

    fn append(&mut self, event: Batch, _: impl FnOnce() -> Tally) -> Result<(), Fenced> {
        let shared = &self.registry.0;
        shared.resize(self.log.append(event, Tally::default, &mut self.waiting)?.resized);
        shared.make_room();
        // no other stream can free memory: evict the oldest of its own events
        while shared.is_over_budget() {
            let Some(resized) = self.log.evict() else { break };
            shared.resize(resized);
        }
        Ok(())
    }

    fn wake(&mut self) {
        while let Some(waker) = self.waiting.pop() {
            waker.wake();
        }
    }

    fn end(self, _: Tally) {
        if let Some(resized) = self.log.finish(Phase::Ended, None) {
            self.registry.0.ended(self.id, resized);
        }
    }

    fn fail(self, broken: Broken, _: Tally) {
        if let Some(resized) = self.log.finish(Phase::Ended, Some(&broken.event)) {
            self.registry.0.ended(self.id, resized);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.wake();
        let finished = match std::thread::panicking() {
            false => self.log.finish(Phase::Lost, None),
            true => self.log.finish(Phase::Ended, Some(&self.log.author.failure(&Reject::defect()))),
        };
        let Some(resized) = finished else { return };
        let shared = &self.registry.0;
        if self.log.is_empty() {
            // it never had an event
            shared.resize(resized);
            shared.remove(&mut shared.streams(), self.id);
        } else {
            shared.ended(self.id, resized);
        }
    }
}

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
//! - **Share.** One caller has at most `resume.max_share` of the streams and of the memory. Beyond it, the caller's own ended
//!   streams are removed, then a stream evicts its own oldest events; a new stream is refused.

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
use super::streams::{Entry, Streams};
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
    /// The part of it that one caller may use.
    share: AtomicUsize,
    metrics: Arc<Metrics>,
    drain: Drain,
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
    /// The stream has as many readers as it may have.
    TooManyReaders,
}

/// No such stream, or not this owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// Why no stream was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// There is no room for another stream, and no stream can be removed.
    Full,
    /// The caller has its share of the streams, or of their memory, and none of its own streams can be removed.
    OverShare,
}

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
        let (budget, share) = (AtomicUsize::new(rules.max_bytes), AtomicUsize::new(rules.bytes_of_caller()));
        let (streams, used) = (Mutex::new(Streams::new(rules)), AtomicUsize::new(0));
        Self(Arc::new(Shared { streams, used, budget, share, metrics, drain }))
    }

    /// Replaces the rules. An existing stream keeps its own bound of memory; all other rules apply to it as well.
    pub fn set_rules(&self, rules: Rules) {
        self.0.budget.store(rules.max_bytes, Ordering::Relaxed);
        self.0.share.store(rules.bytes_of_caller(), Ordering::Relaxed);
        self.0.streams().rules = rules;
        self.0.make_room();
    }

    /// Stops streams without a reader for the grace time, and removes streams that ended a retention ago. While the process
    /// shuts down there is no grace, because a client that has left cannot reconnect; what ends then ends as all streams do that
    /// the shutdown cuts.
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
        for (id, log) in late {
            match draining {
                true => shared.lose(id, &log),
                false => shared.stop(id, &log, Stop::Unattended),
            }
        }
    }

    /// Creates an empty stream for its author, without a reader: the time of its grace begins.
    ///
    /// # Errors
    /// There is no room.
    pub fn create(&self, owner: Owner, author: Author) -> Result<(StreamId, Writer), NoRoom> {
        self.add(owner, author, |_| ()).map(|(id, writer, ())| (id, writer))
    }

    /// Creates an empty stream together with its first reader, so that it is never without one.
    ///
    /// # Errors
    /// There is no room.
    pub fn create_read(&self, owner: Owner, author: Author) -> Result<(StreamId, Writer, Reader), NoRoom> {
        self.add(owner, author, |log| Reader::new(log, &mut log.state(), 0))
    }

    fn add<T>(
        &self,
        owner: Owner,
        author: Author,
        read: impl FnOnce(&Arc<Log>) -> T,
    ) -> Result<(StreamId, Writer, T), NoRoom> {
        let mut bits = [0; 16];
        // without randomness, ids could be guessed, so no stream is created
        getrandom::fill(&mut bits).map_err(|_| NoRoom::Full)?;
        let id = StreamId::from_bits(bits);
        let shared = &self.0;
        shared.make_room();
        let mut streams = shared.streams();
        shared.make_room_for_caller(&mut streams, &author.caller)?;
        if shared.is_over_budget() {
            return Err(NoRoom::Full);
        }
        if streams.by_id.len() >= streams.rules.max_streams {
            let oldest = streams.take_expendable(|_| true).ok_or(NoRoom::Full)?;
            shared.remove(&mut streams, oldest);
        }
        let log = Arc::new(Log::resumable(author, streams.rules.max_stream_bytes));
        let reader = read(&log);
        let used = streams.insert(id, owner, &log);
        shared.count(&streams);
        drop(streams);
        let registered = Waker::noop().clone();
        Ok((id, Writer { id, log, used, registry: self.clone(), waiting: Vec::new(), registered }, reader))
    }

    /// Opens a reader that continues behind the event `place`, 0 for the beginning.
    ///
    /// # Errors
    /// The stream does not exist, or the place does not exist in it, or it has `resume.max_readers`.
    pub fn open(&self, id: StreamId, owner: &Owner, place: u64) -> Result<Opened, Unopened> {
        let log = self.0.find(id, owner).ok_or(Unopened::Unknown)?;
        let most = self.0.streams().rules.max_readers;
        let mut state = log.state();
        let last = state.ring.last();
        if place > last {
            return Err(Unopened::TooLarge { last });
        }
        if place == last && state.phase == Phase::Ended {
            return Ok(Opened::AtEnd);
        }
        if state.readers.len() >= most {
            return Err(Unopened::TooManyReaders);
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

    /// Stops a stream because of the shutdown: whoever comes back for it reads `draining`.
    fn lose(&self, id: StreamId, log: &Log) {
        if let Some(resized) = log.finish(Phase::Lost, None) {
            self.ended(id, resized);
        }
    }

    /// Registers that a stream has ended now.
    fn ended(&self, id: StreamId, resized: Resized) {
        let mut streams = self.streams();
        if let Some(entry) = streams.by_id.get(&id) {
            self.resize(resized, &entry.used);
        }
        streams.finished.push_back((Instant::now(), id));
        drop(streams);
        self.make_room();
    }

    fn remove(&self, streams: &mut Streams, id: StreamId) {
        if let Some(Entry { log, used, .. }) = streams.remove(id) {
            self.resize(log.clear(), &used);
        }
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
            let Some(oldest) = streams.take_expendable(|_| true) else { break };
            self.remove(&mut streams, oldest);
        }
    }

    /// Removes ended streams of this caller until it is within its share and may have one more stream.
    fn make_room_for_caller(&self, streams: &mut Streams, caller: &str) -> Result<(), NoRoom> {
        let most = streams.rules.streams_of_caller();
        while streams.callers.get(caller).is_some_and(|use_| use_.streams >= most || self.is_over_share(&use_.bytes)) {
            let Some(oldest) = streams.take_expendable(|author| *author.caller == *caller) else {
                let is_full = streams.by_id.len() >= streams.rules.max_streams || self.is_over_budget();
                return Err(if is_full { NoRoom::Full } else { NoRoom::OverShare });
            };
            self.remove(streams, oldest);
        }
        Ok(())
    }

    /// Removes ended streams of the caller of this log until its memory is within its share, or none is left.
    fn make_room_of_caller(&self, log: &Log, used: &AtomicUsize) {
        let mut streams = self.streams();
        while self.is_over_share(used) {
            let Some(oldest) = streams.take_expendable(|author| author.caller == log.author.caller) else { break };
            self.remove(&mut streams, oldest);
        }
    }

    fn is_over_share(&self, used: &AtomicUsize) -> bool {
        used.load(Ordering::Relaxed) > self.share.load(Ordering::Relaxed)
    }

    fn is_over_budget(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.budget.load(Ordering::Relaxed)
    }

    /// Counts how the memory of a log has changed; `of_caller` is the memory of its caller.
    fn resize(&self, (before, after): Resized, of_caller: &AtomicUsize) {
        if after != before {
            of_caller.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
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

/// The writer of one stream.
pub struct Writer {
    id: StreamId,
    log: Arc<Log>,
    /// The memory of all streams of its caller.
    used: Arc<AtomicUsize>,
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
        shared.resize(self.log.append(event, Tally::default, &mut self.waiting)?.resized, &self.used);
        shared.make_room();
        if shared.is_over_share(&self.used) {
            shared.make_room_of_caller(&self.log, &self.used);
        }
        // no other stream can free memory: evict the oldest of its own events
        while shared.is_over_budget() || shared.is_over_share(&self.used) {
            let Some(resized) = self.log.evict() else { break };
            shared.resize(resized, &self.used);
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
            shared.resize(resized, &self.used);
            shared.remove(&mut shared.streams(), self.id);
        } else {
            shared.ended(self.id, resized);
        }
    }
}

//! The store of this process: every resumable stream by its id, within one budget of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

pub use super::entry::Reader as Log;
use super::entry::{Entry, Reader, Resized};
use super::id::StreamId;
use super::store::{Append, Fenced, Full, Opened, Owner, Store, Unknown, Unopened};
use crate::config::Resume as Rules;
use crate::drain::Drain;
use crate::error::{Code, Reject};
use crate::metrics::Metrics;

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
    by_id: HashMap<StreamId, Arc<Entry>>,
    /// Those that have ended, and when, the earliest first.
    finished: VecDeque<(Instant, StreamId)>,
    rules: Rules,
}

/// Why a stream is stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Its owner said so.
    Asked,
    /// Nobody read it for the grace time.
    Unattended,
}

impl Stop {
    /// The last event of the stream.
    fn event(self, request_id: &str) -> Vec<u8> {
        let message = match self {
            Stop::Asked => "The stream was stopped by its owner.",
            Stop::Unattended => "Nobody read the stream for resume.grace, so that it was stopped.",
        };
        Reject::new(Code::StreamStopped, message).event(request_id)
    }
}

impl Registry {
    /// An empty registry under these rules.
    pub fn new(rules: Rules, metrics: Arc<Metrics>, drain: Drain) -> Self {
        let budget = AtomicUsize::new(rules.max_bytes);
        let streams = Streams { by_id: HashMap::new(), finished: VecDeque::new(), rules };
        Self(Arc::new(Shared { streams: Mutex::new(streams), used: AtomicUsize::new(0), budget, metrics, drain }))
    }

    /// From now on these rules hold. A stream that is there keeps its own bound; all other rules hold for it as well.
    pub fn set_rules(&self, rules: Rules) {
        self.0.budget.store(rules.max_bytes, Ordering::Relaxed);
        self.0.streams().rules = rules;
        self.0.make_room();
    }

    /// Stops what nobody has read for the grace time, and forgets what ended a retention ago. While the process shuts down
    /// there is no grace: whoever left cannot come back.
    pub fn sweep(&self, now: Instant) {
        let shared = &self.0;
        let mut streams = shared.streams();
        let retention = streams.rules.retention;
        while let Some(id) = streams.take_finished(|ended| now.saturating_duration_since(ended) >= retention) {
            shared.forget(&mut streams, id);
        }
        let draining = shared.drain.begun.is_cancelled();
        let grace = if draining { Duration::ZERO } else { streams.rules.grace };
        let late =
            |entry: &Entry| entry.unattended_since().is_some_and(|since| now.saturating_duration_since(since) >= grace);
        let late: Vec<(StreamId, Arc<Entry>)> =
            streams.by_id.iter().filter(|(_, entry)| late(entry)).map(|(id, entry)| (*id, Arc::clone(entry))).collect();
        drop(streams);
        late.into_iter().for_each(|(id, entry)| shared.stop(id, &entry, Stop::Unattended));
    }
}

impl Store for Registry {
    type Writer = Writer;
    type Reader = Reader;

    async fn create(&self, owner: Owner, request_id: Arc<str>) -> Result<(StreamId, Writer), Full> {
        let mut bits = [0; 16];
        // without randomness ids could be guessed: rather no stream at all
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
            shared.forget(&mut streams, oldest);
        }
        let max = streams.rules.max_stream_bytes;
        let entry = Arc::new(Entry::new(owner, request_id, max, Instant::now()));
        streams.by_id.insert(id, Arc::clone(&entry));
        shared.count(&streams);
        drop(streams);
        Ok((id, Writer { id, entry, registry: self.clone(), woken: Vec::new() }))
    }

    async fn open(&self, id: StreamId, owner: &Owner, place: u64) -> Result<Opened<Reader>, Unopened> {
        let entry = self.0.find(id, owner).ok_or(Unopened::Unknown)?;
        entry.open(place).map_err(|last| Unopened::TooLarge { last })
    }

    async fn stop(&self, id: StreamId, owner: &Owner) -> Result<(), Unknown> {
        let entry = self.0.find(id, owner).ok_or(Unknown)?;
        self.0.stop(id, &entry, Stop::Asked);
        Ok(())
    }
}

impl Shared {
    /// An unknown stream and somebody else's are the same to whoever asks.
    fn find(&self, id: StreamId, owner: &Owner) -> Option<Arc<Entry>> {
        self.streams().by_id.get(&id).filter(|entry| entry.owner == *owner).cloned()
    }

    fn stop(&self, id: StreamId, entry: &Entry, why: Stop) {
        let event = why.event(&entry.request_id);
        if let Some(resized) = entry.end(Some(&event)) {
            self.ended(id, resized);
        }
    }

    /// A stream has ended just now.
    fn ended(&self, id: StreamId, resized: Resized) {
        self.resize(resized);
        let mut streams = self.streams();
        streams.finished.push_back((Instant::now(), id));
        drop(streams);
        self.make_room();
    }

    fn forget(&self, streams: &mut Streams, id: StreamId) {
        let gone = streams.by_id.remove(&id);
        gone.into_iter().for_each(|entry| self.resize(entry.clear()));
        self.count(streams);
    }

    /// Gives up streams that have ended, in the order of [`Streams::take_expendable`], until the budget holds or there is none left.
    fn make_room(&self) {
        if !self.is_over_budget() {
            return;
        }
        let mut streams = self.streams();
        while self.is_over_budget() {
            let Some(oldest) = streams.take_expendable() else { break };
            self.forget(&mut streams, oldest);
        }
    }

    fn is_over_budget(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.budget.load(Ordering::Relaxed)
    }

    fn resize(&self, (before, after): Resized) {
        if after != before {
            // wraps around where it shrinks, and so comes out right
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
    /// Takes the stream that ended first off the list, if its end is such.
    fn take_finished(&mut self, such: impl Fn(Instant) -> bool) -> Option<StreamId> {
        self.finished.front().filter(|(ended, _)| such(*ended))?;
        self.finished.pop_front().map(|(_, id)| id)
    }

    /// Takes the stream that ended first off the list, of those that nobody is just reading; if all are read, of all.
    fn take_expendable(&mut self) -> Option<StreamId> {
        let is_read = |id: &StreamId| self.by_id.get(id).is_some_and(|entry| entry.is_read());
        let place = self.finished.iter().position(|(_, id)| !is_read(id)).unwrap_or(0);
        self.finished.remove(place).map(|(_, id)| id)
    }
}

/// The writer of one stream.
pub struct Writer {
    id: StreamId,
    entry: Arc<Entry>,
    registry: Registry,
    /// Taken turns with by the stream's own list.
    woken: Vec<(u64, Waker)>,
}

impl Append for Writer {
    async fn append(&mut self, events: &[u8]) -> Result<(), Fenced> {
        let shared = &self.registry.0;
        shared.resize(self.entry.append(events, &mut self.woken)?);
        shared.make_room();
        // nobody else's to give: the oldest of its own
        while shared.is_over_budget() {
            let Some(resized) = self.entry.evict() else { break };
            shared.resize(resized);
        }
        Ok(())
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.entry.poll_stopped(cx)
    }

    async fn end(self) {
        if let Some(resized) = self.entry.end(None) {
            self.registry.0.ended(self.id, resized);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Some(resized) = self.entry.lose() else { return };
        let shared = &self.registry.0;
        if self.entry.is_empty() {
            // nothing was ever in it: nobody misses it
            shared.resize(resized);
            shared.forget(&mut shared.streams(), self.id);
        } else {
            shared.ended(self.id, resized);
        }
    }
}

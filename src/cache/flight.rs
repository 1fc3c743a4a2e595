//! One answer while it comes in: its log, the one who writes it, and all who read it.
//!
//! While the log is whole, anybody with the same request may join and gets it from the beginning. A log that has grown
//! beyond its bound is whole no longer: what all readers have is forgotten, nobody joins any more, nothing will be kept,
//! and the slowest reader holds the upstream back. When the last reader leaves, the writer stops.

mod follower;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

pub use self::follower::Follower;

use super::entry::Event;
use super::key::FlightKey;
use crate::routing::verdict::Decision;
use crate::spend::tally::Tally;
use crate::upstream::failure::Failure;

/// How far the writer may be ahead of the slowest reader, bytes, once the log is whole no longer.
const WINDOW: usize = 64 * 1024;
/// What an event takes in a log beside its bytes, about.
const OVERHEAD: usize = 64;

/// All flights of this process.
#[derive(Default)]
pub struct Flights {
    open: Mutex<HashMap<FlightKey, Arc<Flight>>>,
    /// Bytes of all logs.
    held: Arc<AtomicUsize>,
}

/// How much one log may hold, and all of them together, to stay whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one.
    pub one: usize,
    /// Bytes of all.
    pub all: usize,
}

/// What entering a flight gives.
pub enum Entered<T> {
    /// It was under way.
    Joined(Follower),
    /// It begins now; the first reader is there already.
    Leads(Pilot, Follower),
    /// There was something better.
    Instead(T),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The model's name.
    pub model: String,
    /// Its upstream's name.
    pub upstream: String,
    /// How `auto` was decided, if that was asked.
    pub route: Option<Decision>,
    /// The upstream's `vary`.
    pub vary: Option<HeaderValue>,
    /// The request that pays for it.
    pub request_id: String,
    /// The whole answer, where it is not streamed.
    pub whole: Option<Bytes>,
}

/// One event of a flight.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The event.
    pub event: Event,
    /// When it had come in.
    pub at: Instant,
    /// The gateway's own last word: the upstream broke.
    pub error: bool,
}

/// What a reader meets next.
#[derive(Debug, Clone)]
pub enum Step {
    /// An event.
    Event(Logged),
    /// The proper end.
    Ended,
    /// No upstream answered.
    Failed(Failure),
    /// The gateway shuts down: it ends here, unfinished.
    Lost,
}

struct Flight {
    state: Mutex<State>,
    bounds: Bounds,
    held: Arc<AtomicUsize>,
}

struct State {
    phase: Phase,
    head: Option<Arc<Head>>,
    log: VecDeque<Logged>,
    /// The number of the first event that is in the log.
    first: usize,
    bytes: usize,
    /// Nothing of it was forgotten.
    whole: bool,
    tally: Tally,
    readers: Vec<Reading>,
    next_reader: u64,
    /// The last reader has left: nobody enters any more.
    abandoned: bool,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Flying,
    Ended,
    Failed(Failure),
    Lost,
}

struct Reading {
    number: u64,
    place: usize,
    waker: Option<Waker>,
}

impl Flights {
    /// Joins the flight of this key, or begins it. A flight leaves the list only after what it leaves behind can be found:
    /// so `instead` is asked once more, where a flight would begin.
    pub fn enter<T>(
        self: &Arc<Self>,
        key: FlightKey,
        bounds: Bounds,
        instead: impl FnOnce() -> Option<T>,
    ) -> Entered<T> {
        let mut open = self.open();
        if let Some(follower) = open.get(&key).and_then(Flight::join) {
            return Entered::Joined(follower);
        }
        if let Some(instead) = instead() {
            return Entered::Instead(instead);
        }
        let (pilot, follower) = self.begin(bounds, Some(key));
        open.insert(key, Arc::clone(&pilot.flight));
        Entered::Leads(pilot, follower)
    }

    /// Joins the flight of this key, if there is one.
    pub fn join(&self, key: FlightKey) -> Option<Follower> {
        self.open().get(&key).and_then(Flight::join)
    }

    /// Begins a flight, whatever there is. Where one of this key is under way already, nobody joins the new one.
    pub fn begin_anew(self: &Arc<Self>, key: FlightKey, bounds: Bounds) -> (Pilot, Follower) {
        let mut open = self.open();
        let vacant = !open.contains_key(&key);
        let (pilot, follower) = self.begin(bounds, Some(key).filter(|_| vacant));
        if vacant {
            open.insert(key, Arc::clone(&pilot.flight));
        }
        (pilot, follower)
    }

    fn begin(self: &Arc<Self>, bounds: Bounds, key: Option<FlightKey>) -> (Pilot, Follower) {
        let state = State {
            phase: Phase::Flying,
            head: None,
            log: VecDeque::new(),
            first: 0,
            bytes: 0,
            whole: true,
            tally: Tally::default(),
            readers: vec![Reading { number: 0, place: 0, waker: None }],
            next_reader: 1,
            abandoned: false,
            writer: None,
        };
        let flight = Arc::new(Flight { state: Mutex::new(state), bounds, held: Arc::clone(&self.held) });
        let follower = Follower { flight: Arc::clone(&flight), number: 0 };
        (Pilot { flight, flights: Arc::clone(self), key }, follower)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn join(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state();
        if state.abandoned || !state.whole {
            return None;
        }
        let number = state.next_reader;
        state.next_reader += 1;
        state.readers.push(Reading { number, place: 0, waker: None });
        Some(Follower { flight: Arc::clone(self), number })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // every change leaves the state usable
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl State {
    /// Forgets what all readers have.
    fn trim(&mut self, held: &AtomicUsize) {
        let slowest = self.readers.iter().map(|reading| reading.place).min().unwrap_or(usize::MAX);
        while self.first < slowest
            && let Some(read) = self.log.pop_front()
        {
            self.first += 1;
            let bytes = read.event.block.len() + OVERHEAD;
            self.bytes -= bytes;
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn has_room(&self) -> bool {
        self.whole || self.abandoned || self.bytes <= WINDOW
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.readers.iter_mut().filter_map(|reading| reading.waker.take()).collect()
    }
}

/// The one who writes a flight. Dropped before its end, it leaves readers that are told so.
pub struct Pilot {
    flight: Arc<Flight>,
    flights: Arc<Flights>,
    key: Option<FlightKey>,
}

impl Pilot {
    /// Returns once the last reader has left.
    pub async fn abandoned(&self) {
        self.until(|state| state.abandoned).await;
    }

    /// Returns once the readers have taken enough; at once while the log is whole.
    pub async fn room(&self) {
        self.until(State::has_room).await;
    }

    /// Says who answers.
    pub fn open(&self, head: Head, tally: Tally) {
        let mut state = self.flight.state();
        state.head = Some(Arc::new(head));
        state.tally = tally;
        Self::wake(state);
    }

    /// Adds an event; `tally` is of all up to it.
    pub fn push(&self, logged: Logged, tally: &Tally) {
        let bytes = logged.event.block.len() + OVERHEAD;
        let held = self.flight.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut state = self.flight.state();
        state.bytes += bytes;
        state.log.push_back(logged);
        state.tally.clone_from(tally);
        let grew_too_large = state.whole && (state.bytes > self.flight.bounds.one || held > self.flight.bounds.all);
        if grew_too_large {
            state.whole = false;
            state.trim(&self.flight.held);
        }
        Self::wake(state);
        if grew_too_large {
            self.land();
        }
    }

    /// All events so far; `None` where some are forgotten.
    pub fn recorded(&self) -> Option<Vec<Logged>> {
        let state = self.flight.state();
        state.whole.then(|| state.log.iter().cloned().collect())
    }

    /// From here on nobody joins.
    pub fn land(&self) {
        let Some(key) = self.key else { return };
        let mut open = self.flights.open();
        // after an abandoned flight another one may have its place
        if open.get(&key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            open.remove(&key);
        }
    }

    /// The proper end.
    pub fn end(self) {
        self.finish(Phase::Ended);
    }

    /// No upstream has answered.
    pub fn fail(self, failure: Failure) {
        self.finish(Phase::Failed(failure));
    }

    fn finish(&self, phase: Phase) {
        self.land();
        let mut state = self.flight.state();
        if state.phase == Phase::Flying {
            state.phase = phase;
        }
        Self::wake(state);
    }

    fn wake(mut state: MutexGuard<'_, State>) {
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn until(&self, so: impl Fn(&State) -> bool) {
        poll_fn(|cx| {
            let mut state = self.flight.state();
            if so(&state) {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.finish(Phase::Lost);
    }
}

#[cfg(test)]
mod tests;

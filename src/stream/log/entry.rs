//! One stream in the memory of this process: its log, its end, and who waits for what.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::block::blocks;
use super::ring::{Place, Ring};
use super::store::{Fenced, Followed, Opened, Owner, Then};

/// One stream.
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) request_id: Arc<str>,
    state: Mutex<State>,
}

struct State {
    ring: Ring,
    phase: Phase,
    /// How many read it now.
    readers: usize,
    /// When the last reader left, or the stream was made.
    left: Instant,
    /// Who is woken by the next event, by the number of the reader.
    waiting: Vec<(u64, Waker)>,
    next_reader: u64,
    /// Who is woken by a stop.
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its writer is at work.
    Running,
    /// Its last event is the last there is.
    Ended,
    /// Its writer is gone, without an end.
    Lost,
}

/// How the memory of a log has changed: before, after.
pub(super) type Resized = (usize, usize);

impl Entry {
    /// An empty stream whose log takes up to `max` bytes.
    pub(super) fn new(owner: Owner, request_id: Arc<str>, max: usize, now: Instant) -> Self {
        let state = State {
            ring: Ring::new(max),
            phase: Phase::Running,
            readers: 0,
            left: now,
            waiting: Vec::new(),
            next_reader: 0,
            writer: None,
        };
        Self { owner, request_id, state: Mutex::new(state) }
    }

    /// Adds what is kept of these events, and wakes who waits for it.
    pub(super) fn append(&self, events: &[u8], woken: &mut Vec<(u64, Waker)>) -> Result<Resized, Fenced> {
        let mut state = self.state();
        if state.phase != Phase::Running {
            return Err(Fenced);
        }
        let before = state.ring.memory();
        let last = state.ring.last();
        blocks(events).for_each(|block| state.ring.append(&block));
        let after = state.ring.memory();
        if state.ring.last() == last {
            return Ok((before, after));
        }
        // the two lists change places: neither is allocated anew
        std::mem::swap(&mut state.waiting, woken);
        drop(state);
        woken.drain(..).for_each(|(_, waker)| waker.wake());
        Ok((before, after))
    }

    /// Ends a running stream, with a last event if there is one to tell; `None` where it has ended.
    pub(super) fn end(&self, last: Option<&[u8]>) -> Option<Resized> {
        self.finish(Phase::Ended, last)
    }

    /// Marks a running stream as one whose writer is gone; `None` where it has ended.
    pub(super) fn lose(&self) -> Option<Resized> {
        self.finish(Phase::Lost, None)
    }

    /// Gives up all events, for the sake of others.
    pub(super) fn clear(&self) -> Resized {
        let mut state = self.state();
        let before = state.ring.memory();
        state.ring.clear();
        (before, 0)
    }

    /// Gives up the oldest events, a few kilobytes of them; `None` where the latest alone are left.
    pub(super) fn evict(&self) -> Option<Resized> {
        let mut state = self.state();
        let before = state.ring.memory();
        state.ring.evict().then(|| (before, state.ring.memory()))
    }

    /// Adds a reader behind the event `place`.
    ///
    /// # Errors
    /// The number of the last event, where that is before the place.
    pub(super) fn open(self: &Arc<Self>, place: u64) -> Result<Opened<Reader>, u64> {
        let mut state = self.state();
        let last = state.ring.last();
        if place > last {
            return Err(last);
        }
        if place == last && state.phase == Phase::Ended {
            return Ok(Opened::AtEnd);
        }
        state.readers += 1;
        state.next_reader += 1;
        Ok(Opened::Reader(Reader { entry: Arc::clone(self), number: state.next_reader, place: Place::behind(place) }))
    }

    /// Since when nobody reads it; `None` where somebody does, or where it does not run.
    pub(super) fn unattended_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase == Phase::Running && state.readers == 0).then_some(state.left)
    }

    /// Whether somebody reads it now.
    pub(super) fn is_read(&self) -> bool {
        self.state().readers > 0
    }

    /// Whether not one event was ever appended.
    pub(super) fn is_empty(&self) -> bool {
        self.state().ring.last() == 0
    }

    /// Ready once the stream has ended; until then its writer is woken by the end.
    pub(super) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.phase != Phase::Running {
            return Poll::Ready(());
        }
        if !state.writer.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn finish(&self, phase: Phase, last: Option<&[u8]>) -> Option<Resized> {
        let mut state = self.state();
        if state.phase != Phase::Running {
            return None;
        }
        let before = state.ring.memory();
        if let Some(block) = last {
            state.ring.append(block);
        }
        state.ring.seal();
        state.phase = phase;
        let after = state.ring.memory();
        let waiting = std::mem::take(&mut state.waiting);
        let writer = state.writer.take();
        drop(state);
        waiting.into_iter().map(|(_, waker)| waker).chain(writer).for_each(Waker::wake);
        Some((before, after))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // every change leaves the state usable
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of one stream.
pub struct Reader {
    entry: Arc<Entry>,
    number: u64,
    place: Place,
}

impl super::store::Follow for Reader {
    fn poll_follow(&mut self, cx: &mut Context<'_>, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Poll<Followed> {
        let mut state = self.entry.state();
        let (after, first) = (self.place.after(), state.ring.first());
        if after + 1 < first {
            self.place = Place::behind(first - 1);
            return Poll::Ready(Followed::Gap { from: after + 1, to: first - 1 });
        }
        if after < state.ring.last() {
            state.ring.read(&mut self.place, limit, each);
            let then = match state.phase {
                _ if self.place.after() < state.ring.last() => Then::More,
                Phase::Ended => Then::End,
                Phase::Running | Phase::Lost => Then::Wait,
            };
            return Poll::Ready(Followed::Events(then));
        }
        match state.phase {
            Phase::Ended => return Poll::Ready(Followed::Ended),
            Phase::Lost => return Poll::Ready(Followed::Lost),
            Phase::Running => {}
        }
        match state.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((self.number, cx.waker().clone())),
        }
        Poll::Pending
    }

    fn request_id(&self) -> &str {
        &self.entry.request_id
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.entry.state();
        state.waiting.retain(|(number, _)| *number != self.number);
        state.readers -= 1;
        state.left = Instant::now();
    }
}

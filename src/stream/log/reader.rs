//! One reader of a log, at its place.

use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::core::{Author, Latest, Log, Phase, Slot, State, WINDOW};
use super::marked::Event;
use super::ring::Place;
use crate::error::Reject;
use crate::stream::event::Flags;
use crate::upstream::failure::Failure;

/// The result of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Events, which were passed to the caller.
    Events(Then),
    /// These events, from the first to the last, were evicted.
    Gap {
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
    },
    /// The stream has ended, and the reader has all of it.
    Ended,
    /// The writer was dropped before the end of the stream.
    Lost,
    /// No upstream has answered.
    Failed(Box<Failure>),
    /// The upstream broke after these events.
    Broken(Box<Reject>),
}

/// The result of [`Reader::poll_take`].
#[derive(Debug)]
pub enum Taken {
    /// The latest event, which is the only one that the reader lacked.
    Latest(Latest),
    /// The result of [`Reader::poll_read`].
    Read(Read),
}

/// What follows the events that were passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More events are there, which did not fit into the limit.
    More,
    /// No event yet: the reader must wait.
    Wait,
    /// The end: these were the last events.
    End,
}

/// One reader of a log, at its place. Dropping it unsubscribes.
pub struct Reader {
    log: Arc<Log>,
    position: Position,
}

/// The position of a reader in its log.
struct Position {
    slot: usize,
    place: Place,
}

impl Reader {
    /// Makes a reader of this log behind the event `after`; `state` is the log's, which is locked.
    pub(super) fn new(log: &Arc<Log>, state: &mut State, after: u64) -> Self {
        let slot = state.readers.insert(Slot { waker: None, after, read: 0 });
        Self { log: Arc::clone(log), position: Position { slot, place: Place::behind(after) } }
    }

    /// Passes the events behind the reader's place to `each`, about `limit` bytes but at least one event, and moves the
    /// place behind them.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize, each: impl FnMut(Event<'_>)) -> Poll<Read> {
        let mut state = self.log.state();
        let read = self.position.read(&mut state, cx, limit, each);
        wake_writer_for_room(state, self.position.slot);
        read
    }

    /// Takes the latest event without a copy if it is the only one that the reader lacks. Otherwise does the same as
    /// [`Reader::poll_read`].
    #[inline]
    pub fn poll_take(&mut self, cx: &mut Context<'_>, limit: usize, each: impl FnMut(Event<'_>)) -> Poll<Taken> {
        let mut state = self.log.state();
        let taken = match self.position.take_latest(&mut state) {
            Some(latest) => Poll::Ready(Taken::Latest(latest)),
            None => self.position.read(&mut state, cx, limit, each).map(Taken::Read),
        };
        wake_writer_for_room(state, self.position.slot);
        taken
    }

    /// Returns how the log has ended, even if the reader does not have all of it. Until then, every change of the log wakes
    /// the reader.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        poll_end(&mut self.log.state(), self.position.slot, cx)
    }

    /// Returns the request that created the log.
    pub fn author(&self) -> &Author {
        &self.log.author
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.state();
        state.readers.try_remove(self.position.slot);
        state.left = Instant::now();
        let first = state.ring.first();
        let is_followed = state.readers.iter().any(|(_, slot)| slot.after + 1 >= first);
        state.abandoned |= self.log.is_coalesced() && !is_followed;
        if state.abandoned {
            self.log.stop();
        }
        let writer = if state.abandoned { state.writer.take() } else { None };
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }
}

impl Position {
    #[inline]
    fn take_latest(&mut self, state: &mut State) -> Option<Latest> {
        if self.place.after() + 1 != state.ring.last() || state.latest.is_none() {
            return None;
        }
        // the only reader takes the event itself
        let latest = if state.readers.len() == 1 { state.latest.take() } else { state.latest.clone() }?;
        self.place = state.ring.end();
        let slot = state.readers.get_mut(self.slot)?;
        slot.after = self.place.after();
        slot.read += latest.bytes.len() as u64;
        Some(latest)
    }

    fn read(
        &mut self,
        state: &mut State,
        cx: &mut Context<'_>,
        limit: usize,
        mut each: impl FnMut(Event<'_>),
    ) -> Poll<Read> {
        let (after, first) = (self.place.after(), state.ring.first());
        if after + 1 < first {
            self.place = Place::behind(first - 1);
            return Poll::Ready(Read::Gap { from: after + 1, to: first - 1 });
        }
        if after == state.ring.last() {
            return poll_end(state, self.slot, cx);
        }
        let Some(slot) = state.readers.get_mut(self.slot) else { return Poll::Ready(Read::Lost) };
        match state.began {
            // only a coalesced log has marks, and stores when it began
            Some(began) => state.ring.read(&mut self.place, limit, |number, marked| {
                let event = Event::marked(number, marked, began);
                slot.read += event.bytes.len() as u64;
                each(event);
            }),
            None => state
                .ring
                .read(&mut self.place, limit, |number, bytes| each(Event::plain(number, bytes, Flags::default()))),
        }
        slot.after = self.place.after();
        let then = match state.phase {
            _ if slot.after < state.ring.last() => Then::More,
            Phase::Ended => Then::End,
            _ => Then::Wait,
        };
        Poll::Ready(Read::Events(then))
    }
}

/// Wakes a writer that waits for the foremost reader, if that is this one and has read enough.
fn wake_writer_for_room(mut state: MutexGuard<'_, State>, slot: usize) {
    if !state.is_full || state.readers.get(slot).is_none_or(|slot| state.written > slot.read + WINDOW) {
        return;
    }
    let writer = state.writer.take();
    drop(state);
    writer.into_iter().for_each(Waker::wake);
}

fn poll_end(state: &mut State, slot: usize, cx: &mut Context<'_>) -> Poll<Read> {
    Poll::Ready(match &state.phase {
        Phase::Running => {
            match state.readers.get_mut(slot).map(|slot| &mut slot.waker) {
                Some(Some(waker)) => waker.clone_from(cx.waker()),
                Some(waker) => *waker = Some(cx.waker().clone()),
                None => {}
            }
            return Poll::Pending;
        }
        Phase::Ended => Read::Ended,
        Phase::Lost => Read::Lost,
        Phase::Failed(failure) => Read::Failed(Box::new(failure.clone())),
        Phase::Broken(reject) => Read::Broken(Box::new(reject.clone())),
    })
}

//! One reader of a flight.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Flight, Head, Phase, State, Step};
use crate::spend::tally::Tally;
use crate::upstream::failure::Failure;

/// One reader of a flight, at its place. Dropping it is leaving.
pub struct Follower {
    pub(super) flight: Arc<Flight>,
    pub(super) number: u64,
}

impl Follower {
    /// Waits until it is known who answers.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn head(&mut self) -> Result<Arc<Head>, Failure> {
        poll_fn(|cx| {
            let mut state = self.flight.state();
            match (&state.head, &state.phase) {
                (Some(head), _) => Poll::Ready(Ok(Arc::clone(head))),
                (None, Phase::Failed(failure)) => Poll::Ready(Err(failure.clone())),
                (None, Phase::Ended | Phase::Lost) => Poll::Ready(Err(Failure::Draining)),
                (None, Phase::Flying) => {
                    self.wait(&mut state, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Who answers, if that is known.
    pub fn known_head(&self) -> Option<Arc<Head>> {
        self.flight.state().head.clone()
    }

    /// What the completion has produced so far.
    pub fn tally(&self) -> Tally {
        self.flight.state().tally.clone()
    }

    /// What follows the reader's place.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut guard = self.flight.state();
        let state = &mut *guard;
        let first = state.first;
        let Some(reading) = state.readers.iter_mut().find(|reading| reading.number == self.number) else {
            return Poll::Ready(Step::Lost);
        };
        if let Some(logged) = state.log.get(reading.place - first) {
            let logged = logged.clone();
            reading.place += 1;
            if !state.whole {
                state.trim(&self.flight.held);
                let writer = if state.has_room() { state.writer.take() } else { None };
                drop(guard);
                writer.into_iter().for_each(Waker::wake);
            }
            return Poll::Ready(Step::Event(logged));
        }
        match &state.phase {
            Phase::Ended => Poll::Ready(Step::Ended),
            Phase::Failed(failure) => Poll::Ready(Step::Failed(failure.clone())),
            Phase::Lost => Poll::Ready(Step::Lost),
            Phase::Flying => {
                self.wait(state, cx);
                Poll::Pending
            }
        }
    }

    fn wait(&self, state: &mut State, cx: &Context<'_>) {
        if let Some(reading) = state.readers.iter_mut().find(|reading| reading.number == self.number) {
            reading.waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.readers.retain(|reading| reading.number != self.number);
        state.abandoned |= state.readers.is_empty();
        if !state.whole {
            state.trim(&self.flight.held);
        }
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }
}

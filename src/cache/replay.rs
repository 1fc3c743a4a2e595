//! A kept answer, told again: at once, or in the rhythm in which it once came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::entry::{Answer, Entry, Event, Events};
use super::flight::{Logged, Step};
use crate::spend::tally::Tally;

/// The longest pause between two events of a paced replay: nobody gains by a model's stumbling.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// One telling of an entry.
pub struct Replay {
    entry: Arc<Entry>,
    events: Events,
    next: usize,
    pace: Option<Pace>,
}

struct Pace {
    /// When the last event was due, and when it once had come.
    last: Option<(Instant, u32)>,
    timer: Pin<Box<Sleep>>,
    /// While the gateway shuts down, nobody waits for a rhythm.
    hurry: Pin<Box<WaitForCancellationFutureOwned>>,
    hurried: bool,
}

impl Replay {
    /// Everything at once. `None` where the entry is no completion that can be streamed.
    pub fn instant(entry: Arc<Entry>) -> Option<Self> {
        let events = match &entry.answer {
            Answer::Streamed(events) => events.clone(),
            Answer::Whole(json) => Events::telling(json)?,
        };
        Some(Self { entry, events, next: 0, pace: None })
    }

    /// In its rhythm, with the first event at once and no pause over [`LONGEST_PAUSE`]; at once from `hurry` on.
    #[must_use]
    pub fn paced(mut self, hurry: &CancellationToken) -> Self {
        self.pace = Some(Pace {
            last: None,
            timer: Box::pin(sleep_until(Instant::now())),
            hurry: Box::pin(hurry.clone().cancelled_owned()),
            hurried: false,
        });
        self
    }

    /// What the completion holds.
    pub fn tally(&self) -> &Tally {
        &self.entry.tally
    }

    /// The next event, once it is due.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Some(event) = self.events.get(self.next) else { return Poll::Ready(Step::Ended) };
        if let Some(pace) = &mut self.pace
            && pace.poll_due(&event, cx).is_pending()
        {
            return Poll::Pending;
        }
        self.next += 1;
        Poll::Ready(Step::Event(Logged { event, at: Instant::now(), error: false }))
    }
}

impl Pace {
    fn poll_due(&mut self, event: &Event, cx: &mut Context<'_>) -> Poll<()> {
        self.hurried = self.hurried || self.hurry.as_mut().poll(cx).is_ready();
        if self.hurried {
            return Poll::Ready(());
        }
        let Some((last, after)) = self.last else {
            self.last = Some((Instant::now(), event.after));
            return Poll::Ready(());
        };
        let pause = Duration::from_millis(u64::from(event.after.saturating_sub(after))).min(LONGEST_PAUSE);
        let due = last + pause;
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        if pause.is_zero() || self.timer.as_mut().poll(cx).is_ready() {
            self.last = Some((due, event.after));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

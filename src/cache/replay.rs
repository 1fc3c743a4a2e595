//! Streams a cached answer: at once, or at the pace at which it once came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use families::family::Family;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::entry::{Answer, Entry};
use super::events::Events;
use crate::spend::tally::Tally;
use crate::stream::log::marked::Event;
use crate::stream::log::reader::{Read, Then};
use crate::stream::timer::Timer;

/// The longest pause between two events of a paced replay: nobody gains by a model's stumbling.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// One reading of an entry.
pub struct Replay {
    entry: Arc<Entry>,
    events: Events,
    next: usize,
    pace: Option<Pace>,
}

struct Pace {
    /// When the last event was due, and when it once had come.
    last: Option<(Instant, u32)>,
    due: Instant,
    timer: Timer,
    /// While the gateway shuts down, nobody waits for a rhythm.
    hurry: Pin<Box<WaitForCancellationFutureOwned>>,
    hurried: bool,
}

impl Replay {
    /// Everything at once. `None` where the entry is no completion that can be streamed.
    pub fn instant(entry: Arc<Entry>, family: &dyn Family) -> Option<Self> {
        let events = match &entry.answer {
            Answer::Streamed(events) => events.clone(),
            Answer::Whole(json) => Events::streaming(json, family)?,
        };
        Some(Self { entry, events, next: 0, pace: None })
    }

    /// In its rhythm, with the first event at once and no pause over [`LONGEST_PAUSE`]; at once from `hurry` on.
    #[must_use]
    pub fn paced(mut self, hurry: &CancellationToken) -> Self {
        let now = Instant::now();
        self.pace = Some(Pace {
            last: None,
            due: now,
            timer: Timer::at(now),
            hurry: Box::pin(hurry.clone().cancelled_owned()),
            hurried: false,
        });
        self
    }

    /// What the completion holds.
    pub fn tally(&self) -> &Tally {
        &self.entry.tally
    }

    /// Shows the events that are due to `each`, about `limit` bytes of them but at least one.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize, mut each: impl FnMut(Event<'_>)) -> Poll<Read> {
        let (mut shown, mut bytes) = (false, 0);
        loop {
            let Some(event) = self.events.get(self.next) else {
                return Poll::Ready(if shown { Read::Events(Then::End) } else { Read::Ended });
            };
            if shown && bytes + event.block.len() > limit {
                return Poll::Ready(Read::Events(Then::More));
            }
            if self.pace.as_mut().is_some_and(|pace| pace.poll_due(event.after, cx).is_pending()) {
                return if shown { Poll::Ready(Read::Events(Then::Wait)) } else { Poll::Pending };
            }
            shown = true;
            bytes += event.block.len();
            self.next += 1;
            each(Event::plain(self.next as u64, event.block, event.flags));
        }
    }
}

impl Pace {
    fn poll_due(&mut self, at: u32, cx: &mut Context<'_>) -> Poll<()> {
        self.hurried = self.hurried || self.hurry.as_mut().poll(cx).is_ready();
        if self.hurried {
            return Poll::Ready(());
        }
        let Some((last, after)) = self.last else {
            self.last = Some((Instant::now(), at));
            return Poll::Ready(());
        };
        let pause = Duration::from_millis(u64::from(at.saturating_sub(after))).min(LONGEST_PAUSE);
        let due = last + pause;
        if self.due != due {
            self.due = due;
            self.timer.set(due);
        }
        if pause.is_zero() || self.timer.poll(cx).is_ready() {
            self.last = Some((due, at));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

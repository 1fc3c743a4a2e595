//! Streams a cached answer: at once, or at its original pace.

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

/// The longest pause between two events of a paced replay. Longer pauses of the model are shortened.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// One replay of an entry.
pub struct Replay {
    entry: Arc<Entry>,
    events: Events,
    next: usize,
    pace: Option<Pace>,
}

struct Pace {
    /// When the last event was due, and its original time.
    last: Option<(Instant, u32)>,
    due: Instant,
    timer: Timer,
    /// Ready when the gateway shuts down: then the remaining events are sent at once.
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    hurried: bool,
}

impl Replay {
    /// Makes a replay that sends everything at once. Returns `None` if the entry is not a completion that can be streamed.
    pub fn instant(entry: Arc<Entry>, family: &dyn Family) -> Option<Self> {
        let events = match &entry.answer {
            Answer::Streamed(events) => events.clone(),
            Answer::Whole(json) => Events::streaming(json, family)?,
        };
        Some(Self { entry, events, next: 0, pace: None })
    }

    /// Makes the replay paced: the first event at once, no pause over [`LONGEST_PAUSE`], and everything at once after
    /// `shutdown`.
    #[must_use]
    pub fn paced(mut self, shutdown: &CancellationToken) -> Self {
        let now = Instant::now();
        self.pace = Some(Pace {
            last: None,
            due: now,
            timer: Timer::at(now),
            shutdown: Box::pin(shutdown.clone().cancelled_owned()),
            hurried: false,
        });
        self
    }

    /// Returns the counts of the completion.
    pub fn tally(&self) -> &Tally {
        &self.entry.tally
    }

    /// Passes the events that are due to `each`, about `limit` bytes of them but at least one event.
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
        self.hurried = self.hurried || self.shutdown.as_mut().poll(cx).is_ready();
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

//! The deadlines of one stream: heartbeat, idle timeout and maximum duration, with one timer for all of them.
//!
//! Deadlines only move later, so the timer is set for the earliest deadline of the past, and an event costs no timer work.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::settings::Stream;
use super::timer::Timer;

/// The deadlines of one stream.
pub struct Deadlines {
    timer: Timer,
    heartbeat: Option<Duration>,
    idle: Option<Duration>,
    end: Option<Instant>,
    /// When something was last sent.
    sent: Instant,
}

/// Which deadline is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing was sent for the heartbeat interval.
    Heartbeat,
    /// The idle timeout of the upstream is over.
    Idle,
    /// The stream has reached its maximum duration.
    End,
}

impl Deadlines {
    /// Makes deadlines with heartbeats only, each after this silence, the first one after `first`. Some proxies hold the
    /// head back until a body begins, so the first one may be due at once.
    pub fn heartbeat(every: Duration, first: Duration) -> Self {
        let now = Instant::now();
        // as if something had been sent `every - first` ago
        let sent = (now + first).checked_sub(every).unwrap_or(now);
        let timer = Timer::at(now + first);
        Self { timer, heartbeat: Some(every), idle: None, end: None, sent }
    }

    /// Makes the deadlines of a stream that is read from an upstream and began at `started`. A stream that goes into a log
    /// has no heartbeats, because each reader of the log has its own. `heard` is as in [`Deadlines::poll`].
    pub fn of_upstream(rules: &Stream, started: Instant, heartbeats: bool, heard: Option<Instant>) -> Self {
        let (sent, end) = (Instant::now(), started + rules.max_duration);
        let heartbeat = rules.heartbeat.filter(|_| heartbeats);
        let idle_end = heard.map_or(end, |heard| heard + rules.idle_timeout);
        let first = heartbeat.map_or(end, |every| sent + every).min(end).min(idle_end);
        Self { timer: Timer::at(first), heartbeat, idle: Some(rules.idle_timeout), end: Some(end), sent }
    }

    /// Notes that something is sent now.
    pub fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Whether the stream has reached its maximum duration at this time.
    pub fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// Starts the idle timeout at `heard`. This is the only moment at which a deadline moves nearer.
    pub fn watch_idle(&mut self, heard: Instant) {
        let next = self.next(Some(heard));
        self.timer.set(next);
    }

    /// Ready once a deadline is reached. `heard` is when the upstream last sent bytes, or `None` while its silence does not
    /// count. A heartbeat that is due while none may be written is left out.
    pub fn poll(&mut self, cx: &mut Context<'_>, heard: Option<Instant>, may_write: impl Fn() -> bool) -> Poll<Due> {
        while self.timer.poll(cx).is_ready() {
            let now = Instant::now();
            if self.is_over(now) {
                return Poll::Ready(Due::End);
            }
            if self.idle_end(heard).is_some_and(|end| now >= end) {
                return Poll::Ready(Due::Idle);
            }
            let due = self.heartbeat.is_some_and(|every| now >= self.sent + every);
            if due {
                self.sent = now;
            }
            let next = self.next(heard);
            self.timer.set(next);
            if due && may_write() {
                return Poll::Ready(Due::Heartbeat);
            }
        }
        Poll::Pending
    }

    fn idle_end(&self, heard: Option<Instant>) -> Option<Instant> {
        Some(heard? + self.idle?)
    }

    /// Returns the earliest deadline. There is always a heartbeat or an end.
    fn next(&self, heard: Option<Instant>) -> Instant {
        let heartbeat = self.heartbeat.map(|every| self.sent + every);
        let deadlines = [self.end, self.idle_end(heard), heartbeat];
        deadlines.into_iter().flatten().min().unwrap_or(self.sent)
    }
}

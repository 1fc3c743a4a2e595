//! A timer that costs nothing until something waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that is armed when a wait begins and disarmed when it ends.
///
/// The timer is made at the first wait and moved at later ones; disarming does not touch it. It may therefore wake its task once
/// without need.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Deadline {
    /// Starts the wait, unless it has begun already.
    pub(super) fn arm(&mut self, after: Duration) {
        if self.armed {
            return;
        }
        self.armed = true;
        let at = Instant::now() + after;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Ends the wait.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Ready if the wait is too long; otherwise wakes the task when it is.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) if self.armed => timer.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_wait_expires_once_it_is_too_long() {
        let begun = Instant::now();
        let mut deadline = Deadline::default();
        deadline.arm(SECOND);
        deadline.arm(9 * SECOND);
        poll_fn(|cx| deadline.poll_expired(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_ended_does_not_expire_and_the_next_has_its_own_time() {
        let begun = Instant::now();
        let mut deadline = Deadline::default();
        deadline.arm(SECOND);
        deadline.disarm();
        assert!(tokio::time::timeout(5 * SECOND, poll_fn(|cx| deadline.poll_expired(cx))).await.is_err());
        deadline.arm(SECOND);
        poll_fn(|cx| deadline.poll_expired(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 6);
    }
}

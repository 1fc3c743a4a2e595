//! The timer of the streams. It costs little while it is not due: a stream is polled several times per event, and its
//! deadlines are rare.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that can be moved.
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// The task to wake; `None` from each `set` to the next poll.
    waker: Option<Waker>,
}

impl Timer {
    /// Makes a timer for this instant.
    pub fn at(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline)), waker: None }
    }

    /// Moves the timer to this instant.
    pub fn set(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline);
        self.waker = None;
    }

    /// Ready once it is due, and until it is set again. Otherwise it wakes the task that polled last.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.sleep.is_elapsed() && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // unconstrained: reading may have used up the task's budget, and the deadline must still be checked
        let polled = pin!(unconstrained(self.sleep.as_mut())).poll(cx);
        self.waker = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn poll(self: &Arc<Self>, timer: &mut Timer) -> Poll<()> {
            timer.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
        }

        fn woken(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_the_task_that_polled_last_each_time_it_is_due() {
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut timer = Timer::at(Instant::now() + SECOND);
        assert!(first.poll(&mut timer).is_pending());
        for task in [&first, &second, &first, &first] {
            for _ in 0..3 {
                assert!(task.poll(&mut timer).is_pending());
            }
            advance(SECOND).await;
            assert_eq!((task.woken(), first.woken() + second.woken()), (1, 0));
            assert!(task.poll(&mut timer).is_ready());
            assert!(task.poll(&mut timer).is_ready(), "until it is set anew");
            timer.set(Instant::now() + SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_set_anew_is_due_then_and_not_before() {
        let task = Arc::new(Task::default());
        let mut timer = Timer::at(Instant::now() + SECOND);
        assert!(task.poll(&mut timer).is_pending());
        timer.set(Instant::now() + 3 * SECOND);
        advance(2 * SECOND).await;
        assert!(task.poll(&mut timer).is_pending());
        advance(SECOND).await;
        assert_eq!(task.woken(), 1);
        assert!(task.poll(&mut timer).is_ready());
        // due before the first poll
        timer.set(Instant::now() + SECOND);
        advance(2 * SECOND).await;
        assert!(task.poll(&mut timer).is_ready());
    }
}

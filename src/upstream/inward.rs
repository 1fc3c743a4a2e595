//! Wake-ups that stay inside: two halves of a connection that wake each other need not wake their task.
//!
//! hyper's connection and its body talk through a channel, and each wakes the other's task at every chunk. Here both are
//! polled by one task, in one poll: without this, each event would cost a second, idle poll of the whole connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Nobody polls: a wake-up goes to the task.
const IDLE: u8 = 0;
/// A poll is under way, and no wake-up has come since it began.
const POLLING: u8 = 1;
/// A poll is under way, and has to be done again before it may be pending.
const WOKEN: u8 = 2;

/// More rounds than two halves need to settle; whatever still wakes then goes through the task, behind its neighbours.
const MAX_ROUNDS: usize = 4;

/// Polls something with a waker of its own.
pub(super) struct Inward {
    shared: Arc<Shared>,
    waker: Waker,
}

struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Inward {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    /// Polls until it is ready, or pending with nothing having woken it meanwhile.
    ///
    /// As with any poll, one that was ready promises no wake-up: whoever wants more polls again.
    pub(super) fn poll<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.shared.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..MAX_ROUNDS {
            self.shared.state.store(POLLING, Ordering::SeqCst);
            let polled = poll(&mut inner);
            let undisturbed = self.shared.state.swap(IDLE, Ordering::SeqCst) == POLLING;
            if polled.is_ready() || undisturbed {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let during_a_poll = |state| (state != IDLE).then_some(WOKEN);
        if self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, during_a_poll).is_err() {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_wake_up_by_the_poll_itself_repeats_the_poll_and_spares_the_task() {
        let (count, waker) = counted();
        let mut polls = 0;
        let polled = Inward::new().poll(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, polls, count.0.load(Ordering::SeqCst)), (Poll::Pending, 2, 0));
    }

    #[test]
    fn a_wake_up_between_polls_wakes_the_latest_task() {
        let inward = Inward::new();
        let (first, first_waker) = counted();
        let (second, second_waker) = counted();
        let mut inner = None;
        for waker in [&first_waker, &second_waker] {
            let _ = inward.poll(&mut Context::from_waker(waker), |cx| {
                inner = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
        }
        inner.unwrap().wake();
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    }

    #[test]
    fn what_wakes_itself_for_ever_goes_through_its_task() {
        let (count, waker) = counted();
        let polled = Inward::new().poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((polled, count.0.load(Ordering::SeqCst)), (Poll::Pending, 1));
    }

    #[test]
    fn no_wake_up_of_another_thread_is_lost() {
        let inward = Inward::new();
        let (count, waker) = counted();
        for round in 0..2_000 {
            let before = count.0.load(Ordering::SeqCst);
            let mut polls = 0;
            let handle = std::cell::RefCell::new(None);
            let _ = inward.poll(&mut Context::from_waker(&waker), |cx| {
                polls += 1;
                if polls == 1 {
                    let waker = cx.waker().clone();
                    *handle.borrow_mut() = Some(std::thread::spawn(move || waker.wake()));
                }
                Poll::<()>::Pending
            });
            handle.take().unwrap().join().unwrap();
            let woken = count.0.load(Ordering::SeqCst) - before;
            assert_eq!(polls - 1 + woken, 1, "round {round}: either polled again or woken, and only once");
        }
    }
}

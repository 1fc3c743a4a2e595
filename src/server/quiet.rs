//! Waits for a rare event beside a busy future, at next to no cost for each poll of the busy one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only after its own waker was woken.
///
/// A connection is polled for each event of each stream, and also waits for the drain, whose token all connections share behind a
/// lock. A poll of this future costs one load of a flag of this task.
pub(super) struct Quiet {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    signal: Option<Arc<Signal>>,
}

struct Signal {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Quiet {
    /// Polls nothing yet.
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { future: Box::pin(future), signal: None }
    }

    /// Like the future's own `poll`. Must not be called again once it was ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let signal = match &self.signal {
            Some(signal) if signal.task.will_wake(cx.waker()) => {
                if !signal.woken.swap(false, Ordering::Acquire) {
                    return Poll::Pending;
                }
                signal.clone()
            }
            // the first poll, or the future has another task now
            _ => {
                let signal = Arc::new(Signal { woken: AtomicBool::new(false), task: cx.waker().clone() });
                self.signal.insert(signal).clone()
            }
        };
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(signal)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    /// A `Quiet` around a channel, and how often it was polled inside.
    fn counted() -> (Quiet, oneshot::Sender<()>, Arc<AtomicUsize>) {
        let (send, mut receive) = oneshot::channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let counter = polls.clone();
        let quiet = Quiet::new(async move {
            poll_fn(|cx| {
                counter.fetch_add(1, Ordering::Relaxed);
                Pin::new(&mut receive).poll(cx)
            })
            .await
            .unwrap();
        });
        (quiet, send, polls)
    }

    #[tokio::test]
    async fn it_wakes_its_task() {
        let (mut quiet, send, polls) = counted();
        let task = tokio::spawn(async move { poll_fn(|cx| quiet.poll(cx)).await });
        tokio::task::yield_now().await;
        send.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_is_not_polled_again_before_it_asked() {
        let (mut quiet, send, polls) = counted();
        for _ in 0..5 {
            assert!(poll_fn(|cx| Poll::Ready(quiet.poll(cx))).await.is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        send.send(()).unwrap();
        assert!(poll_fn(|cx| Poll::Ready(quiet.poll(cx))).await.is_ready());
    }

    #[test]
    fn a_new_task_is_the_one_that_is_woken() {
        let (mut quiet, send, _) = counted();
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let [old, new] = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
        for task in [&old, &new] {
            assert!(quiet.poll(&mut Context::from_waker(&Waker::from(task.clone()))).is_pending());
        }
        send.send(()).unwrap();
        assert_eq!((old.0.load(Ordering::Relaxed), new.0.load(Ordering::Relaxed)), (0, 1));
    }
}

//! Keeps the tasks running that live as long as the process. One that panics or returns is restarted, logged and counted. One that
//! does so again and again is given up: the process then ends, and a supervisor outside starts it anew.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus::{IntCounter, IntCounterVec};
use tokio::time::{Instant, sleep};

/// A task that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Its name, which is the label `task` of the metric.
    pub task: &'static str,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task } = self;
        let (most, seconds) = (Restarts::MOST, Restarts::WINDOW.as_secs());
        write!(f, "the task `{task}` failed more than {most} times within {seconds} s: this is a defect of tokenway")
    }
}

impl std::error::Error for Failed {}

/// Runs a task, and restarts it while `is_over` says that it is not at its end.
///
/// # Errors
/// It failed more than five times within a minute.
pub async fn keep<F: Future<Output = ()>>(
    task: &'static str,
    restarts: &IntCounterVec,
    is_over: impl Fn() -> bool,
    mut start: impl FnMut() -> F,
) -> Result<(), Failed> {
    let (begun, mut budget) = (Instant::now(), Restarts::default());
    while !run(task, restarts, &is_over, &mut start).await {
        let Some(wait) = budget.next(begun.elapsed()) else { return Err(Failed { task }) };
        sleep(wait).await;
    }
    Ok(())
}

/// Spawns the task of one answer, which is not restarted. A panic is counted in `panics`.
pub fn spawn_answer(panics: &IntCounter, task: impl Future<Output = ()> + Send + 'static) {
    let panics = panics.clone();
    tokio::spawn(async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            panics.inc();
        }
    });
}

/// Runs a task that the gateway can do without for a while. It is restarted after each panic, at most once in ten seconds if it
/// fails again and again. It ends when it returns.
pub async fn keep_always<F: Future<Output = ()>>(
    task: &'static str,
    restarts: IntCounterVec,
    mut start: impl FnMut() -> F,
) {
    let (begun, mut budget) = (Instant::now(), Restarts::default());
    while !run(task, &restarts, &|| true, &mut start).await {
        sleep(budget.next(begun.elapsed()).unwrap_or(Restarts::LONG)).await;
    }
}

/// Runs it once; true if it is at its end.
async fn run<F: Future<Output = ()>>(
    task: &'static str,
    restarts: &IntCounterVec,
    is_over: &impl Fn() -> bool,
    start: &mut impl FnMut() -> F,
) -> bool {
    let how = match AssertUnwindSafe(async { start().await }).catch_unwind().await {
        Ok(()) if is_over() => return true,
        Ok(()) => "returned",
        Err(_) => "panicked",
    };
    restarts.with_label_values(&[task]).inc();
    tracing::error!(task, "a task {how} that lives as long as the process: this is a defect of tokenway");
    false
}

/// How often and when a task may be restarted. Times are those since any fixed moment.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Duration>);

impl Restarts {
    /// The most restarts within [`Self::WINDOW`].
    const MOST: usize = 5;
    const WINDOW: Duration = Duration::from_secs(60);
    /// The wait before the first restart; it doubles with each restart in the window.
    const FIRST: Duration = Duration::from_millis(10);
    /// The wait of a task that is never given up, once it has used its restarts.
    const LONG: Duration = Duration::from_secs(10);

    /// The wait before the restart after a failure at `now`; `None` if there were too many.
    fn next(&mut self, now: Duration) -> Option<Duration> {
        self.0.retain(|at| now.saturating_sub(*at) < Self::WINDOW);
        let before = self.0.len();
        (before < Self::MOST).then(|| {
            self.0.push_back(now);
            Self::FIRST * (1 << before)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use prometheus::Opts;
    use proptest::prelude::*;

    use super::*;

    fn restarts() -> IntCounterVec {
        IntCounterVec::new(Opts::new("restarts", "restarts"), &["task"]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_returns_is_restarted_and_counted() {
        let (restarts, starts) = (restarts(), Cell::new(0));
        let kept = keep(
            "t",
            &restarts,
            || starts.get() == 4,
            || {
                starts.set(starts.get() + 1);
                assert_ne!(starts.get(), 1, "before its first await");
                let start = starts.get();
                async move { assert_ne!(start, 2, "in its future") }
            },
        );
        assert_eq!(kept.await, Ok(()));
        assert_eq!((starts.get(), restarts.with_label_values(&["t"]).get()), (4, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_again_and_again_is_given_up() {
        let (restarts, starts) = (restarts(), Cell::new(0));
        let kept = keep(
            "t",
            &restarts,
            || false,
            || {
                starts.set(starts.get() + 1);
                async {}
            },
        );
        assert_eq!(kept.await, Err(Failed { task: "t" }));
        assert_eq!(starts.get(), Restarts::MOST + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_now_and_then_is_never_given_up() {
        let (restarts, starts, begun) = (restarts(), Cell::new(0), Instant::now());
        let kept = keep(
            "t",
            &restarts,
            || false,
            || {
                starts.set(starts.get() + 1);
                async { sleep(Duration::from_secs(13)).await }
            },
        );
        assert!(tokio::time::timeout(Duration::from_secs(3600), kept).await.is_err());
        assert!(starts.get() > 270 && begun.elapsed().as_secs() == 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_must_not_be_given_up_goes_on_after_any_number_of_panics() {
        let (restarts, starts) = (restarts(), Cell::new(0));
        keep_always("t", restarts, || {
            starts.set(starts.get() + 1);
            let start = starts.get();
            async move { assert_eq!(start, 20) }
        })
        .await;
        assert_eq!(starts.get(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_runs_is_not_disturbed() {
        let restarts = restarts();
        let kept = keep("t", &restarts, || false, pending);
        assert!(tokio::time::timeout(Duration::from_secs(3600), kept).await.is_err());
        assert_eq!(restarts.with_label_values(&["t"]).get(), 0);
    }

    proptest! {
        #[test]
        fn no_window_has_more_restarts_than_it_may(pauses in prop::collection::vec(0u64..40_000, 0..100)) {
            let (mut budget, mut now, mut granted) = (Restarts::default(), Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                let recent = granted.iter().filter(|at: &&Duration| now - **at < Restarts::WINDOW).count();
                let wait = budget.next(now);
                prop_assert_eq!(wait.is_some(), recent < Restarts::MOST);
                if wait.is_some() {
                    granted.push(now);
                }
            }
        }
    }
}

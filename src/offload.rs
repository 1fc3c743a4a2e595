//! Runs work on large inputs outside the worker threads.
//!
//! A worker thread forwards the events of many streams. 4 MiB of small JSON values take up to 72 ms, in which it could
//! forward none.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// Work on inputs up to this size takes about a millisecond, and is done in place.
pub const IN_PLACE: usize = 64 * 1024;

/// One permit for each core: more concurrent work would not end sooner, and would take the cores from the workers.
static PERMITS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))));

/// Runs `work` on an input of this many bytes: in place if they are few, else on another thread, once a permit is free.
///
/// # Errors
/// The work panicked on its thread.
pub async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if bytes <= IN_PLACE {
        return Ok(work());
    }
    // the semaphore is never closed; the permit is held until the work ends, also if its caller has left
    let permit = Arc::clone(&PERMITS).acquire_owned().await.ok();
    tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn small_work_is_done_in_place_and_large_work_on_another_thread() {
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(run(IN_PLACE, thread).await.unwrap(), here);
        assert_ne!(run(IN_PLACE + 1, thread).await.unwrap(), here);
    }

    #[tokio::test]
    async fn no_more_large_work_runs_at_once_than_there_are_cores() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            (0..1000).for_each(|_| std::thread::yield_now());
            RUNNING.fetch_sub(1, Ordering::SeqCst);
        };
        futures_util::future::join_all((0..64).map(|_| run(IN_PLACE + 1, work))).await;
        let cores = std::thread::available_parallelism().unwrap().get();
        assert!((1..=cores).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?}");
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_gives_its_permit_back() {
        for _ in 0..64 {
            assert!(run(IN_PLACE + 1, || panic!("on purpose")).await.unwrap_err().is_panic());
        }
    }
}

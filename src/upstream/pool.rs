//! The idle connections to one upstream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::connect::Transport;
use super::connection::Connection;

/// Most idle connections to one upstream.
const MAX_IDLE: usize = 256;

/// Idle connections; the most recently used one is at the back.
pub(super) struct Pool<T = Transport> {
    keep_alive: Duration,
    max_age: Duration,
    /// No connection is stored any more.
    retired: AtomicBool,
    idle: Mutex<VecDeque<(Connection<T>, Instant)>>,
}

impl<T: AsyncRead + Unpin> Pool<T> {
    /// Makes an empty pool, which closes a connection that was not used for `keep_alive`, or that is older than `max_age`.
    pub(super) fn new(keep_alive: Duration, max_age: Duration) -> Self {
        Self { keep_alive, max_age, retired: AtomicBool::new(false), idle: Mutex::new(VecDeque::new()) }
    }

    /// Takes the most recently used connection, because the upstream is least likely to close it.
    pub(super) fn take(&self) -> Option<Connection<T>> {
        let now = Instant::now();
        loop {
            let (mut connection, since) = self.idle().pop_back()?;
            if self.is_young(&connection, since, now) && connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Returns a connection to the pool, if it is still open. The oldest one is closed if there are too many, or if it is
    /// too old.
    pub(super) fn return_idle(&self, mut connection: Connection<T>) {
        let now = Instant::now();
        if !self.is_young(&connection, now, now) || !connection.is_reusable() {
            return;
        }
        let mut idle = self.idle();
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        idle.push_back((connection, now));
        let stale = idle.front().is_some_and(|(connection, since)| !self.is_young(connection, *since, now));
        if stale || idle.len() > MAX_IDLE {
            idle.pop_front();
        }
    }

    /// Closes all connections, and from now on each that is returned.
    pub(super) fn retire(&self) {
        let mut idle = self.idle();
        self.retired.store(true, Ordering::Relaxed);
        idle.clear();
    }

    /// Closes connections that were not used for `keep_alive`, or that the upstream has closed.
    pub(super) fn sweep(&self, now: Instant) {
        let is_usable = |(connection, since): &mut (Connection<T>, Instant)| {
            self.is_young(connection, *since, now) && connection.is_reusable()
        };
        self.idle().retain_mut(is_usable);
    }

    /// Whether a connection that is idle `since` may still be used: by its age, and by both sides' idle timeouts.
    fn is_young(&self, connection: &Connection<T>, since: Instant, now: Instant) -> bool {
        let keep_alive = connection.keep_alive.map_or(self.keep_alive, |theirs| theirs.min(self.keep_alive));
        now.duration_since(since) < keep_alive && now.duration_since(connection.opened) < self.max_age
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Connection<T>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::script::{Script, Step};
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(5);
    const MAX_AGE: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_millis(1);

    fn pool() -> Pool<Script> {
        Pool::new(KEEP_ALIVE, MAX_AGE)
    }

    fn return_idle(pool: &Pool<Script>) -> Script {
        let transport = Script::new(0, []);
        pool.return_idle(Connection::new(transport.clone()));
        transport
    }

    fn is_taken(pool: &Pool<Script>, expected: &Script) -> bool {
        pool.take().is_some_and(|connection| connection.transport.is(expected))
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_was_used_last_is_taken_first_and_each_once() {
        let pool = pool();
        let (first, second) = (return_idle(&pool), return_idle(&pool));
        assert!(is_taken(&pool, &second) && is_taken(&pool, &first));
        assert!(pool.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_used_within_keep_alive_and_not_from_then_on() {
        let pool = pool();
        for (idle, used) in [(KEEP_ALIVE - MOMENT, true), (KEEP_ALIVE, false)] {
            let connection = return_idle(&pool);
            advance(idle).await;
            assert_eq!(is_taken(&pool, &connection), used);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_upstream_s_own_idle_timeout_and_the_age_of_a_connection_bound_its_use() {
        let pool = pool();
        let second = Duration::from_secs(1);
        for (keep_alive, idle, used) in [
            (Some(second * 2), second, true),
            (Some(second * 2), second * 2, false),
            (Some(Duration::ZERO), Duration::ZERO, false),
        ] {
            pool.return_idle(Connection { keep_alive, ..Connection::new(Script::new(0, [])) });
            advance(idle).await;
            assert_eq!(pool.take().is_some(), used, "{keep_alive:?} {idle:?}");
        }
        let mut connection = Connection::new(Script::new(0, []));
        for _ in 0..59 {
            advance(second).await;
            pool.return_idle(connection);
            connection = pool.take().expect("it is younger than a minute");
        }
        advance(second).await;
        pool.return_idle(connection);
        assert!(pool.take().is_none() && pool.idle().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_cooperative_budget_a_closed_connection_is_closed() {
        // a resource of tokio: it takes budget, which a script does not
        let (near, far) = tokio::io::duplex(1);
        drop(far);
        let mut closed = Connection::new(near);
        // the budget of this task is used up: the read returns pending, although the connection is closed
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(!closed.is_reusable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_closed_or_was_not_silent_is_never_taken() {
        for step in [Step::End, Step::Break, Step::Bytes(b"x".to_vec())] {
            let pool = pool();
            pool.return_idle(Connection::new(Script::new(0, [step.clone()])));
            assert_eq!(pool.idle().len(), 0, "{step:?}");
            let connection = return_idle(&pool);
            connection.then(step.clone());
            assert!(pool.take().is_none(), "{step:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retired_pool_has_no_connection_and_stores_none() {
        let pool = pool();
        return_idle(&pool);
        pool.retire();
        return_idle(&pool);
        assert!(pool.idle().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_closes_what_is_too_old_or_closed_and_nothing_else() {
        let pool = pool();
        return_idle(&pool);
        advance(MOMENT).await;
        let closed = return_idle(&pool);
        let good = return_idle(&pool);
        closed.then(Step::End);
        advance(KEEP_ALIVE - MOMENT).await;
        pool.sweep(Instant::now());
        assert_eq!(pool.idle().len(), 1);
        assert!(is_taken(&pool, &good));
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_closes_the_oldest_connection_when_it_is_too_old_or_one_too_many() {
        let pool = pool();
        return_idle(&pool);
        advance(KEEP_ALIVE).await;
        return_idle(&pool);
        assert_eq!(pool.idle().len(), 1);
        let oldest = pool.take();
        (0..300).for_each(|_| drop(return_idle(&pool)));
        assert_eq!((oldest.is_some(), pool.idle().len()), (true, 256));
    }
}

//! The API keys of one upstream: a key that the upstream refuses or limits rests, and the request goes on with the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use families::fault::Fault;
use families::refusal::Refusal;
use tokio::time::Instant;

use super::breaker::{Breaker, Permit};
use super::circuit::{CoolDown, Outcome};

/// The keys of one upstream, each with a circuit breaker. A single key has none: it never rests.
pub struct KeyPool {
    breakers: Vec<Arc<Breaker>>,
    /// Where the next request begins: the keys take turns.
    next: AtomicUsize,
    cool_down: CoolDown,
}

/// The keys that one request has tried.
pub struct KeyTurn<'a> {
    pool: &'a KeyPool,
    /// The keys in the order of this request.
    left: Vec<usize>,
    current: usize,
    permit: Option<Permit>,
}

impl KeyPool {
    /// Makes a pool of so many keys.
    pub fn new(keys: usize, cool_down: CoolDown) -> Self {
        let breakers = if keys > 1 { (0..keys).map(|_| Breaker::new(None)).collect() } else { Vec::new() };
        Self { breakers, next: AtomicUsize::new(0), cool_down }
    }

    /// Selects the first key of a request: the next one in turn that does not rest. If all rest, the next one in turn.
    pub fn begin(&self) -> KeyTurn<'_> {
        let keys = self.breakers.len();
        let mut turn = KeyTurn { pool: self, left: Vec::new(), current: 0, permit: None };
        if keys > 1 {
            let first = self.next.fetch_add(1, Ordering::Relaxed) % keys;
            turn.left = (0..keys).rev().map(|at| (first + at) % keys).collect();
            if !turn.advance() {
                turn.current = first;
                turn.permit = Some(self.breakers[first].acquire_anyway(Instant::now(), self.cool_down));
            }
        }
        turn
    }
}

impl KeyTurn<'_> {
    /// Returns the index of the selected key.
    pub fn key(&self) -> usize {
        self.current
    }

    /// Reports that the upstream has accepted the key.
    pub fn accepted(&mut self) {
        self.report(Outcome::Success);
    }

    /// Reports a refusal. Returns true if another key is selected, with which the request goes on.
    pub fn refused(&mut self, refusal: &Refusal) -> bool {
        if !is_about_the_key(refusal.fault) {
            self.accepted();
            return false;
        }
        // a wait, even of no time, opens the circuit at once
        self.report(Outcome::Failure { retry_after: Some(refusal.retry_after.unwrap_or(Duration::ZERO)) });
        self.advance()
    }

    fn report(&mut self, outcome: Outcome) {
        if let Some(mut permit) = self.permit.take() {
            permit.report(outcome, Instant::now());
        }
    }

    /// Selects the next key that was not tried and does not rest.
    fn advance(&mut self) -> bool {
        while let Some(key) = self.left.pop() {
            if let Some(permit) = self.pool.breakers[key].acquire(Instant::now(), self.pool.cool_down) {
                (self.current, self.permit) = (key, Some(permit));
                return true;
            }
        }
        false
    }
}

/// Whether another key of the same upstream may get another answer: 401, 402, 403 and 429 have these meanings.
fn is_about_the_key(fault: Fault) -> bool {
    matches!(fault, Fault::Credentials | Fault::QuotaExhausted | Fault::RateLimited)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const COOL_DOWN: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };

    fn refusal(fault: Fault) -> Refusal {
        Refusal::from(fault)
    }

    /// Returns the key of a request that is accepted.
    fn accepted(pool: &KeyPool) -> usize {
        let mut turn = pool.begin();
        turn.accepted();
        turn.key()
    }

    #[tokio::test(start_paused = true)]
    async fn keys_take_turns() {
        let pool = KeyPool::new(3, COOL_DOWN);
        assert_eq!((0..6).map(|_| accepted(&pool)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_rests_for_its_cool_down_and_the_request_goes_on_with_the_next() {
        for fault in [Fault::Credentials, Fault::QuotaExhausted, Fault::RateLimited] {
            let pool = KeyPool::new(2, COOL_DOWN);
            let mut turn = pool.begin();
            assert!(turn.refused(&refusal(fault)) && turn.key() == 1);
            turn.accepted();
            assert_eq!((0..3).map(|_| accepted(&pool)).collect::<Vec<_>>(), [1, 1, 1], "{fault:?}");
            advance(COOL_DOWN.first).await;
            let keys: Vec<usize> = (0..4).map(|_| accepted(&pool)).collect();
            assert!(keys.contains(&0), "{keys:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_is_tried_once_and_if_all_rest_one_is_tried_anyway() {
        let pool = KeyPool::new(3, COOL_DOWN);
        let mut turn = pool.begin();
        let refused = refusal(Fault::RateLimited);
        assert!(turn.refused(&refused) && turn.refused(&refused) && !turn.refused(&refused));
        let mut turn = pool.begin();
        assert!(!turn.refused(&refused), "no other key is awake");
    }

    #[tokio::test(start_paused = true)]
    async fn the_upstream_s_wait_is_the_rest() {
        let pool = KeyPool::new(2, COOL_DOWN);
        let wait = Refusal { retry_after: Some(Duration::from_secs(20)), ..refusal(Fault::RateLimited) };
        assert!(pool.begin().refused(&wait));
        advance(Duration::from_secs(19)).await;
        assert_eq!((0..3).map(|_| accepted(&pool)).collect::<Vec<_>>(), [1, 1, 1]);
        advance(Duration::from_secs(1)).await;
        assert!((0..3).map(|_| accepted(&pool)).any(|key| key == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_refusal_says_nothing_about_the_key_and_a_single_key_never_rests() {
        let pool = KeyPool::new(2, COOL_DOWN);
        for fault in [Fault::Invalid, Fault::Overloaded, Fault::NotFound, Fault::ContextLengthExceeded, Fault::Other] {
            assert!(!pool.begin().refused(&refusal(fault)), "{fault:?}");
        }
        assert_eq!((0..2).map(|_| accepted(&pool)).collect::<Vec<_>>(), [1, 0]);
        for keys in [0, 1] {
            let single = KeyPool::new(keys, COOL_DOWN);
            for _ in 0..9 {
                let mut turn = single.begin();
                assert!(!turn.refused(&refusal(Fault::Credentials)) && turn.key() == 0);
            }
        }
    }
}

//! The circuit breaker of one model, one upstream or the classifier: a [`Circuit`] with a clock, a lock and a gauge.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;

use crate::failover::circuit::{Circuit, CoolDown, Outcome, Pass, State};

/// A circuit breaker.
pub struct Breaker {
    circuit: Mutex<Circuit>,
    began: Instant,
    gauge: Option<IntGauge>,
}

/// The right to make one attempt. If it is dropped without a report, the attempt counts as cancelled.
pub struct Permit {
    breaker: Arc<Breaker>,
    pass: Pass,
    cool_down: CoolDown,
    reported: bool,
}

impl Breaker {
    /// Makes a breaker with a closed circuit. The gauge shows [`State::level`].
    pub fn new(gauge: Option<IntGauge>) -> Arc<Self> {
        gauge.iter().for_each(|gauge| gauge.set(State::Closed.level()));
        Arc::new(Self { circuit: Mutex::default(), began: Instant::now(), gauge })
    }

    /// Returns the state.
    pub fn state(&self) -> State {
        self.circuit().state()
    }

    /// Whether [`Breaker::acquire`] would give a permit.
    pub fn is_available(&self, now: Instant) -> bool {
        self.circuit().is_available(self.since_began(now))
    }

    /// Returns a permit for one attempt, or `None` while the circuit is open or another attempt probes it. `cool_down` is
    /// used if this attempt opens the circuit.
    pub fn acquire(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> Option<Permit> {
        let since = self.since_began(now);
        let pass = self.step(|circuit| match circuit.acquire(since) {
            Some((pass, then)) => (Some(pass), then),
            None => (None, circuit),
        })?;
        Some(self.permit(pass, cool_down))
    }

    /// Returns a permit even if the circuit is open: for a request that has no other candidate.
    pub fn acquire_anyway(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> Permit {
        let since = self.since_began(now);
        let pass = self.step(|circuit| circuit.acquire_anyway(since));
        self.permit(pass, cool_down)
    }

    fn permit(self: &Arc<Self>, pass: Pass, cool_down: CoolDown) -> Permit {
        Permit { breaker: Arc::clone(self), pass, cool_down, reported: false }
    }

    fn step<T>(&self, step: impl FnOnce(Circuit) -> (T, Circuit)) -> T {
        let mut circuit = self.circuit();
        let before = circuit.state();
        let (value, then) = step(*circuit);
        *circuit = then;
        if let Some(gauge) = &self.gauge
            && then.state() != before
        {
            gauge.set(then.state().level());
        }
        value
    }

    fn since_began(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        // every step under this lock is one assignment
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Reports the outcome of the attempt, as known at `now`. A stream reports twice: its first output, and a later failure.
    pub fn report(&mut self, outcome: Outcome, now: Instant) {
        self.reported = true;
        let since = self.breaker.since_began(now);
        self.breaker.step(|circuit| ((), circuit.after(self.pass, outcome, since, self.cool_down)));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.reported {
            self.report(Outcome::Cancelled, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const COOL_DOWN: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
    const FAILURE: Outcome = Outcome::Failure { retry_after: None };

    fn acquire(breaker: &Arc<Breaker>) -> Option<Permit> {
        breaker.acquire(Instant::now(), COOL_DOWN)
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_gives_no_permit_and_after_the_cool_down_one_at_a_time() {
        let breaker = Breaker::new(None);
        (0..5).for_each(|_| acquire(&breaker).expect("the circuit is closed").report(FAILURE, Instant::now()));
        assert!(!breaker.is_available(Instant::now()) && acquire(&breaker).is_none());
        advance(COOL_DOWN.first).await;
        let probe = acquire(&breaker).expect("the cool-down is over");
        assert!(!breaker.is_available(Instant::now()), "one attempt probes");
        drop(probe);
        let mut probe = acquire(&breaker).expect("the first probe was cancelled");
        probe.report(Outcome::Success, Instant::now());
        assert!(breaker.is_available(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_gauge_follows_the_state() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let breaker = Breaker::new(Some(gauge.clone()));
        assert_eq!(gauge.get(), State::Closed.level());
        (0..5).for_each(|_| breaker.acquire_anyway(Instant::now(), COOL_DOWN).report(FAILURE, Instant::now()));
        assert_eq!((gauge.get(), breaker.state()), (State::Open.level(), State::Open));
        advance(COOL_DOWN.first).await;
        let probe = acquire(&breaker);
        assert_eq!((gauge.get(), probe.is_some()), (State::Probing.level(), true));
    }
}

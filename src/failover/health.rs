//! The health of one model: its circuit breaker, that of its upstream, and the latency of its first outputs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failover::breaker::{Breaker, Permit};
use crate::failover::circuit::{CoolDown, Outcome, State};
use crate::failover::latency::Latency;
use crate::upstream::failure::{Blame, Failure};

/// The health of one model.
pub struct ModelHealth {
    model: Arc<Breaker>,
    /// Shared by all models of the upstream.
    upstream: Arc<Breaker>,
    latency: Mutex<Latency>,
}

/// The right to make one attempt at a model. If it is dropped without a report, the attempt counts as cancelled.
pub struct AttemptPermit {
    health: Arc<ModelHealth>,
    model: Permit,
    upstream: Permit,
    began: Instant,
}

impl ModelHealth {
    /// Makes the health of a new model at the upstream with this breaker.
    pub(super) fn new(model: Arc<Breaker>, upstream: Arc<Breaker>) -> Arc<Self> {
        Arc::new(Self { model, upstream, latency: Mutex::default() })
    }

    /// Returns the breaker of the upstream.
    pub(super) fn upstream(&self) -> &Arc<Breaker> {
        &self.upstream
    }

    /// Returns the states of the model and of its upstream.
    pub(super) fn states(&self) -> [State; 2] {
        [self.model.state(), self.upstream.state()]
    }

    /// Whether [`ModelHealth::acquire`] would give a permit.
    pub fn is_available(&self, now: Instant) -> bool {
        self.model.is_available(now) && self.upstream.is_available(now)
    }

    /// Returns a permit for one attempt, or `None` while the circuit of the model or of its upstream is open.
    pub fn acquire(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> Option<AttemptPermit> {
        let model = self.model.acquire(now, cool_down)?;
        let upstream = self.upstream.acquire(now, cool_down)?;
        Some(AttemptPermit { health: Arc::clone(self), model, upstream, began: now })
    }

    /// Returns a permit even if a circuit is open: for a request that has no other candidate.
    pub fn acquire_anyway(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> AttemptPermit {
        let model = self.model.acquire_anyway(now, cool_down);
        let upstream = self.upstream.acquire_anyway(now, cool_down);
        AttemptPermit { health: Arc::clone(self), model, upstream, began: now }
    }

    /// Returns the 95th percentile of the times to the model's first output, or `None` if there are too few.
    pub fn p95(&self) -> Option<Duration> {
        self.latency().p95()
    }

    fn latency(&self) -> MutexGuard<'_, Latency> {
        // a histogram is usable after any panic
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptPermit {
    /// Returns when the attempt began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Reports that the first output of a stream has come in.
    pub fn first_output(&mut self) {
        self.health.latency().observe(self.began.elapsed());
        self.succeeded();
    }

    /// Reports that the answer has come in.
    pub fn succeeded(&mut self) {
        self.report(Outcome::Success, Outcome::Success);
    }

    /// Reports that the attempt failed, before or after its first output.
    pub fn failed(&mut self, failure: &Failure) {
        let failed = Outcome::Failure { retry_after: failure.retry_after() };
        match failure.blame() {
            Blame::Upstream => self.report(Outcome::Cancelled, failed),
            // it is not known whether the upstream was reached
            Blame::Model if *failure == Failure::Deadline => self.report(failed, Outcome::Cancelled),
            Blame::Model => self.report(failed, Outcome::Success),
            Blame::Neither => self.succeeded(),
        }
    }

    /// Reports that another attempt had output first: this one's latency is at least the time so far.
    pub fn overtaken(self) {
        self.health.latency().observe(self.began.elapsed());
    }

    fn report(&mut self, model: Outcome, upstream: Outcome) {
        let now = Instant::now();
        self.model.report(model, now);
        self.upstream.report(upstream, now);
    }
}

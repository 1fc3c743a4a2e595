//! The health of one model: its circuit breaker, that of its upstream, and how late its first outputs are.

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

/// The right to make one attempt at a model. Dropped without a report, the attempt counts as cancelled.
pub struct AttemptPermit {
    health: Arc<ModelHealth>,
    model: Permit,
    upstream: Permit,
    began: Instant,
}

impl ModelHealth {
    /// The health of a model at the upstream with this breaker; nothing is known yet.
    pub(super) fn new(model: Arc<Breaker>, upstream: Arc<Breaker>) -> Arc<Self> {
        Arc::new(Self { model, upstream, latency: Mutex::default() })
    }

    /// The breaker of the upstream.
    pub(super) fn upstream(&self) -> &Arc<Breaker> {
        &self.upstream
    }

    /// The states of the model and of its upstream.
    pub(super) fn states(&self) -> [State; 2] {
        [self.model.state(), self.upstream.state()]
    }

    /// Whether [`ModelHealth::acquire`] would give a permit.
    pub fn is_available(&self, now: Instant) -> bool {
        self.model.is_available(now) && self.upstream.is_available(now)
    }

    /// A permit for one attempt; `None` while the circuit of the model or of its upstream is open.
    pub fn acquire(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> Option<AttemptPermit> {
        let model = self.model.acquire(now, cool_down)?;
        let upstream = self.upstream.acquire(now, cool_down)?;
        Some(AttemptPermit { health: Arc::clone(self), model, upstream, began: now })
    }

    /// A permit also while a circuit is open: for a request that has no other candidate.
    pub fn acquire_anyway(self: &Arc<Self>, now: Instant, cool_down: CoolDown) -> AttemptPermit {
        let model = self.model.acquire_anyway(now, cool_down);
        let upstream = self.upstream.acquire_anyway(now, cool_down);
        AttemptPermit { health: Arc::clone(self), model, upstream, began: now }
    }

    /// The 95th percentile of the times to the model's first output; `None` while too few are known.
    pub fn p95(&self) -> Option<Duration> {
        self.latency().p95()
    }

    fn latency(&self) -> MutexGuard<'_, Latency> {
        // a histogram is usable after any panic
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptPermit {
    /// When the attempt began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The first output of a stream came in at `now`.
    pub fn first_output(&mut self, now: Instant) {
        self.health.latency().observe(now.saturating_duration_since(self.began));
        self.report([Outcome::Success; 2], now);
    }

    /// The answer has come in.
    pub fn succeeded(&mut self) {
        self.report([Outcome::Success; 2], Instant::now());
    }

    /// The attempt failed, before or after its first output.
    pub fn failed(&mut self, failure: &Failure) {
        let failed = Outcome::Failure { retry_after: failure.retry_after() };
        let of_model_and_upstream = match failure.blame() {
            Blame::Upstream => [Outcome::Cancelled, failed],
            // it is not known whether the upstream was reached
            Blame::Model if *failure == Failure::Deadline => [failed, Outcome::Cancelled],
            Blame::Model => [failed, Outcome::Success],
            Blame::Nobody => [Outcome::Success; 2],
        };
        self.report(of_model_and_upstream, Instant::now());
    }

    /// Another attempt had output first: this one would have taken at least as long as it was waited for.
    pub fn overtaken(self) {
        self.health.latency().observe(self.began.elapsed());
    }

    fn report(&mut self, [model, upstream]: [Outcome; 2], now: Instant) {
        self.model.report(model, now);
        self.upstream.report(upstream, now);
    }
}

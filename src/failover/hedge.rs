//! Hedging: a second attempt beside one whose first output is late.

use std::time::Duration;

use crate::failover::health::ModelHealth;
use crate::failover::settings::{self, HedgeAfter};
use crate::metrics::Metrics;
use crate::models::ModelId;

/// A hedged request. The result is counted when this is dropped.
pub(super) struct Hedge<'a> {
    metrics: &'a Metrics,
    /// The index and the name of the slow model.
    slow: (ModelId, &'a str),
    /// The index and the name of the model of the hedged attempt.
    second: (ModelId, &'a str),
    result: &'static str,
}

impl<'a> Hedge<'a> {
    /// Counts that the hedged attempt begins.
    pub(super) fn new(metrics: &'a Metrics, slow: (ModelId, &'a str), second: (ModelId, &'a str)) -> Self {
        Self { metrics, slow, second, result: "abandoned" }
    }

    /// Records that this model answers.
    pub(super) fn answered_by(&mut self, model: ModelId) {
        self.result = match model {
            model if model == self.second.0 => "won",
            model if model == self.slow.0 => "lost",
            // both have failed, and a fallback answers
            _ => "failed",
        };
    }

    /// Records that no model answers.
    pub(super) fn failed(&mut self) {
        self.result = "failed";
    }
}

impl Drop for Hedge<'_> {
    fn drop(&mut self) {
        self.metrics.hedges.with_label_values(&[self.slow.1, self.second.1, self.result]).inc();
    }
}

/// Returns how long the first attempt may have no output before a hedged attempt begins; `None` = there is none.
pub(super) fn patience(rules: &settings::Hedge, health: &ModelHealth) -> Option<Duration> {
    match rules.after {
        HedgeAfter::P95 => health.p95(),
        HedgeAfter::Time(time) => Some(time),
    }
}

//! Hedging: a second attempt beside one whose first output is late.

use std::time::Duration;

use crate::failover::health::ModelHealth;
use crate::failover::settings::{self, HedgeAfter};
use crate::metrics::Metrics;
use crate::models::ModelId;

/// A hedged request. The result is counted when this is dropped.
pub(super) struct Hedge<'a> {
    metrics: &'a Metrics,
    /// The slow model and its name.
    slow: (ModelId, &'a str),
    /// The model that was asked beside it, and its name.
    second: (ModelId, &'a str),
    result: &'static str,
}

impl<'a> Hedge<'a> {
    /// The second attempt begins.
    pub(super) fn new(metrics: &'a Metrics, slow: (ModelId, &'a str), second: (ModelId, &'a str)) -> Self {
        Self { metrics, slow, second, result: "abandoned" }
    }

    /// This model answers.
    pub(super) fn answered_by(&mut self, model: ModelId) {
        self.result = match model {
            model if model == self.second.0 => "won",
            model if model == self.slow.0 => "lost",
            // both have failed, and a fallback answers
            _ => "failed",
        };
    }

    /// No model answers.
    pub(super) fn failed(&mut self) {
        self.result = "failed";
    }
}

impl Drop for Hedge<'_> {
    fn drop(&mut self) {
        self.metrics.hedges.with_label_values(&[self.slow.1, self.second.1, self.result]).inc();
    }
}

/// How long the first attempt may go without output before a second one begins; `None` = it may take any time.
pub(super) fn patience(rules: &settings::Hedge, health: &ModelHealth) -> Option<Duration> {
    match rules.after {
        HedgeAfter::P95 => health.p95(),
        HedgeAfter::Time(time) => Some(time),
    }
}

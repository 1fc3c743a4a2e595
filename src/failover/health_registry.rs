//! The health of all models and upstreams of this process, and its retry budgets. A reload keeps what it does not change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{IntGauge, IntGaugeVec};
use tokio::time::Instant;

use crate::failover::breaker::Breaker;
use crate::failover::circuit::State;
use crate::failover::health::ModelHealth;
use crate::failover::retry_budget::{Budget, Terms};
use crate::metrics::Metrics;
use crate::models::{Model, Table};
use crate::upstream::settings::Upstream;

/// The health of all models and upstreams of the running configuration.
pub struct HealthRegistry {
    metrics: Arc<Metrics>,
    began: Instant,
    known: Mutex<Vec<Known>>,
    retries: Mutex<Budget>,
    hedges: Mutex<Budget>,
}

/// A configured model and its health.
struct Known {
    model: Model,
    upstream: Upstream,
    health: Arc<ModelHealth>,
}

/// The health of one model, for the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthStatus {
    /// The model's name.
    pub model: String,
    /// Its upstream's name.
    pub upstream: String,
    /// The state of the model's circuit.
    pub of_model: State,
    /// The state of the upstream's circuit.
    pub of_upstream: State,
}

impl HealthRegistry {
    /// Makes an empty registry.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            known: Mutex::default(),
            retries: Mutex::default(),
            hedges: Mutex::default(),
        }
    }

    /// Returns the health of each model of this configuration, in its order. Unchanged models keep their health; the rest is
    /// discarded.
    pub fn adopt(&self, upstreams: &[Upstream], models: &Table) -> Vec<Arc<ModelHealth>> {
        let mut known = lock(&self.known);
        let breakers: Vec<Arc<Breaker>> = upstreams
            .iter()
            .map(|upstream| {
                let before = known.iter().find(|known| is_same_upstream(&known.upstream, upstream));
                before.map_or_else(|| self.upstream(upstream), |known| Arc::clone(known.health.upstream()))
            })
            .collect();
        let now_known: Vec<Known> = models
            .models()
            .iter()
            .map(|model| {
                let (upstream, breaker) = (&upstreams[model.upstream.0], &breakers[model.upstream.0]);
                let same =
                    |known: &&Known| is_same_upstream(&known.upstream, upstream) && is_same_model(&known.model, model);
                let before = known.iter().find(same).map(|known| Arc::clone(&known.health));
                let health = before.unwrap_or_else(|| self.health(model, upstream, breaker));
                Known { model: model.clone(), upstream: upstream.clone(), health }
            })
            .collect();
        for old in known.iter() {
            let upstream = old.upstream.name.as_str();
            let stays = |new: &&Known| new.model.name == old.model.name && new.upstream.name == upstream;
            if now_known.iter().find(stays).is_none() {
                // an error means that the label does not exist
                let _ = self.metrics.model_health.remove_label_values(&[&old.model.name, upstream]);
            }
            if !upstreams.iter().any(|new| new.name == upstream) {
                let _ = self.metrics.upstream_health.remove_label_values(&[upstream]);
            }
        }
        let health = now_known.iter().map(|known| Arc::clone(&known.health)).collect();
        *known = now_known;
        health
    }

    fn upstream(&self, upstream: &Upstream) -> Arc<Breaker> {
        Breaker::new(Some(gauge(&self.metrics.upstream_health, &[upstream.name.as_str()])))
    }

    fn health(&self, model: &Model, upstream: &Upstream, breaker: &Arc<Breaker>) -> Arc<ModelHealth> {
        let labels = [model.name.as_str(), upstream.name.as_str()];
        ModelHealth::new(Breaker::new(Some(gauge(&self.metrics.model_health, &labels))), Arc::clone(breaker))
    }

    /// Returns the metrics of the process.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns the health of each model, in the order of the configuration.
    pub fn shown(&self) -> Vec<HealthStatus> {
        let show = |known: &Known| {
            let [of_model, of_upstream] = known.health.states();
            let (model, upstream) = (known.model.name.clone(), known.upstream.name.clone());
            HealthStatus { model, upstream, of_model, of_upstream }
        };
        lock(&self.known).iter().map(show).collect()
    }

    /// Counts a request: both budgets grow with it.
    pub fn request_began(&self) {
        let now = self.began.elapsed();
        lock(&self.retries).request(now);
        lock(&self.hedges).request(now);
    }

    /// Takes the right to make a fallback attempt. Returns false if the retry budget is spent.
    pub fn may_retry(&self, terms: Terms) -> bool {
        self.spend(&self.retries, terms, "retry")
    }

    /// Takes the right to make a hedged attempt. Returns false if the budget for hedges is spent.
    pub fn may_hedge(&self, terms: Terms) -> bool {
        self.spend(&self.hedges, terms, "hedge")
    }

    fn spend(&self, budget: &Mutex<Budget>, terms: Terms, name: &str) -> bool {
        let enough = lock(budget).spend(terms, self.began.elapsed());
        if !enough {
            self.metrics.retry_budget_spent.with_label_values(&[name]).inc();
        }
        enough
    }
}

/// Returns the gauge of a new breaker. Attempts from before a reload may still hold the gauge of an old breaker with these
/// labels: they must not write to this one.
fn gauge(gauges: &IntGaugeVec, labels: &[&str]) -> IntGauge {
    // an error means that the label does not exist
    let _ = gauges.remove_label_values(labels);
    gauges.with_label_values(labels)
}

/// The health of an upstream depends on its address, its certificate and its key.
fn is_same_upstream(a: &Upstream, b: &Upstream) -> bool {
    let roots = |upstream: &Upstream| upstream.roots.clone();
    let of = |upstream: &Upstream| (upstream.base.clone(), upstream.api_keys.clone(), upstream.connect_timeout);
    a.name == b.name && of(a) == of(b) && roots(a) == roots(b)
}

fn is_same_model(a: &Model, b: &Model) -> bool {
    a.name == b.name && a.upstream_model == b.upstream_model
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every change under these locks leaves them usable
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "health_registry_tests.rs"]
mod tests;

//! What the process has met at its upstreams: who is in good health, how fast they were, how often was asked twice. It
//! outlives a reload, for what the reload leaves as it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec};
use tokio::time::Instant;

use crate::config::{self, Config};
use crate::failover::health::{CoolDown, Health, Outcome, Permit, State};
use crate::failover::latency::Latency;
use crate::failover::retry_budget::{Budget, Terms};
use crate::metrics::Metrics;
use crate::models::Model;
use crate::upstream::failure::{Blame, Failure};

/// Of all models and upstreams of the running configuration.
pub struct HealthRegistry {
    metrics: Arc<Metrics>,
    began: Instant,
    known: Mutex<Vec<Known>>,
    retries: Mutex<Budget>,
    hedges: Mutex<Budget>,
}

/// A model, as it was configured.
struct Known {
    model: Model,
    upstream: config::Upstream,
    model_health: Arc<ModelHealth>,
}

/// Of one model and its upstream.
pub struct ModelHealth {
    model: Breaker,
    /// Shared by all models of the upstream.
    upstream: Arc<Breaker>,
    latency: Mutex<Latency>,
    began: Instant,
}

/// Whose health is looked after.
struct Breaker {
    health: Mutex<Health>,
    shown: IntGauge,
}

/// One attempt, as far as the model_health of who is asked is concerned. Dropped without a word, it says nothing.
pub struct AttemptPermit {
    model_health: Arc<ModelHealth>,
    cool_down: CoolDown,
    of_model: Permit,
    of_upstream: Permit,
    began: Instant,
    has_spoken: bool,
}

/// What is shown of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthStatus {
    /// The model's name.
    pub model: String,
    /// Its upstream's name.
    pub upstream: String,
    /// Of the model.
    pub of_model: State,
    /// Of its upstream.
    pub of_upstream: State,
}

impl HealthRegistry {
    /// Nothing is known yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            known: Mutex::default(),
            retries: Mutex::default(),
            hedges: Mutex::default(),
        }
    }

    /// The model_health of each model of this configuration, in its order. What is configured as it was keeps the one that it
    /// has; what is not is forgotten.
    pub fn adopt(&self, config: &Config) -> Vec<Arc<ModelHealth>> {
        let mut known = lock(&self.known);
        let upstreams: Vec<Arc<Breaker>> = config
            .upstreams
            .iter()
            .map(|upstream| {
                let before = known.iter().find(|known| is_same_upstream(&known.upstream, upstream));
                before.map_or_else(|| self.upstream(upstream), |known| Arc::clone(&known.model_health.upstream))
            })
            .collect();
        let now_known: Vec<Known> = config
            .models
            .models()
            .iter()
            .map(|model| {
                let (upstream, patient) = (&config.upstreams[model.upstream.0], &upstreams[model.upstream.0]);
                let same =
                    |known: &&Known| is_same_upstream(&known.upstream, upstream) && is_same_model(&known.model, model);
                let before = known.iter().find(same).map(|known| Arc::clone(&known.model_health));
                let model_health = before.unwrap_or_else(|| self.model_health(model, upstream, patient));
                Known { model: model.clone(), upstream: upstream.clone(), model_health }
            })
            .collect();
        for old in known.iter() {
            let upstream = old.upstream.name.as_str();
            let stays = |new: &&Known| new.model.name == old.model.name && new.upstream.name == upstream;
            if now_known.iter().find(stays).is_none() {
                // it may not be there any more: then it need not be removed
                let _ = self.metrics.model_health.remove_label_values(&[&old.model.name, upstream]);
            }
            if !config.upstreams.iter().any(|new| new.name == upstream) {
                let _ = self.metrics.upstream_health.remove_label_values(&[upstream]);
            }
        }
        let health_registry = now_known.iter().map(|known| Arc::clone(&known.model_health)).collect();
        *known = now_known;
        health_registry
    }

    fn upstream(&self, upstream: &config::Upstream) -> Arc<Breaker> {
        Arc::new(Breaker::new(&self.metrics.upstream_health, &[upstream.name.as_str()]))
    }

    fn model_health(&self, model: &Model, upstream: &config::Upstream, patient: &Arc<Breaker>) -> Arc<ModelHealth> {
        let labels = [model.name.as_str(), upstream.name.as_str()];
        Arc::new(ModelHealth {
            model: Breaker::new(&self.metrics.model_health, &labels),
            upstream: Arc::clone(patient),
            latency: Mutex::default(),
            began: self.began,
        })
    }

    /// How all of them do, in the order of the configuration.
    pub fn shown(&self) -> Vec<HealthStatus> {
        let show = |known: &Known| HealthStatus {
            model: known.model.name.clone(),
            upstream: known.upstream.name.clone(),
            of_model: known.model_health.model.state(),
            of_upstream: known.model_health.upstream.state(),
        };
        lock(&self.known).iter().map(show).collect()
    }

    /// A request begins: both budgets grow with it.
    pub fn request_began(&self) {
        let now = self.began.elapsed();
        lock(&self.retries).request(now);
        lock(&self.hedges).request(now);
    }

    /// Takes the right to ask another model after a failure; false where there is none left.
    pub fn may_retry(&self, terms: Terms) -> bool {
        self.spend(&self.retries, terms, "retry")
    }

    /// Takes the right to ask another model beside one that is slow; false where there is none left.
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

impl ModelHealth {
    /// Whether [`ModelHealth::ask`] would be granted now.
    pub fn is_usable(&self) -> bool {
        let now = self.began.elapsed();
        lock(&self.model.health).is_usable(now) && lock(&self.upstream.health).is_usable(now)
    }

    /// Asks to make an attempt: `None` while model or upstream are to be left alone.
    pub fn ask(self: &Arc<Self>, cool_down: CoolDown) -> Option<AttemptPermit> {
        let now = self.began.elapsed();
        let of_model = self.model.change(|health| health.ask(now))?;
        let Some(of_upstream) = self.upstream.change(|health| health.ask(now)) else {
            self.model.learn(of_model, Outcome::Abandoned, now, cool_down);
            return None;
        };
        Some(self.permit(of_model, of_upstream, cool_down))
    }

    /// Makes an attempt all the same, for there is nobody better to ask.
    pub fn ask_anyway(self: &Arc<Self>, cool_down: CoolDown) -> AttemptPermit {
        let now = self.began.elapsed();
        let of_model = self.model.replace(|health| health.ask_anyway(now));
        let of_upstream = self.upstream.replace(|health| health.ask_anyway(now));
        self.permit(of_model, of_upstream, cool_down)
    }

    fn permit(self: &Arc<Self>, of_model: Permit, of_upstream: Permit, cool_down: CoolDown) -> AttemptPermit {
        let model_health = Arc::clone(self);
        AttemptPermit { model_health, cool_down, of_model, of_upstream, began: Instant::now(), has_spoken: false }
    }

    /// How late nineteen of twenty of the model's first outputs were at most; `None` while too few are known.
    pub fn p95(&self) -> Option<Duration> {
        lock(&self.latency).p95()
    }
}

impl AttemptPermit {
    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The first output of a stream has come in.
    pub fn first_output_came(&mut self) {
        lock(&self.model_health.latency).observe(self.began.elapsed());
        self.succeeded();
    }

    /// The answer has come.
    pub fn succeeded(&mut self) {
        self.tell(Outcome::Good, Outcome::Good);
    }

    /// It failed, before or after its first output.
    pub fn failed(&mut self, failure: &Failure) {
        let failed = Outcome::Failed { retry_after: failure.retry_after() };
        match failure.blame() {
            Blame::Upstream => self.tell(Outcome::Abandoned, failed),
            // who knows whether it was even reached
            Blame::Model if *failure == Failure::Deadline => self.tell(failed, Outcome::Abandoned),
            Blame::Model => self.tell(failed, Outcome::Good),
            Blame::Nobody => self.tell(Outcome::Good, Outcome::Good),
        }
    }

    /// Another attempt's output came first: so long at least it would have taken.
    pub fn overtaken(self) {
        lock(&self.model_health.latency).observe(self.began.elapsed());
    }

    fn tell(&mut self, of_model: Outcome, of_upstream: Outcome) {
        self.has_spoken = true;
        let now = self.model_health.began.elapsed();
        self.model_health.model.learn(self.of_model, of_model, now, self.cool_down);
        self.model_health.upstream.learn(self.of_upstream, of_upstream, now, self.cool_down);
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        if !self.has_spoken {
            self.tell(Outcome::Abandoned, Outcome::Abandoned);
        }
    }
}

impl Breaker {
    fn new(gauges: &IntGaugeVec, labels: &[&str]) -> Self {
        // whoever had the name before the reload may still have attempts under way, which say nothing of this one; it may
        // not be there at all
        let _ = gauges.remove_label_values(labels);
        let shown = gauges.with_label_values(labels);
        shown.set(State::Closed.level());
        Self { health: Mutex::default(), shown }
    }

    fn state(&self) -> State {
        lock(&self.health).state()
    }

    fn learn(&self, permit: Permit, outcome: Outcome, now: Duration, cool_down: CoolDown) {
        self.replace(|health| ((), health.after(permit, outcome, now, cool_down)));
    }

    fn change<T>(&self, step: impl FnOnce(Health) -> Option<(T, Health)>) -> Option<T> {
        self.replace(|health| match step(health) {
            Some((value, then)) => (Some(value), then),
            None => (None, health),
        })
    }

    fn replace<T>(&self, step: impl FnOnce(Health) -> (T, Health)) -> T {
        let mut health = lock(&self.health);
        let (value, then) = step(*health);
        *health = then;
        self.shown.set(then.state().level());
        value
    }
}

/// What an upstream's health hangs on: its address, its certificate and its key.
fn is_same_upstream(a: &config::Upstream, b: &config::Upstream) -> bool {
    let roots = |upstream: &config::Upstream| upstream.roots.as_ref().map(|roots| roots.roots.clone());
    let of = |upstream: &config::Upstream| (upstream.base.clone(), upstream.api_key.clone(), upstream.connect_timeout);
    a.name == b.name && of(a) == of(b) && roots(a) == roots(b)
}

fn is_same_model(a: &Model, b: &Model) -> bool {
    a.name == b.name && a.upstream_model == b.upstream_model
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every step under these locks is one assignment
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::time::advance;

    use super::*;

    const COOL_DOWN: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
    const SLOW: Duration = Duration::from_secs(30);

    /// Models `a` and `b` at one upstream, and how they stand.
    fn health_registry() -> (HealthRegistry, Vec<Arc<ModelHealth>>) {
        let health_registry = HealthRegistry::new(Arc::new(Metrics::new().unwrap()));
        let of_models = health_registry.adopt(&config("up.example"));
        (health_registry, of_models)
    }

    fn config(host: &str) -> Config {
        let text = format!(
            "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"https://{host}/v1\"\n\
             [[models]]\nname = \"a\"\nupstream = \"up\"\n[[models]]\nname = \"b\"\nupstream = \"up\"\n"
        );
        Config::parse(&text, Path::new(""), &|_| None).unwrap()
    }

    fn fail(model_health: &Arc<ModelHealth>, times: usize, failure: &Failure) {
        (0..times).for_each(|_| model_health.ask_anyway(COOL_DOWN).failed(failure));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_cannot_be_reached_is_so_for_all_its_models_and_a_model_s_failure_is_its_own() {
        let (health_registry, of) = health_registry();
        fail(&of[0], 5, &Failure::Empty);
        assert_eq!((of[0].is_usable(), of[1].is_usable()), (false, true));
        let states = |shown: Vec<HealthStatus>| {
            shown.iter().map(|shown| (shown.of_model, shown.of_upstream)).collect::<Vec<_>>()
        };
        assert_eq!(states(health_registry.shown()), [(State::Open, State::Closed), (State::Closed, State::Closed)]);
        fail(&of[1], 5, &Failure::no_connection());
        assert_eq!(states(health_registry.shown()), [(State::Open, State::Open), (State::Closed, State::Open)]);
        assert!(of[1].ask(COOL_DOWN).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waited_for_is_made_again_by_the_next_request() {
        let (_, of) = health_registry();
        fail(&of[0], 5, &Failure::Broken);
        advance(COOL_DOWN.first).await;
        let probe = of[0].ask(COOL_DOWN).expect("the cool-down is over");
        assert!(of[0].ask(COOL_DOWN).is_none());
        drop(probe);
        of[0].ask(COOL_DOWN).expect("the next probe").succeeded();
        assert!(of[0].is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_s_probe_is_given_back_where_the_upstream_is_to_be_left_alone() {
        let (_, of) = health_registry();
        fail(&of[0], 5, &Failure::Broken);
        advance(COOL_DOWN.first).await;
        fail(&of[1], 5, &Failure::no_connection());
        assert!(of[0].ask(COOL_DOWN).is_none(), "the upstream is open");
        advance(COOL_DOWN.first).await;
        assert!(of[0].ask(COOL_DOWN).is_some(), "model and upstream are probed by one request");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_overtaken_counts_as_late_as_it_was_waited_for() {
        let (_, of) = health_registry();
        for _ in 0..40 {
            of[0].ask(COOL_DOWN).unwrap().first_output_came();
        }
        assert!(of[0].p95().unwrap() < SLOW);
        for _ in 0..10 {
            let permit = of[0].ask(COOL_DOWN).unwrap();
            advance(SLOW).await;
            permit.overtaken();
        }
        assert!(of[0].p95().unwrap() >= SLOW);
    }
    #[tokio::test(start_paused = true)]
    async fn what_an_attempt_from_before_a_reload_meets_is_not_shown_of_another_upstream_of_the_same_name() {
        let (health_registry, before) = health_registry();
        let late = before[0].ask(COOL_DOWN).unwrap();
        let after = health_registry.adopt(&config("other.example"));
        fail(&before[0], 5, &Failure::Empty);
        fail(&before[0], 5, &Failure::no_connection());
        drop(late);
        assert!(after[0].is_usable());
        let (model, upstream) = (&health_registry.metrics.model_health, &health_registry.metrics.upstream_health);
        let shown = [model.with_label_values(&["a", "up"]).get(), upstream.with_label_values(&["up"]).get()];
        assert_eq!(shown, [State::Closed.level(); 2]);
    }
}

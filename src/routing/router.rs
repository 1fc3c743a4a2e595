//! Selects the model for a request: the one that it names or, for `auto`, one that a cached verdict, the rules or the
//! classifier selects. How the classifier is asked is a parameter: nothing here calls an upstream.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::verdict_cache::{Sharing, VerdictCache};
use crate::auth::caller::Caller;
use crate::failover::breaker::Breaker;
use crate::failover::circuit::{CoolDown, Outcome};
use crate::metrics::Metrics;
use crate::models::{ModelId, Table};
use crate::offload;
use crate::routing::auto::{Auto, Choice};
use crate::routing::classifier::Question;
use crate::routing::plan::{Pending, Scope, Selection};
use crate::routing::verdict::{By, Decision, Verdict};
use crate::upstream::failure::{Blame, Failure};
use crate::upstream::settings::Upstream;
use families::prompt::Prompt;
use families::request::Request;

/// Selects the model for each request, under one configuration.
pub struct Router {
    models: Table,
    auto: Option<Arc<Auto>>,
    verdicts: VerdictCache,
    /// The circuit breaker of the classifier in its role as a classifier: a model that is too slow for decisions may be fast
    /// enough for answers.
    breaker: Arc<Breaker>,
    cool_down: CoolDown,
    metrics: Arc<Metrics>,
}

/// Why the classifier gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoVerdict {
    /// Its circuit is open.
    CoolDown,
    /// It took longer than `timeout`.
    Timeout,
    /// It failed.
    Failed(Failure),
    /// Its answer is not a verdict.
    Unclear,
}

impl Router {
    /// Makes the router of one configuration.
    pub fn new(models: &Table, auto: Option<&Auto>, cool_down: CoolDown, metrics: Arc<Metrics>) -> Self {
        Self {
            models: models.clone(),
            auto: auto.cloned().map(Arc::new),
            verdicts: VerdictCache::default(),
            breaker: Breaker::new(None),
            cool_down,
            metrics,
        }
    }

    /// Adds the shared store, in which verdicts are cached, too.
    #[must_use]
    pub fn sharing(self, sharing: Sharing, upstreams: &[Upstream]) -> Self {
        let Some(classifier) = self.auto.as_ref().and_then(|auto| auto.asks()) else { return self };
        let model = self.models.get(classifier.model);
        let verdicts = VerdictCache::shared(sharing, model, &upstreams[model.upstream.0]);
        Self { verdicts, ..self }
    }

    /// Selects the model of a request: the one that it names, or one of `auto`'s. Returns `None` if there is none that the
    /// caller may use. `scope` gives the owner of cached verdicts in the shared store; without one, the shared store is not
    /// used.
    pub async fn select(
        &self,
        caller: &Caller,
        request: &Request,
        scope: impl FnOnce() -> Option<Scope>,
    ) -> Option<Selection> {
        let models = &self.models;
        let may_use = |id: ModelId| caller.may_use(&models.get(id).name);
        let Some(auto) = self.auto.as_ref().filter(|auto| auto.is_meant_by(request.model())) else {
            return models.find(request.model()).filter(|id| may_use(*id)).map(|id| Selection::of(id, None));
        };
        let known = |decision: Decision| Selection::of(auto.model(decision.verdict), Some(decision));
        let by_rules = |verdict| known(Decision { verdict, by: By::Rules });
        if let Choice::One(verdict) = auto.choice(may_use)? {
            return Some(by_rules(verdict));
        }
        let prompt = read(request).await;
        let classifier = auto.asks().filter(|classifier| may_use(classifier.model));
        Some(match (auto.fitting(models, &prompt), classifier) {
            (Some(verdict), _) => by_rules(verdict),
            (None, None) => known(auto.by_rules(models, &prompt)),
            (None, Some(classifier)) => {
                let (question, scope) = (Question::about(&prompt), scope());
                match self.verdicts.get(&question, scope).await {
                    Some(verdict) => known(Decision { verdict, by: By::Classifier }),
                    None if self.breaker.is_available(Instant::now()) => {
                        let pending = Pending { auto: Arc::clone(auto), classifier, question, prompt, scope };
                        let pending = Some(Arc::new(pending));
                        Selection { model: auto.easy, decision: None, pending }
                    }
                    None => {
                        NoVerdict::CoolDown.count(&self.metrics);
                        known(auto.by_rules(models, &prompt))
                    }
                }
            }
        })
    }

    /// Returns the models that a selection can lead to, without fallback.
    pub fn possible(&self, selection: &Selection) -> impl Iterator<Item = ModelId> {
        let hard = self.auto.as_ref().filter(|_| selection.is_pending()).map(|auto| auto.hard);
        hard.into_iter().chain([selection.model])
    }

    /// Returns the most expensive model that a selection can lead to.
    pub fn most_expensive(&self, selection: &Selection) -> ModelId {
        let hard = self.auto.as_ref().filter(|_| selection.is_pending()).map(|auto| auto.hard);
        hard.unwrap_or(selection.model)
    }

    /// Returns the decision on a request for `auto` that goes to this model because the caller's budget allows no other.
    pub fn decision_for(&self, model: ModelId) -> Decision {
        let is_hard = self.auto.as_ref().is_some_and(|auto| auto.hard == model);
        Decision { verdict: if is_hard { Verdict::Hard } else { Verdict::Easy }, by: By::Rules }
    }

    /// Returns the model of a verdict, or `None` without `[routing.auto]`.
    pub fn model_of(&self, verdict: Verdict) -> Option<ModelId> {
        self.auto.as_ref().map(|auto| auto.model(verdict))
    }

    /// Decides a pending classification. `classify` asks the classifier; it is not polled while the circuit is open. The verdict
    /// is cached; if there is none, the rules decide.
    pub async fn decide(
        &self,
        pending: &Pending,
        request_id: &str,
        classify: impl Future<Output = Result<Verdict, NoVerdict>>,
    ) -> Decision {
        let verdict = match self.breaker.acquire(Instant::now(), self.cool_down) {
            None => Err(NoVerdict::CoolDown),
            Some(mut permit) => {
                let verdict = classify.await;
                let outcome = verdict.as_ref().map_or_else(NoVerdict::outcome, |_| Outcome::Success);
                permit.report(outcome, Instant::now());
                verdict
            }
        };
        match verdict {
            Ok(verdict) => {
                self.verdicts.store(&pending.question, pending.scope, verdict);
                Decision { verdict, by: By::Classifier }
            }
            Err(none) => {
                none.count(&self.metrics);
                tracing::warn!(request_id, reason = none.reason(), "no verdict of the classifier: the rules decide");
                pending.auto.by_rules(&self.models, &pending.prompt)
            }
        }
    }
}

impl NoVerdict {
    /// Returns a word from a closed set, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            NoVerdict::CoolDown => "cool_down",
            NoVerdict::Timeout => "timeout",
            NoVerdict::Failed(failure) => failure.reason(),
            NoVerdict::Unclear => "unclear",
        }
    }

    /// Returns the outcome for the circuit breaker. A failure that a prompt can cause does not count: one caller must not
    /// open the circuit for all.
    fn outcome(&self) -> Outcome {
        match self {
            NoVerdict::Failed(failure) if failure.blame() != Blame::Neither => {
                Outcome::Failure { retry_after: failure.retry_after() }
            }
            NoVerdict::Timeout => Outcome::Failure { retry_after: None },
            NoVerdict::Failed(_) | NoVerdict::Unclear | NoVerdict::CoolDown => Outcome::Success,
        }
    }

    fn count(&self, metrics: &Metrics) {
        metrics.classifier_failures.with_label_values(&[self.reason()]).inc();
    }
}

async fn read(request: &Request) -> Prompt {
    if request.body_len() <= offload::IN_PLACE {
        return request.prompt();
    }
    let request = request.clone();
    offload::run(request.body_len(), move || request.prompt()).await.unwrap_or_default()
}

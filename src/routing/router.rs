//! Which model answers what is asked of `auto`: from memory, by the rules, or by asking a classifier while the answer of the easy
//! model is already under way.
//!
//! Nothing of the easy model leaves before the decision: [`Router::stream`] resolves to one model's stream, and by then the
//! other one is cancelled.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout};

use crate::auth::caller::Caller;
use crate::config::Config;
use crate::failover::health::Outcome;
use crate::limits::limiter::{Asked, Decision as Decided, Limiter};
use crate::limits::policy::Rules as Limits;
use crate::metering::meter::Meter;
use crate::metrics::Metrics;
use crate::models::{Model, ModelId};
use crate::redis::store::Store;
use crate::routing::auto::{Auto, Choice, Classifier, Mode};
use crate::routing::classifier::Question;
use crate::routing::plan::{Pending, Plan, Scope, Selection};
use crate::routing::verdict::{By, Decision, Verdict};
use crate::spend::bill::Purpose;
use crate::stream::feed::{Opened, Opening};
use crate::stream::upstreams::{Upstreams, Whole};
use crate::upstream::failure::{Blame, Failure};
use families::chat::{Chat, answer};
use families::family::{Family, Form};
use families::prompt::Prompt;
use families::request::Request;

use super::classifier_breaker::ClassifierBreaker;
use super::verdict_cache::VerdictCache;

/// A larger body is read again beside the worker threads, as it was when it came in.
const READ_IN_PLACE: usize = 256 * 1024;

/// Finds the model for each request, and asks it.
pub struct Router {
    upstreams: Arc<Upstreams>,
    auto: Option<Auto>,
    verdicts: VerdictCache,
    classifier_breaker: ClassifierBreaker,
    limiter: Arc<Limiter>,
    limits: Limits,
}

/// Why the classifier gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoVerdict {
    /// It did not answer several times in a row, and is left alone.
    CoolDown,
    /// It took longer than `timeout`.
    Timeout,
    /// It failed.
    Failed(Failure),
    /// It verdicts something else.
    Unclear,
}

impl Router {
    /// For one version of the configuration.
    pub fn new(config: &Config, upstreams: Arc<Upstreams>, limiter: Arc<Limiter>) -> Self {
        let (auto, limits) = (config.auto.clone(), config.limits.clone());
        let classifier_breaker = ClassifierBreaker::new(config.fallback.cool_down);
        Self { upstreams, auto, verdicts: VerdictCache::default(), classifier_breaker, limiter, limits }
    }

    /// The same, which shares with other instances what the classifier has verdicts, where answers are kept.
    #[must_use]
    pub fn sharing(self, store: Arc<Store>, config: &Config) -> Self {
        let verdicts = config.cache.as_ref().map(|rules| VerdictCache::shared(store, config, rules));
        Self { verdicts: verdicts.unwrap_or_default(), ..self }
    }

    /// Selects the model of a request: the one that it names, or one of `auto`'s. `None` if there is none that the caller may
    /// use. `scope` gives the owner of cached verdicts in the shared store; without one, the shared store is not used.
    pub async fn select(
        &self,
        caller: &Caller,
        request: &Request,
        scope: impl FnOnce() -> Option<Scope>,
    ) -> Option<Selection> {
        let models = self.upstreams.models();
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
            (None, Some(_)) => {
                let (question, scope) = (Question::about(&prompt), scope());
                match self.verdicts.get(&question, scope).await {
                    Some(verdict) => known(Decision { verdict, by: By::Classifier }),
                    None if self.classifier_breaker.is_usable() => {
                        let pending = Some(Arc::new(Pending { prompt, question, scope }));
                        Selection { model: auto.easy, decision: None, pending }
                    }
                    None => {
                        NoVerdict::CoolDown.count(self.upstreams.metrics());
                        known(auto.by_rules(models, &prompt))
                    }
                }
            }
        })
    }

    /// The most expensive model that a selection can lead to.
    pub fn most_expensive(&self, selection: &Selection) -> ModelId {
        let hard = self.auto.as_ref().filter(|_| selection.is_pending()).map(|auto| auto.hard);
        hard.unwrap_or(selection.model)
    }

    /// The decision on a request for `auto` that goes to this model because the caller's budget holds no other.
    pub fn decision_for(&self, model: ModelId) -> Decision {
        let is_hard = self.auto.as_ref().is_some_and(|auto| auto.hard == model);
        Decision { verdict: if is_hard { Verdict::Hard } else { Verdict::Easy }, by: By::Rules }
    }

    /// Opens the stream of the model that is to answer, or of one that steps in for it.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that was decided on.
    pub fn stream(self: Arc<Self>, mut plan: Plan, meter: Meter) -> Opening {
        match plan.selection.pending.take() {
            None => Box::pin(Arc::clone(&self.upstreams).stream(plan, meter)),
            Some(pending) => Box::pin(self.decide_and_stream(plan, pending, meter)),
        }
    }

    async fn decide_and_stream(
        self: Arc<Self>,
        plan: Plan,
        pending: Arc<Pending>,
        meter: Meter,
    ) -> Result<Opened, Failure> {
        let Some(auto) = &self.auto else { return Arc::clone(&self.upstreams).stream(plan, meter).await };
        if auto.mode != Mode::Speculative {
            let plan = self.decided(auto, plan, &pending, &meter).await?;
            return Arc::clone(&self.upstreams).stream(plan, meter).await;
        }
        let mut easy: Opening = Box::pin(Arc::clone(&self.upstreams).stream(plan.clone(), meter.clone()));
        let (decision, opened) = {
            let mut decision = pin!(self.decide(auto, &plan, &pending, &meter));
            tokio::select! {
                biased;
                decision = &mut decision => (decision, None),
                opened = &mut easy => (decision.await, Some(opened)),
            }
        };
        meter.record().routed(decision);
        match (decision.verdict, opened) {
            (Verdict::Easy, None) => easy.await,
            (Verdict::Easy, Some(opened)) => opened.map(|opened| opened.committed(Instant::now())),
            (Verdict::Hard, opened) => {
                // cancelled before the other one is asked
                drop((opened, easy));
                let plan = self.at_hard(auto, plan, &meter).await?;
                Arc::clone(&self.upstreams).stream(plan, meter).await
            }
        }
    }

    /// Gets the whole answer of the model that is to answer. Nothing is asked of the easy model before the decision: an answer
    /// that is not streamed would have to be paid whole, and its client waits for the last token in any case.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that was decided on.
    pub async fn whole(self: Arc<Self>, mut plan: Plan, meter: Meter) -> Result<Whole, Failure> {
        if let (Some(auto), Some(pending)) = (&self.auto, plan.selection.pending.take()) {
            plan = self.decided(auto, plan, &pending, &meter).await?;
        }
        Arc::clone(&self.upstreams).whole(plan, meter).await
    }

    /// Asks the classifier about a prompt, past everything that was verdicts before.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn classify(
        &self,
        classifier: Classifier,
        plan: &Plan,
        question: &Question,
        meter: &Meter,
    ) -> Result<Verdict, NoVerdict> {
        let request = Chat.parse(question.body().into(), Form::Full).map_err(|_| NoVerdict::Unclear)?;
        let own = Plan::to_model(classifier.model, plan.caller.clone(), request, plan.request_id.clone());
        let own = Plan { purpose: Purpose::Decide, ..own };
        let asked = Arc::clone(&self.upstreams).whole(own, meter.clone());
        let whole = timeout(classifier.timeout, asked).await.map_err(|_| NoVerdict::Timeout)?;
        let whole = whole.map_err(NoVerdict::Failed)?;
        let text = answer::text(&whole.body).ok().flatten();
        text.as_deref().and_then(Verdict::read).ok_or(NoVerdict::Unclear)
    }

    /// The request, to the model that is decided on.
    async fn decided(&self, auto: &Auto, plan: Plan, pending: &Pending, meter: &Meter) -> Result<Plan, Failure> {
        let decision = self.decide(auto, &plan, pending, meter).await;
        meter.record().routed(decision);
        match decision.verdict {
            Verdict::Easy => Ok(plan),
            Verdict::Hard => self.at_hard(auto, plan, meter).await,
        }
    }

    /// The classifier's decision, which is remembered; or, in whatever trouble it is, that of the rules.
    async fn decide(&self, auto: &Auto, plan: &Plan, pending: &Pending, meter: &Meter) -> Decision {
        let Pending { prompt, question, scope } = pending;
        let Some(classifier) = auto.asks() else { return auto.by_rules(self.upstreams.models(), prompt) };
        let verdict = match self.classifier_breaker.ask() {
            None => Err(NoVerdict::CoolDown),
            Some(pass) => {
                let verdict = self.classify(classifier, plan, question, meter).await;
                pass.told(verdict.as_ref().map_or_else(NoVerdict::outcome, |_| Outcome::Good));
                verdict
            }
        };
        match verdict {
            Ok(verdict) => {
                self.verdicts.keep(question, *scope, verdict);
                Decision { verdict, by: By::Classifier }
            }
            Err(none) => {
                let record = meter.record();
                none.count(record.metrics());
                let (request_id, reason) = (record.request_id(), none.reason());
                tracing::warn!(request_id, reason, "no verdict of the classifier: the rules decide");
                drop(record);
                auto.by_rules(self.upstreams.models(), prompt)
            }
        }
    }

    /// The same request to the hard model, within the caller's limits at that one.
    async fn at_hard(&self, auto: &Auto, plan: Plan, meter: &Meter) -> Result<Plan, Failure> {
        self.admit(auto.hard, &plan, meter).await?;
        let candidates = self.upstreams.candidates(auto.hard, &plan.request, &plan.caller);
        Ok(Plan { candidates, ..plan })
    }

    /// Whether a request may join an answer that was decided on so for another one: the limits at the hard model hold for it, too.
    ///
    /// # Errors
    /// [`Failure::Limited`]: it is past them.
    pub async fn admit_joiner(&self, plan: &Plan, decision: Option<Decision>, meter: &Meter) -> Result<(), Failure> {
        match (&self.auto, decision) {
            // else it was admitted at that one as it came in
            (Some(auto), Some(Decision { verdict: Verdict::Hard, .. })) if auto.hard != plan.selection.model => {
                self.admit(auto.hard, plan, meter).await
            }
            _ => Ok(()),
        }
    }

    /// Takes of the caller's limits at this model: those that hold for all models it has passed already.
    async fn admit(&self, model: ModelId, plan: &Plan, meter: &Meter) -> Result<(), Failure> {
        let (Plan { caller, request, .. }, Model { name, context, .. }) = (plan, self.upstreams.models().get(model));
        let asked = Asked { caller, model: name, tokens: self.limits.reserve(request, *context) };
        let Decided { fields, outcome } = self.limiter.admit_at_model(&self.limits, asked).await;
        if outcome.is_err() {
            // what is told is the limit that was reached, not those that were passed
            meter.record().limited(fields);
        }
        meter.record().hold(outcome.map_err(|reject| Failure::Limited(Box::new(reject)))?);
        Ok(())
    }
}

impl NoVerdict {
    /// A word from a closed set, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            NoVerdict::CoolDown => "cool_down",
            NoVerdict::Timeout => "timeout",
            NoVerdict::Failed(failure) => failure.reason(),
            NoVerdict::Unclear => "unclear",
        }
    }

    /// What it says of the classifier. What a prompt can bring about says nothing: one caller's must not take it from all.
    fn outcome(&self) -> Outcome {
        match self {
            NoVerdict::Failed(failure) if failure.blame() != Blame::Nobody => {
                Outcome::Failed { retry_after: failure.retry_after() }
            }
            NoVerdict::Timeout => Outcome::Failed { retry_after: None },
            NoVerdict::Failed(_) | NoVerdict::Unclear | NoVerdict::CoolDown => Outcome::Good,
        }
    }

    fn count(&self, metrics: &Metrics) {
        metrics.classifier_failures.with_label_values(&[self.reason()]).inc();
    }
}

async fn read(request: &Request) -> Prompt {
    if request.body_len() <= READ_IN_PLACE {
        return request.prompt();
    }
    let request = request.clone();
    tokio::task::spawn_blocking(move || request.prompt()).await.unwrap_or_default()
}

//! Which model answers what is asked of `auto`: from memory, by the rules, or by asking a classifier while the answer of the easy
//! model is already under way.
//!
//! Nothing of the easy model leaves before the decision: [`Router::stream`] resolves to one model's stream, and by then the
//! other one is cancelled.

pub use super::verdict_cache::Scope;

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
use crate::routing::verdict::{By, Decision, Verdict};
use crate::spend::bill::Purpose;
use crate::stream::feed::{Opened, Opening};
use crate::stream::upstreams::{Ask, Upstreams, Whole};
use crate::upstream::failure::{Blame, Failure};
use families::chat::answer;
use families::chat::request::Request;
use families::prompt::Prompt;

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

/// Which model a request goes to.
pub enum Destination {
    /// This one: named, or decided.
    Known(ModelId, Option<Decision>),
    /// Asked of `auto`, and still to be decided.
    Undecided(Box<Undecided>),
}

/// What is to be decided about.
pub struct Undecided {
    prompt: Prompt,
    question: Question,
    /// For whom the verdict is kept in the shared store, if it is.
    scope: Option<Scope>,
}

impl Destination {
    /// Whether it was asked of `auto`.
    pub fn is_of_auto(&self) -> bool {
        matches!(self, Destination::Known(_, Some(_)) | Destination::Undecided(_))
    }
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

/// A request with its destination.
pub struct Routed {
    /// What is asked, of the model that is known or, where it is undecided, of the easy one.
    pub ask: Ask,
    /// The model that is wanted, even if another one is asked in its place; the easy one where that is undecided.
    pub model: ModelId,
    undecided: Option<Box<Undecided>>,
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

    /// Where a request goes: to the model that it names, or to one of `auto`'s. `None` if there is none that it may use. `scope` says
    /// for whom a verdict is kept in the shared store; if for nobody, none is looked for there.
    pub async fn destination(
        &self,
        caller: &Caller,
        request: &Request,
        scope: impl FnOnce() -> Option<Scope>,
    ) -> Option<Destination> {
        let models = self.upstreams.models();
        let may_use = |id: ModelId| caller.may_use(&models.get(id).name);
        let Some(auto) = self.auto.as_ref().filter(|auto| auto.is_meant_by(request.model())) else {
            return models.find(request.model()).filter(|id| may_use(*id)).map(|id| Destination::Known(id, None));
        };
        let known = |decision: Decision| Destination::Known(auto.model(decision.verdict), Some(decision));
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
                        Destination::Undecided(Box::new(Undecided { prompt, question, scope }))
                    }
                    None => {
                        NoVerdict::CoolDown.count(self.upstreams.metrics());
                        known(auto.by_rules(models, &prompt))
                    }
                }
            }
        })
    }

    /// The model of a destination; of one that is undecided the easy one, which is the first that may be asked.
    pub fn first(&self, destination: &Destination) -> Option<ModelId> {
        match destination {
            Destination::Known(model, _) => Some(*model),
            Destination::Undecided(_) => self.auto.as_ref().map(|auto| auto.easy),
        }
    }

    /// The dearest model that a destination may turn out to be.
    pub fn dearest(&self, destination: &Destination) -> Option<ModelId> {
        match destination {
            Destination::Known(model, _) => Some(*model),
            Destination::Undecided(_) => self.auto.as_ref().map(|auto| auto.hard),
        }
    }

    /// What is told of a request for `auto` that goes to this model because the caller can afford no other.
    pub fn decision_for(&self, model: ModelId) -> Decision {
        let is_hard = self.auto.as_ref().is_some_and(|auto| auto.hard == model);
        Decision { verdict: if is_hard { Verdict::Hard } else { Verdict::Easy }, by: By::Rules }
    }

    /// Opens the stream of the model that is to answer, or of one that steps in for it.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that was decided on.
    pub fn stream(self: Arc<Self>, routed: Routed, meter: Meter) -> Opening {
        let Routed { ask, undecided, .. } = routed;
        match undecided {
            None => Box::pin(Arc::clone(&self.upstreams).stream(ask, meter)),
            Some(undecided) => Box::pin(self.decide_and_stream(ask, undecided, meter)),
        }
    }

    async fn decide_and_stream(
        self: Arc<Self>,
        ask: Ask,
        undecided: Box<Undecided>,
        meter: Meter,
    ) -> Result<Opened, Failure> {
        let Some(auto) = &self.auto else { return Arc::clone(&self.upstreams).stream(ask, meter).await };
        if auto.mode != Mode::Speculative {
            let ask = self.decided(auto, ask, &undecided, &meter).await?;
            return Arc::clone(&self.upstreams).stream(ask, meter).await;
        }
        let mut easy: Opening = Box::pin(Arc::clone(&self.upstreams).stream(ask.clone(), meter.clone()));
        let (decision, opened) = {
            let mut decision = pin!(self.decide(auto, &ask, &undecided, &meter));
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
                let ask = self.at_hard(auto, ask, &meter).await?;
                Arc::clone(&self.upstreams).stream(ask, meter).await
            }
        }
    }

    /// Gets the whole answer of the model that is to answer. Nothing is asked of the easy model before the decision: an answer
    /// that is not streamed would have to be paid whole, and its client waits for the last token in any case.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that was decided on.
    pub async fn whole(self: Arc<Self>, routed: Routed, meter: Meter) -> Result<Whole, Failure> {
        let Routed { ask, undecided, .. } = routed;
        let ask = match (&self.auto, undecided) {
            (Some(auto), Some(undecided)) => self.decided(auto, ask, &undecided, &meter).await?,
            _ => ask,
        };
        Arc::clone(&self.upstreams).whole(ask, meter).await
    }

    /// Asks the classifier about a prompt, past everything that was verdicts before.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn classify(
        &self,
        classifier: Classifier,
        ask: &Ask,
        question: &Question,
        meter: &Meter,
    ) -> Result<Verdict, NoVerdict> {
        let request = Request::parse(question.body().into()).map_err(|_| NoVerdict::Unclear)?;
        let ask = Ask {
            candidates: vec![classifier.model],
            request,
            purpose: Purpose::Decide,
            idempotency_key: None,
            ..ask.clone()
        };
        let asked = Arc::clone(&self.upstreams).whole(ask, meter.clone());
        let whole = timeout(classifier.timeout, asked).await.map_err(|_| NoVerdict::Timeout)?;
        let whole = whole.map_err(NoVerdict::Failed)?;
        let text = answer::text(&whole.body).ok().flatten();
        text.as_deref().and_then(Verdict::read).ok_or(NoVerdict::Unclear)
    }

    /// The request, to the model that is decided on.
    async fn decided(&self, auto: &Auto, ask: Ask, undecided: &Undecided, meter: &Meter) -> Result<Ask, Failure> {
        let decision = self.decide(auto, &ask, undecided, meter).await;
        meter.record().routed(decision);
        match decision.verdict {
            Verdict::Easy => Ok(ask),
            Verdict::Hard => self.at_hard(auto, ask, meter).await,
        }
    }

    /// The classifier's decision, which is remembered; or, in whatever trouble it is, that of the rules.
    async fn decide(&self, auto: &Auto, ask: &Ask, undecided: &Undecided, meter: &Meter) -> Decision {
        let Undecided { prompt, question, scope } = undecided;
        let Some(classifier) = auto.asks() else { return auto.by_rules(self.upstreams.models(), prompt) };
        let verdict = match self.classifier_breaker.ask() {
            None => Err(NoVerdict::CoolDown),
            Some(pass) => {
                let verdict = self.classify(classifier, ask, question, meter).await;
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
    async fn at_hard(&self, auto: &Auto, ask: Ask, meter: &Meter) -> Result<Ask, Failure> {
        self.admit(auto.hard, &ask, meter).await?;
        let candidates = self.upstreams.candidates(auto.hard, &ask.request, &ask.caller);
        Ok(Ask { candidates, ..ask })
    }

    /// Whether a request may join an answer that was decided on so for another one: the limits at the hard model hold for it, too.
    ///
    /// # Errors
    /// [`Failure::Limited`]: it is past them.
    pub async fn admit_joiner(
        &self,
        routed: &Routed,
        decision: Option<Decision>,
        meter: &Meter,
    ) -> Result<(), Failure> {
        match (&self.auto, decision) {
            // else it was admitted at that one as it came in
            (Some(auto), Some(Decision { verdict: Verdict::Hard, .. })) if auto.hard != routed.model => {
                self.admit(auto.hard, &routed.ask, meter).await
            }
            _ => Ok(()),
        }
    }

    /// Takes of the caller's limits at this model: those that hold for all models it has passed already.
    async fn admit(&self, model: ModelId, ask: &Ask, meter: &Meter) -> Result<(), Failure> {
        let (Ask { caller, request, .. }, Model { name, context, .. }) = (ask, self.upstreams.models().get(model));
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

impl Routed {
    /// A request and where it goes.
    pub fn new(ask: Ask, model: ModelId, destination: Destination, meter: &Meter) -> Self {
        let undecided = match destination {
            Destination::Known(_, decision) => {
                decision.into_iter().for_each(|decision| meter.record().routed(decision));
                None
            }
            Destination::Undecided(undecided) => Some(undecided),
        };
        Self { ask, model, undecided }
    }

    /// Whether it is still open which model is asked.
    pub fn is_undecided(&self) -> bool {
        self.undecided.is_some()
    }
}

async fn read(request: &Request) -> Prompt {
    if request.body_len() <= READ_IN_PLACE {
        return request.prompt();
    }
    let request = request.clone();
    tokio::task::spawn_blocking(move || request.prompt()).await.unwrap_or_default()
}

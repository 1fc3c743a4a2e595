//! Answers a plan: makes the pending classification, then asks the candidates until one of them answers.
//!
//! Before the first output, a fallback attempt is possible. After it, none is made: no answer has output of two models.

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::caller::Caller;
use crate::failover::attempts::{Asking, Candidates, Failover};
use crate::limits::limiter::{Demand, Limiter};
use crate::limits::policy::Rules as Limits;
use crate::metering::meter::Meter;
use crate::models::{ModelId, Table};
use crate::routing::plan::Plan;
use crate::routing::router::Router;
use crate::routing::verdict::{Decision, Verdict};
use crate::spend::bill::Purpose;
use crate::stream::feed::Opened;
use crate::stream::feed::Opening;
use crate::stream::model_clients::{ModelClients, Whole};
use crate::stream::settings::Stream;
use crate::upstream::client::Client;
use crate::upstream::failure::Failure;
use families::request::Request;

/// All models of one configuration, and how to ask them.
pub struct Completions {
    clients: ModelClients,
    failover: Failover,
    pub(super) router: Arc<Router>,
    limiter: Arc<Limiter>,
    limits: Limits,
}

impl Completions {
    /// Makes the completions of the models of `clients`, each with the same index in `failover`.
    pub fn new(
        clients: ModelClients,
        failover: Failover,
        router: Arc<Router>,
        (limiter, limits): (Arc<Limiter>, Limits),
    ) -> Self {
        Self { clients, failover, router, limiter, limits }
    }

    /// Returns the client of each upstream.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.clients()
    }

    /// Returns the table of all models.
    pub fn models(&self) -> &Table {
        self.failover.models()
    }

    /// Returns the bounds of each stream.
    pub fn rules(&self) -> &Stream {
        self.clients.rules()
    }

    /// Returns the models to ask for this request, in order: see [`Failover::candidates`].
    pub fn candidates(&self, first: ModelId, request: &Request, caller: &Caller) -> Vec<ModelId> {
        self.failover.candidates(first, request, caller)
    }

    /// Returns the path of the first member of the request that this model's upstream refuses.
    pub fn refused_member(&self, id: ModelId, request: &Request) -> Option<String> {
        self.failover.refused_member(id, request)
    }

    /// Closes upstream connections whose idle timeout is over.
    pub fn sweep(&self, now: Instant) {
        self.clients.sweep(now);
    }

    /// Opens the stream of the first candidate that has output.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that the classification selects.
    pub fn stream(self: Arc<Self>, mut plan: Plan, meter: Meter) -> Opening {
        match plan.selection.pending.take() {
            None => Box::pin(self.open(plan, meter)),
            Some(pending) => Box::pin(self.classify_and_open(plan, pending, meter)),
        }
    }

    /// Gets the whole answer of the first candidate that has one. It is never hedged, because a slow answer looks like a
    /// long one until its end. No candidate is asked before the classification: an answer that is not streamed is paid in
    /// full, and its client waits for the last token in any case.
    ///
    /// # Errors
    /// The last candidate's failure, or a limit of the caller at the model that the classification selects.
    pub async fn whole(self: Arc<Self>, mut plan: Plan, meter: Meter) -> Result<Whole, Failure> {
        if let Some(pending) = plan.selection.pending.take() {
            plan = self.classified(plan, &pending, &meter).await?;
        }
        self.get(plan, &meter).await
    }

    pub(super) async fn get(&self, mut plan: Plan, meter: &Meter) -> Result<Whole, Failure> {
        plan.candidates.retain(|id| plan.caller.may_use(&self.models().get(*id).name));
        let candidates = self.bounds(&plan, meter, false);
        let ask = |id| -> Asking<'_, Whole> { Box::pin(self.clients.whole(id, &plan, meter)) };
        let (whole, mut permit) = self.failover.run(&candidates, ask).await?;
        permit.succeeded();
        Ok(whole)
    }

    pub(super) async fn open(self: Arc<Self>, mut plan: Plan, meter: Meter) -> Result<Opened, Failure> {
        plan.candidates.retain(|id| plan.caller.may_use(&self.models().get(*id).name));
        let candidates = self.bounds(&plan, &meter, true);
        // with hedging, an earlier attempt may still be running
        let last =
            plan.candidates.last().filter(|_| plan.candidates.len() == 1 || self.failover.rules().hedge.is_none());
        let ask = |id| -> Asking<'_, Opened> { Box::pin(self.clients.stream(id, &plan, &meter, last == Some(&id))) };
        let (mut opened, permit) = self.failover.run(&candidates, ask).await?;
        opened.feed.judge_by(permit);
        Ok(opened)
    }

    /// Returns the bounds of all attempts. Their common deadline counts from the request's head, because an upstream that
    /// sends something from time to time exceeds no other timeout.
    fn bounds<'a>(&self, plan: &'a Plan, meter: &Meter, may_hedge: bool) -> Candidates<'a> {
        let (started, whole, first) = (meter.started(), self.rules().max_duration, self.failover.rules().deadline);
        let deadline =
            if first < whole { (started + first, Failure::Deadline) } else { (started + whole, Failure::TooLong) };
        Candidates {
            models: &plan.candidates,
            request_id: plan.request_id.to_str().unwrap_or_default(),
            // the question to the classifier is not a client's request
            is_answer: plan.purpose == Purpose::Answer,
            may_hedge,
            deadline,
        }
    }

    /// Checks whether a request may share the answer to another request with this classification: the caller's limits at the
    /// hard model apply to it, too.
    ///
    /// # Errors
    /// [`Failure::Limited`] if the caller exceeds a limit.
    pub async fn admit_subscriber(
        &self,
        plan: &Plan,
        decision: Option<Decision>,
        meter: &Meter,
    ) -> Result<(), Failure> {
        let hard = || self.router.model_of(Verdict::Hard).filter(|hard| *hard != plan.selection.model);
        match (decision.map(|decision| decision.verdict), hard()) {
            (Some(Verdict::Hard), Some(hard)) => self.reserve_at(hard, plan, meter).await,
            // its own model's limits were reserved when it came in
            _ => Ok(()),
        }
    }

    /// Reserves the caller's limits at this model. The limits for all models are reserved already.
    pub(super) async fn reserve_at(&self, model: ModelId, plan: &Plan, meter: &Meter) -> Result<(), Failure> {
        let model = self.models().get(model);
        let tokens = self.limits.reserve(&plan.request, model.context);
        let demand = Demand { caller: &plan.caller, model: &model.name, tokens };
        let admission = self.limiter.admit_at_model(&self.limits, demand).await;
        if admission.outcome.is_err() {
            // the response names the limit that was reached, not those that the request is within
            meter.record().limited(admission.fields);
        }
        meter.record().hold(admission.outcome.map_err(|reject| Failure::Limited(Box::new(reject)))?);
        Ok(())
    }
}

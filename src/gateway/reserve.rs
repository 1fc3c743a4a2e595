//! Stage 4: takes of the caller's budget and tokens what the request may use. Both are settled when the meter is.

use std::time::Duration;

use super::Gateway;
use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::bounded_table::Key;
use crate::cache::response_cache::Reuse;
use crate::error::{Code, Reject};
use crate::limits::limiter::Demand;
use crate::models::ModelId;
use crate::price::{Cost, Count};
use crate::routing::plan::{Plan, Selection};
use crate::spend::budget::claim::Claim;
use crate::spend::budget::{Admission, Hold};
use families::request::Request;

/// What happens to a request that exceeds its caller's budget.
enum Exceeded {
    /// The cheapest model answers it, without fallback: all others cost more. The estimate for that model is reserved.
    Cheapest(ModelId, Hold),
    /// It is refused; the time until midnight.
    Refused(Duration),
}

impl Exchange {
    /// Reserves money and tokens. A request that exceeds the budget reuses a cached or coalesced response if there
    /// is one, which is returned; else its plan becomes the cheapest model, if the configuration says so.
    ///
    /// # Errors
    /// 429 `budget_exceeded` or `rate_limited`.
    pub(super) async fn reserve(&self, plan: &mut Plan) -> Result<Option<Reuse>, Reject> {
        if plan.selection.is_auto() {
            self.meter.record().compare_with(self.gateway.config.costs.baseline);
        }
        let mut reuse = None;
        if let Err(exceeded) = self.reserve_cost(plan).await {
            // what costs nothing fits into every budget
            reuse = Box::pin(self.find_reuse(plan)).await;
            if reuse.is_none() {
                let model = self.cheapest_instead(exceeded)?;
                let decision = plan.selection.is_auto().then(|| self.gateway.router.decision_for(model));
                (plan.candidates, plan.selection) = (vec![model], Selection::of(model, decision));
            }
        }
        self.reserve_tokens(plan).await?;
        if let Some(decision) = plan.selection.decision {
            self.meter.record().routed(decision);
        }
        Ok(reuse)
    }

    /// Reserves the estimated cost on the most expensive model that can answer.
    async fn reserve_cost(&self, plan: &Plan) -> Result<(), Exceeded> {
        let (gateway, Plan { caller, request, .. }) = (&*self.gateway, plan);
        let rules = gateway.config.costs.budget;
        let budget = caller.allowance().budget_per_day.unwrap_or(rules.per_day);
        if budget == Cost::default() {
            return Ok(());
        }
        let model = gateway.router.most_expensive(&plan.selection);
        let cheapest = Some(()).filter(|()| rules.cheapest_when_over).and_then(|()| gateway.cheapest(caller, request));
        let claim = Claim {
            key: Key::of(caller.id(), ""),
            budget: budget.nano(),
            // nothing is reserved for a model without a price
            estimate: gateway.estimate(model, request).unwrap_or_default().nano(),
            cheaper: cheapest.map(|(_, estimate)| estimate.nano()),
        };
        match gateway.shared.budgets.admit(claim).await {
            Admission::Within(hold) => {
                self.meter.record().hold_budget(hold, false);
                Ok(())
            }
            Admission::Cheaper(hold) => Err(Exceeded::Cheapest(cheapest.map_or(model, |(cheapest, _)| cheapest), hold)),
            Admission::Exceeded(until_midnight) => Err(Exceeded::Refused(until_midnight)),
        }
    }

    fn cheapest_instead(&self, exceeded: Exceeded) -> Result<ModelId, Reject> {
        let count = |action| self.gateway.shared.metrics.budget_exceeded.with_label_values(&[action]).inc();
        match exceeded {
            Exceeded::Cheapest(cheapest, hold) => {
                count("cheap");
                self.meter.record().hold_budget(hold, true);
                Ok(cheapest)
            }
            Exceeded::Refused(until_midnight) => {
                count("refused");
                Err(over_budget(until_midnight))
            }
        }
    }

    /// Reserves the tokens that the request may use, and what the limits at its model ask.
    async fn reserve_tokens(&self, plan: &Plan) -> Result<(), Reject> {
        let (rules, model) = (&self.gateway.config.limits, self.gateway.completions.models().get(plan.selection.model));
        let tokens = rules.reserve(&plan.request, model.context);
        let demand = Demand { caller: &plan.caller, model: &model.name, tokens };
        let decision = self.gateway.shared.limiter.admit_tokens(rules, demand).await;
        let mut record = self.meter.record();
        record.limited_further(decision.fields);
        record.hold(decision.outcome?);
        Ok(())
    }
}

impl Gateway {
    /// The model on which this request costs least, of those that the caller may use and whose context holds it.
    fn cheapest(&self, caller: &Caller, request: &Request) -> Option<(ModelId, Cost)> {
        let models = self.completions.models();
        let tokens = request.least_context();
        let usable = (0..models.models().len()).map(ModelId).filter(|id| {
            let model = models.get(*id);
            let takes = || self.completions.refused_member(*id, request).is_none();
            caller.may_use(&model.name) && model.context.is_none_or(|context| tokens <= context) && takes()
        });
        usable.filter_map(|id| Some((id, self.estimate(id, request)?))).min_by_key(|(_, cost)| *cost)
    }

    /// The estimated cost of the request on this model; `None` for a model without a price.
    fn estimate(&self, model: ModelId, request: &Request) -> Option<Cost> {
        let model = self.completions.models().get(model);
        let prompt = request.estimated_prompt_tokens();
        let output = self.config.limits.reserve(request, model.context).saturating_sub(prompt);
        Some(model.prices()?.of(Count { input: prompt, output, ..Count::default() }))
    }
}

/// The caller has spent its budget of the day.
fn over_budget(until_midnight: Duration) -> Reject {
    let message = "Your budget of the day does not hold this request: ask for less, or again after midnight UTC.";
    Reject::new(Code::BudgetExceeded, message).retry_after(until_midnight)
}

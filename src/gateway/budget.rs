//! What a caller can afford: the model that it asks for, beyond its budget a cheaper one, or none.

use std::time::Duration;

use super::Gateway;
use crate::auth::caller::Caller;
use crate::bounded_table::Key;
use crate::error::Reject;
use crate::gateway::answers;
use crate::metering::meter::Meter;
use crate::models::ModelId;
use crate::spend::budget::claim::Claim;
use crate::spend::budget::{Decision, Hold};
use crate::spend::price::{Cost, Count};
use families::chat::request::Request;

/// What becomes of a request that is beyond its caller's budget.
pub(super) enum Beyond {
    /// The cheapest model, and nobody else should it fail: the others are dearer. What it may cost was taken.
    Cheapest(ModelId, Hold),
    /// It is refused; so long until midnight.
    Refused(Duration),
}

impl Gateway {
    /// Takes of the caller's budget what the request may cost, on `model` at most; it is settled when the meter is.
    ///
    /// # Errors
    /// That is more than is left.
    pub(super) async fn afford(
        &self,
        caller: &Caller,
        model: ModelId,
        request: &Request,
        meter: &Meter,
    ) -> Result<(), Beyond> {
        let rules = self.config.costs.budget;
        let budget = caller.allowance().budget_per_day.unwrap_or(rules.per_day);
        if budget == Cost::default() {
            return Ok(());
        }
        let cheapest = Some(()).filter(|()| rules.cheapest_when_over).and_then(|()| self.cheapest(caller, request));
        let claim = Claim {
            key: Key::of(caller.id(), ""),
            budget: budget.nano(),
            // what has no price takes nothing
            estimate: self.estimate(model, request).unwrap_or_default().nano(),
            otherwise: cheapest.map(|(_, estimate)| estimate.nano()),
        };
        match self.shared.budgets.admit(claim).await {
            Decision::Within(hold) => {
                meter.record().hold_budget(hold, false);
                Ok(())
            }
            Decision::Otherwise(hold) => Err(Beyond::Cheapest(cheapest.map_or(model, |(cheapest, _)| cheapest), hold)),
            Decision::Over(until_midnight) => Err(Beyond::Refused(until_midnight)),
        }
    }

    /// The model that a request beyond its caller's budget goes to.
    ///
    /// # Errors
    /// It goes to none.
    pub(super) fn instead(&self, beyond: Beyond, meter: &Meter) -> Result<ModelId, Reject> {
        let exceeded = |action| self.shared.metrics.budget_exceeded.with_label_values(&[action]).inc();
        match beyond {
            Beyond::Cheapest(cheapest, hold) => {
                exceeded("cheap");
                meter.record().hold_budget(hold, true);
                Ok(cheapest)
            }
            Beyond::Refused(until_midnight) => {
                exceeded("refused");
                Err(answers::over_budget(until_midnight))
            }
        }
    }

    /// The model on which this request is cheapest, of those that the caller may use and whose context holds it.
    fn cheapest(&self, caller: &Caller, request: &Request) -> Option<(ModelId, Cost)> {
        let models = self.upstreams.models();
        let tokens = request.least_context();
        let usable = (0..models.models().len()).map(ModelId).filter(|id| {
            let model = models.get(*id);
            caller.may_use(&model.name) && model.context.is_none_or(|context| tokens <= context)
        });
        usable.filter_map(|id| Some((id, self.estimate(id, request)?))).min_by_key(|(_, cost)| *cost)
    }

    /// What the request may cost on this model, as far as one can know before; `None` where the model has no price.
    fn estimate(&self, model: ModelId, request: &Request) -> Option<Cost> {
        let model = self.upstreams.models().get(model);
        let prompt = request.estimated_prompt_tokens();
        let output = self.config.limits.reserve(request, model.context).saturating_sub(prompt);
        Some(model.prices()?.of(Count { input: prompt, output, ..Count::default() }))
    }
}

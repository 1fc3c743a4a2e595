//! What a caller can afford: the model that it asks for, beyond its budget a cheaper one, or none.

use super::Gateway;
use crate::answers;
use crate::budget::Decision;
use crate::caller::Caller;
use crate::chat::request::Request;
use crate::error::Reject;
use crate::limit::budget::Claim;
use crate::limit::claim::Key;
use crate::route::price::{Cost, Count};
use crate::route::table::ModelId;
use crate::stream::meter::Meter;

/// Who may be asked.
pub(super) struct Afforded {
    /// The model that was asked for, or the cheapest one instead.
    pub(super) model: ModelId,
    /// Nobody else, should it fail: the others are dearer.
    pub(super) only: bool,
}

impl Gateway {
    /// Takes of the caller's budget what the request may cost; it is settled when the meter is.
    pub(super) async fn afford(
        &self,
        caller: &Caller,
        model: ModelId,
        request: &Request,
        meter: &Meter,
    ) -> Result<Afforded, Reject> {
        let rules = self.config.costs.budget;
        let budget = caller.allowance().budget_per_day.unwrap_or(rules.per_day);
        if budget == Cost::default() {
            return Ok(Afforded { model, only: false });
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
                Ok(Afforded { model, only: false })
            }
            Decision::Otherwise(hold) => {
                meter.record().hold_budget(hold, true);
                Ok(Afforded { model: cheapest.map_or(model, |(cheapest, _)| cheapest), only: true })
            }
            Decision::Over(until_midnight) => Err(answers::over_budget(until_midnight)),
        }
    }

    /// The model on which this request is cheapest, of those that the caller may use and whose context holds it.
    fn cheapest(&self, caller: &Caller, request: &Request) -> Option<(ModelId, Cost)> {
        let models = self.upstreams.models();
        let prompt = request.estimated_prompt_tokens();
        let usable = (0..models.models().len()).map(ModelId).filter(|id| {
            let model = models.get(*id);
            caller.may_use(&model.name) && model.context.is_none_or(|context| prompt <= context)
        });
        usable.filter_map(|id| Some((id, self.estimate(id, request)?))).min_by_key(|(_, cost)| *cost)
    }

    /// What the request may cost on this model, as far as one can know before; `None` where the model has no price.
    fn estimate(&self, model: ModelId, request: &Request) -> Option<Cost> {
        let model = self.upstreams.models().get(model);
        let prompt = request.estimated_prompt_tokens();
        let all = self.config.limits.reservation(prompt, request.max_tokens(), model.context);
        let output = all.saturating_sub(prompt);
        Some(model.prices()?.of(Count { input: prompt, output, ..Count::default() }))
    }
}

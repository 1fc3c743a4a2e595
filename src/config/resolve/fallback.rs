//! `[fallback]`: one cool-down within the other, the floors of the budgets, and somebody to hedge with.

use super::Resolver;
use crate::config::fallback::{Fallback, Hedge};
use crate::config::problem::Mistake;
use crate::config::{format_duration, raw, raw_fallback};
use crate::failover::circuit::CoolDown;
use crate::failover::retry_budget::Terms;
use crate::models::{ModelId, Table};

/// Attempts after a failure that ten seconds may see, however quiet they are: without them, the first failure in a while
/// would be told to a client that another model could have answered.
const RETRY_FLOOR: u32 = 10;
/// The same for attempts beside a slow one: nothing has failed yet.
const HEDGE_FLOOR: u32 = 1;

impl Resolver<'_> {
    pub(super) fn fallback_rules(
        &mut self,
        fallback: &raw_fallback::Fallback,
        models: &[raw::Model],
        table: &Table,
    ) -> Fallback {
        let (first, most) = (&fallback.cool_down, &fallback.max_cool_down);
        if first.value > most.value {
            // at the key that is written; where both are, either mend will do
            let place = if most.is_written() { &most.place } else { &first.place };
            let (first, most) = (format_duration(first.value), format_duration(most.value));
            let reason = format!(
                "contradicts its neighbour: fallback.cool_down ({first}) is over fallback.max_cool_down ({most})"
            );
            self.problems.report(place, Mistake::new(reason, "raise max_cool_down, or lower cool_down"));
        }
        let hedge = &fallback.hedge;
        if hedge.after.value.0.is_some() {
            self.warn_of_vain_hedging(models, table);
        }
        let budget = Terms { share: hedge.budget.value, floor: HEDGE_FLOOR };
        Fallback {
            deadline: fallback.deadline.value,
            retry_budget: Terms { share: fallback.retry_budget.value, floor: RETRY_FLOOR },
            cool_down: CoolDown { first: first.value, most: most.value },
            hedge: hedge.after.value.0.map(|after| Hedge { after, budget }),
        }
    }

    /// A hedge is the next model, asked early: where there is none, nothing is ever asked beside a slow one.
    fn warn_of_vain_hedging(&mut self, models: &[raw::Model], table: &Table) {
        let has_next = |place: usize| table.candidates(ModelId(place), 0, |_| true).len() > 1;
        let alone: Vec<&raw::Model> =
            models.iter().enumerate().filter(|(place, _)| !has_next(*place)).map(|(_, model)| model).collect();
        if alone.len() == models.len() {
            let what = "is on, and no model has a fallback to hedge with: write models.fallback, or \"off\" here";
            return self.warn("fallback.hedge.after", what);
        }
        for model in alone {
            let name = &model.name.value.0;
            let what = format!(
                "leaves fallback.hedge nobody to ask beside `{name}`: name another model here, or do without hedging it"
            );
            self.warn(&model.fallback.place.key, &what);
        }
    }
}

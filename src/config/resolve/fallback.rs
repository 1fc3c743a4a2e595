//! `[fallback]`: one cool-down within the other, and the floors of the budgets.

use super::Resolver;
use crate::config::fallback::{Fallback, Hedge};
use crate::config::problem::Mistake;
use crate::config::{format_duration, raw_fallback};
use crate::route::health::CoolDown;
use crate::route::retry_budget::Terms;

/// Attempts after a failure that ten seconds may see, however quiet they are: without them, the first failure in a while
/// would be told to a client that another model could have answered.
const RETRY_FLOOR: u32 = 10;
/// The same for attempts beside a slow one: nothing has failed yet.
const HEDGE_FLOOR: u32 = 1;

impl Resolver<'_> {
    pub(super) fn fallback_rules(&mut self, fallback: &raw_fallback::Fallback) -> Fallback {
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
        let budget = Terms { share: hedge.budget.value, floor: HEDGE_FLOOR };
        Fallback {
            deadline: fallback.deadline.value,
            retry_budget: Terms { share: fallback.retry_budget.value, floor: RETRY_FLOOR },
            cool_down: CoolDown { first: first.value, most: most.value },
            hedge: hedge.after.value.0.map(|after| Hedge { after, budget }),
        }
    }
}

//! `[cost]`: a baseline that there is, and that has a price; a budget that something can be measured by.

use super::Resolver;
use crate::config::problem::{Field, Mistake, quoted};
use crate::config::raw_cost::{OverBudget, Spending};
use crate::config::{Budget, Costs, raw};
use crate::models::Table;
use crate::price::Cost;

impl Resolver<'_> {
    pub(super) fn costs(&mut self, cost: &Spending, models: &Field<Vec<raw::Model>>, table: &Table) -> Costs {
        let readable = models.is_readable() && models.value.iter().all(|model| model.name.is_readable());
        let baseline = cost.baseline.value.as_deref().and_then(|name| {
            let Some(id) = table.find(Some(name)) else {
                if readable {
                    let what = format!("no model has the name {}", quoted(name));
                    let mistake = Mistake::new(what, "write the name of one of [[models]]");
                    self.problems.report(&cost.baseline.place, mistake);
                }
                return None;
            };
            let prices = table.get(id).prices();
            if prices.is_none() {
                let mend = "write input_price and output_price beside it, or name another model";
                self.problems.report(&cost.baseline.place, Mistake::new("names a model without a price", mend));
            }
            prices
        });
        let per_day = cost.budget_per_day.value.0;
        if per_day > Cost::default() {
            for model in table.models().iter().filter(|model| model.prices().is_none()) {
                let what = format!("is no bound on the model `{}`, which has no price", model.name);
                self.warn("cost.budget_per_day", &what);
            }
        }
        let cheapest_when_over = cost.over_budget.value == OverBudget::Cheap;
        if cheapest_when_over && !table.models().iter().any(|model| model.prices().is_some()) {
            let mistake = Mistake::new("is \"cheap\", and no model has a price", "write prices, or \"refuse\"");
            self.problems.report(&cost.over_budget.place, mistake);
        }
        Costs { baseline, budget: Budget { per_day, cheapest_when_over } }
    }
}

//! `[cost]`, as it is written and checked: a baseline that has a price, and a budget that can be measured. Pure.

use serde_json::json;
use settings::{Json, Mistake, Resolver, Toml, Value, quoted, string};

use crate::models::Table;
use crate::models::names::Names;
use crate::price::{Cost, Price, Prices};

settings::section! {
    /// Cost and budgets. See docs/COST.md.
    pub struct Written {
        /// The model that you would use without [routing.auto]. The savings of `auto` are computed against it. Without this line,
        /// they are not computed.
        baseline: Option<String>, commented "gpt-4o";
        /// What each caller may spend in a day (UTC), in US dollars. Exact to six digits. 0 = no budget.
        budget_per_day: Dollars = 0;
        /// A request above the budget: "refuse" (429 until midnight), or "cheap" (the cheapest model that the caller may use).
        over_budget: OverBudget = "refuse";
        /// The tokens of one image of a request in limits and budgets, and on the bill if the upstream reports no usage. Audio and
        /// files count by their bytes.
        tokens_per_image: usize = 1105 in 0 ..= 1_000_000;
    }
}

/// An amount in US dollars, exact to six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dollars(Cost);

/// `cost.over_budget`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverBudget {
    /// The request is refused.
    Refuse,
    /// The cheapest model answers.
    Cheap,
}

settings::words!(OverBudget { Refuse = "refuse", Cheap = "cheap" }, "write one of the two, in quotes");

/// What money is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Prices of the model that `auto` is compared with.
    pub baseline: Option<Prices>,
    /// What each caller may spend.
    pub budget: Budget,
    /// The estimate for one image.
    pub tokens_per_image: u64,
}

/// What one caller may spend, and what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// In one day, UTC; zero = no bound.
    pub per_day: Cost,
    /// Beyond it the cheapest model answers; else the request is refused.
    pub cheapest_when_over: bool,
}

impl Value for Dollars {
    const TYPE: &'static str = "US dollars";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write US dollars, such as 5.00, or 0 for no budget";
        let price = Price::read(value).map_err(|mistake| Mistake::new(mistake.reason, mend))?;
        // a price is the cost of a million tokens
        Ok(Self(price.of(1_000_000)))
    }

    fn schema() -> Json {
        Price::schema()
    }
}

impl Value for Price {
    const TYPE: &'static str = "US dollars";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write US dollars per million tokens, such as 2.50";
        // The written digits, not a binary fraction: what the operator reads is what is charged.
        let decimal = match value {
            Toml::Integer(integer) => integer.to_string(),
            Toml::Float(float) if float.as_str().contains('.') => {
                float.as_str().trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Toml::Float(float) => float.as_str().to_owned(),
            _ => string(value, mend)?.to_owned(),
        };
        Price::parse(&decimal).map_err(|reason| Mistake::new(reason, mend))
    }

    fn schema() -> Json {
        json!({ "type": ["number", "string"], "minimum": 0, "maximum": 1_000_000, "pattern": "^[0-9]+(\\.[0-9]{0,6})?$" })
    }
}

impl Written {
    /// The checked section; `names` are those of the models in `table`.
    pub fn resolve(&self, names: &Names<'_>, table: &Table, resolver: &mut Resolver<'_>) -> Costs {
        let per_day = self.budget_per_day.value.0;
        if per_day > Cost::default() {
            for model in table.models().iter().filter(|model| model.prices().is_none()) {
                let what = format!("is no bound on the model `{}`, which has no price", model.name);
                resolver.warn("cost.budget_per_day", &what);
            }
        }
        let cheapest_when_over = self.over_budget.value == OverBudget::Cheap;
        if cheapest_when_over && !table.models().iter().any(|model| model.prices().is_some()) {
            let mistake = Mistake::new("is \"cheap\", and no model has a price", "write prices, or \"refuse\"");
            resolver.report(&self.over_budget.place, mistake);
        }
        Costs {
            baseline: self.baseline(names, table, resolver),
            budget: Budget { per_day, cheapest_when_over },
            tokens_per_image: self.tokens_per_image.value as u64,
        }
    }

    fn baseline(&self, names: &Names<'_>, table: &Table, resolver: &mut Resolver<'_>) -> Option<Prices> {
        let (name, place) = (self.baseline.value.as_deref()?, &self.baseline.place);
        let Some(id) = table.find(Some(name)) else {
            if names.lacks(name) {
                let what = format!("no model has the name {}", quoted(name));
                resolver.report(place, Mistake::new(what, "write the name of one of [[models]]"));
            }
            return None;
        };
        let prices = table.get(id).prices();
        if prices.is_none() {
            let mend = "write input_price and output_price beside it, or name another model";
            resolver.report(place, Mistake::new("names a model without a price", mend));
        }
        prices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_charged_as_it_is_written() {
        let price = |text| Price::read(Toml::parse(text).unwrap().get_ref()).map(|price| price.to_string());
        for (text, shown) in
            [("2.50", "2.50"), ("10", "10.00"), ("\"0.27\"", "0.27"), ("0.100000000", "0.10"), ("1_000.0", "1000.00")]
        {
            assert_eq!(price(text), Ok(shown.to_owned()), "{text}");
        }
        for bad in ["-1.0", "1e3", "nan", "inf", "0.0000001", "true", "0x10", "[1]"] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }
}

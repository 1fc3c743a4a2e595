//! `[cost]` as it is written. Pure.

use toml::de::DeValue;

use super::problem::{Field, Mistake};
use super::section::Section;
use super::values::Value;
use crate::price::{Cost, Price};

/// `[cost]`
#[derive(Debug, PartialEq)]
pub(super) struct Spending {
    pub(super) baseline: Field<Option<String>>,
    pub(super) budget_per_day: Field<Dollars>,
    pub(super) over_budget: Field<OverBudget>,
}

/// An amount in US dollars, exact to six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dollars(pub(super) Cost);

/// `cost.over_budget`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverBudget {
    Refuse,
    Cheap,
}

impl Spending {
    pub(super) fn read(cost: &mut Section<'_, '_>) -> Self {
        Self {
            baseline: cost.or("baseline", None),
            budget_per_day: cost.or("budget_per_day", Dollars::default()),
            over_budget: cost.or("over_budget", OverBudget::Refuse),
        }
    }
}

impl Value for Dollars {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write US dollars, such as 5.00, or 0 for no budget";
        let price = Price::read(value).map_err(|mistake| Mistake::new(mistake.reason, mend))?;
        // a price is the cost of a million tokens
        Ok(Self(price.of(1_000_000)))
    }
}

impl Value for OverBudget {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("refuse") => Ok(Self::Refuse),
            Some("cheap") => Ok(Self::Cheap),
            _ => Err(Mistake::new("must be \"refuse\" or \"cheap\"", "write one of the two, in quotes")),
        }
    }
}

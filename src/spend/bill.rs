//! The bill of one request: a charge for each attempt that an upstream charges for. Pure.

use std::fmt;
use std::sync::Arc;

use super::tally::Tokens;
use crate::models::Target;
use crate::price::Cost;

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its output may be the answer: it counts in `tokenway-attempts`, and the response may name its model.
    Answer,
    /// It classifies a request for `auto`. It is billed like any other, and the response does not name it.
    Decide,
}

/// The charge of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The model, and with it the prices.
    pub who: Arc<Target>,
    /// The tokens.
    pub tokens: Tokens,
}

impl Charge {
    /// The cost; `None` for a model without prices.
    pub fn cost(&self) -> Option<Cost> {
        Some(self.who.model.prices()?.of(self.tokens.count))
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tokens.count;
        write!(f, "{} {}/{} ", self.who.model.name, count.input, count.output)?;
        match self.cost() {
            Some(cost) => cost.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Every charge of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bill(Vec<Charge>);

impl Bill {
    /// Adds a charge.
    pub fn add(&mut self, charge: Charge) {
        self.0.push(charge);
    }

    /// All charges, in the order of their attempts' ends.
    pub fn charges(&self) -> &[Charge] {
        &self.0
    }

    /// The charge of this attempt, if it is billed.
    pub fn of(&self, number: u32) -> Option<&Charge> {
        self.0.iter().find(|charge| charge.number == number)
    }

    /// The sum; `None` if a charged model has no price.
    pub fn total(&self) -> Option<Cost> {
        self.0.iter().map(Charge::cost).sum()
    }

    /// The sum of all charges with a price.
    pub fn known(&self) -> Cost {
        self.0.iter().filter_map(Charge::cost).sum()
    }

    /// All other charges, as the log writes them: `MODEL INPUT/OUTPUT COST`, or `-` for an unknown cost, separated by `, `;
    /// `None` if there are none.
    pub fn beside(&self, number: u32) -> Option<String> {
        let others = self.0.iter().filter(|charge| charge.number != number);
        let all: Vec<String> = others.map(ToString::to_string).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Tokens of all charges, prompts and answers.
    pub fn tokens(&self) -> u64 {
        self.0.iter().fold(0, |sum, charge| sum.saturating_add(charge.tokens.count.all()))
    }
}

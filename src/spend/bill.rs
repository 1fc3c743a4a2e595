//! What one request owes: a charge for each attempt that an upstream charges for. Pure.

use std::fmt;
use std::sync::Arc;

use super::tally::Tokens;
use crate::models::Target;
use crate::spend::price::Cost;

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its output may be the answer: it is counted in `tokenway-attempts`, and may be named in the answer's head.
    Answer,
    /// To decide who answers. It is billed like any other, and named nowhere.
    Decide,
}

/// What one attempt is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which attempt.
    pub number: u32,
    /// At whose prices.
    pub who: Arc<Target>,
    /// For what.
    pub tokens: Tokens,
}

impl Charge {
    /// What it costs; `None` where the model has no price.
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

    /// All of them, in the order in which they became known.
    pub fn charges(&self) -> &[Charge] {
        &self.0
    }

    /// The charge of this attempt, if it is billed.
    pub fn of(&self, number: u32) -> Option<&Charge> {
        self.0.iter().find(|charge| charge.number == number)
    }

    /// The sum; `None` where a model that is charged for has no price, so that the sum is not known.
    pub fn total(&self) -> Option<Cost> {
        self.0.iter().map(Charge::cost).sum()
    }

    /// The sum of what is known of it.
    pub fn known(&self) -> Cost {
        self.0.iter().filter_map(Charge::cost).sum()
    }

    /// The charges but this one, as the log tells of them: `MODEL INPUT/OUTPUT COST`, or `-` for a cost that is not known,
    /// with `, ` between them; `None` where there are none.
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

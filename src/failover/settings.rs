//! `[fallback]`, as it is written and checked: the cool-downs, the fixed parts of the budgets, and the models for hedging.
//! Pure.

use std::time::Duration;

use serde_json::json;
use settings::{Json, Mistake, Resolver, Toml, Value, format_duration, number, parse_duration, quoted, string};

use super::circuit::CoolDown;
use super::retry_budget::{Share, Terms};
use crate::models::{self, ModelId, Table};

/// Fallback attempts in ten seconds without regard to the traffic. Without them, the first failure after a quiet time would
/// reach a client though another model could answer.
const RETRY_FLOOR: u32 = 10;
/// Hedged attempts in ten seconds without regard to the traffic: fewer, because nothing has failed yet.
const HEDGE_FLOOR: u32 = 1;

settings::section! {
    /// Fallback: if a model fails before its first output, another model is asked (the key `fallback` of [[models]]).
    /// See docs/ROUTING.md.
    pub struct Written {
        /// The time limit for all attempts of one request together, up to the first output.
        deadline: Duration = "5m" in "1ms" ..= "24h";
        /// Retry budget: fallback attempts as a share of all requests, plus ten in any ten seconds. It protects the other
        /// providers from the load of a provider that fails.
        retry_budget: Share = 0.2;
        /// Circuit breaker: after five failures in a row, or ten in twenty attempts, a model gets no requests for this time. The
        /// time doubles with each failed probe. A longer retry-after of the upstream takes precedence, but max_cool_down is the
        /// maximum.
        cool_down: Duration = "5s" in "10ms" ..= "24h";
        /// The longest time that a circuit breaker is open.
        max_cool_down: Duration = "2m" in "10ms" ..= "24h";
        [hedge]: WrittenHedge;
    }
}

settings::section! {
    /// Hedged requests: if a model is slow, the next model is asked as well. The first output wins. Both attempts are paid for.
    pub struct WrittenHedge {
        /// "off". Or "p95": when the first output is later than 95 % of this model's first outputs. Or a duration such as
        /// "800ms".
        after: After = "off";
        /// Hedged requests as a share of all requests, plus one in any ten seconds.
        budget: Share = 0.05;
    }
}

/// `fallback.hedge.after`; `None` is `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After(Option<HedgeAfter>);

impl Value for After {
    const TYPE: &'static str = "`\"off\"`, `\"p95\"` or a duration";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write \"off\", \"p95\", or a time such as \"800ms\"";
        match string(value, mend)? {
            "off" => Ok(Self(None)),
            "p95" => Ok(Self(Some(HedgeAfter::P95))),
            text => match parse_duration(text) {
                Ok(time) if time.is_zero() => {
                    let reason = format!("is {}: every request would be asked twice", format_duration(time));
                    Err(Mistake::new(reason, mend))
                }
                Ok(time) => Ok(Self(Some(HedgeAfter::Time(time)))),
                Err(_) => Err(Mistake::new(format!("{} is not a duration", quoted(text)), mend)),
            },
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(off|p95|[0-9]+(ms|s|m|h))$" })
    }
}

impl Value for Share {
    const TYPE: &'static str = "number from 0 to 1";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write a number from 0 to 1, such as 0.2";
        let number = number(value, mend)?;
        match (0.0..=1.0).contains(&number) {
            true => Ok(Self::of_thousand((number * 1000.0).round() as u32)),
            false => Err(Mistake::new("is out of range", mend)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// When fallback and hedged attempts are made, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The deadline of all attempts at one request together, from its head to the first output.
    pub deadline: Duration,
    /// The budget of fallback attempts.
    pub retry_budget: Terms,
    /// How long a model or an upstream that failed gets no requests.
    pub cool_down: CoolDown,
    /// `[fallback.hedge]`; `None` = off.
    pub hedge: Option<Hedge>,
}

/// A second attempt beside a slow first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hedge {
    /// How late the first output must be for a hedged attempt.
    pub after: HedgeAfter,
    /// The budget of hedged attempts.
    pub budget: Terms,
}

/// `fallback.hedge.after`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// Later than 95 % of the model's first outputs.
    P95,
    /// Later than this duration.
    Time(Duration),
}

impl Written {
    /// Returns the checked section; `written` are the models of `table` as they are written.
    pub fn resolve(
        &self,
        written: &[models::settings::Written],
        table: &Table,
        resolver: &mut Resolver<'_>,
    ) -> Fallback {
        let (first, most) = (&self.cool_down, &self.max_cool_down);
        if first.value > most.value {
            // reported at the key that is written; if both are written, either one can be changed
            let place = if most.is_written() { &most.place } else { &first.place };
            let (first, most) = (format_duration(first.value), format_duration(most.value));
            let reason = format!(
                "contradicts its neighbour: fallback.cool_down ({first}) is over fallback.max_cool_down ({most})"
            );
            resolver.report(place, Mistake::new(reason, "raise max_cool_down, or lower cool_down"));
        }
        let after = self.hedge.after.value.0;
        if after.is_some() {
            warn_of_vain_hedging(written, table, resolver);
        }
        let budget = Terms { share: self.hedge.budget.value, floor: HEDGE_FLOOR };
        Fallback {
            deadline: self.deadline.value,
            retry_budget: Terms { share: self.retry_budget.value, floor: RETRY_FLOOR },
            cool_down: CoolDown { first: first.value, most: most.value },
            hedge: after.map(|after| Hedge { after, budget }),
        }
    }
}

/// Warns of models without a fallback: a hedged attempt goes to the first fallback, so these models are never hedged.
fn warn_of_vain_hedging(written: &[models::settings::Written], table: &Table, resolver: &mut Resolver<'_>) {
    let has_next = |place: usize| table.candidates(ModelId(place), 0, |_| true).len() > 1;
    let alone: Vec<&models::settings::Written> =
        written.iter().enumerate().filter(|(place, _)| !has_next(*place)).map(|(_, model)| model).collect();
    if alone.len() == written.len() {
        let what = "is on, and no model has a fallback to hedge with: write models.fallback, or \"off\" here";
        return resolver.warn("fallback.hedge.after", what);
    }
    for model in alone {
        let name = &model.name.value.0;
        let what =
            format!("leaves fallback.hedge no other model to ask for `{name}`: name one here, or turn hedging off");
        resolver.warn(&model.fallback.place.key, &what);
    }
}

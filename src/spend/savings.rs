//! The savings of one request, and their cause. Pure; docs/COST.md defines them.
//!
//! For a request to `auto`, all savings together are the cost of its answer at the baseline model, less its bill. A cached or
//! coalesced answer saves what its own model would have charged. The rest is the saving of routing, which may be a loss.

use std::sync::Arc;

use super::tally::Tokens;
use crate::models::Target;
use crate::price::{Cost, Prices};

/// The cause of a saving; the label `by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The answer was in the cache.
    Cache,
    /// `auto` chose another model than the baseline.
    Routing,
    /// The answer was that to an identical request in flight.
    Joining,
}

impl Cause {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Cache => "cache",
            Cause::Routing => "routing",
            Cause::Joining => "joining",
        }
    }
}

/// A cached or coalesced answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reuse {
    /// [`Cause::Cache`] or [`Cause::Joining`].
    pub cause: Cause,
    /// The model whose answer it is.
    pub who: Arc<Target>,
    /// Its tokens, once they are known.
    pub tokens: Option<Tokens>,
}

/// What is known of a request at its end.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The sum of its bill.
    pub billed: Cost,
    /// Tokens of the answer; `None` if there was none.
    pub answer: Option<Tokens>,
    /// Set if the answer was cached or coalesced.
    pub reuse: Option<&'a Reuse>,
    /// The prices of the baseline, if the request was to `auto`.
    pub baseline: Option<Prices>,
}

/// Savings by cause; no amount counts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Savings {
    /// By the cache or by request coalescing.
    pub reused: Option<(Cause, Cost)>,
    /// By routing.
    pub routed: Option<Difference>,
}

/// An amount, or its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The request cost less by this amount.
    Saved(Cost),
    /// The request cost more by this amount.
    Lost(Cost),
}

impl Savings {
    /// The savings of one request.
    pub fn of(request: Request<'_>) -> Self {
        let Some(answer) = request.answer else { return Self::default() };
        let worth = |reuse: &Reuse| Some((reuse.cause, reuse.who.model.prices()?.of(answer.count)));
        let reused = request.reuse.and_then(worth);
        // without a price there is no known difference
        let unknown = request.reuse.is_some() && reused.is_none();
        let routed = request.baseline.filter(|_| !unknown).map(|baseline| {
            let paid = request.billed + reused.map(|(_, cost)| cost).unwrap_or_default();
            let would_be = baseline.of(answer.count);
            match would_be.checked_sub(paid) {
                Some(saved) => Difference::Saved(saved),
                None => Difference::Lost(paid.checked_sub(would_be).unwrap_or_default()),
            }
        });
        Self { reused, routed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tally::Source;
    use super::*;
    use crate::models::{Fallback, Model, UpstreamId};
    use crate::price::{Count, Price};

    fn who(dollars: &str) -> Arc<Target> {
        let price = Price::parse(dollars).ok();
        let model = Model {
            name: "m".into(),
            upstream: UpstreamId(0),
            upstream_model: "m".into(),
            input_price: price,
            output_price: price,
            cached_input_price: None,
            cache_write_price: None,
            reasoning_price: None,
            context: None,
            fallback: Fallback::Cheaper,
        };
        Arc::new(Target::new(model, "up"))
    }

    fn tokens(input: u64, output: u64) -> Tokens {
        Tokens { count: Count { input, output, ..Count::default() }, source: Source::Usage }
    }

    #[test]
    fn a_request_that_names_its_model_saves_only_what_is_not_asked_anew() {
        let answer = Some(tokens(10, 5));
        let request = Request { billed: Cost::default(), answer, reuse: None, baseline: None };
        assert_eq!(Savings::of(request), Savings::default());
        let reuse = Reuse { cause: Cause::Joining, who: who("2"), tokens: answer };
        let saved = Savings::of(Request { reuse: Some(&reuse), ..request });
        let cost = Price::parse("2").unwrap().of(15);
        assert_eq!(saved, Savings { reused: Some((Cause::Joining, cost)), routed: None });
    }

    #[test]
    fn a_hard_question_costs_the_decision_on_top() {
        let baseline = who("10").model.prices();
        let answer = tokens(10, 5);
        let decision = Price::parse("1").unwrap().of(7);
        let billed = baseline.unwrap().of(answer.count) + decision;
        let saved = Savings::of(Request { billed, answer: Some(answer), reuse: None, baseline });
        assert_eq!(saved.routed, Some(Difference::Lost(decision)));
    }

    #[test]
    fn without_an_answer_or_a_price_nothing_is_known_to_be_saved() {
        let baseline = who("10").model.prices();
        let nothing = Request { billed: Cost::default(), answer: None, reuse: None, baseline };
        assert_eq!(Savings::of(nothing), Savings::default());
        let reuse = Reuse { cause: Cause::Cache, who: who("no price"), tokens: None };
        let unpriced = Request { answer: Some(tokens(1, 1)), reuse: Some(&reuse), ..nothing };
        assert_eq!(Savings::of(unpriced), Savings::default());
    }

    proptest! {
        #[test]
        fn all_causes_together_are_the_baseline_less_the_bill(
            base in 1u64..100, own in 1u64..100, input in 0u64..1 << 30, output in 0u64..1 << 30,
            billed in 0u64..1 << 40, reused in any::<bool>(),
        ) {
            let answer = tokens(input, output);
            let prices = who(&base.to_string()).model.prices().unwrap();
            let reuse = Reuse { cause: Cause::Cache, who: who(&own.to_string()), tokens: Some(answer) };
            let billed = Price::parse("0.000001").unwrap().of(billed);
            let saved = Savings::of(Request {
                billed, answer: Some(answer), reuse: reused.then_some(&reuse), baseline: Some(prices),
            });
            let (mut plus, mut minus) = (saved.reused.map(|(_, cost)| cost).unwrap_or_default(), billed);
            match saved.routed.unwrap() {
                Difference::Saved(cost) => plus += cost,
                Difference::Lost(cost) => plus = plus.checked_sub(cost).unwrap_or_else(|| { minus = minus.checked_sub(cost).unwrap(); plus }),
            }
            prop_assert_eq!(plus + minus, prices.of(answer.count));
        }
    }
}

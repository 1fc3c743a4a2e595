//! The quotas of a caller, from `[limits]` and from the caller's own terms. Pure.

use crate::auth::caller::Allowance;
use crate::percent::Percent;
use families::request::Request;

use super::claim::Quota;
use super::gcra::Rate;

/// Limits of one scope: of a caller, or of a caller at one model. 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per minute.
    pub requests_per_minute: u64,
    /// Requests at once; 0 = those of a minute.
    pub burst: u64,
    /// Tokens per minute, prompt and completion together.
    pub tokens_per_minute: u64,
    /// Concurrent completions.
    pub concurrent_streams: u64,
}

/// `[limits]`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The limits of each caller that has none of its own.
    pub caller: Limits,
    /// Additional limits of each caller at one model, by the model's name.
    pub models: Vec<(String, Limits)>,
    /// The tokens that are reserved for the answer to a request without `max_tokens`.
    pub reserve_tokens: u64,
}

impl Limits {
    /// These limits, replaced by the caller's own.
    pub fn with(self, own: Allowance) -> Self {
        Self {
            requests_per_minute: own.requests_per_minute.unwrap_or(self.requests_per_minute),
            tokens_per_minute: own.tokens_per_minute.unwrap_or(self.tokens_per_minute),
            concurrent_streams: own.concurrent_streams.unwrap_or(self.concurrent_streams),
            ..self
        }
    }

    /// The quota of this part of the limits; `None` without limits.
    pub fn quota(self, part: Percent) -> Option<Quota> {
        let requests = part.of(self.requests_per_minute);
        let burst = if self.burst == 0 { requests } else { part.of(self.burst) };
        let quota = Quota {
            requests: Rate::of_requests(requests, burst).map(|rate| (requests, rate)),
            tokens: Rate::of_tokens(part.of(self.tokens_per_minute)),
            streams: Some(part.of(self.concurrent_streams)).filter(|most| *most > 0),
        };
        (quota != Quota::default()).then_some(quota)
    }
}

impl Rules {
    /// The quota of a caller with this allowance, for all models.
    pub fn of_caller(&self, own: Allowance, part: Percent) -> Option<Quota> {
        self.caller.with(own).quota(part)
    }

    /// The additional quota of each caller at this model.
    pub fn at_model(&self, model: &str, part: Percent) -> Option<Quota> {
        let (_, limits) = self.models.iter().find(|(name, _)| name == model)?;
        limits.quota(part)
    }

    /// The tokens that a request may use at a model with this context, estimated.
    pub fn reserve(&self, request: &Request, context: Option<u64>) -> u64 {
        self.reservation(request.estimated_prompt_tokens(), request.max_tokens(), request.choices(), context)
    }

    /// The tokens of the prompt and of the answer, in each of its `choices`. The model's context is the bound of each choice.
    fn reservation(&self, prompt: u64, max_tokens: Option<u64>, choices: u64, context: Option<u64>) -> u64 {
        let choice = max_tokens.unwrap_or(self.reserve_tokens).min(context.unwrap_or(u64::MAX));
        prompt.saturating_add(choice.saturating_mul(choices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Limits = Limits { requests_per_minute: 60, burst: 0, tokens_per_minute: 1000, concurrent_streams: 3 };

    #[test]
    fn what_a_caller_has_of_its_own_replaces_what_holds_for_all() {
        let own = Allowance { requests_per_minute: Some(5), concurrent_streams: Some(0), ..Allowance::default() };
        let limits = SOME.with(own);
        assert_eq!(limits, Limits { requests_per_minute: 5, concurrent_streams: 0, ..SOME });
        assert_eq!(SOME.with(Allowance::default()), SOME);
    }

    #[test]
    fn no_limits_are_no_quota() {
        assert_eq!(Limits::default().quota(Percent::WHOLE), None);
        assert_eq!(Rules::default().of_caller(Allowance::default(), Percent::WHOLE), None);
        assert_eq!(Rules::default().at_model("any", Percent::WHOLE), None);
        // a burst alone limits nothing
        assert_eq!(Limits { burst: 5, ..Limits::default() }.quota(Percent::WHOLE), None);
    }

    #[test]
    fn a_models_limits_come_on_top() {
        let rules = Rules { caller: SOME, models: vec![("dear".into(), SOME)], reserve_tokens: 0 };
        assert!(rules.of_caller(Allowance::default(), Percent::WHOLE).is_some());
        assert!(rules.at_model("dear", Percent::WHOLE).is_some());
        assert!(rules.at_model("other", Percent::WHOLE).is_none());
    }

    #[test]
    fn an_unbounded_answer_reserves_the_configured_tokens_and_none_more_than_the_context() {
        let rules = Rules { reserve_tokens: 500, ..Rules::default() };
        assert_eq!(rules.reservation(10, None, 1, None), 510);
        assert_eq!(rules.reservation(10, Some(20), 1, Some(8192)), 30);
        assert_eq!(rules.reservation(10, Some(u64::MAX), 1, Some(8192)), 8202);
        assert_eq!(rules.reservation(u64::MAX, Some(u64::MAX), u64::MAX, None), u64::MAX);
    }

    #[test]
    fn each_choice_of_an_answer_is_reserved() {
        let rules = Rules { reserve_tokens: 500, ..Rules::default() };
        assert_eq!(rules.reservation(10, Some(20), 8, Some(8192)), 170);
        assert_eq!(rules.reservation(10, None, 2, Some(400)), 810);
    }
}

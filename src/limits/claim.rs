//! The claim of one request on its caller's quota: granted as a whole, or refused. Pure.

use super::gcra::{Charge, Correction, Rate, Reserved};
use crate::bounded_table::Key;

/// The quota of a caller, for all models or at one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests per minute, and the rate that they make.
    pub requests: Option<(u64, Rate)>,
    /// The rate of tokens.
    pub tokens: Option<Rate>,
    /// Concurrency permits.
    pub streams: Option<u64>,
}

impl Quota {
    /// The part that is taken before the request's body is read: requests and concurrency.
    pub fn of_requests(self) -> Option<Self> {
        Self { tokens: None, ..self }.if_any()
    }

    /// The part that is taken when the request's tokens are known.
    pub fn of_tokens(self) -> Option<Self> {
        Self { tokens: self.tokens, ..Self::default() }.if_any()
    }

    fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

/// The claim of one request on one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The key of the counts.
    pub key: Key,
    /// The quota of the scope.
    pub quota: Quota,
    /// The charge for one request.
    pub requests: Option<Charge>,
    /// The charge for its tokens, as far as they are known.
    pub tokens: Option<Charge>,
}

/// The claims of one request: on its caller's quota for all models, and on the quota at the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The caller; all keys of one caller are in one slot of a cluster.
    pub caller: Key,
    /// For all models, and at the model.
    pub scopes: Scoped<Claim>,
}

/// A value of a caller for all models, and one at the model; `None` without a limit.
pub type Scoped<T> = [Option<T>; 2];

/// The counts of one scope. The default is that of a new caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The TAT of requests: see [`super::gcra`].
    pub requests: u64,
    /// The TAT of tokens.
    pub tokens: u64,
    /// Permits in use: completions under way.
    pub streams: u32,
}

/// Which limit was reached; the value of the metric's label `limit`, with `model_` before it for those of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `requests_per_minute`
    Requests,
    /// `tokens_per_minute`
    Tokens,
    /// `concurrent_streams`
    Streams,
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The limit with the longest wait.
    pub limit: Limit,
    /// It is a limit at a model.
    pub of_model: bool,
    /// Microseconds after which the claim would be granted if no other claim came before.
    pub wait: u64,
}

/// The wait for a permit: nothing says when a stream will end. Two seconds, in microseconds.
const STREAM_WAIT: u64 = 2_000_000;

impl Claims {
    /// The claims of a request that may use this many tokens; `None` without limits.
    pub fn new(caller: &str, model: &str, quotas: Scoped<Quota>, tokens: u64) -> Option<Self> {
        let [all, at_model] = quotas;
        if all.is_none() && at_model.is_none() {
            return None;
        }
        let caller_key = Key::of(caller, "");
        let scopes = [
            all.map(|quota| Claim::new(caller_key, quota, tokens)),
            at_model.map(|quota| Claim::new(Key::of(caller, model), quota, tokens)),
        ];
        Some(Self { caller: caller_key, scopes })
    }

    /// The counts after it.
    ///
    /// # Errors
    /// The limit that is reached, and the wait; nothing is taken then, of neither scope.
    pub fn admit(&self, counts: Scoped<Counts>, now: u64) -> Result<Scoped<Counts>, Refusal> {
        let mut after = counts;
        let mut refusal: Option<Refusal> = None;
        for (scope, claim) in self.scopes.iter().enumerate() {
            let Some(claim) = claim else { continue };
            match claim.admit(counts[scope].unwrap_or_default(), now) {
                Ok(counts) => after[scope] = Some(counts),
                Err(new) if refusal.is_none_or(|other| other.wait < new.wait) => {
                    refusal = Some(Refusal { of_model: scope == 1, ..new });
                }
                Err(_) => {}
            }
        }
        refusal.map_or(Ok(after), Err)
    }

    /// The settlements of a request that was admitted at `at` and has used this many tokens.
    pub fn settlements(&self, at: u64, used: u64) -> impl Iterator<Item = Settlement> {
        self.scopes.iter().flatten().map(move |claim| claim.settlement(at, used))
    }
}

impl Claim {
    fn new(key: Key, quota: Quota, tokens: u64) -> Self {
        Self {
            key,
            quota,
            requests: quota.requests.map(|(_, rate)| Charge::new(rate, 1)),
            tokens: quota.tokens.map(|rate| Charge::new(rate, tokens)),
        }
    }

    fn admit(&self, counts: Counts, now: u64) -> Result<Counts, Refusal> {
        let mut refusal: Option<Refusal> = None;
        let mut refuse = |limit, wait| {
            if refusal.is_none_or(|other| other.wait < wait) {
                refusal = Some(Refusal { limit, of_model: false, wait });
            }
        };
        let mut pass = |charge: Option<Charge>, tat: u64, limit| match charge.map(|charge| charge.admit(tat, now)) {
            None => tat,
            Some(Ok(after)) => after,
            Some(Err(wait)) => {
                refuse(limit, wait);
                tat
            }
        };
        let requests = pass(self.requests, counts.requests, Limit::Requests);
        let tokens = pass(self.tokens, counts.tokens, Limit::Tokens);
        let mut streams = counts.streams;
        if let Some(most) = self.quota.streams {
            match u64::from(streams) < most {
                true => streams += 1,
                false => refuse(Limit::Streams, STREAM_WAIT),
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Counts { requests, tokens, streams }),
        }
    }

    fn settlement(&self, at: u64, used: u64) -> Settlement {
        let correction = |rate: Rate, charge: Charge| Reserved { at, cost: charge.cost }.correction(rate.cost(used));
        Settlement {
            key: self.key,
            tokens: self.quota.tokens.zip(self.tokens).map(|(rate, charge)| correction(rate, charge)),
            stream: self.quota.streams.is_some(),
        }
    }
}

/// The change of the counts of one scope at the end of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The key of the counts.
    pub key: Key,
    /// The correction by the tokens that were used.
    pub tokens: Option<Correction>,
    /// A permit is returned.
    pub stream: bool,
}

impl Settlement {
    /// The counts after it.
    pub fn apply(&self, counts: Counts, now: u64) -> Counts {
        Counts {
            requests: counts.requests,
            tokens: self.tokens.map_or(counts.tokens, |correction| correction.apply(counts.tokens, now)),
            streams: counts.streams.saturating_sub(u32::from(self.stream)),
        }
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        !self.stream && self.tokens.is_none_or(Correction::is_nothing)
    }
}

impl Counts {
    /// From then on the counts are those of a new caller, so that their eviction loses nothing.
    pub fn forgettable_at(&self) -> u64 {
        if self.streams > 0 { u64::MAX } else { self.requests.max(self.tokens) }
    }
}

impl Limit {
    /// The value of the label.
    pub fn as_str(self, of_model: bool) -> &'static str {
        match (self, of_model) {
            (Limit::Requests, false) => "requests",
            (Limit::Tokens, false) => "tokens",
            (Limit::Streams, false) => "streams",
            (Limit::Requests, true) => "model_requests",
            (Limit::Tokens, true) => "model_tokens",
            (Limit::Streams, true) => "model_streams",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::policy::Limits;
    use crate::percent::Percent;

    const NOW: u64 = 1_000_000_000;

    fn claim(limits: Limits, tokens: u64) -> Claim {
        Claim::new(Key::of("key:a", ""), limits.quota(Percent::WHOLE).unwrap(), tokens)
    }

    #[test]
    fn the_longest_wait_is_reported() {
        let limits = Limits { requests_per_minute: 60, burst: 1, tokens_per_minute: 60, concurrent_streams: 1 };
        let claim = claim(limits, 60);
        let counts = claim.admit(Counts::default(), NOW).unwrap();
        assert_eq!(counts.streams, 1);
        let refusal = claim.admit(counts, NOW).unwrap_err();
        assert_eq!(refusal, Refusal { limit: Limit::Tokens, of_model: false, wait: 60_000_000 });
        // a minute later only the stream is in the way
        let refusal = claim.admit(counts, NOW + 60_000_000).unwrap_err();
        assert_eq!(refusal, Refusal { limit: Limit::Streams, of_model: false, wait: STREAM_WAIT });
    }

    #[test]
    fn what_a_model_refuses_is_not_taken_of_the_caller() {
        let quota = |limits: Limits| limits.quota(Percent::WHOLE);
        let streams = |most| quota(Limits { concurrent_streams: most, ..Limits::default() });
        let claims = Claims::new("key:a", "dear", [streams(5), streams(1)], 0).unwrap();
        let one = claims.admit([None, None], NOW).unwrap();
        let refusal = claims.admit(one, NOW).unwrap_err();
        assert_eq!((refusal.limit.as_str(refusal.of_model), one[0].unwrap().streams), ("model_streams", 1));
        assert_eq!(Claims::new("key:a", "dear", [None, None], 5), None);
        let only_model = Claims::new("key:a", "dear", [None, streams(1)], 0).unwrap();
        assert_eq!((only_model.scopes[0], only_model.caller), (None, claims.caller));
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0u64..100, 0u64..10, 0u64..10_000, 0u64..5).prop_map(|(rpm, burst, tpm, streams)| Limits {
            requests_per_minute: rpm,
            burst,
            tokens_per_minute: tpm,
            concurrent_streams: streams,
        })
    }

    proptest! {
        #[test]
        fn what_is_settled_with_its_reservation_leaves_but_the_requests(
            limits in limits(), tokens in 0u64..20_000, requests in 0u64..2 * NOW, before in 0u64..2 * NOW, streams in 0u32..5,
        ) {
            prop_assume!(limits.quota(Percent::WHOLE).is_some());
            let claim = claim(limits, tokens);
            let before = Counts { requests, tokens: before, streams };
            if let Ok(after) = claim.admit(before, NOW) {
                let nothing_used = claim.settlement(NOW, 0).apply(after, NOW);
                prop_assert_eq!(nothing_used.streams, before.streams);
                prop_assert_eq!(nothing_used.requests, after.requests);
                if limits.tokens_per_minute > 0 {
                    prop_assert_eq!(nothing_used.tokens, before.tokens.max(NOW));
                }
            }
        }

        #[test]
        fn no_more_streams_than_the_limit_and_none_lost(most in 1u64..6, steps in prop::collection::vec(any::<bool>(), 0..60)) {
            let claim = claim(Limits { concurrent_streams: most, ..Limits::default() }, 0);
            let (mut counts, mut open) = (Counts::default(), 0);
            for begin in steps {
                if begin {
                    let admitted = claim.admit(counts, NOW);
                    prop_assert_eq!(admitted.is_ok(), open < most);
                    if let Ok(after) = admitted { counts = after; open += 1; }
                } else if open > 0 {
                    counts = claim.settlement(NOW, 0).apply(counts, NOW);
                    open -= 1;
                }
                prop_assert_eq!(u64::from(counts.streams), open);
            }
        }
    }
}

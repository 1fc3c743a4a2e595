//! The `ratelimit` header fields of a response. Pure.
//!
//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them, and the three fields of that
//! draft's early versions, which most clients still read.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::claim::{Claim, Claims, Counts, Limit, Scoped};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The five header fields of one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// In the order in which they are written: requests, tokens, permits of the caller, then those at the model.
    usages: [Option<Usage>; 6],
}

/// One limit and what remains of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    name: &'static str,
    limit: u64,
    remaining: u64,
    /// Seconds until all of it is available again; `None` for permits: nothing says when a stream will end.
    reset: Option<u64>,
    unit: Unit,
}

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Requests per minute, the draft's default unit.
    Requests,
    /// Tokens per minute: a unit of our own.
    Tokens,
    /// Concurrent requests.
    Concurrent,
}

impl Fields {
    /// The fields for these claims and the counts after them; `None` without limits.
    pub fn new(claims: &Claims, counts: Scoped<Counts>, now: u64) -> Option<Self> {
        let scopes = claims.scopes.iter().zip(counts).zip([false, true]);
        let mut fields = Self { usages: [None; 6] };
        for (scope, ((claim, counts), of_model)) in scopes.enumerate() {
            let Some(claim) = claim else { continue };
            let usages = usages(claim, counts.unwrap_or_default(), of_model, now);
            fields.usages[3 * scope..3 * scope + 3].copy_from_slice(&usages);
        }
        fields.usages.iter().any(Option::is_some).then_some(fields)
    }

    /// These fields, and those of limits that were decided later. Of a limit in both, the later state counts.
    pub fn and(mut self, later: &Self) -> Self {
        for (usage, later) in self.usages.iter_mut().zip(later.usages) {
            *usage = later.or(*usage);
        }
        self
    }

    /// Writes the fields into the head of a response.
    pub fn write(&self, headers: &mut HeaderMap) {
        let (mut policy, mut state) = (String::with_capacity(160), String::with_capacity(96));
        let mut nearest: Option<&Usage> = None;
        for usage in self.usages.iter().flatten() {
            usage.write(&mut policy, &mut state);
            if nearest.is_none_or(|other| usage.is_nearer_than(other)) {
                nearest = Some(usage);
            }
        }
        let Some(nearest) = nearest else { return };
        for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, state)] {
            // only digits and fixed names
            HeaderValue::try_from(text).into_iter().for_each(|value| drop(headers.insert(&name, value)));
        }
        headers.insert(RATELIMIT_LIMIT, nearest.limit.into());
        headers.insert(RATELIMIT_REMAINING, nearest.remaining.into());
        headers.insert(RATELIMIT_RESET, nearest.reset.unwrap_or_default().into());
    }
}

impl Usage {
    /// RFC 9651 Lists of Strings with parameters.
    fn write(&self, policy: &mut String, state: &mut String) {
        let comma = if policy.is_empty() { "" } else { ", " };
        let Self { name, limit, remaining, .. } = self;
        for piece in [comma, "\"", name, "\";q="] {
            policy.push_str(piece);
        }
        policy.push_str(itoa::Buffer::new().format(*limit));
        policy.push_str(match self.unit {
            Unit::Requests => ";w=60",
            Unit::Tokens => ";qu=\"tokens\";w=60",
            Unit::Concurrent => ";qu=\"concurrent-requests\"",
        });
        for piece in [comma, "\"", name, "\";r="] {
            state.push_str(piece);
        }
        state.push_str(itoa::Buffer::new().format(*remaining));
        if let Some(reset) = self.reset {
            state.push_str(";t=");
            state.push_str(itoa::Buffer::new().format(reset));
        }
    }

    /// Whether a smaller share of it remains.
    fn is_nearer_than(&self, other: &Self) -> bool {
        u128::from(self.remaining) * u128::from(other.limit) < u128::from(other.remaining) * u128::from(self.limit)
    }
}

fn usages(claim: &Claim, counts: Counts, of_model: bool, now: u64) -> [Option<Usage>; 3] {
    let seconds = |tat: u64| tat.saturating_sub(now).div_ceil(1_000_000);
    let requests = claim.quota.requests.map(|(limit, rate)| Usage {
        name: policy_name(Limit::Requests, of_model),
        limit,
        remaining: rate.remaining(counts.requests, now),
        reset: Some(seconds(counts.requests)),
        unit: Unit::Requests,
    });
    let tokens = claim.quota.tokens.map(|rate| Usage {
        name: policy_name(Limit::Tokens, of_model),
        limit: rate.burst(),
        remaining: rate.remaining(counts.tokens, now),
        reset: Some(seconds(counts.tokens)),
        unit: Unit::Tokens,
    });
    let streams = claim.quota.streams.map(|limit| Usage {
        name: policy_name(Limit::Streams, of_model),
        limit,
        remaining: limit.saturating_sub(counts.streams.into()),
        reset: None,
        unit: Unit::Concurrent,
    });
    [requests, tokens, streams]
}

fn policy_name(limit: Limit, of_model: bool) -> &'static str {
    match (limit, of_model) {
        (Limit::Requests, true) => "model-requests",
        (Limit::Tokens, true) => "model-tokens",
        (Limit::Streams, true) => "model-streams",
        (limit, false) => limit.as_str(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::policy::Limits;
    use crate::percent::Percent;
    use cors::names::EXPOSED;

    const NOW: u64 = 5_000_000_000;

    fn written(quotas: [Limits; 2], counts: Scoped<Counts>) -> Vec<(String, String)> {
        let claims = Claims::new("key:a", "dear", quotas.map(|limits| limits.quota(Percent::WHOLE)), 100).unwrap();
        let mut headers = HeaderMap::new();
        Fields::new(&claims, counts, NOW).unwrap().write(&mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn every_limit_is_in_the_list_and_the_nearest_one_in_the_old_fields() {
        let all = Limits { requests_per_minute: 60, burst: 0, tokens_per_minute: 6000, concurrent_streams: 4 };
        let dear = Limits { requests_per_minute: 6, ..Limits::default() };
        let counts = Counts { requests: NOW + 1_000_000, tokens: NOW + 30_000_000, streams: 1 };
        let at_model = Counts { requests: NOW + 50_000_000, ..Counts::default() };
        let fields = written([all, dear], [Some(counts), Some(at_model)]);
        let expected = [
            (
                "ratelimit-policy",
                "\"requests\";q=60;w=60, \"tokens\";q=6000;qu=\"tokens\";w=60, \
                 \"streams\";q=4;qu=\"concurrent-requests\", \"model-requests\";q=6;w=60",
            ),
            (
                "ratelimit",
                "\"requests\";r=59;t=1, \"tokens\";r=3000;t=30, \"streams\";r=3, \"model-requests\";r=1;t=50",
            ),
            ("ratelimit-limit", "6"),
            ("ratelimit-remaining", "1"),
            ("ratelimit-reset", "50"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_fields_of_both_steps_of_an_admission_are_those_of_one() {
        let all = Limits { requests_per_minute: 60, burst: 0, tokens_per_minute: 6000, concurrent_streams: 4 };
        let quota = all.quota(Percent::WHOLE).unwrap();
        let fields = |quotas| Fields::new(&Claims::new("key:a", "dear", quotas, 100).unwrap(), [None, None], NOW);
        let first = fields([quota.of_requests(), None]).unwrap();
        let then = fields([quota.of_tokens(), Some(quota)]).unwrap();
        assert_eq!(Some(first.and(&then)), fields([Some(quota), Some(quota)]));
    }

    #[test]
    fn every_page_may_read_them() {
        let one = Limits { requests_per_minute: 1, ..Limits::default() };
        for (name, _) in written([one, Limits::default()], [None, None]) {
            assert!(EXPOSED.contains(&name.as_str()), "{name}");
        }
    }
}

//! Rate limits of callers: counted in Redis if `[redis]` is configured, else in this process.
//!
//! A completion is admitted in two steps: [`Limiter::admit`] takes its request and its concurrency permit when only its head is
//! known, [`Limiter::admit_tokens`] the rest when its body has been read. Each gives a [`Grant`], which moves along with the
//! completion and is settled once, at its end. A grant that is dropped unsettled gives its tokens back.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::caller::Caller;
use crate::error::{Code, Reject};
use crate::limits::claim::{Claims, Limit, Quota, Refusal};
use crate::limits::fields::Fields;
use crate::limits::policy::Rules;
use crate::metrics::Metrics;
use crate::percent::Percent;
use crate::redis::connection::Connection;
use crate::redis::settings::Redis;

use super::local::{Reply, Table};
use super::shared::{Lease, Shared};

/// The counts of all callers. A reload keeps them.
pub struct Limiter {
    table: Table,
    shared: Option<Arc<Shared>>,
    /// The part of every limit that one instance grants while Redis gives no answer.
    local_share: Percent,
    metrics: Arc<Metrics>,
}

/// What one completion request demands of its caller's limits.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The model's name.
    pub model: &'a str,
    /// The tokens that it may use, prompt and answer: see [`Rules::reserve`].
    pub tokens: u64,
}

/// The decision on one request.
pub struct Admission {
    /// The `ratelimit` fields of the limits that it was decided by; `None` without limits.
    pub fields: Option<Fields>,
    /// The grant, or 429.
    pub outcome: Result<Grant, Reject>,
}

/// What one completion may use: its tokens, and its concurrency permit. Dropped unsettled, it has used no tokens.
pub struct Grant(Option<Box<Held>>);

struct Held {
    limiter: Arc<Limiter>,
    claims: Claims,
    /// When it was granted, by the clock of the store.
    at: u64,
    store: Store,
}

/// Where the grant is counted and settled.
enum Store {
    Local,
    Redis(Lease),
}

impl Limiter {
    /// Counts in this process alone.
    pub fn local(most_callers: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { table: Table::new(most_callers), shared: None, local_share: Percent::WHOLE, metrics })
    }

    /// Counts in Redis; while Redis gives no answer, in this process, at its share.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn shared(
        most_callers: usize,
        link: Arc<Connection>,
        redis: &Redis,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, String> {
        let (table, shared) = (Table::new(most_callers), Some(Shared::start(link, redis.lease)?));
        Ok(Arc::new(Self { table, shared, local_share: redis.local_share, metrics }))
    }

    /// Decides by the caller's requests per minute and its concurrency, and takes one of each. Nothing of the request needs
    /// to be known, so that a caller over its limits costs neither memory for a body nor time for its JSON.
    pub async fn admit(self: &Arc<Self>, rules: &Rules, caller: &Caller) -> Admission {
        self.admit_claims(|part| {
            let quota = rules.of_caller(caller.allowance(), part)?.of_requests();
            Claims::new(caller.id(), "", [quota, None], 0)
        })
        .await
    }

    /// Decides by the caller's tokens per minute and by all its limits at the model, and takes what the request may use.
    pub async fn admit_tokens(self: &Arc<Self>, rules: &Rules, demand: Demand<'_>) -> Admission {
        self.admit_claims(|part| {
            let of_caller = rules.of_caller(demand.caller.allowance(), part).and_then(Quota::of_tokens);
            let quotas = [of_caller, rules.at_model(demand.model, part)];
            Claims::new(demand.caller.id(), demand.model, quotas, demand.tokens)
        })
        .await
    }

    /// Decides by the limits of the caller at this model alone: for a request that was admitted before its model was selected.
    pub async fn admit_at_model(self: &Arc<Self>, rules: &Rules, demand: Demand<'_>) -> Admission {
        self.admit_claims(|part| {
            let quotas = [None, rules.at_model(demand.model, part)];
            Claims::new(demand.caller.id(), demand.model, quotas, demand.tokens)
        })
        .await
    }

    async fn admit_claims(self: &Arc<Self>, claims_of: impl Fn(Percent) -> Option<Claims>) -> Admission {
        let Some(claims) = claims_of(Percent::WHOLE) else { return Admission::unlimited() };
        let Some(shared) = &self.shared else { return self.admit_here(claims) };
        let (limiter, shared) = (Arc::clone(self), Arc::clone(shared));
        // a task of its own: if the client leaves now, the reply is still read, and its grant given back
        let reply = tokio::spawn(async move {
            let (reply, lease) = shared.admit(&claims).await.ok()?;
            Some(limiter.decided(claims, reply, Store::Redis(lease)))
        });
        match reply.await {
            Ok(Some(decision)) => decision,
            _ => match claims_of(self.local_share) {
                Some(claims) => self.admit_here(claims),
                None => Admission::unlimited(),
            },
        }
    }

    fn admit_here(self: &Arc<Self>, claims: Claims) -> Admission {
        let reply = self.table.admit(&claims);
        self.decided(claims, reply, Store::Local)
    }

    fn decided(self: &Arc<Self>, claims: Claims, reply: Reply, store: Store) -> Admission {
        let fields = Fields::new(&claims, reply.counts, reply.now);
        let outcome = match reply.refusal {
            None => {
                let held = Held { limiter: Arc::clone(self), claims, at: reply.now, store };
                Ok(Grant(Some(Box::new(held))))
            }
            Some(refusal) => {
                let limit = refusal.limit.as_str(refusal.of_model);
                self.metrics.rate_limited.with_label_values(&[limit]).inc();
                Err(reject(refusal))
            }
        };
        Admission { fields, outcome }
    }
}

impl Admission {
    fn unlimited() -> Self {
        Self { fields: None, outcome: Ok(Grant(None)) }
    }
}

impl Grant {
    /// The completion has ended and has used this many tokens.
    pub fn settle(mut self, used: u64) {
        self.give_back(used);
    }

    fn give_back(&mut self, used: u64) {
        let Some(held) = self.0.take() else { return };
        let Held { limiter, claims, at, store } = *held;
        match (store, &limiter.shared) {
            (Store::Redis(lease), Some(shared)) => shared.settle(&claims, lease, at, used),
            _ => claims.settlements(at, used).for_each(|settlement| limiter.table.settle(&settlement)),
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

fn reject(refusal: Refusal) -> Reject {
    let wait = Duration::from_micros(refusal.wait);
    let seconds = wait.as_micros().div_ceil(1_000_000);
    let limit = match refusal.limit {
        Limit::Requests => "requests per minute",
        Limit::Tokens => "tokens per minute",
        Limit::Streams => "completions at once",
    };
    let of = if refusal.of_model { " of this model" } else { "" };
    let message = format!("Your limit of {limit}{of} is reached: ask again in {seconds} s.");
    Reject::new(Code::RateLimited, message).retry_after(wait)
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;

//! Counts what callers use, and refuses what is over their limits: in Redis where there is one, else in this process.
//!
//! What [`Limiter::admit`] grants is a [`Grant`]: it moves along with the completion and is settled once, at its end,
//! whatever the end is. Whoever drops it unsettled has used nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::caller::Caller;
use crate::config;
use crate::error::{Code, Reject};
use crate::limits::claim::{Claims, Limit, Refusal};
use crate::limits::fields::Fields;
use crate::limits::policy::Rules;
use crate::metrics::Metrics;
use crate::percent::Percent;
use crate::redis::connection::Connection;

use super::local::{Answer, Table};
use super::shared::{Lease, Shared};

/// The counts of all callers. They live as long as the process: a reload keeps them.
pub struct Limiter {
    table: Table,
    shared: Option<Arc<Shared>>,
    /// What one instance lets pass by itself while Redis gives no answer.
    local_share: Percent,
    metrics: Arc<Metrics>,
}

/// What is to be decided: one request for a completion.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// The model, as the caller names it.
    pub model: &'a str,
    /// Tokens that it may use, prompt and answer: [`Rules::reservation`].
    pub tokens: u64,
}

/// The decision.
pub struct Decision {
    /// What the answer's head tells of it; `None` where nothing is limited.
    pub fields: Option<Fields>,
    /// What was granted, or 429.
    pub outcome: Result<Grant, Reject>,
}

/// What one completion may use. Dropping it unsettled gives all of its tokens back.
pub struct Grant(Option<Box<Held>>);

struct Held {
    limiter: Arc<Limiter>,
    claims: Claims,
    /// When it was granted, by the clock of the store.
    at: u64,
    place: Place,
}

/// Where it is counted, and so settled.
enum Place {
    Here,
    Shared(Lease),
}

impl Limiter {
    /// Counts in this process alone.
    pub fn local(most_callers: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { table: Table::new(most_callers), shared: None, local_share: Percent::WHOLE, metrics })
    }

    /// Counts in Redis, and in this process, at its share, while there is none.
    ///
    /// # Errors
    /// The machine gives no random number.
    pub fn shared(
        most_callers: usize,
        link: Arc<Connection>,
        redis: &config::Redis,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, String> {
        let (table, shared) = (Table::new(most_callers), Some(Shared::start(link, redis.lease)?));
        Ok(Arc::new(Self { table, shared, local_share: redis.local_share, metrics }))
    }

    /// Whether the caller may ask now; if so, what it may use is taken until the grant is settled.
    pub async fn admit(self: &Arc<Self>, rules: &Rules, asked: Asked<'_>) -> Decision {
        self.admit_claims(|part| claims_of(rules, asked, part)).await
    }

    /// The same by what limits the caller at this model alone: for a request that was admitted before it was decided which
    /// model answers.
    pub async fn admit_at_model(self: &Arc<Self>, rules: &Rules, asked: Asked<'_>) -> Decision {
        self.admit_claims(|part| {
            let [_, at_model] = rules.quotas(asked.caller.allowance(), asked.model, part);
            Claims::new(asked.caller.id(), asked.model, [None, at_model], asked.tokens)
        })
        .await
    }

    async fn admit_claims(self: &Arc<Self>, claims_of: impl Fn(Percent) -> Option<Claims>) -> Decision {
        let Some(claims) = claims_of(Percent::WHOLE) else { return Decision::unlimited() };
        let Some(shared) = &self.shared else { return self.admit_here(claims) };
        let (limiter, shared) = (Arc::clone(self), Arc::clone(shared));
        // a task of its own: if the client leaves now, the reply is still taken, and the grant in it given back
        let reply = tokio::spawn(async move {
            let (answer, lease) = shared.admit(&claims).await.ok()?;
            Some(limiter.decided(claims, answer, Place::Shared(lease)))
        });
        match reply.await {
            Ok(Some(decision)) => decision,
            _ => match claims_of(self.local_share) {
                Some(claims) => self.admit_here(claims),
                None => Decision::unlimited(),
            },
        }
    }

    fn admit_here(self: &Arc<Self>, claims: Claims) -> Decision {
        let answer = self.table.admit(&claims);
        self.decided(claims, answer, Place::Here)
    }

    fn decided(self: &Arc<Self>, claims: Claims, answer: Answer, place: Place) -> Decision {
        let fields = Fields::new(&claims, answer.counts, answer.now);
        let outcome = match answer.refusal {
            None => {
                let held = Held { limiter: Arc::clone(self), claims, at: answer.now, place };
                Ok(Grant(Some(Box::new(held))))
            }
            Some(refusal) => {
                let limit = refusal.limit.as_str(refusal.of_model);
                self.metrics.rate_limited.with_label_values(&[limit]).inc();
                Err(reject(refusal))
            }
        };
        Decision { fields, outcome }
    }
}

impl Decision {
    fn unlimited() -> Self {
        Self { fields: None, outcome: Ok(Grant(None)) }
    }
}

impl Grant {
    /// The completion is over, and used this many tokens.
    pub fn settle(mut self, used: u64) {
        self.give_back(used);
    }

    fn give_back(&mut self, used: u64) {
        let Some(held) = self.0.take() else { return };
        let Held { limiter, claims, at, place } = *held;
        match (place, &limiter.shared) {
            (Place::Shared(lease), Some(shared)) => shared.settle(&claims, lease, at, used),
            _ => claims.settlements(at, used).for_each(|settlement| limiter.table.settle(&settlement)),
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

fn claims_of(rules: &Rules, asked: Asked<'_>, part: Percent) -> Option<Claims> {
    let quotas = rules.quotas(asked.caller.allowance(), asked.model, part);
    Claims::new(asked.caller.id(), asked.model, quotas, asked.tokens)
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

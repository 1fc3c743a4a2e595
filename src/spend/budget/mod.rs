//! Daily budgets of callers: in Redis if `[redis]` is configured, else in this process.
//!
//! [`Budgets::admit`] reserves the estimated cost as a [`Hold`], which moves along with the request and is settled with its real
//! cost. A hold that is dropped unsettled gives all of it back.

pub mod claim;
mod local;
mod shared;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::percent::Percent;
use crate::price::Cost;
use crate::redis::connection::Connection;
use crate::spend::budget::claim::{Claim, DAY, Verdict, until_end_of};

use local::Table;
use shared::Shared;

/// What all callers have spent today. A reload keeps it.
pub struct Budgets {
    table: Table,
    shared: Option<Arc<Shared>>,
    /// The part of every budget that one instance grants while Redis gives no answer.
    local_share: Percent,
}

/// The decision on one request.
pub enum Admission {
    /// The request is within the budget; its estimate is reserved.
    Within(Hold),
    /// The request exceeds the budget; the estimate for the cheapest model is reserved.
    Cheaper(Hold),
    /// The request exceeds the budget and is refused; the time until the next day begins.
    Exceeded(Duration),
}

/// What is reserved for one request. Dropped unsettled, it gives all of it back.
pub struct Hold(Option<Box<Held>>);

struct Held {
    budgets: Arc<Budgets>,
    claim: Claim,
    taken: u64,
    day: u64,
    /// It is reserved in Redis.
    shared: bool,
}

/// The reply of a store to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reply {
    verdict: Verdict,
    /// The store's time: seconds since the epoch.
    now: u64,
    /// The day on which the claim is counted: days since the epoch.
    day: u64,
}

impl Budgets {
    /// Counts in this process alone.
    pub fn local(most_callers: usize) -> Arc<Self> {
        Arc::new(Self { table: Table::new(most_callers), shared: None, local_share: Percent::WHOLE })
    }

    /// Counts in Redis, and in this process, at its share, while there is none.
    pub fn shared(most_callers: usize, link: Arc<Connection>, local_share: Percent) -> Arc<Self> {
        let (table, shared) = (Table::new(most_callers), Some(Arc::new(Shared::new(link))));
        Arc::new(Self { table, shared, local_share })
    }

    /// Takes what the request may cost.
    pub async fn admit(self: &Arc<Self>, claim: Claim) -> Admission {
        let Some(shared) = &self.shared else { return self.admit_here(claim) };
        let (budgets, shared) = (Arc::clone(self), Arc::clone(shared));
        // a task of its own: if the client leaves now, the reply is still taken, and what was taken given back
        let reply = tokio::spawn(async move {
            let answer = shared.admit(&claim).await.ok()?;
            Some(budgets.decided(claim, answer, true))
        });
        match reply.await {
            Ok(Some(decision)) => decision,
            _ => self.admit_here(Claim { budget: self.local_share.of(claim.budget), ..claim }),
        }
    }

    fn admit_here(self: &Arc<Self>, claim: Claim) -> Admission {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (verdict, day) = self.table.admit(&claim, now / DAY);
        self.decided(claim, Reply { verdict, now, day }, false)
    }

    fn decided(self: &Arc<Self>, claim: Claim, Reply { verdict, now, day }: Reply, shared: bool) -> Admission {
        let taken = claim.taken(verdict);
        let hold = || Hold(Some(Box::new(Held { budgets: Arc::clone(self), claim, taken, day, shared })));
        match verdict {
            Verdict::Within => Admission::Within(hold()),
            Verdict::Cheaper => Admission::Cheaper(hold()),
            Verdict::Exceeded => Admission::Exceeded(Duration::from_secs(until_end_of(day, now))),
        }
    }
}

impl Hold {
    /// The request is over, and has cost this much.
    pub fn settle(mut self, cost: Cost) {
        self.give_back(cost.nano());
    }

    fn give_back(&mut self, used: u64) {
        let Some(held) = self.0.take() else { return };
        let Held { budgets, claim, taken, day, shared } = *held;
        match &budgets.shared {
            Some(store) if shared => store.settle(&claim, day, taken, used),
            _ => budgets.table.settle(&claim, day, taken, used),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

//! Keeps what callers spend within their budgets: in Redis where there is one, else in this process.
//!
//! What [`Budgets::admit`] takes by estimate is a [`Hold`]: it moves along with the request, and is settled with what that
//! has cost. Whoever drops it unsettled has spent nothing.

pub mod claim;
mod local;
mod shared;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::percent::Percent;
use crate::redis::connection::Connection;
use crate::spend::budget::claim::{Claim, DAY, Verdict, until_midnight};
use crate::spend::price::Cost;

use local::Table;
use shared::Shared;

/// What all callers have spent today. It lives as long as the process: a reload keeps it.
pub struct Budgets {
    table: Table,
    shared: Option<Arc<Shared>>,
    /// What part of every budget one instance lets pass by itself while Redis gives no answer.
    local_share: Percent,
}

/// The decision.
pub enum Decision {
    /// The request is within its caller's budget.
    Within(Hold),
    /// It is beyond it: what is done otherwise has been taken.
    Otherwise(Hold),
    /// It is beyond it, and refused; so long until the next day begins.
    Over(Duration),
}

/// What was taken for one request. Dropping it unsettled gives all of it back.
pub struct Hold(Option<Box<Held>>);

struct Held {
    budgets: Arc<Budgets>,
    claim: Claim,
    taken: u64,
    day: u64,
    /// It was taken in Redis.
    shared: bool,
}

/// What a store answers to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    verdict: Verdict,
    /// The store's time: seconds since the epoch.
    now: u64,
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
    pub async fn admit(self: &Arc<Self>, claim: Claim) -> Decision {
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

    fn admit_here(self: &Arc<Self>, claim: Claim) -> Decision {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let verdict = self.table.admit(&claim, now / DAY);
        self.decided(claim, Answer { verdict, now }, false)
    }

    fn decided(self: &Arc<Self>, claim: Claim, Answer { verdict, now }: Answer, shared: bool) -> Decision {
        let taken = claim.taken(verdict);
        let hold = || Hold(Some(Box::new(Held { budgets: Arc::clone(self), claim, taken, day: now / DAY, shared })));
        match verdict {
            Verdict::Within => Decision::Within(hold()),
            Verdict::Otherwise => Decision::Otherwise(hold()),
            Verdict::Over => Decision::Over(Duration::from_secs(until_midnight(now))),
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

//! What callers have spent, in Redis: one script for each decision, on Redis's own clock, so that instances agree on the day.

use std::sync::Arc;

use redis::Value;

use super::Answer;
use crate::redis::connection::{Connection, Script};
use crate::redis::error::RedisError;
use crate::spend::budget::claim::{Claim, MOST, Verdict};

/// The spending that all instances share.
pub(super) struct Shared {
    link: Arc<Connection>,
    take: Script,
    settle: Script,
}

impl Shared {
    pub(super) fn new(link: Arc<Connection>) -> Self {
        let (take, settle) = (include_str!("take.lua"), include_str!("settle.lua"));
        Self { link, take: Script::new(take), settle: Script::new(settle) }
    }

    /// Takes what is claimed.
    ///
    /// # Errors
    /// Redis did not say: nothing is known of what it took.
    pub(super) async fn admit(&self, claim: &Claim) -> Result<Answer, RedisError> {
        let otherwise = claim.otherwise.map_or("-1".to_owned(), |nano| nano.min(MOST).to_string());
        let arguments = [claim.budget.min(MOST).to_string(), claim.estimate.min(MOST).to_string(), otherwise];
        let reply = self.link.run(&self.take, &[key(claim)], &arguments).await?;
        read(&reply).ok_or_else(|| self.link.misunderstood())
    }

    /// Writes, in the background, what a request of this day has cost.
    pub(super) fn settle(self: &Arc<Self>, claim: &Claim, day: u64, taken: u64, used: u64) {
        if taken == used {
            return;
        }
        let (shared, key) = (Arc::clone(self), key(claim));
        let arguments = [day.to_string(), taken.min(MOST).to_string(), used.min(MOST).to_string()];
        self.link.runtime().spawn(async move {
            // what went wrong is told of there; the estimate stands as it is
            let _ = shared.link.run(&shared.settle, &[key], &arguments).await;
        });
    }
}

/// Beside the keys of the caller's limits, in the same slot of a cluster.
fn key(claim: &Claim) -> String {
    format!("tokenway:{{{}}}:spent", claim.key)
}

/// The reply of `take.lua`; `None` where it is something else.
fn read(reply: &Value) -> Option<Answer> {
    let Value::Array(items) = reply else { return None };
    let [Value::Int(verdict), Value::Int(now)] = items[..] else { return None };
    let verdict = match verdict {
        1 => Verdict::Within,
        2 => Verdict::Otherwise,
        0 => Verdict::Over,
        _ => return None,
    };
    Some(Answer { verdict, now: u64::try_from(now).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_reply_is_none() {
        let reply = |items: &[i64]| read(&Value::Array(items.iter().map(|item| Value::Int(*item)).collect()));
        assert_eq!(reply(&[1, 5]), Some(Answer { verdict: Verdict::Within, now: 5 }));
        for items in [&[][..], &[1], &[3, 5], &[1, -5], &[1, 5, 5]] {
            assert_eq!(reply(items), None, "{items:?}");
        }
        assert_eq!(read(&Value::Nil), None);
    }
}

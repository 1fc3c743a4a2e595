//! The spending of callers in Redis: one script a decision, on the clock of Redis, so that all instances agree on the day.

use std::sync::Arc;

use redis::Value;

use super::Reply;
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

    /// Decides a claim, and reserves.
    ///
    /// # Errors
    /// There is no reply: whether Redis has reserved is not known.
    pub(super) async fn admit(&self, claim: &Claim) -> Result<Reply, RedisError> {
        let cheaper = claim.cheaper.map_or("-1".to_owned(), |nano| nano.min(MOST).to_string());
        let arguments = [claim.budget.min(MOST).to_string(), claim.estimate.min(MOST).to_string(), cheaper];
        let reply = self.link.run(&self.take, &[key(claim)], &arguments).await?;
        read(&reply).ok_or_else(|| self.link.misunderstood())
    }

    /// Settles in the background a request of this day with its real cost.
    pub(super) fn settle(self: &Arc<Self>, claim: &Claim, day: u64, taken: u64, used: u64) {
        if taken == used {
            return;
        }
        let (shared, key) = (Arc::clone(self), key(claim));
        let arguments = [day.to_string(), taken.min(MOST).to_string(), used.min(MOST).to_string()];
        self.link.write_later(async move {
            // the connection logs and counts errors; the estimate stays reserved
            let _ = shared.link.run(&shared.settle, &[key], &arguments).await;
        });
    }
}

/// The key: in the same cluster slot as the keys of the caller's limits.
fn key(claim: &Claim) -> String {
    format!("tokenway:{{{}}}:spent", claim.key)
}

/// The reply of `take.lua`; `None` if it has another form.
fn read(reply: &Value) -> Option<Reply> {
    let Value::Array(items) = reply else { return None };
    let [Value::Int(verdict), Value::Int(now), Value::Int(day)] = items[..] else { return None };
    let verdict = match verdict {
        1 => Verdict::Within,
        2 => Verdict::Cheaper,
        0 => Verdict::Exceeded,
        _ => return None,
    };
    Some(Reply { verdict, now: u64::try_from(now).ok()?, day: u64::try_from(day).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_reply_is_none() {
        let reply = |items: &[i64]| read(&Value::Array(items.iter().map(|item| Value::Int(*item)).collect()));
        assert_eq!(reply(&[1, 5, 7]), Some(Reply { verdict: Verdict::Within, now: 5, day: 7 }));
        for items in [&[][..], &[1], &[1, 5], &[3, 5, 7], &[1, -5, 7], &[1, 5, -7], &[1, 5, 7, 7]] {
            assert_eq!(reply(items), None, "{items:?}");
        }
        assert_eq!(read(&Value::Nil), None);
    }
}

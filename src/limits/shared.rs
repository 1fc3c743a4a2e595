//! The counts in Redis: one script a decision, on the clock of Redis, so that all instances agree.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::Value;

use crate::bounded_table::Key;
use crate::limits::claim::{Claims, Counts};
use crate::limits::gcra::MOST_DEBT;
use crate::limits::local::Reply;
use crate::redis::connection::{Connection, Script};
use crate::redis::error::RedisError;
use crate::supervise;

/// Renewals within the time of a lease: one or two of them may fail.
const RENEWALS: u32 = 3;
/// Concurrent renewals.
const RENEWED_AT_ONCE: usize = 64;

/// The counts that all instances share.
pub(super) struct Shared {
    link: Arc<Connection>,
    scripts: Scripts,
    /// After this time the permit of a stream is free again if its instance is gone.
    lease: Duration,
    /// The id of this process.
    instance: u64,
    next_lease: AtomicU64,
    /// The leases of this process's open streams, and their keys.
    leases: Mutex<HashMap<u64, Arc<[String]>>>,
}

struct Scripts {
    acquire: Script,
    settle: Script,
    renew: Script,
}

/// The lease of a granted permit, for the settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease(u64);

impl Shared {
    /// Counts over this connection, and renews leases as long as the result lives.
    ///
    /// # Errors
    /// The system gives no random number.
    pub(super) fn start(link: Arc<Connection>, lease: Duration) -> Result<Arc<Self>, String> {
        let mut instance = [0; 8];
        getrandom::fill(&mut instance).map_err(|error| format!("no random number: {error}"))?;
        let scripts = Scripts {
            acquire: Script::new(include_str!("acquire.lua")),
            settle: Script::new(include_str!("settle.lua")),
            renew: Script::new(include_str!("renew.lua")),
        };
        let shared = Arc::new(Self {
            link,
            scripts,
            lease,
            instance: u64::from_ne_bytes(instance),
            next_lease: AtomicU64::new(0),
            leases: Mutex::default(),
        });
        let (weak, restarts) = (Arc::downgrade(&shared), shared.link.restarts());
        tokio::spawn(supervise::keep_always("leases", restarts, move || Self::keep_renewing(weak.clone(), lease)));
        Ok(shared)
    }

    /// Renews the leases until the value is dropped.
    async fn keep_renewing(weak: Weak<Self>, lease: Duration) {
        loop {
            tokio::time::sleep(lease / RENEWALS).await;
            let Some(shared) = weak.upgrade() else { return };
            shared.renew().await;
        }
    }

    /// Decides a claim, and takes all of it or nothing.
    ///
    /// # Errors
    /// There is no reply: what Redis has taken is not known.
    pub(super) async fn admit(&self, claims: &Claims) -> Result<(Reply, Lease), RedisError> {
        let lease = Lease(self.next_lease.fetch_add(1, Ordering::Relaxed));
        let (keys, arguments) = acquisition(claims, self.name(lease), self.lease);
        let value = self.link.run(&self.scripts.acquire, &keys, &arguments).await?;
        let reply = read(claims, &value).ok_or_else(|| self.link.misunderstood())?;
        if reply.refusal.is_none() {
            let slots: Arc<[String]> = keys.into_iter().filter(|key| key.ends_with(STREAMS)).collect();
            if !slots.is_empty() {
                self.leases().insert(lease.0, slots);
            }
        }
        Ok((reply, lease))
    }

    /// Settles in the background what was admitted at `at`.
    pub(super) fn settle(self: &Arc<Self>, claims: &Claims, lease: Lease, at: u64, used: u64) {
        // at once, so that no renewal brings it back
        self.leases().remove(&lease.0);
        let (keys, arguments) = settlement(claims, self.name(lease), at, used);
        if keys.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        self.link.write_later(async move {
            // the connection logs and counts errors; a lease ends by itself, and a reservation stays
            let _ = shared.link.run(&shared.scripts.settle, &keys, &arguments).await;
        });
    }

    async fn renew(&self) {
        let open: Vec<(u64, Arc<[String]>)> =
            self.leases().iter().map(|(lease, keys)| (*lease, Arc::clone(keys))).collect();
        let renew = |(lease, keys): (u64, Arc<[String]>)| async move {
            // a stream that ends before the call leaves a lease until its time is over
            if self.leases().contains_key(&lease) {
                let arguments = [self.name(Lease(lease)), self.lease.as_micros().to_string()];
                let _ = self.link.run(&self.scripts.renew, &keys, &arguments).await;
            }
        };
        futures_util::stream::iter(open).for_each_concurrent(RENEWED_AT_ONCE, renew).await;
    }

    fn name(&self, lease: Lease) -> String {
        format!("{:016x}-{}", self.instance, lease.0)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<u64, Arc<[String]>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The suffixes of the keys of one scope.
const REQUESTS: &str = ":requests";
const TOKENS: &str = ":tokens";
const STREAMS: &str = ":streams";

/// Keys and arguments of `acquire.lua`.
fn acquisition(claims: &Claims, lease: String, lives: Duration) -> (Vec<String>, Vec<String>) {
    let mut keys = Vec::with_capacity(6);
    let mut arguments = vec![lease, lives.as_micros().to_string()];
    let mut add = |key: String, kind: &str, a: u64, b: u64| {
        keys.push(key);
        arguments.extend([kind.to_owned(), a.to_string(), b.to_string()]);
    };
    for claim in claims.scopes.iter().flatten() {
        let key = |what| key_name(claims.caller, claim.key, what);
        if let Some(charge) = claim.requests {
            add(key(REQUESTS), "rate", charge.cost, charge.tolerance);
        }
        if let Some(charge) = claim.tokens {
            add(key(TOKENS), "rate", charge.cost, charge.tolerance);
        }
        if let Some(most) = claim.quota.streams {
            add(key(STREAMS), "slots", most, 0);
        }
    }
    (keys, arguments)
}

/// Keys and arguments of `settle.lua`; no keys if nothing changes.
fn settlement(claims: &Claims, lease: String, at: u64, used: u64) -> (Vec<String>, Vec<String>) {
    let mut keys = Vec::with_capacity(4);
    let mut arguments = vec![lease, MOST_DEBT.to_string()];
    for settlement in claims.settlements(at, used) {
        if let Some(correction) = settlement.tokens.filter(|correction| !correction.is_nothing()) {
            keys.push(key_name(claims.caller, settlement.key, TOKENS));
            let numbers = [correction.back, correction.until, correction.ahead.min(MOST_DEBT)];
            arguments.push("rate".to_owned());
            arguments.extend(numbers.map(|number| number.to_string()));
        }
        if settlement.stream {
            keys.push(key_name(claims.caller, settlement.key, STREAMS));
            arguments.extend(["slots", "0", "0", "0"].map(str::to_owned));
        }
    }
    (keys, arguments)
}

/// `tokenway:{CALLER}:requests`, or with the scope of a model before the last part. The part in braces selects the slot
/// of a cluster (Redis cluster specification, "Hash tags"): all keys of one caller lie together.
fn key_name(caller: Key, scope: Key, what: &str) -> String {
    let mut name = String::with_capacity(90);
    name.push_str("tokenway:{");
    // writing to a String cannot fail
    let _ = write!(name, "{caller}");
    name.push('}');
    if scope != caller {
        let _ = write!(name, ":{scope}");
    }
    name.push_str(what);
    name
}

/// Reads the reply of `acquire.lua`; `None` if it has another form.
fn read(claims: &Claims, value: &Value) -> Option<Reply> {
    let Value::Array(items) = value else { return None };
    let mut numbers = items.iter().map(|item| match item {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    });
    let passed = numbers.next()?? == 1;
    let now = numbers.next()??;
    let mut counts = [None, None];
    for (claim, counts) in claims.scopes.iter().zip(&mut counts) {
        let Some(claim) = claim else { continue };
        let mut read = Counts::default();
        if claim.requests.is_some() {
            read.requests = numbers.next()??;
        }
        if claim.tokens.is_some() {
            read.tokens = numbers.next()??;
        }
        if claim.quota.streams.is_some() {
            read.streams = u32::try_from(numbers.next()??).ok()?;
        }
        *counts = Some(read);
    }
    if numbers.next().is_some() {
        return None;
    }
    // the script uses the same arithmetic: a claim that it refused is refused here, too
    let refusal = if passed { None } else { Some(claims.admit(counts, now).err()?) };
    Some(Reply { now, counts, refusal })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::policy::Limits;
    use crate::percent::Percent;

    const ALL: Limits = Limits { requests_per_minute: 60, burst: 2, tokens_per_minute: 600, concurrent_streams: 3 };

    fn claims(limits: [Limits; 2]) -> Claims {
        Claims::new("key:someone", "dear", limits.map(|limits| limits.quota(Percent::WHOLE)), 100).unwrap()
    }

    #[test]
    fn all_keys_of_a_caller_lie_in_one_slot_and_tell_nothing_of_it() {
        let (keys, arguments) = acquisition(&claims([ALL, ALL]), "lease".into(), Duration::from_secs(30));
        assert_eq!(keys.len(), 6);
        assert_eq!(arguments.len(), 2 + 3 * 6);
        let tag = |key: &String| key[..key.find('}').unwrap()].to_owned();
        assert!(keys.iter().all(|key| tag(key) == tag(&keys[0]) && key.starts_with("tokenway:{")));
        assert!(keys.iter().all(|key| !key.contains("someone") && !key.contains("dear")), "{keys:?}");
        assert_eq!(keys.iter().filter(|key| key.ends_with(STREAMS)).count(), 2);
    }

    #[test]
    fn what_does_not_change_is_not_written() {
        let requests = Limits { requests_per_minute: 60, ..Limits::default() };
        let (keys, _) = settlement(&claims([requests, Limits::default()]), "lease".into(), 0, 50);
        assert!(keys.is_empty());
        let (keys, arguments) = settlement(&claims([ALL, Limits::default()]), "lease".into(), 7, 50);
        assert_eq!(keys.len(), 2);
        // half of the tokens come back: 100 of 600 a minute are ten seconds
        assert_eq!(arguments[2..6], ["rate", "5000000", "10000007", "0"]);
        let (keys, _) = settlement(&claims([ALL, Limits::default()]), "lease".into(), 7, 100);
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_reply_is_read_as_the_script_writes_it() {
        let value = |numbers: &[i64]| Value::Array(numbers.iter().copied().map(Value::Int).collect());
        let claims = claims([ALL, Limits { concurrent_streams: 1, ..Limits::default() }]);
        let reply = read(&claims, &value(&[1, 1000, 2000, 3000, 1, 1])).unwrap();
        assert!(reply.refusal.is_none() && reply.now == 1000);
        assert_eq!(reply.counts[0], Some(Counts { requests: 2000, tokens: 3000, streams: 1 }));
        let refused = read(&claims, &value(&[0, 1000, 2000, 3000, 1, 1])).unwrap();
        assert_eq!(refused.refusal.unwrap().limit.as_str(true), "model_streams");
        // refused, and yet there is room
        assert!(read(&claims, &value(&[0, 1000, 2000, 3000, 1, 0])).is_none());
        for bad in [value(&[]), value(&[1, 2, 3]), value(&[1, 2, 3, 4, 5, 6, 7]), Value::Nil, Value::Okay] {
            assert!(read(&claims, &bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_read_or_refused(numbers in prop::collection::vec(any::<i64>(), 0..9)) {
            let _ = read(&claims([ALL, ALL]), &Value::Array(numbers.into_iter().map(Value::Int).collect()));
        }
    }
}

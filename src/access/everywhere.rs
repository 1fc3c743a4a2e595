//! Logouts that every instance learns of, through Redis.
//!
//! A logout holds at once where it was made. The other instances read what is new once a second, so that no request with
//! a cookie waits for Redis.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{FromRedisValue, Value};

use super::revocations::{InProcess, Revocations};
use crate::caller::SessionId;
use crate::redis::link::{Link, Script};
use crate::redis::trouble::Trouble;

/// How often what is new is read.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a logout is kept: `access.session_ttl` is at most that.
const KEPT: Duration = Duration::from_hours(720);
/// How many are read at once.
const PAGE: usize = 1000;
const KEY: &str = "tokenway:{logouts}";

const REVOKE: &str = "\
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2] * 1000000))
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])";
const READ: &str = "return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])";

/// Logouts of all instances.
pub struct Everywhere {
    here: InProcess,
    link: Arc<Link>,
    revoke: Script,
    read: Script,
}

impl Everywhere {
    /// Reads over this link what other instances write, for as long as the result lives.
    pub fn start(link: Arc<Link>) -> Arc<Self> {
        let here = InProcess::default();
        let everywhere = Arc::new(Self { here, link, revoke: Script::new(REVOKE), read: Script::new(READ) });
        let weak = Arc::downgrade(&everywhere);
        tokio::spawn(async move {
            let mut since = "0".to_owned();
            while let Some(everywhere) = weak.upgrade() {
                let is_all = everywhere.learn(&mut since).await;
                drop(everywhere);
                if is_all {
                    tokio::time::sleep(PERIOD).await;
                }
            }
        });
        everywhere
    }

    /// Reads on from where the last reading ended; false if there is more.
    async fn learn(&self, since: &mut String) -> bool {
        let page = [since.clone(), PAGE.to_string()];
        // trouble is counted and told of there; what was missed is read when it is over
        let Ok(reply) = self.link.run(&self.read, &[KEY.to_owned()], &page).await else { return true };
        let Some(entries) = entries(reply) else {
            self.link.misunderstood();
            return true;
        };
        let now = now();
        for (session, end) in entries.iter().filter_map(|(member, _)| member_of(member)) {
            self.here.insert(session, end, now);
        }
        let Some((_, last)) = entries.last() else { return true };
        // the last one is read again: another one may bear the same microsecond
        let advanced = std::mem::replace(since, last.clone()) != *last;
        entries.len() < PAGE || !advanced
    }
}

impl Revocations for Everywhere {
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.here.insert(session, end, now);
        Box::pin(async move {
            let arguments = [format!("{session}:{end}"), KEPT.as_secs().to_string()];
            let written: Result<Value, Trouble> = self.link.run(&self.revoke, &[KEY.to_owned()], &arguments).await;
            if written.is_err() {
                tracing::warn!("a logout could not be written to Redis: it holds on this instance alone");
            }
        })
    }

    fn is_revoked(&self, session: SessionId) -> bool {
        self.here.is_revoked(session)
    }
}

/// Members and scores, as they are written.
fn entries(reply: Value) -> Option<Vec<(String, String)>> {
    let flat = Vec::<String>::from_redis_value(reply).ok()?;
    Some(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// `SESSION:END`, as [`Everywhere::revoke`] writes it.
fn member_of(member: &str) -> Option<(SessionId, u64)> {
    let (session, end) = member.split_once(':')?;
    let session = u128::from_str_radix(session, 16).ok().filter(|_| session.len() == 32)?;
    Some((SessionId(session.to_be_bytes()), end.parse().ok()?))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_member_is_read_as_it_is_written(id: [u8; 16], end: u64) {
            prop_assert_eq!(member_of(&format!("{}:{end}", SessionId(id))), Some((SessionId(id), end)));
        }

        #[test]
        fn any_text_is_read_or_passed_over(text in "[0-9a-f+]{0,33}:?\\PC{0,5}") {
            let _ = member_of(&text);
        }
    }
}

//! Logouts that all instances share through Redis.
//!
//! A logout applies at once to its own instance. The other instances read new logouts once a second, so that no request with
//! a cookie waits for Redis. Logouts that could not be written wait here until Redis is available; logouts that Redis has
//! lost are written again.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{FromRedisValue, Value};

use super::revocations::{LocalRevocations, Reach, Revocations};
use crate::auth::caller::SessionId;
use crate::auth::revoked::Revoked;
use crate::metrics::Metrics;
use crate::redis::connection::{Connection, Script};
use crate::redis::error::RedisError;
use crate::supervise;

/// The time between two rounds of reading and writing.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a logout is stored: `access.session_ttl` is at most this.
const RETENTION: Duration = Duration::from_hours(720);
/// The logouts of one read.
const PAGE: usize = 1000;
/// The logouts of one write. They have one time: fewer than a page, so that a page ends after them.
const BATCH: usize = 100;
/// The most logouts that wait to be written: some 1 MB.
const MAX_WAITING: usize = 10_000;
/// Reads overlap by this time, in microseconds: after a failover another clock may stamp new logouts.
const OVERLAP: f64 = 5e6;
const KEY: &str = "tokenway:{logouts}";

const REVOKE: &str = "\
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[1] * 1000000))
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[i])
end
return redis.call('EXPIRE', KEYS[1], ARGV[1])";
const READ: &str = "return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])";

/// The logouts of all instances.
pub struct SharedRevocations {
    here: LocalRevocations,
    /// Logouts of this instance that are not in Redis yet.
    waiting: Mutex<Revoked>,
    link: Arc<Connection>,
    metrics: Arc<Metrics>,
    revoke: Script,
    read: Script,
}

/// The position up to which this instance has read.
struct Place {
    /// The time of the last entry, as Redis writes it.
    since: String,
    /// The last entry, which is read again as long as Redis has it.
    last: Option<String>,
    /// The number of the connection that read it.
    generation: u64,
    /// The entries since the start, until Redis is known to have all that this instance knows.
    seen: Option<HashSet<SessionId>>,
}

impl SharedRevocations {
    /// Reads the logouts of other instances over this connection, and writes waiting ones, as long as the result lives.
    pub fn start(link: Arc<Connection>, metrics: Arc<Metrics>) -> Arc<Self> {
        let everywhere = Arc::new(Self {
            here: LocalRevocations::default(),
            waiting: Mutex::new(Revoked::new(MAX_WAITING)),
            link,
            metrics,
            revoke: Script::new(REVOKE),
            read: Script::new(READ),
        });
        let (weak, restarts) = (Arc::downgrade(&everywhere), everywhere.metrics.task_restarts.clone());
        tokio::spawn(supervise::keep_always("logouts", restarts, move || Self::keep_reading(weak.clone())));
        everywhere
    }

    /// Reads and writes until the value is dropped.
    async fn keep_reading(weak: Weak<Self>) {
        let mut place = Place::start(0);
        while let Some(everywhere) = weak.upgrade() {
            let is_all = match everywhere.write_waiting().await {
                Ok(()) => everywhere.read_new(&mut place).await,
                // the connection counts and logs errors; the next round catches up
                Err(_) => true,
            };
            drop(everywhere);
            if is_all {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    /// Writes waiting logouts until there are none.
    async fn write_waiting(&self) -> Result<(), RedisError> {
        loop {
            let batch = self.waiting().soonest(BATCH, now());
            if batch.is_empty() {
                self.report_waiting(0);
                return Ok(());
            }
            self.write(&batch).await?;
            tracing::info!(
                logouts = batch.len(),
                "logouts that waited were written to Redis: they apply to every instance"
            );
        }
    }

    /// Writes these logouts, which then no longer wait.
    async fn write(&self, logouts: &[(SessionId, u64)]) -> Result<(), RedisError> {
        let members = logouts.iter().map(|(session, end)| format!("{session}:{end}"));
        let arguments: Vec<String> = std::iter::once(RETENTION.as_secs().to_string()).chain(members).collect();
        self.link.run(&self.revoke, &[KEY.to_owned()], &arguments).await?;
        let mut waiting = self.waiting();
        for (session, end) in logouts {
            waiting.remove(*session, *end);
        }
        self.report_waiting(waiting.len());
        Ok(())
    }

    /// Reads from the position on. Returns false if there is more.
    async fn read_new(&self, place: &mut Place) -> bool {
        // another server may have another clock and other logouts
        let generation = self.link.generation();
        if place.generation != generation {
            *place = Place::start(generation);
        }
        // before the read, so that logouts that are written meanwhile are not lost
        let written = if place.seen.is_some() { self.written() } else { Vec::new() };
        let page = [place.since.clone(), PAGE.to_string()];
        let Ok(reply) = self.link.run(&self.read, &[KEY.to_owned()], &page).await else { return true };
        let Some(entries) = entries(reply) else {
            self.link.misunderstood();
            return true;
        };
        if place.has_lost_its_last(&entries) {
            *place = Place::start(generation);
            return false;
        }
        let now = now();
        for (session, end) in entries.iter().filter_map(|(member, _)| member_of(member)) {
            self.here.insert(session, end, now);
            place.seen.iter_mut().for_each(|seen| seen.extend([session]));
        }
        if place.advance(&entries) {
            return false;
        }
        if let Some(seen) = &place.seen {
            // otherwise the next round tries again
            let lost: Vec<_> = written.into_iter().filter(|(session, _)| !seen.contains(session)).collect();
            let is_whole = self.write_lost(&lost).await.is_ok() && place.last.is_some();
            place.seen.take_if(|_| is_whole);
        }
        true
    }

    /// The known logouts that were written once, by this instance or another one.
    fn written(&self) -> Vec<(SessionId, u64)> {
        let (all, waiting) = (self.here.all(now()), self.waiting());
        all.into_iter().filter(|(session, _)| !waiting.contains(*session)).collect()
    }

    /// Writes the logouts again that Redis has lost.
    async fn write_lost(&self, lost: &[(SessionId, u64)]) -> Result<(), RedisError> {
        for batch in lost.chunks(BATCH) {
            self.write(batch).await?;
        }
        if !lost.is_empty() {
            let logouts = lost.len();
            tracing::warn!(logouts, "Redis had lost logouts: those that are known here were written again");
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Revoked> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_waiting(&self, waiting: usize) {
        self.metrics.logouts_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

impl Place {
    fn start(generation: u64) -> Self {
        Self { since: "0".to_owned(), last: None, generation, seen: Some(HashSet::new()) }
    }

    /// Whether the last entry is missing: Redis was emptied, or has returned to an older state. A full page may end before it.
    fn has_lost_its_last(&self, entries: &[(String, String)]) -> bool {
        let is_lost = |last: &String| entries.iter().all(|(member, _)| member != last);
        entries.len() < PAGE && self.last.as_ref().is_some_and(is_lost)
    }

    /// Moves to the end of a page; returns whether there is more.
    fn advance(&mut self, entries: &[(String, String)]) -> bool {
        let Some((member, time)) = entries.last() else { return false };
        let (is_full, leads_on) = (entries.len() >= PAGE, self.since != *time);
        self.since = if is_full { time.clone() } else { before(time) };
        self.last = Some(member.clone());
        is_full && leads_on
    }
}

impl Revocations for SharedRevocations {
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = Reach> + Send + '_>> {
        // before the write, so that a client that leaves meanwhile is logged out everywhere, too; and before it is known here,
        // because otherwise it would count as written
        let had_room = {
            let mut waiting = self.waiting();
            let had_room = waiting.insert(session, end, now);
            self.report_waiting(waiting.len());
            had_room
        };
        self.here.insert(session, end, now);
        if !had_room {
            tracing::warn!(
                "more than {MAX_WAITING} logouts wait for Redis: one of them will apply to this instance only"
            );
        }
        Box::pin(async move {
            match self.write(&[(session, end)]).await {
                Ok(()) => Reach::SharedRevocations,
                Err(_) => {
                    tracing::warn!(
                        "a logout could not be written to Redis: it applies to this instance, and to the others once Redis is available"
                    );
                    Reach::Here
                }
            }
        })
    }

    fn is_revoked(&self, session: SessionId) -> bool {
        self.here.is_revoked(session)
    }
}

/// Returns a time [`OVERLAP`] before this one, or the start if it is not a number.
fn before(time: &str) -> String {
    let time: f64 = time.parse().unwrap_or(0.0);
    format!("{:.0}", (time - OVERLAP).max(0.0))
}

/// Returns members and scores.
fn entries(reply: Value) -> Option<Vec<(String, String)>> {
    let flat = Vec::<String>::from_redis_value(reply).ok()?;
    Some(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// Reads `SESSION:END`, as [`SharedRevocations::revoke`] writes it.
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

    fn page(times: impl Iterator<Item = u64>) -> Vec<(String, String)> {
        times.map(|time| (format!("session of {time}"), time.to_string())).collect()
    }

    #[test]
    fn an_entry_that_was_read_and_is_gone_is_noticed_but_not_behind_a_full_page() {
        let mut place = Place::start(1);
        assert!(!place.has_lost_its_last(&[]), "nothing was read yet");
        assert!(!place.advance(&page(9_000_000..9_000_003)));
        assert_eq!(place.since, "4000002");
        assert!(!place.has_lost_its_last(&page(9_000_001..9_000_005)));
        assert!(place.has_lost_its_last(&[]) && place.has_lost_its_last(&page(9_000_003..9_000_005)));
        let full = page(5_000_000..5_000_000 + PAGE as u64);
        assert!(!place.has_lost_its_last(&full) && place.advance(&full), "there is more");
    }

    proptest! {
        /// Reading from any start returns all entries, the last one of each page again, and ends.
        #[test]
        fn every_entry_is_read_whatever_the_times(gaps in prop::collection::vec(0..3_u64, 0..3000), step in 1..4_000_000_u64) {
            // entries that were written at once have one time: fewer than a page
            let mut same = 0;
            let mut time = 1_000_000_000;
            let times: Vec<u64> = gaps.iter().map(|gap| {
                same = if *gap == 0 && same < BATCH { same + 1 } else { 0 };
                time += if same > 0 { 0 } else { (*gap).max(1) * step };
                time
            }).collect();
            let all: Vec<(String, String)> =
                times.iter().enumerate().map(|(number, time)| (format!("{number}"), time.to_string())).collect();
            let (mut place, mut seen) = (Place::start(0), HashSet::new());
            let mut ends = 0;
            for _ in 0..12 {
                let since: u64 = place.since.parse().unwrap();
                let from = times.partition_point(|time| *time < since);
                let entries = &all[from..all.len().min(from + PAGE)];
                prop_assert!(!place.has_lost_its_last(entries));
                seen.extend(entries.iter().map(|(member, _)| member.clone()));
                ends += usize::from(!place.advance(entries));
            }
            prop_assert!(ends > 0);
            prop_assert_eq!(seen.len(), all.len());
        }

        #[test]
        fn a_member_is_read_as_it_is_written(id: [u8; 16], end: u64) {
            prop_assert_eq!(member_of(&format!("{}:{end}", SessionId(id))), Some((SessionId(id), end)));
        }

        #[test]
        fn a_time_is_read_again_from_a_little_before(micros in 0..4_000_000_000_000_000_u64) {
            prop_assert_eq!(before(&micros.to_string()), micros.saturating_sub(5_000_000).to_string());
        }

        #[test]
        fn any_text_is_read_or_passed_over(text in "[0-9a-f+]{0,33}:?\\PC{0,5}") {
            let _ = member_of(&text);
            prop_assert!(before(&text).parse::<f64>().is_ok());
        }
    }
}

//! The Lua scripts compute what the pure code computes.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokenway::limits::claim::{Claims, Counts};
use tokenway::limits::gcra::{MOST_DEBT, Reserved};
use tokenway::limits::policy::Limits;
use tokenway::percent::Percent;

use crate::support::redis::Redis;

const ACQUIRE: &str = include_str!("../../../src/limits/acquire.lua");
const SETTLE: &str = include_str!("../../../src/limits/settle.lua");
const MINUTE: i64 = 60_000_000;
/// Redis forgets to the millisecond, of its own reading of the time.
const EXPIRY: u64 = 2000;

/// A server, and a connection that blocks: nothing can be awaited where properties are tried.
struct Server {
    _redis: Redis,
    connection: redis::Connection,
}

impl Server {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        Self { connection, _redis: redis }
    }

    fn run<T: redis::FromRedisValue>(&mut self, script: &str, keys: &[&str], arguments: &[String]) -> T {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        command.query(&mut self.connection).unwrap()
    }

    fn now(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut self.connection).unwrap();
        seconds * 1_000_000 + micros
    }

    fn set(&mut self, key: &str, value: u64) {
        redis::cmd("SET").arg(key).arg(value).exec(&mut self.connection).unwrap();
    }

    /// Whether a key holds this TAT, or has been forgotten because it has passed meanwhile.
    fn holds(&mut self, key: &str, tat: u64) -> bool {
        match redis::cmd("GET").arg(key).query::<Option<u64>>(&mut self.connection).unwrap() {
            Some(held) => held == tat,
            None => tat <= self.now() + EXPIRY,
        }
    }
}

fn later(now: u64, by: i64) -> u64 {
    now.saturating_add_signed(by)
}

#[tokio::test]
async fn a_claim_is_decided_as_the_pure_code_decides_it() {
    let server = RefCell::new(Server::start().await);
    let limits = (1u64..1000, 0u64..20, 1u64..100_000, 1u64..4);
    let counts = (-MINUTE..2 * MINUTE, -MINUTE..2 * MINUTE, 0u64..5);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let decided = runner.run(&(limits, counts, 0u64..200_000), |((rpm, burst, tpm, streams), counts, tokens)| {
        let server = &mut *server.borrow_mut();
        let limits = Limits { requests_per_minute: rpm, burst, tokens_per_minute: tpm, concurrent_streams: streams };
        let claims = Claims::new("key:a", "", [limits.quota(Percent::WHOLE), None], tokens).unwrap();
        let claim = claims.scopes[0].unwrap();
        let now = server.now();
        let (requests, tokens_tat, open) = (later(now, counts.0), later(now, counts.1), counts.2);
        redis::cmd("FLUSHALL").exec(&mut server.connection).unwrap();
        server.set("r", requests);
        server.set("t", tokens_tat);
        for lease in 0..open {
            redis::cmd("ZADD").arg("s").arg(now + 1_000_000_000).arg(lease).exec(&mut server.connection).unwrap();
        }
        // one whose time is over does not count
        redis::cmd("ZADD").arg("s").arg(now - 1).arg("stale").exec(&mut server.connection).unwrap();
        let (r, t) = (claim.requests.unwrap(), claim.tokens.unwrap());
        let mut arguments = vec!["lease".to_owned(), "30000000".to_owned()];
        for (kind, a, b) in [("rate", r.cost, r.tolerance), ("rate", t.cost, t.tolerance), ("slots", streams, 0)] {
            arguments.extend([kind.to_owned(), a.to_string(), b.to_string()]);
        }
        let (passed, now, r, t, s): (u8, u64, u64, u64, u32) = server.run(ACQUIRE, &["r", "t", "s"], &arguments);
        let before = Counts { requests, tokens: tokens_tat, streams: open as u32 };
        let expected = claims.admit([Some(before), None], now);
        let after = expected.ok().map_or(before, |after| after[0].unwrap());
        prop_assert_eq!(passed == 1, expected.is_ok());
        prop_assert_eq!(Counts { requests: r, tokens: t, streams: s }, after);
        prop_assert!(server.holds("r", after.requests) && server.holds("t", after.tokens), "{:?}", after);
        Ok(())
    });
    decided.unwrap();
}

#[tokio::test]
async fn an_end_is_settled_as_the_pure_code_settles_it() {
    let server = RefCell::new(Server::start().await);
    let times = (-MINUTE..3 * MINUTE, -2 * MINUTE..0);
    let costs = (0..MINUTE as u64, prop_oneof![0..2 * MINUTE as u64, Just(u64::MAX)]);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let settled = runner.run(&(times, costs), |((tat, at), (cost, used))| {
        let server = &mut *server.borrow_mut();
        let now = server.now();
        let (tat, reserved) = (later(now, tat), Reserved { at: later(now, at), cost });
        let correction = reserved.correction(used);
        server.set("t", tat);
        let numbers = [correction.back, correction.until, correction.ahead.min(MOST_DEBT)];
        let mut arguments = vec!["lease".to_owned(), MOST_DEBT.to_string(), "rate".to_owned()];
        arguments.extend(numbers.map(|number| number.to_string()));
        let now: u64 = server.run(SETTLE, &["t"], &arguments);
        let expected = correction.apply(tat, now);
        // one that has passed is forgotten
        let kept = if expected > now { expected } else { 0 };
        prop_assert!(server.holds("t", kept), "{} at {}", kept, now);
        Ok(())
    });
    settled.unwrap();
}

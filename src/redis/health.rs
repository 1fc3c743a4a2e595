//! When a connection to Redis is closed, and how long the next attempt to connect waits. Pure.

use std::time::Duration;

use super::error::RedisError;

/// The time between two connection attempts: the first, and the longest.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// After this many errors without a reply, the connection to a cluster is closed: it reconnects to single nodes by itself.
const CLUSTER_ERRORS: u32 = 3;

/// The recent past of one server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Health {
    /// Attempts to connect that failed in a row. A connection that is closed without a single reply counts as one.
    failed_connects: u32,
    /// Errors since the last reply on the open connection.
    errors: u32,
    /// Whether the open connection has had a reply.
    replied: bool,
}

impl Health {
    /// Records an open connection.
    pub(super) fn connected(&mut self) {
        *self = Self { failed_connects: self.failed_connects, ..Self::default() };
    }

    /// Records an attempt to connect that failed.
    pub(super) fn not_connected(&mut self) {
        self.failed_connects = self.failed_connects.saturating_add(1);
    }

    /// Records a reply.
    pub(super) fn replied(&mut self) {
        *self = Self { replied: true, ..Self::default() };
    }

    /// Records an error of a command. Returns true if the connection is closed because of it.
    ///
    /// After a failover the address may lead to another server. A reply that is late is not an error of the connection: it is
    /// dropped when it comes.
    pub(super) fn failed(&mut self, error: RedisError, cluster: bool) -> bool {
        if error.is_a_refusal() {
            self.replied();
            return false;
        }
        self.errors = self.errors.saturating_add(1);
        match error {
            RedisError::Reply | RedisError::Loading | RedisError::ReadOnly => true,
            RedisError::Io | RedisError::Cluster => !cluster || self.errors >= CLUSTER_ERRORS,
            _ => false,
        }
    }

    /// Records that the connection is closed.
    pub(super) fn closed(&mut self) {
        if !self.replied {
            self.not_connected();
        }
    }

    /// Returns the wait before the next attempt to connect. It doubles after each failed attempt, with jitter, so that several
    /// instances do not reconnect at the same moment.
    pub(super) fn back_off(&self, jitter: u8) -> Duration {
        let [first, most] = BACK_OFF;
        let Some(doublings) = self.failed_connects.checked_sub(1) else { return Duration::ZERO };
        let full = first.saturating_mul(1 << doublings.min(16)).min(most);
        full.mul_f64(0.75 + f64::from(jitter) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_failed_connects(count: u32) -> Health {
        let mut health = Health::default();
        (0..count).for_each(|_| health.not_connected());
        health
    }

    #[test]
    fn attempts_to_connect_become_rare_and_never_cease() {
        assert_eq!(after_failed_connects(0).back_off(128), Duration::ZERO);
        assert_eq!(after_failed_connects(1).back_off(128), BACK_OFF[0]);
        assert_eq!(after_failed_connects(2).back_off(128), BACK_OFF[0] * 2);
        let long_away = Health { failed_connects: u32::MAX, ..Health::default() };
        assert_eq!(long_away.back_off(128), BACK_OFF[1]);
        assert!(after_failed_connects(1).back_off(0) < after_failed_connects(1).back_off(255));
        assert!(long_away.back_off(255) < BACK_OFF[1] * 5 / 4);
    }

    #[test]
    fn many_requests_that_fail_at_once_are_one_loss_of_the_connection() {
        let mut health = Health::default();
        health.connected();
        health.replied();
        assert!((0..10).any(|_| health.failed(RedisError::Io, false)));
        health.closed();
        assert_eq!(health.back_off(128), Duration::ZERO, "the server may be back already");
        health.not_connected();
        assert_eq!(health.back_off(128), BACK_OFF[0]);
    }

    #[test]
    fn a_server_that_never_replies_is_asked_more_and_more_rarely() {
        let mut health = Health::default();
        for round in 1..4 {
            health.connected();
            assert!(health.failed(RedisError::Loading, false));
            health.closed();
            assert_eq!(health.back_off(128), BACK_OFF[0] * (1 << (round - 1)));
        }
        health.connected();
        health.replied();
        assert_eq!(health.back_off(128), Duration::ZERO);
    }

    #[test]
    fn errors_of_single_commands_close_no_connection() {
        for cluster in [false, true] {
            let mut health = Health::default();
            for error in [
                RedisError::Slow,
                RedisError::OutOfMemory,
                RedisError::WrongType,
                RedisError::Denied,
                RedisError::Other,
            ] {
                assert!((0..10).all(|_| !health.failed(error, cluster)), "{error:?}");
            }
        }
        let mut cluster = Health::default();
        assert_eq!([(); 3].map(|()| cluster.failed(RedisError::Io, true)), [false, false, true]);
    }
}

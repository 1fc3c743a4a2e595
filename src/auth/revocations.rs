//! Revoked sessions: in this process or, by another implementation, on every instance.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crate::auth::caller::SessionId;
use crate::auth::revoked::Revoked;

/// The most revoked sessions of one process: some 10 MB.
const MAX_REVOKED: usize = 100_000;

/// A store of logouts.
///
/// A store that instances share writes in [`Revocations::revoke`], and each instance reads it in the background: [`crate::auth::caller::Kind::Session`] names the session.
/// [`Revocations::is_revoked`] must not wait: every request with a cookie calls it.
pub trait Revocations: Send + Sync {
    /// Revokes a session that would end at `end`; both times are seconds since the epoch. The logout applies to this
    /// instance at once; the result is where else it applies.
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = Reach> + Send + '_>>;

    /// Whether a session is revoked, as far as this instance knows.
    fn is_revoked(&self, session: SessionId) -> bool;
}

/// The instances to which a logout applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On every instance, within a second.
    SharedRevocations,
    /// On this instance; on the others later.
    Here,
}

/// Logouts of this process alone.
pub struct LocalRevocations(Mutex<Revoked>);

impl Default for LocalRevocations {
    fn default() -> Self {
        Self(Mutex::new(Revoked::new(MAX_REVOKED)))
    }
}

impl LocalRevocations {
    /// Stores it until `end`; both times are seconds since the epoch.
    pub(super) fn insert(&self, session: SessionId, end: u64, now: u64) {
        let had_room = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session, end, now);
        if !had_room {
            tracing::warn!(
                "more than {MAX_REVOKED} sessions were logged out before their end: the oldest is accepted again"
            );
        }
    }

    /// All revoked sessions that have not ended at `now`, with their ends.
    pub(super) fn all(&self, now: u64) -> Vec<(SessionId, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).soonest(usize::MAX, now)
    }
}

impl Revocations for LocalRevocations {
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = Reach> + Send + '_>> {
        self.insert(session, end, now);
        // no other instance shares these
        Box::pin(ready(Reach::SharedRevocations))
    }

    fn is_revoked(&self, session: SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(session)
    }
}

//! Sessions that were logged out: in this process, or, by another implementation, on every instance.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crate::auth::caller::SessionId;
use crate::auth::revoked::Revoked;

/// Most sessions that one process remembers: some 10 MB.
const MAX_REVOKED: usize = 100_000;

/// Where logouts are remembered.
///
/// One that is shared between instances writes in [`Revocations::revoke`], and has each instance learn of it in its own
/// time, or together with what is asked for the caller's limits anyway: [`crate::auth::caller::Kind::Session`] names the session.
/// [`Revocations::is_revoked`] must not wait: every request with a cookie asks.
pub trait Revocations: Send + Sync {
    /// Revokes a session that would end at `end`; both times are seconds since the epoch. It holds here at once; the answer
    /// says where else.
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = Reach> + Send + '_>>;

    /// Whether a session was revoked, as far as this instance knows.
    fn is_revoked(&self, session: SessionId) -> bool;
}

/// Where a logout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On every instance that there is, or within a second.
    SharedRevocations,
    /// On this one; the others learn of it later.
    Here,
}

/// Remembers logouts until this process ends.
pub struct LocalRevocations(Mutex<Revoked>);

impl Default for LocalRevocations {
    fn default() -> Self {
        Self(Mutex::new(Revoked::new(MAX_REVOKED)))
    }
}

impl LocalRevocations {
    /// Remembers it until `end`; both times are seconds since the epoch.
    pub(super) fn insert(&self, session: SessionId, end: u64, now: u64) {
        let had_room = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session, end, now);
        if !had_room {
            tracing::warn!(
                "more than {MAX_REVOKED} sessions were logged out before their end: the oldest is taken again"
            );
        }
    }

    /// All that have not ended at `now`, with their ends.
    pub(super) fn all(&self, now: u64) -> Vec<(SessionId, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).soonest(usize::MAX, now)
    }
}

impl Revocations for LocalRevocations {
    fn revoke(&self, session: SessionId, end: u64, now: u64) -> Pin<Box<dyn Future<Output = Reach> + Send + '_>> {
        self.insert(session, end, now);
        // nobody else shares these
        Box::pin(ready(Reach::SharedRevocations))
    }

    fn is_revoked(&self, session: SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(session)
    }
}

//! A bounded set of revoked sessions. Pure.

use std::collections::{BTreeSet, HashSet};

use crate::auth::caller::SessionId;

/// Revoked sessions, each until it would have ended by itself.
///
/// A full set evicts the session that would end first: it is valid again for the shortest time.
#[derive(Debug)]
pub struct Revoked {
    max: usize,
    sessions: HashSet<SessionId>,
    /// The same sessions by their ends, in seconds since the epoch.
    by_end: BTreeSet<(u64, SessionId)>,
}

impl Revoked {
    /// A set of at most `max` sessions, at least 1: some 100 bytes each.
    pub fn new(max: usize) -> Self {
        Self { max, sessions: HashSet::new(), by_end: BTreeSet::new() }
    }

    /// Revokes a session that would end at `end`, and removes those that have ended at `now`. False if it evicted one that has not
    /// ended.
    pub fn insert(&mut self, session: SessionId, end: u64, now: u64) -> bool {
        self.remove_ended(now);
        if end > now && self.sessions.insert(session) {
            self.by_end.insert((end, session));
        }
        let full = self.sessions.len() > self.max;
        if full {
            self.evict_first();
        }
        !full
    }

    /// Whether the session is revoked.
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// At most `most` sessions that have not ended at `now`, with their ends, the first end first.
    pub fn soonest(&mut self, most: usize, now: u64) -> Vec<(SessionId, u64)> {
        self.remove_ended(now);
        self.by_end.iter().take(most).map(|(end, session)| (*session, *end)).collect()
    }

    /// Removes a session that would end at `end`.
    pub fn remove(&mut self, session: SessionId, end: u64) {
        if self.by_end.remove(&(end, session)) {
            self.sessions.remove(&session);
        }
    }

    /// The number of sessions, with ended ones.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn remove_ended(&mut self, now: u64) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.evict_first();
        }
    }

    fn evict_first(&mut self) {
        if let Some((_, session)) = self.by_end.pop_first() {
            self.sessions.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn a_revoked_session_stays_so_until_its_end() {
        let mut revoked = Revoked::new(10);
        assert!(revoked.insert(id(1), 100, 50));
        assert!(revoked.contains(id(1)) && !revoked.contains(id(2)));
        revoked.insert(id(2), 200, 99);
        assert!(revoked.contains(id(1)));
        revoked.insert(id(3), 200, 100);
        assert!(!revoked.contains(id(1)) && revoked.contains(id(2)));
    }

    #[test]
    fn when_it_is_full_the_one_that_ends_soonest_is_forgotten_and_it_says_so() {
        let mut revoked = Revoked::new(2);
        assert!(revoked.insert(id(1), 300, 0) && revoked.insert(id(2), 100, 0));
        assert!(!revoked.insert(id(3), 200, 0));
        assert!(revoked.contains(id(1)) && !revoked.contains(id(2)) && revoked.contains(id(3)));
    }

    #[test]
    fn the_remaining_sessions_are_listed_by_their_ends_and_can_be_removed() {
        let mut revoked = Revoked::new(10);
        for (number, end) in [(1, 300), (2, 100), (3, 200), (4, 50)] {
            revoked.insert(id(number), end, 0);
        }
        assert_eq!(revoked.soonest(2, 50), [(id(2), 100), (id(3), 200)]);
        revoked.remove(id(2), 100);
        revoked.remove(id(3), 1);
        assert_eq!(revoked.soonest(9, 50), [(id(3), 200), (id(1), 300)]);
        assert!(revoked.len() == 2 && !revoked.contains(id(2)) && revoked.contains(id(3)));
        assert!(revoked.soonest(9, 300).is_empty() && revoked.is_empty());
    }

    proptest! {
        #[test]
        fn it_holds_the_bound_and_forgets_only_the_ended_while_there_is_room(
            steps in prop::collection::vec((0..20u8, 0..100u64, 0..3u64), 0..80), max in 1..30usize,
        ) {
            let mut revoked = Revoked::new(max);
            let (mut now, mut ends) = (0, std::collections::HashMap::new());
            let mut overflowed = false;
            for (number, lives, pause) in steps {
                now += pause;
                // a session has one end
                let end = *ends.entry(number).or_insert(now + lives);
                overflowed |= !revoked.insert(id(number), end, now);
                prop_assert!(revoked.sessions.len() <= max && revoked.sessions.len() == revoked.by_end.len());
                for (number, end) in &ends {
                    let holds = revoked.contains(id(*number));
                    let right = if *end <= now { !holds } else { holds || overflowed };
                    prop_assert!(right);
                }
            }
        }
    }
}

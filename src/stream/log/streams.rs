//! The table of resumable streams: by their ids, by their callers, and in the order of their ends.

use std::collections::{HashMap, VecDeque, hash_map};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::time::Instant;

use super::core::{Author, Log};
use super::id::StreamId;
use super::owner::Owner;
use super::settings::Resume as Rules;

/// The streams of a registry, their owners and their callers.
pub(super) struct Streams {
    pub(super) by_id: HashMap<StreamId, Entry>,
    /// What the callers have that have streams, by [`Caller::id`](crate::auth::caller::Caller::id).
    pub(super) callers: HashMap<Arc<str>, Use>,
    /// Streams that have ended, and when, the earliest first.
    pub(super) finished: VecDeque<(Instant, StreamId)>,
    pub(super) rules: Rules,
}

/// One stream.
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) log: Arc<Log>,
    /// The memory of all streams of its caller.
    pub(super) used: Arc<AtomicUsize>,
}

/// The streams of one caller.
#[derive(Default)]
pub(super) struct Use {
    pub(super) streams: usize,
    /// Their memory.
    pub(super) bytes: Arc<AtomicUsize>,
}

impl Streams {
    /// Makes an empty table under these rules.
    pub(super) fn new(rules: Rules) -> Self {
        Self { by_id: HashMap::new(), callers: HashMap::new(), finished: VecDeque::new(), rules }
    }

    /// Adds a stream. Returns the memory of all streams of its caller.
    pub(super) fn insert(&mut self, id: StreamId, owner: Owner, log: &Arc<Log>) -> Arc<AtomicUsize> {
        let caller = self.callers.entry(Arc::clone(&log.author.caller)).or_default();
        caller.streams += 1;
        let used = Arc::clone(&caller.bytes);
        self.by_id.insert(id, Entry { owner, log: Arc::clone(log), used: Arc::clone(&used) });
        used
    }

    /// Removes a stream, and its caller if it was the last one of its caller.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if let hash_map::Entry::Occupied(mut caller) = self.callers.entry(Arc::clone(&entry.log.author.caller)) {
            caller.get_mut().streams -= 1;
            if caller.get().streams == 0 {
                caller.remove();
            }
        }
        Some(entry)
    }

    /// Takes the stream that ended first off the list, if the time of its end satisfies the condition.
    pub(super) fn take_finished(&mut self, such: impl Fn(Instant) -> bool) -> Option<StreamId> {
        self.finished.front().filter(|(ended, _)| such(*ended))?;
        self.finished.pop_front().map(|(_, id)| id)
    }

    /// Takes such a stream off the list: the one that ended first of those without a reader, or else the one that ended first.
    pub(super) fn take_expendable(&mut self, such: impl Fn(&Author) -> bool) -> Option<StreamId> {
        let log = |id: &StreamId| self.by_id.get(id).map(|entry| &entry.log).filter(|log| such(&log.author));
        let unread = self.finished.iter().position(|(_, id)| log(id).is_some_and(|log| !log.is_read()));
        let place = unread.or_else(|| self.finished.iter().position(|(_, id)| log(id).is_some()))?;
        self.finished.remove(place).map(|(_, id)| id)
    }
}

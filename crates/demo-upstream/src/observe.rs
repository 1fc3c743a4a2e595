//! What a demo upstream has seen: counts that can be awaited, the latest requests, and the releases of held answers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::request::Request;

/// Counts since the start, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections accepted and not yet over.
    pub connections_open: u64,
    /// Requests read whole.
    pub requests: u64,
    /// Answers begun and not yet over.
    pub open: u64,
    /// Answers that wait for [`Demo::release`](super::Demo::release).
    pub held: u64,
    /// Answers that came to their end, a fault's end included.
    pub finished: u64,
    /// Answers whose client left before their end.
    pub cancelled: u64,
}

/// Shared by a [`Demo`](super::Demo) and its connections.
#[derive(Debug)]
pub(super) struct Observer {
    counts: watch::Sender<Counts>,
    requests: Mutex<VecDeque<Request>>,
    record: usize,
    bytes: AtomicU64,
    releases: Semaphore,
    lateness: Mutex<Vec<(Bytes, Duration)>>,
}

impl Observer {
    /// Keeps the `record` latest requests.
    pub(super) fn new(record: usize) -> Observer {
        Observer {
            counts: watch::Sender::default(),
            requests: Mutex::default(),
            record,
            bytes: AtomicU64::new(0),
            releases: Semaphore::new(0),
            lateness: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Returns once the counts are so.
    pub(super) async fn until(&self, mut so: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        match counts.wait_for(|counts| so(counts)).await {
            Ok(counts) => *counts,
            // the sender lives as long as self
            Err(_) => self.counts(),
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keeps how late the first output event of the answer to a request with this body was.
    pub(super) fn late(&self, body: Bytes, by: Duration) {
        self.lateness.lock().unwrap_or_else(PoisonError::into_inner).push((body, by));
    }

    pub(super) fn lateness(&self) -> Vec<(Bytes, Duration)> {
        self.lateness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn release(&self, answers: usize) {
        self.releases.add_permits(answers);
    }

    /// Counts a connection; returns its number.
    pub(super) fn connected(&self) -> u64 {
        let mut number = 0;
        self.counts.send_modify(|counts| {
            number = counts.connections;
            counts.connections += 1;
            counts.connections_open += 1;
        });
        number
    }

    pub(super) fn disconnected(&self) {
        self.counts.send_modify(|counts| counts.connections_open -= 1);
    }

    /// Records a request and that its answer begins.
    pub(super) fn asked(&self, request: &Request) {
        if self.record > 0 {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            if requests.len() == self.record {
                requests.pop_front();
            }
            requests.push_back(request.clone());
        }
        self.counts.send_modify(|counts| {
            counts.requests += 1;
            counts.open += 1;
        });
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for a release; says so.
    pub(super) async fn held(&self) {
        let _counted = Held::new(&self.counts);
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }

    pub(super) fn answered(&self, cancelled: bool) {
        self.counts.send_modify(|counts| {
            counts.open -= 1;
            if cancelled {
                counts.cancelled += 1;
            } else {
                counts.finished += 1;
            }
        });
    }
}

/// One held answer, also when its client leaves while it is held.
struct Held<'a>(&'a watch::Sender<Counts>);

impl<'a> Held<'a> {
    fn new(counts: &'a watch::Sender<Counts>) -> Held<'a> {
        counts.send_modify(|counts| counts.held += 1);
        Held(counts)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|counts| counts.held -= 1);
    }
}

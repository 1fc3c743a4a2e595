//! The observations of a demo upstream: counts that can be awaited, the latest requests, and the releases of held responses.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::request::Request;

/// The counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Accepted connections.
    pub connections: u64,
    /// Open connections.
    pub connections_open: u64,
    /// Completely read requests.
    pub requests: u64,
    /// Running responses.
    pub open: u64,
    /// Responses that wait for [`Demo::release`](super::Demo::release).
    pub held: u64,
    /// Ended responses, also by a fault.
    pub finished: u64,
    /// Responses whose client left before the end.
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
    /// An observer that stores the `record` latest requests.
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

    /// Waits until the counts meet a condition.
    pub(super) async fn until(&self, mut condition: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        match counts.wait_for(|counts| condition(counts)).await {
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

    /// Records the lateness of the first output event of the response to a request with this body.
    pub(super) fn record_lateness(&self, body: Bytes, by: Duration) {
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

    /// Records a request whose response starts.
    pub(super) fn request_started(&self, request: &Request) {
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

    /// Waits for a release, and counts as held meanwhile.
    pub(super) async fn held(&self) {
        let _counted = Held::new(&self.counts);
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }

    pub(super) fn response_ended(&self, cancelled: bool) {
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

/// One held response. It is counted until it is released or its client leaves.
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

//! The registry and its readers, as one process has them.

mod body;
mod lives;
mod schedules;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::entry::Reader;
use super::id::StreamId;
use super::registry::{Registry, Writer};
use super::store::{Append, Follow, Followed, Opened, Owner, Store, Then, Unopened};
use crate::auth::caller::Caller;
use crate::config::Resume as Rules;
use crate::drain::Drain;
use crate::metrics::Metrics;

const GRACE: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_secs(300);

fn rules() -> Rules {
    Rules { grace: GRACE, retention: RETENTION, max_bytes: 64 << 20, max_stream_bytes: 1 << 20, max_streams: 1000 }
}

fn registry(rules: Rules) -> (Registry, Arc<Metrics>, Drain) {
    let (metrics, drain) = (Arc::new(Metrics::new().unwrap()), Drain::default());
    (Registry::new(rules, Arc::clone(&metrics), drain.clone()), metrics, drain)
}

fn owner(origin: &'static str) -> Owner {
    Owner::of(&anyone(), &HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]))
}

fn anyone() -> Caller {
    Caller::anonymous(std::net::Ipv4Addr::LOCALHOST.into())
}

fn page() -> Owner {
    owner("https://app.example.com")
}

async fn create(registry: &Registry) -> (StreamId, Writer) {
    registry.create(page(), "req_1".into()).await.unwrap()
}

async fn open(registry: &Registry, id: StreamId, place: u64) -> Reader {
    match registry.open(id, &page(), place).await {
        Ok(Opened::Reader(reader)) => reader,
        other => panic!("no reader: {:?}", other.map(|_| "at the end")),
    }
}

/// An event of so many bytes, or a little more, that tells its number.
fn event(number: u64, bytes: usize) -> Vec<u8> {
    format!("data: {number} {}\n\n", "x".repeat(bytes)).into_bytes()
}

/// What a reader sees now, without waiting.
fn look(reader: &mut Reader, limit: usize) -> (Poll<Followed>, Vec<(u64, Vec<u8>)>) {
    let mut seen = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    let followed = reader.poll_follow(&mut cx, limit, &mut |number, block| seen.push((number, block.to_vec())));
    (followed, seen)
}

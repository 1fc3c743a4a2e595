//! The logs and their readers, as one process has them.

mod body;
mod coalescing;
mod lives;
mod scale;
mod schedules;
mod shares;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use bytes::Bytes;

use super::core::Fenced;
use super::id::StreamId;
use super::owner::Owner;
use super::reader::{Read, Reader, Then};
use super::registry::{Opened, Registry, Unopened, Writer};
use super::writer::{Append, drive};
use crate::auth::caller::Caller;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::percent::Percent;
use crate::spend::tally::Tally;
use crate::stream::event::{Batch, Flags};
use crate::stream::log::settings::Resume as Rules;
use crate::stream::source::{Next, Source};
use crate::supervise;

/// A source that has one event, and then a defect.
struct Defective {
    has_event: bool,
}

impl Source for Defective {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Next> {
        assert!(std::mem::replace(&mut self.has_event, false), "a defect");
        Poll::Ready(Next::Events(Batch::own(Bytes::from_static(b"data: a\n\n"), Flags::DATA)))
    }
}

const GRACE: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_secs(300);

fn rules() -> Rules {
    Rules {
        grace: GRACE,
        retention: RETENTION,
        max_bytes: 64 << 20,
        max_stream_bytes: 1 << 20,
        max_streams: 1000,
        max_share: Percent::WHOLE,
        max_readers: 16,
    }
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

fn create(registry: &Registry) -> (StreamId, Writer) {
    registry.create(page(), "req_1".into()).unwrap()
}

fn open(registry: &Registry, id: StreamId, place: u64) -> Reader {
    match registry.open(id, &page(), place) {
        Ok(Opened::Reader(reader)) => reader,
        other => panic!("no reader: {:?}", other.map(|_| "at the end")),
    }
}

/// Appends one event that has data.
fn append(writer: &mut Writer, event: impl AsRef<[u8]>) -> Result<(), Fenced> {
    let event = Batch::own(Bytes::copy_from_slice(event.as_ref()), Flags::DATA);
    writer.append(event, Tally::default)?;
    writer.wake();
    Ok(())
}

fn end(writer: Writer) {
    writer.end(Tally::default());
}

/// Returns an event of about so many bytes, with its number in it.
fn event(number: u64, bytes: usize) -> Vec<u8> {
    format!("data: {number} {}\n\n", "x".repeat(bytes)).into_bytes()
}

/// Returns what a reader sees now, without waiting.
fn look(reader: &mut Reader, limit: usize) -> (Poll<Read>, Vec<(u64, Vec<u8>)>) {
    let mut seen = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    let read = reader.poll_read(&mut cx, limit, |event| seen.push((event.number, event.bytes.to_vec())));
    (read, seen)
}

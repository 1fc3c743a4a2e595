//! What a store of resumable streams promises: three small traits that one process keeps in memory
//! ([`Registry`](super::registry::Registry)), and that could stand on Redis Streams for several.
//!
//! - **Ordering.** The events of a stream have the numbers 1, 2, 3 … without a hole; every reader gets them in this order.
//!   One that is too late for some of them is told which ([`Followed::Gap`]), once, in their place.
//! - **Fencing.** A stream has one writer, the value that [`Store::create`] returned. Once the stream has ended, by its
//!   writer or by a stop, nothing is appended any more: [`Append::append`] says [`Fenced`].
//! - **Expiry.** A stream that nobody reads is stopped after `resume.grace`; one that has ended is forgotten after
//!   `resume.retention`, or earlier where memory is short, the one that ended first going first.
//! - **Owner.** To anybody but its owner a stream does not exist.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN};

use super::id::StreamId;
use crate::auth::caller::{Caller, Kind};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose stream it is. Only the same owner reads or stops it.
///
/// Whoever has shown who it is owns what it makes, from any page and any address. A caller that has not is known by its page:
/// the origin of the request, or none. The address would be wrong: the network changes, which is what resuming is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// [`Caller::id`]
    Caller(Arc<str>),
    /// The origin of an anonymous request.
    Page(Option<Box<[u8]>>),
}

impl Owner {
    /// The owner of what this request makes. `Origin` was checked before: it is there once or not at all.
    pub fn of(caller: &Caller, headers: &HeaderMap) -> Self {
        match caller.kind() {
            Kind::Anonymous => Self::Page(headers.get(ORIGIN).map(|origin| origin.as_bytes().into())),
            _ => Self::Caller(caller.id().into()),
        }
    }

    /// The same of a GET, which has no `Origin` where the page is one of the gateway's own origin (Fetch §3.2, "append a
    /// request `Origin` header", step 4). `here` is that origin, as the request has reached it.
    ///
    /// The browser says that it is such a page: `Sec-Fetch-Site: same-origin` (Fetch Metadata §2.3). No page can say it
    /// falsely, for names that begin with `Sec-` are forbidden to scripts (Fetch §2.2.2), and every redirect over another
    /// site changes it.
    pub fn of_get(caller: &Caller, headers: &HeaderMap, here: impl FnOnce() -> String) -> Self {
        match Self::of(caller, headers) {
            Self::Page(None) if is_same_origin(headers) => Self::Page(Some(here().into_bytes().into())),
            owner => owner,
        }
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    matches!((sites.next(), sites.next()), (Some(site), None) if site == "same-origin")
}

/// The streams.
pub trait Store: Send + Sync + 'static {
    /// Writes one stream.
    type Writer: Append;
    /// Reads one stream.
    type Reader: Follow;

    /// Makes an empty stream. `request_id` stands in errors that end it.
    fn create(
        &self,
        owner: Owner,
        request_id: Arc<str>,
    ) -> impl Future<Output = Result<(StreamId, Self::Writer), Full>> + Send;

    /// A reader that goes on behind the event `place`, 0 for the beginning.
    fn open(
        &self,
        id: StreamId,
        owner: &Owner,
        place: u64,
    ) -> impl Future<Output = Result<Opened<Self::Reader>, Unopened>> + Send;

    /// Stops the writer and ends the stream with an error event; nothing to do where it has ended.
    fn stop(&self, id: StreamId, owner: &Owner) -> impl Future<Output = Result<(), Unknown>> + Send;
}

/// The one writer of a stream. Dropped before [`Append::end`], it leaves a stream that is lost, and readers are told so.
pub trait Append: Send + 'static {
    /// Adds whole events, each that is kept ([`blocks`](super::block::blocks)) under the next number, and tells who waits
    /// for them.
    ///
    /// # Errors
    /// The stream has ended.
    fn append(&mut self, events: &[u8]) -> impl Future<Output = Result<(), Fenced>> + Send;

    /// Ready once the stream was stopped.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The stream is whole: its last event is the last there will be.
    fn end(self) -> impl Future<Output = ()> + Send;
}

/// One reader of a stream, at its place. Dropping it is leaving.
pub trait Follow: Send + Unpin + 'static {
    /// Shows to `each` what follows the reader's place, about `limit` bytes of it, and moves the place behind that.
    fn poll_follow(&mut self, cx: &mut Context<'_>, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Poll<Followed>;

    /// The id of the request that made the stream.
    fn request_id(&self) -> &str;
}

/// What a reader has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Events, which were shown.
    Events(Then),
    /// These events, from the first to the last, are gone.
    Gap {
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
    },
    /// The stream has ended, and the reader has all of it.
    Ended,
    /// The writer went away and left the stream without its end.
    Lost,
}

/// What follows the events that were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Others, which did not fit into the limit.
    More,
    /// Whatever comes.
    Wait,
    /// Nothing: they were the last ones.
    End,
}

/// What opening gives.
#[derive(Debug)]
pub enum Opened<R> {
    /// There is something to read, or will be.
    Reader(R),
    /// The stream has ended, and the place is its end.
    AtEnd,
}

/// Why there is no reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// No such stream, or not this owner's.
    Unknown,
    /// The place lies beyond the stream's last event so far.
    TooLarge {
        /// The number of that event.
        last: u64,
    },
}

/// No such stream, or not this owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// No room for another stream, and nothing that could make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The stream has ended: its writer may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced;

//! The source of an answer from the cache: a cached one, or a coalesced one that several requests share.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use families::family::Family;
use families::request::Request;
use tokio::time::Instant;

use super::events::completion;
use super::replay::Replay;
use super::splice::Splicer;
use crate::error::{Code, Reject};
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::spend::tally::Tally;
use crate::stream::completions::Completions;
use crate::stream::event::{Batch, Flags};
use crate::stream::log::coalescer::Subscriber;
use crate::stream::log::core::Latest;
use crate::stream::log::marked::Event;
use crate::stream::log::reader::{Read, Taken, Then};
use crate::stream::source::{Broken, Next, Source};
use crate::stream::upstream_source::Sink;
use crate::upstream::failure::Failure;

/// About the most bytes of one batch for a body.
const FRAME: usize = 16 * 1024;
/// Most bytes of a complete answer that is joined from a stream.
const MAX_WHOLE: usize = 32 * 1024 * 1024;

/// Where the events come from.
pub enum Origin {
    /// A cached answer.
    Cached(Replay),
    /// A coalesced answer that is still streamed.
    Coalesced(Subscriber),
    /// A coalesced answer whose model is not known yet.
    Entering(Entering),
}

/// Resolves to the subscriber of a coalesced answer once its model is known and this request may have the answer.
pub type Entering = Pin<Box<dyn Future<Output = Result<Subscriber, Failure>> + Send>>;

/// Whether this request leads or reuses the answer.
pub enum Part {
    /// The request pays for the answer. Its meter is settled by the source that reads the upstream.
    Leads,
    /// Another request has paid for the answer.
    Reuses {
        /// Gives the answer an id of its own.
        splicer: Splicer,
        /// Knows the model that answers, once that is known.
        completions: Arc<Completions>,
        /// Tokens of the prompt, estimated.
        prompt_tokens: u64,
    },
}

/// The source of a cached or coalesced answer.
pub struct CacheSource {
    origin: Origin,
    part: Part,
    meter: Meter,
    family: &'static dyn Family,
    /// The client asks for the events that have only the usage.
    pass_usage: bool,
    /// About the most bytes of a batch.
    limit: usize,
    /// The last byte was the CR of a line end whose LF may still follow.
    awaits_lf: bool,
    ended: bool,
}

impl CacheSource {
    /// Makes the source of this origin, for the client of this request.
    pub fn new(origin: Origin, part: Part, meter: Meter, request: &Request) -> Self {
        let (family, pass_usage) = (request.family(), request.wants_usage());
        let source = Self { origin, part, meter, family, pass_usage, limit: FRAME, awaits_lf: false, ended: false };
        source.identify();
        source
    }

    /// Sets the sink: a log gets single events, a body gets batches.
    #[must_use]
    pub fn into_sink(self, sink: Sink) -> Self {
        let limit = if sink == Sink::Log { 0 } else { FRAME };
        Self { limit, ..self }
    }

    /// Reports to the meter which model's answer is reused, once that is known.
    fn identify(&self) {
        let (Origin::Coalesced(subscriber), Part::Reuses { completions, .. }) = (&self.origin, &self.part) else {
            return;
        };
        let Some(head) = subscriber.known_head() else { return };
        let models = completions.models();
        if let Some(id) = models.find(Some(&head.model)) {
            self.meter.record().reuses(models.get(id), &head.upstream);
        }
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, flags: &mut Flags) -> Poll<Taken> {
        if let Origin::Entering(entering) = &mut self.origin {
            match ready!(entering.as_mut().poll(cx)) {
                Ok(subscriber) => {
                    self.origin = Origin::Coalesced(subscriber);
                    self.identify();
                }
                // the gateway shuts down: the answer in progress is lost
                Err(Failure::Draining) => return Poll::Ready(Taken::Read(Read::Lost)),
                Err(failure) => return Poll::Ready(Taken::Read(Read::Failed(Box::new(failure)))),
            }
        }
        let Self { origin, part, meter, pass_usage, limit, .. } = self;
        let leads = matches!(part, Part::Leads);
        let each = |event: Event<'_>| {
            if event.flags.has(Flags::USAGE_ONLY) && !*pass_usage {
                return;
            }
            *flags = *flags | event.flags;
            match part {
                Part::Leads => append(out, event.bytes),
                Part::Reuses { splicer, .. } => {
                    let now = Instant::now();
                    meter.record().taken(event.complete().unwrap_or(now), now, event.flags.has(Flags::OUTPUT));
                    splicer.event(event.bytes, out);
                }
            }
        };
        match origin {
            Origin::Cached(replay) => replay.poll_read(cx, *limit, each).map(Taken::Read),
            Origin::Coalesced(subscriber) if leads => subscriber.poll_take(cx, *limit, each),
            Origin::Coalesced(subscriber) => subscriber.poll_read(cx, *limit, each).map(Taken::Read),
            Origin::Entering(_) => Poll::Pending,
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Part::Reuses { prompt_tokens, .. } = &self.part {
            let tally = Tally { prompt_tokens: *prompt_tokens, ..self.tally() };
            let mut record = self.meter.record();
            record.reused(tally.tokens());
            record.settle(outcome);
        }
    }

    fn fail(&mut self, failure: &Failure) -> Next {
        self.meter.record().error(failure.reason());
        self.end(Outcome::Truncated);
        let mut record = self.meter.record();
        record.settle(Outcome::Truncated);
        Next::Broken(Broken::new(failure.reject(), &*self.family.reader(), record.request_id()))
    }

    /// Ends the stream for this request with an error. The meter of a leader is settled by the source that reads the
    /// upstream.
    fn break_off(&mut self, reject: Reject, reason: &'static str) -> Next {
        if matches!(self.part, Part::Reuses { .. }) {
            self.meter.record().error(reason);
        }
        self.end(Outcome::Truncated);
        Next::Broken(Broken::new(reject, &*self.family.reader(), self.meter.record().request_id()))
    }

    fn lost(&mut self) -> Next {
        self.meter.record().error(Failure::Draining.reason());
        self.end(Outcome::Truncated);
        let (reject, reader) = (Failure::Draining.reject(), self.family.reader());
        Next::Broken(Broken::shutdown(reject, &*reader, self.meter.record().request_id()))
    }
}

impl Source for CacheSource {
    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let (mut out, mut flags) = (Vec::new(), Flags::default());
        while !self.ended {
            let read = match ready!(self.poll_read(cx, &mut out, &mut flags)) {
                // for the request that leads: the bytes are those of the upstream
                Taken::Latest(Latest { flags, .. }) if flags.has(Flags::USAGE_ONLY) && !self.pass_usage => continue,
                Taken::Latest(Latest { bytes, flags }) => {
                    self.awaits_lf = ends_within_line_end(&bytes);
                    return Poll::Ready(Next::Events(Batch::own(bytes, flags)));
                }
                Taken::Read(read) => read,
            };
            match read {
                Read::Events(then) => {
                    if then == Then::End {
                        self.end(Outcome::Ok);
                    }
                    if !out.is_empty() {
                        self.awaits_lf = ends_within_line_end(&out);
                        return Poll::Ready(Next::Events(Batch::own(out.into(), flags)));
                    }
                }
                Read::Ended => self.end(Outcome::Ok),
                Read::Gap { .. } => return Poll::Ready(self.break_off(too_slow(), "gap")),
                Read::Failed(failure) => return Poll::Ready(self.fail(&failure)),
                Read::Broken(reject) => return Poll::Ready(self.break_off(*reject, "joined_stream_broke")),
                Read::Lost => return Poll::Ready(self.lost()),
            }
        }
        Poll::Ready(Next::End)
    }

    fn is_ended(&self) -> bool {
        self.ended
    }

    fn is_between_events(&self) -> bool {
        !self.awaits_lf
    }

    fn tally(&self) -> Tally {
        match &self.origin {
            Origin::Cached(replay) => replay.tally().clone(),
            Origin::Coalesced(subscriber) => subscriber.tally(),
            Origin::Entering(_) => Tally::default(),
        }
    }
}

/// Returns the complete answer of a coalesced stream.
///
/// # Errors
/// The upstream broke, the events cannot be joined, or the gateway shuts down.
pub async fn whole(mut subscriber: Subscriber, family: &dyn Family) -> Result<(Bytes, Tally), Failure> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    loop {
        let read = poll_fn(|cx| {
            subscriber.poll_read(cx, FRAME, |event| {
                bytes += event.bytes.len();
                events.push(Bytes::copy_from_slice(event.bytes));
            })
        });
        match read.await {
            Read::Events(Then::End) | Read::Ended => break,
            Read::Events(_) if bytes > MAX_WHOLE => return Err(Failure::BadBody("it is too large")),
            Read::Events(_) => {}
            Read::Broken(_) | Read::Gap { .. } => return Err(Failure::Broken),
            Read::Failed(failure) => return Err(*failure),
            Read::Lost => return Err(Failure::Draining),
        }
    }
    let json = completion(events, family).ok_or(Failure::BadBody("it is not a completion"))?;
    Ok((json.into(), subscriber.tally()))
}

/// Whether the last byte may be the CR of a line end whose LF is still to come.
fn ends_within_line_end(events: &[u8]) -> bool {
    events.ends_with(b"\r") && events.contains(&b'\n')
}

/// The first bytes are allocated exactly: if none follow, `Bytes` needs no second allocation.
fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    if out.capacity() == 0 {
        *out = Vec::with_capacity(bytes.len());
    }
    out.extend_from_slice(bytes);
}

fn too_slow() -> Reject {
    let message = "This connection was too slow: the identical requests that share this answer have gone on, and events that \
                   this connection still lacks were discarded. Send the request again.";
    Reject::new(Code::Gap, message)
}

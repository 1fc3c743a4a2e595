//! An answer as it is told to one client, out of the store or out of a flight: as a body, or into a resumable stream's log.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::time::Instant;

use super::entry::{Entry, completion};
use super::flight::{Follower, Logged, Step};
use super::replay::Replay;
use super::splice::Splicer;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::spend::tally::Tally;
use crate::stream::completions::Completions;
use crate::stream::log::reader::Heartbeat;
use crate::stream::log::store::Append;
use crate::stream::relay::HEARTBEAT;
use crate::upstream::failure::Failure;

/// About the most bytes of one frame.
const FRAME: usize = 16 * 1024;
/// Most bytes of a whole answer that is joined from a stream.
const MAX_WHOLE: usize = 32 * 1024 * 1024;

/// Where the events come from.
pub enum Source {
    /// A kept answer.
    Kept(Replay),
    /// One that comes in.
    Flight(Follower),
    /// One that comes in, while it is not known yet who answers.
    Entering(Entering),
}

/// Ends with the reader's place in a flight, once it is known who answers, and that this is for whoever asks.
pub type Entering = Pin<Box<dyn Future<Output = Result<Follower, Failure>> + Send>>;

/// What the answer is to the one who gets it.
pub enum Part {
    /// It pays for it; the meter is settled where the upstream is read.
    Leads,
    /// Others have paid for it.
    Reuses {
        /// Gives the answer an id of its own.
        splicer: Splicer,
        /// Knows the model that answers, once that is known.
        completions: Arc<Completions>,
        /// Tokens of the prompt, estimated.
        prompt_tokens: u64,
    },
}

/// An answer for one client.
pub struct CachedBody {
    source: Source,
    part: Part,
    meter: Meter,
    pass_usage: bool,
    heartbeat: Option<Heartbeat>,
    /// The last byte was the CR of a line end whose LF is still to come.
    awaits_lf: bool,
    identified: bool,
    ended: bool,
}

/// One piece of it.
enum Piece {
    Block(Bytes),
    /// The last one.
    Error(Bytes),
    End,
    Lost,
}

impl CachedBody {
    /// From this source; usage alone is passed on only to those who asked for it.
    pub fn new(source: Source, part: Part, meter: Meter, pass_usage: bool) -> Self {
        Self { source, part, meter, pass_usage, heartbeat: None, awaits_lf: false, identified: false, ended: false }
    }

    /// With heartbeats in silence, the first one after so long.
    #[must_use]
    pub fn with_heartbeat(mut self, every: Option<Duration>, first: Duration) -> Self {
        self.heartbeat = every.map(|every| Heartbeat::new(every, first.min(every)));
        self
    }

    /// Tells the meter whose answer is reused, as soon as that is known.
    pub fn identify(&mut self) {
        let (Source::Flight(follower), Part::Reuses { completions, .. }, false) =
            (&self.source, &self.part, self.identified)
        else {
            return;
        };
        let Some(head) = follower.known_head() else { return };
        self.identified = true;
        let models = completions.models();
        if let Some(id) = models.find(Some(&head.model)) {
            self.meter.record().reuses(models.get(id), &head.upstream);
        }
    }

    /// Writes it into the log of a resumable stream. A stop ends it before, and is leaving.
    pub async fn record<A: Append>(mut self, mut log: A) {
        loop {
            let piece = poll_fn(|cx| match log.poll_stopped(cx) {
                Poll::Ready(()) => Poll::Ready(Piece::Lost),
                Poll::Pending => self.poll_piece(cx),
            });
            let (bytes, last) = match piece.await {
                Piece::Block(bytes) => (bytes, false),
                Piece::Error(bytes) => (bytes, true),
                Piece::End => return log.end().await,
                // no word of a shutdown belongs into the log of the completion
                Piece::Lost => return,
            };
            if log.append(&bytes).await.is_err() {
                return;
            }
            if last {
                return log.end().await;
            }
        }
    }

    /// The whole completion, with its id; and what it produced.
    ///
    /// # Errors
    /// The upstream broke, or what it said is no completion.
    pub async fn whole(mut self) -> Result<(Bytes, Tally), Failure> {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        loop {
            match poll_fn(|cx| self.poll_source(cx)).await {
                Step::Event(logged) if logged.error => return Err(Failure::Broken),
                Step::Event(logged) => {
                    bytes += logged.event.block.len();
                    if bytes > MAX_WHOLE {
                        return Err(Failure::BadBody("it is too large"));
                    }
                    blocks.push(logged.event.block);
                }
                Step::Ended => break,
                Step::Failed(failure) => return Err(failure),
                Step::Lost => return Err(Failure::Draining),
            }
        }
        self.identify();
        let json = completion(blocks).ok_or(Failure::BadBody("it is no chat completion"))?;
        let (json, tally) = (Bytes::from(json), self.tally());
        Ok(match &self.part {
            Part::Leads => (json, tally),
            Part::Reuses { splicer, .. } => (splicer.completion(&json), tally),
        })
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            match &mut self.source {
                Source::Kept(replay) => return replay.poll_next(cx),
                Source::Flight(follower) => return follower.poll_next(cx),
                Source::Entering(entering) => match ready!(entering.as_mut().poll(cx)) {
                    Ok(follower) => self.source = Source::Flight(follower),
                    // the gateway shuts down, as a flight says that is under way
                    Err(Failure::Draining) => return Poll::Ready(Step::Lost),
                    Err(failure) => return Poll::Ready(Step::Failed(failure)),
                },
            }
        }
    }

    fn tally(&self) -> Tally {
        let tally = match &self.source {
            Source::Kept(replay) => replay.tally().clone(),
            Source::Flight(follower) => follower.tally(),
            Source::Entering(_) => Tally::default(),
        };
        match &self.part {
            Part::Leads => tally,
            Part::Reuses { prompt_tokens, .. } => Tally { prompt_tokens: *prompt_tokens, ..tally },
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        loop {
            let step = match self.poll_source(cx) {
                Poll::Ready(step) => step,
                Poll::Pending => return Poll::Pending,
            };
            match step {
                Step::Event(logged) => {
                    self.identify();
                    if logged.event.usage_only && !self.pass_usage {
                        continue;
                    }
                    return Poll::Ready(self.told(logged));
                }
                Step::Ended => {
                    self.settle(Outcome::Ok);
                    return Poll::Ready(Piece::End);
                }
                Step::Failed(failure) => {
                    let error = self.error(&failure);
                    return Poll::Ready(Piece::Error(error));
                }
                Step::Lost => {
                    self.meter.record().error(Failure::Draining.reason());
                    self.settle(Outcome::Truncated);
                    return Poll::Ready(Piece::Lost);
                }
            }
        }
    }

    /// The event as this client gets it.
    fn told(&mut self, logged: Logged) -> Piece {
        let Logged { event, at, error } = logged;
        let Part::Reuses { splicer, .. } = &mut self.part else {
            return if error { Piece::Error(event.block) } else { Piece::Block(event.block) };
        };
        if error {
            let block = self.own_error(&event.block);
            self.meter.record().error("joined_stream_broke");
            self.settle(Outcome::Truncated);
            return Piece::Error(block);
        }
        self.meter.record().taken(at, Instant::now(), event.output);
        let mut out = BytesMut::with_capacity(event.block.len() + 64);
        splicer.event(&event.block, &mut out);
        Piece::Block(out.freeze())
    }

    /// The gateway's own last event of the flight, with the id of this request.
    fn own_error(&self, block: &[u8]) -> Bytes {
        let named = |id: &str| format!("\"request_id\":\"{id}\"");
        let text = String::from_utf8_lossy(block);
        let leader = match &self.source {
            Source::Flight(follower) => follower.known_head(),
            Source::Kept(_) | Source::Entering(_) => None,
        };
        let leader = leader.map(|head| named(&head.request_id)).unwrap_or_default();
        let own = named(self.meter.record().request_id());
        if leader.is_empty() { text.into_owned().into() } else { text.replace(&leader, &own).into() }
    }

    fn error(&mut self, failure: &Failure) -> Bytes {
        let mut record = self.meter.record();
        record.error(failure.reason());
        record.settle(Outcome::Truncated);
        let event = failure.reject().event(record.request_id());
        event.into()
    }

    fn settle(&mut self, outcome: Outcome) {
        if matches!(self.part, Part::Reuses { .. }) {
            let tally = self.tally();
            let mut record = self.meter.record();
            record.reused(tally.tokens());
            record.settle(outcome);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = Out::default();
        while !self.ended && out.len() < FRAME {
            match self.poll_piece(cx) {
                Poll::Ready(Piece::Block(bytes)) => out.push(bytes),
                Poll::Ready(Piece::Error(bytes)) => {
                    self.ended = true;
                    out.push(bytes);
                }
                Poll::Ready(Piece::End) => self.ended = true,
                Poll::Ready(Piece::Lost) => {
                    self.ended = true;
                    out.push(Failure::Draining.reject().event(self.meter.record().request_id()).into());
                }
                Poll::Pending if out.len() > 0 => break,
                Poll::Pending => return self.poll_heartbeat(cx),
            }
        }
        let Some(bytes) = out.finish() else { return Poll::Ready(None) };
        self.awaits_lf = bytes.ends_with(b"\r") && bytes.contains(&b'\n');
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.sent();
        }
        Poll::Ready(Some(bytes))
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let due = self.heartbeat.as_mut().map_or(Poll::Pending, |heartbeat| heartbeat.poll(cx));
        match due {
            Poll::Ready(()) if !self.awaits_lf => Poll::Ready(Some(HEARTBEAT)),
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// One block is passed on as it is; several are joined.
#[derive(Default)]
struct Out {
    first: Bytes,
    joined: BytesMut,
}

impl Out {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, bytes: Bytes) {
        if self.len() == 0 {
            self.first = bytes;
        } else {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&bytes);
        }
    }

    fn finish(self) -> Option<Bytes> {
        let bytes = if self.joined.is_empty() { self.first } else { self.joined.freeze() };
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }
}

impl Body for CachedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The whole completion of an entry, with an id of its own; `None` where its events tell none.
pub fn whole_of(entry: &Entry, splicer: &Splicer) -> Option<Bytes> {
    let json = match &entry.answer {
        super::entry::Answer::Whole(json) => json.clone(),
        super::entry::Answer::Streamed(events) => events.completion()?.into(),
    };
    Some(splicer.completion(&json))
}

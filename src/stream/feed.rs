//! An upstream's answer as events: they are read, framed and parsed here, and not again in later stages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::event::{Batch, Flags};
use crate::failover::health::AttemptPermit;
use crate::metering::attempt::Attempt;
use crate::spend::tally::Tally;
use crate::upstream::client::AnswerBody;
use crate::upstream::failure::Failure;
use families::event::EventReader;
use families::family::Family;
use families::request::Request;
use sse::event::{Event, Fields, Kind};
use sse::framer::Framer;

/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>;

/// A stream whose first output has come in.
pub struct Opened {
    /// The events up to the first output, included.
    pub held: Vec<Batch>,
    /// The events after them.
    pub feed: Box<Feed>,
}

impl Opened {
    /// Makes an opened stream. The held events count as complete at the commit point, because nothing may be sent before it.
    pub fn new(held: Vec<Batch>, feed: Box<Feed>) -> Self {
        match held.last().map(|batch| batch.complete) {
            Some(Some(committed)) => Self { held, feed }.committed(committed),
            _ => Self { held, feed },
        }
    }

    /// Sets a commit point that is later than the first output.
    pub fn committed(mut self, at: Instant) -> Self {
        self.held.iter_mut().for_each(|batch| batch.complete = Some(at));
        self
    }
}

/// The events of one upstream answer.
pub struct Feed {
    body: AnswerBody,
    framer: Framer,
    family: &'static dyn Family,
    reader: Box<dyn EventReader>,
    /// Events of the last read that are not returned yet.
    ready: VecDeque<Batch>,
    failed: Option<Failure>,
    attempt: Attempt,
    /// Reports failures after the first output, too.
    permit: Option<AttemptPermit>,
    /// The client asked for the usage-only chunk.
    pass_usage: bool,
    /// The last event was returned, so the events that belong to it are returned, too.
    passed: bool,
    /// When bytes last came in, or the stream began.
    heard: Instant,
    /// How many more bytes may come in without output. Before the first output, suppressed events count as well, for a small
    /// event that is held keeps alive the whole buffer that it came in. Afterwards this bounds the work for an upstream that
    /// sends comments without end.
    allowance: usize,
    max_event: usize,
}

/// The most chunks without a batch that are read in one poll. An upstream that always has more, none of it for the client,
/// would otherwise block the other streams of the worker.
const MAX_CHUNKS: usize = 16;

/// What is done with an event.
enum Verdict {
    Pass(Flags),
    Suppress,
    Fail(Failure),
}

impl Feed {
    /// Reads the answer to this request. `max_event` is in bytes. Events with only the usage are suppressed, unless the
    /// client asks for them.
    pub fn new(body: AnswerBody, max_event: usize, request: &Request, attempt: Attempt) -> Self {
        let family = request.family();
        Self {
            body,
            framer: Framer::new(max_event),
            family,
            reader: family.reader(),
            ready: VecDeque::new(),
            failed: None,
            attempt,
            permit: None,
            pass_usage: request.wants_usage(),
            passed: false,
            heard: Instant::now(),
            allowance: max_event,
            max_event,
        }
    }

    /// Returns what the completion has produced so far.
    pub fn tally(&self) -> &Tally {
        self.attempt.tally()
    }

    /// Returns the family of the events.
    pub fn family(&self) -> &'static dyn Family {
        self.family
    }

    /// Returns the reader that has read all events so far, so that it can write the event that ends the stream.
    pub fn reader(&self) -> &dyn EventReader {
        &*self.reader
    }

    /// Returns the attempt whose answer this is.
    pub fn attempt_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    /// Whether the answer has begun: it has output, or has ended properly without any.
    pub fn is_answering(&self) -> bool {
        self.tally().output_events > 0 || self.tally().finished
    }

    /// Sets the permit: from now on, the first output and a failure are reported to the circuit breaker.
    pub fn judge_by(&mut self, mut permit: AttemptPermit) {
        if self.is_answering() {
            permit.first_output();
        }
        self.permit = Some(permit);
    }

    /// Reports that the stream failed before its end.
    pub fn failed(&mut self, failure: &Failure) {
        self.attempt.failed(failure);
        self.permit.take().into_iter().for_each(|mut permit| permit.failed(failure));
    }

    /// Returns the `vary` of the upstream's answer.
    pub fn vary(&self) -> Option<&HeaderValue> {
        self.body.vary.as_ref()
    }

    /// Whether the terminal event was read and all events before it were returned.
    pub fn is_done(&self) -> bool {
        self.tally().done && self.ready.is_empty()
    }

    /// Returns when the upstream last sent bytes: a comment, or a part of an event, counts.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether the gateway may write a line of its own now: not between the CR and the LF of a line end.
    pub fn is_between_events(&self) -> bool {
        !self.framer.awaits_lf()
    }

    /// Returns the next event, or `None` at the proper end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Batch>, Failure>> {
        for _ in 0..MAX_CHUNKS {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(batch)));
            }
            if let Some(failure) = self.failed.take() {
                self.failed(&failure);
                return Poll::Ready(Err(failure));
            }
            if self.tally().done {
                return Poll::Ready(Ok(None));
            }
            match self.body.poll(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.take_in(chunk),
                Poll::Ready(Some(Err(failure))) => self.failed = Some(failure),
                Poll::Ready(None) => {
                    return Poll::Ready(self.ended().inspect_err(|failure| self.failed(failure)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Adds the events of the same read that follow this one directly: a client gets them in one write.
    pub fn join_ready(&mut self, batch: &mut Batch) {
        while let Some(next) = self.ready.pop_front() {
            if let Err(next) = batch.join(next) {
                return self.ready.push_front(next);
            }
        }
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Result<Option<Batch>, Failure> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Releases the upstream: after a proper end its connection goes back to the pool, otherwise it is closed. The attempt is
    /// settled here, and dropped after the task of the client's connection has sent the last event: nothing is published before.
    pub fn finish(mut self) {
        self.attempt.settle();
        if !self.tally().done {
            return;
        }
        tokio::spawn(async move {
            // over HTTP/2 the connection has a task of its own, which runs after this one
            yield_now().await;
            drop(self.attempt);
            if self.body.is_open() {
                // after `[DONE]`, the next thing is nearly always the end of the body
                self.body.read_rest().await;
            } else {
                self.body.release();
            }
        });
    }

    fn take_in(&mut self, chunk: Bytes) {
        let complete = Instant::now();
        self.heard = complete;
        let (length, outputs) = (chunk.len(), self.tally().output_events);
        self.framer.push(chunk);
        while self.failed.is_none() && !self.tally().done {
            let event = match self.framer.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => {
                    self.failed = Some(Failure::BadBody("an event is larger than stream.max_event"));
                    break;
                }
            };
            match self.judge(&event) {
                Verdict::Pass(flags) => {
                    self.passed = true;
                    self.ready.push_back(Batch::new(event, complete, flags));
                }
                Verdict::Suppress => self.passed = false,
                Verdict::Fail(failure) => self.failed = Some(failure),
            }
        }
        if self.tally().output_events > outputs {
            // a stream that a report of progress has opened
            if outputs == 0
                && let Some(permit) = &mut self.permit
            {
                permit.first_output();
                self.attempt.first_output_came();
            }
            // the next event may be of this size, too, and be followed by as much
            self.allowance = self.max_event.saturating_mul(2);
            return;
        }
        match self.allowance.checked_sub(length) {
            Some(left) => self.allowance = left,
            None => self.failed = Some(Failure::BadBody("it sent more than stream.max_event without any output")),
        }
    }

    fn judge(&mut self, event: &Event) -> Verdict {
        let fields = event.fields();
        let data = match (fields.kind, fields.data) {
            (Kind::Data, Some(data)) => data,
            (Kind::Comment, _) => return Verdict::Pass(Flags::default()),
            // a block without data means nothing to a client, and a single `retry:` or `id:` breaks openai-python
            (Kind::Field | Kind::Data, _) => return Verdict::Suppress,
            (Kind::Blank, _) if self.passed => return Verdict::Pass(Flags::default()),
            (Kind::Blank, _) => return Verdict::Suppress,
        };
        let has_data = Flags::DATA | Flags::ID_OR_RETRY.when(fields.id_or_retry);
        let meaning = self.reader.read(fields.name, &data);
        self.attempt.tally_mut().add(&meaning);
        match meaning.fault {
            Some(fault) => Verdict::Fail(Failure::InBody(fault)),
            None if meaning.usage_only && !self.pass_usage => Verdict::Suppress,
            None => Verdict::Pass(
                has_data
                    | Flags::OUTPUT.when(meaning.output)
                    | Flags::USAGE_ONLY.when(meaning.usage_only)
                    | Flags::PROGRESS.when(meaning.progress)
                    | Flags::DONE.when(meaning.terminal),
            ),
        }
    }

    /// Handles a body that ended properly: returns a last event without a blank line, or a failure if the completion is not
    /// complete.
    fn ended(&mut self) -> Result<Option<Batch>, Failure> {
        let rest = Fields::of(self.framer.unfinished());
        let last = rest.data.as_deref().map(|data| self.reader.read(rest.name, data)).unwrap_or_default();
        match rest.kind {
            // some servers leave out the blank line at the very end
            Kind::Data if last.terminal => {
                self.attempt.tally_mut().add(&last);
                let flags = Flags::DATA | Flags::DONE | Flags::UNENDED | Flags::ID_OR_RETRY.when(rest.id_or_retry);
                let bytes = Bytes::copy_from_slice(self.framer.unfinished());
                self.body.release();
                Ok(Some(Batch::new(bytes, Instant::now(), flags)))
            }
            Kind::Blank | Kind::Comment if self.tally().finished => {
                self.body.release();
                Ok(None)
            }
            _ => Err(Failure::Broken),
        }
    }
}

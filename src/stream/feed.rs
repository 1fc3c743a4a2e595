//! An upstream's answer as events: read, cut, understood, and handed on in batches of whole events.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::failover::health::AttemptPermit;
use crate::metering::attempt::Attempt;
use crate::spend::tally::Tally;
use crate::upstream::client::AnswerBody;
use crate::upstream::failure::Failure;
use families::chat::event::{Chunk, Inspector};
use sse::event::{Event, Fields, Kind, Run};
use sse::framer::Framer;

/// Whole events, adjacent in the upstream's bytes.
#[derive(Debug)]
pub struct Batch {
    /// The upstream's own bytes.
    pub bytes: Bytes,
    /// When the last of its bytes had come in.
    pub complete: Instant,
    /// Some event in it is output: content, reasoning, a refusal or a tool call.
    pub output: bool,
    /// It is the upstream's, and so measured.
    pub measured: bool,
}

impl Batch {
    /// The gateway's own bytes between the upstream's events.
    pub fn own(bytes: Bytes) -> Self {
        Self { bytes, complete: Instant::now(), output: false, measured: false }
    }
}

/// A stream whose first output has come in.
pub struct Opened {
    /// What came before the first output, and that.
    pub held: Vec<Batch>,
    /// What follows.
    pub feed: Box<Feed>,
}

impl Opened {
    /// What was held is complete, as far as the client is concerned, at the commit point: before it, nothing may leave.
    pub fn new(held: Vec<Batch>, feed: Box<Feed>) -> Self {
        match held.last().map(|batch| batch.complete) {
            Some(committed) => Self { held, feed }.committed(committed),
            None => Self { held, feed },
        }
    }

    /// The same, where the commit point comes later than the first output.
    pub fn committed(mut self, at: Instant) -> Self {
        self.held.iter_mut().for_each(|batch| batch.complete = at);
        self
    }
}

/// The events of one upstream answer.
pub struct Feed {
    body: AnswerBody,
    framer: Framer,
    inspector: Inspector,
    ready: VecDeque<Batch>,
    failed: Option<Failure>,
    attempt: Attempt,
    /// Learns of what goes wrong after the first output, too.
    permit: Option<AttemptPermit>,
    /// The client asked for the usage-only chunk itself.
    pass_usage: bool,
    /// The last event was handed on: what belongs to it still is, too.
    passed: bool,
    /// When bytes last came in, or the stream began.
    heard: Instant,
    /// How many more bytes may come in before there is output; those that stay inside count as well, for a small event that
    /// is held keeps alive the whole buffer that it came in.
    allowance: usize,
}

/// Chunks without a batch that are read in one poll. An upstream that always has more, all of it to be kept inside, would
/// else hold up its neighbours on the same worker.
const MAX_CHUNKS: usize = 16;

/// What is done with an event.
enum Verdict {
    Pass { output: bool },
    Keep,
    Fail(Failure),
}

impl Feed {
    /// `max_event` in bytes; without `pass_usage` the usage-only chunk stays inside.
    pub fn new(body: AnswerBody, max_event: usize, pass_usage: bool, attempt: Attempt) -> Self {
        Self {
            body,
            framer: Framer::new(max_event),
            inspector: Inspector::default(),
            ready: VecDeque::new(),
            failed: None,
            attempt,
            permit: None,
            pass_usage,
            passed: false,
            heard: Instant::now(),
            allowance: max_event,
        }
    }

    /// What the completion has produced so far.
    pub fn tally(&self) -> &Tally {
        self.attempt.tally()
    }

    /// The attempt whose answer it is.
    pub fn attempt_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    /// From here on, a failure counts against who is being tried.
    pub fn judge_by(&mut self, permit: AttemptPermit) {
        self.permit = Some(permit);
    }

    /// It ends before its time.
    pub fn failed(&mut self, failure: &Failure) {
        self.attempt.failed(failure);
        self.permit.take().into_iter().for_each(|mut permit| permit.failed(failure));
    }

    /// The `vary` of the upstream's answer.
    pub fn vary(&self) -> Option<&HeaderValue> {
        self.body.vary.as_ref()
    }

    /// Whether `[DONE]` was seen and all before it was handed on.
    pub fn is_done(&self) -> bool {
        self.tally().done && self.ready.is_empty()
    }

    /// When the upstream was last heard: a comment, or a part of an event, is no silence.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether a line of the gateway's own may be written now: not between the CR and the LF of a line end.
    pub fn is_between_events(&self) -> bool {
        !self.framer.awaits_lf()
    }

    /// The next batch of events: `None` at the proper end. Nothing waits: a batch holds what has come in, no more.
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

    /// The next batch of events, awaited.
    pub async fn next(&mut self) -> Result<Option<Batch>, Failure> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Lets go of the upstream: after a proper end its connection is kept for the next request, else it is closed. The
    /// attempt, which is settled here, is let go of once the last event has left, which the task of the client's connection
    /// is about to see to: nothing is published before.
    pub fn finish(mut self) {
        self.attempt.settle();
        if !self.tally().done {
            return;
        }
        tokio::spawn(async move {
            // over HTTP/2 the connection has a task of its own, which is woken behind this one
            yield_now().await;
            drop(self.attempt);
            if self.body.is_open() {
                // what follows `[DONE]` is the end of the body, nearly always
                self.body.read_rest().await;
            } else {
                self.body.keep();
            }
        });
    }

    fn take_in(&mut self, chunk: Bytes) {
        let complete = Instant::now();
        self.heard = complete;
        let length = chunk.len();
        self.framer.push(chunk);
        let mut batch: Option<(Run, bool)> = None;
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
                Verdict::Pass { output } => {
                    self.passed = true;
                    batch = Some(match batch.take() {
                        None => (event.into(), output),
                        Some((mut run, before)) => match run.append(event) {
                            Ok(()) => (run, before | output),
                            Err(event) => {
                                self.ready.push_back(Batch::of(run, complete, before));
                                (event.into(), output)
                            }
                        },
                    });
                }
                Verdict::Keep => self.passed = false,
                Verdict::Fail(failure) => self.failed = Some(failure),
            }
        }
        self.ready.extend(batch.map(|(run, output)| Batch::of(run, complete, output)));
        if self.tally().output_events > 0 {
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
            (Kind::Comment, _) => return Verdict::Pass { output: false },
            // a block without data tells a client nothing, and a lone `retry:` or `id:` breaks openai-python
            (Kind::Field | Kind::Data, _) => return Verdict::Keep,
            (Kind::Blank, _) if self.passed => return Verdict::Pass { output: false },
            (Kind::Blank, _) => return Verdict::Keep,
        };
        match self.inspector.inspect(fields.name, &data) {
            Chunk::Done => {
                self.attempt.tally_mut().done = true;
                Verdict::Pass { output: false }
            }
            Chunk::Error(fault) => Verdict::Fail(Failure::InBody(fault)),
            Chunk::Delta(delta) => {
                self.attempt.tally_mut().add(&delta);
                match delta.usage_only && !self.pass_usage {
                    true => Verdict::Keep,
                    false => Verdict::Pass { output: delta.output },
                }
            }
            Chunk::Malformed => Verdict::Pass { output: false },
        }
    }

    /// The body has ended where the upstream wanted it to: is the completion whole?
    fn ended(&mut self) -> Result<Option<Batch>, Failure> {
        let rest = Fields::of(self.framer.unfinished());
        let done = rest.data.as_deref() == Some(b"[DONE]");
        match rest.kind {
            // some servers leave out the blank line at the very end
            Kind::Data if done => {
                self.attempt.tally_mut().done = true;
                let bytes = Bytes::copy_from_slice(self.framer.unfinished());
                self.body.keep();
                Ok(Some(Batch { bytes, complete: Instant::now(), output: false, measured: true }))
            }
            Kind::Blank | Kind::Comment if self.tally().finished => {
                self.body.keep();
                Ok(None)
            }
            _ => Err(Failure::Broken),
        }
    }
}

impl Batch {
    fn of(run: Run, complete: Instant, output: bool) -> Self {
        Self { bytes: run.into_bytes(), complete, output, measured: true }
    }
}

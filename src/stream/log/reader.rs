//! The body of an answer that reads a resumable stream: what is there at once, the rest as it comes.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prometheus::IntCounter;
use tokio::time::Instant;

use super::store::{Follow, Followed, Then};
use crate::error::{Code, Reject};
use crate::metering::meter::Meter;
use crate::metrics::{Metrics, Outcome};
use crate::stream::alarm::Alarm;
use crate::stream::relay::HEARTBEAT;
use crate::upstream::failure::Failure;

/// About the most bytes of one frame: a replay is taken from the log piece by piece, as the client takes it.
const FRAME: usize = 16 * 1024;

/// The same of a replay's first frame; each further one may have twice as many. Nothing of a TLS record can be read until it
/// is whole, and a network that always breaks before that would never get on.
const FIRST_FRAME: usize = 1024;

/// After how many milliseconds an `EventSource` that lost its connection comes back.
const RETRY: u32 = 1000;

/// The body.
pub struct Reader<F> {
    log: F,
    form: Form,
    /// Settled at the end; a reader that goes before has left.
    meter: Option<Meter>,
    /// Counts what the reader is told of as lost.
    gaps: IntCounter,
    heartbeat: Option<Heartbeat>,
    /// About the most bytes of the next frame.
    limit: usize,
    /// The last frame leaves before there is another one: what is there at once shares a TLS record.
    pausing: bool,
    ended: bool,
}

/// How events are written.
enum Form {
    /// As the upstream wrote them: for the request that made the stream.
    Plain,
    /// With the number of each as its `id:`.
    Numbered {
        /// `retry:` was sent. It goes out within the first block that has data: alone, it breaks openai-python.
        told: bool,
    },
}

impl<F: Follow> Reader<F> {
    /// The body of the answer that the stream was made with. What the meter measures is the stream itself, so that this
    /// reader has none.
    pub fn plain(log: F, metrics: &Metrics, heartbeat: Option<Duration>) -> Self {
        let gaps = metrics.stream_gaps.clone();
        Self::new(log, Form::Plain, None, gaps, heartbeat.map(|every| Heartbeat::new(every, every)))
    }

    /// The same, where there is no output yet: its heartbeats begin at once.
    pub fn plain_waiting(log: F, metrics: &Metrics, heartbeat: Option<Duration>) -> Self {
        let gaps = metrics.stream_gaps.clone();
        Self::new(log, Form::Plain, None, gaps, heartbeat.map(|every| Heartbeat::new(every, Duration::ZERO)))
    }

    /// The body of an answer for `EventSource`: with the number of each event.
    pub fn numbered(log: F, meter: Meter, heartbeat: Option<Duration>) -> Self {
        let heartbeat = heartbeat.map(|every| Heartbeat::new(every, Duration::ZERO));
        let gaps = meter.record().metrics().stream_gaps.clone();
        Self::new(log, Form::Numbered { told: false }, Some(meter), gaps, heartbeat)
    }

    fn new(log: F, form: Form, meter: Option<Meter>, gaps: IntCounter, heartbeat: Option<Heartbeat>) -> Self {
        Self { log, form, meter, gaps, heartbeat, limit: FIRST_FRAME, pausing: false, ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.pausing) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut out = BytesMut::new();
        let form = &mut self.form;
        let followed = self.log.poll_follow(cx, self.limit, &mut |number, block| form.write(&mut out, number, block));
        match followed {
            Poll::Ready(Followed::Events(Then::More)) => {
                self.pausing = self.limit < FRAME;
                self.limit = FRAME.min(self.limit * 2);
            }
            Poll::Ready(Followed::Events(Then::Wait)) => {}
            Poll::Ready(Followed::Events(Then::End)) => self.end(Outcome::Ok),
            Poll::Ready(Followed::Gap { from, to }) => {
                self.gaps.inc();
                match self.form {
                    // OpenAI's SDKs know no such event: they would take what is left for the whole answer
                    Form::Plain => {
                        out.put_slice(&gap(from, to).event(self.log.request_id()));
                        self.end(Outcome::Truncated);
                    }
                    Form::Numbered { .. } => {
                        self.form.write_own(&mut out, "gap", &format!("{{\"from\":{from},\"to\":{to}}}"));
                    }
                }
            }
            Poll::Ready(Followed::Ended) => {
                self.end(Outcome::Ok);
                return Poll::Ready(None);
            }
            Poll::Ready(Followed::Lost) => {
                let reject = Failure::Draining.reject();
                let error = reject.json(self.log.request_id());
                match self.form {
                    Form::Plain => out.put_slice(&reject.event(self.log.request_id())),
                    Form::Numbered { .. } => {
                        self.form.write_own(&mut out, "draining", &String::from_utf8_lossy(&error));
                    }
                }
                self.lost();
            }
            Poll::Pending => match self.heartbeat.as_mut().map(|heartbeat| heartbeat.poll(cx)) {
                Some(Poll::Ready(())) => return Poll::Ready(Some(HEARTBEAT)),
                Some(Poll::Pending) | None => return Poll::Pending,
            },
        }
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.sent();
        }
        Poll::Ready(Some(out.freeze()))
    }

    fn lost(&mut self) {
        if let Some(meter) = &self.meter {
            meter.record().error(Failure::Draining.reason());
        }
        self.end(Outcome::Truncated);
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Some(meter) = &self.meter {
            meter.record().settle(outcome);
        }
    }
}

impl Form {
    /// Writes an event of the upstream.
    fn write(&mut self, out: &mut BytesMut, number: u64, block: &[u8]) {
        if let Form::Numbered { told } = self {
            out.reserve(block.len() + 64);
            put(out, format_args!("id: {number}\n"));
            tell(out, told);
        }
        out.put_slice(block);
    }

    /// Writes an event of the gateway's own. It has no number: a client that comes back asks from the last that has one.
    fn write_own(&mut self, out: &mut BytesMut, name: &str, data: &str) {
        if let Form::Numbered { told } = self {
            tell(out, told);
        }
        put(out, format_args!("event: {name}\ndata: {data}\n\n"));
    }
}

fn gap(from: u64, to: u64) -> Reject {
    let place = from.saturating_sub(1);
    let message = format!(
        "This connection was too slow: the events {from} to {to} were given up before it took them. \
         `GET /v1/streams/{{id}}?from={place}` tells what is kept of the rest."
    );
    Reject::new(Code::Gap, message)
}

fn tell(out: &mut BytesMut, told: &mut bool) {
    if !std::mem::replace(told, true) {
        put(out, format_args!("retry: {RETRY}\n"));
    }
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    // a BytesMut grows: writing to it cannot fail
    let _ = out.write_fmt(text);
}

impl<F: Follow> Body for Reader<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A comment line after so much silence. The first one may be due at once: some proxies hold the head back until a body
/// begins.
pub struct Heartbeat {
    every: Duration,
    due: Instant,
    /// Armed for what was due when it was last looked at; what is due only ever moves later, so that an event costs no
    /// timer work.
    timer: Alarm,
}

impl Heartbeat {
    /// Each after so much silence, the first one after `first`.
    pub fn new(every: Duration, first: Duration) -> Self {
        let due = Instant::now() + first;
        Self { every, due, timer: Alarm::at(due) }
    }

    /// Something was sent: it was not silent.
    pub fn sent(&mut self) {
        self.due = Instant::now() + self.every;
    }

    /// Ready when one is due.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.poll(cx).is_ready() {
            let due = Instant::now() >= self.due;
            if due {
                self.sent();
            }
            self.timer.set(self.due);
            if due {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

//! What the client of a resumable stream gets: what is there at once, the rest as it comes.

use std::io::Write as _;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use prometheus::IntCounter;

use super::core::Latest;
use super::marked::Event;
use super::reader::{Read, Reader, Taken, Then};
use crate::error::{Code, Reject};
use crate::metering::meter::Meter;
use crate::metrics::{Metrics, Outcome};
use crate::stream::body::Body;
use crate::stream::event::{Batch, Flags};
use crate::stream::source::{Next, Source};
use crate::upstream::failure::Failure;

/// About the most bytes of one frame: a replay is taken from the log piece by piece, as the client takes it.
const FRAME: usize = 16 * 1024;

/// The same of a replay's first frame; each further one may have twice as many. Nothing of a TLS record can be read until it
/// is whole, and a network that always breaks before that would never get on.
const FIRST_FRAME: usize = 1024;

/// After how many milliseconds an `EventSource` that lost its connection comes back.
const RETRY: u32 = 1000;

/// The source of one reader's answer.
pub struct Rendered {
    reader: Reader,
    form: Form,
    /// Settled at the end; a reader that goes before has left.
    meter: Option<Meter>,
    /// Counts the gaps that the reader is told of.
    gaps: IntCounter,
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

impl Rendered {
    /// The body of the answer that the stream was made with, its first heartbeat after `first`. What the meter measures is
    /// the stream itself, so that this reader has none.
    pub fn plain(reader: Reader, metrics: &Metrics, heartbeat: Option<Duration>, first: Duration) -> Body<Self> {
        let (gaps, line) = (metrics.stream_gaps.clone(), reader.author().family.heartbeat(false));
        Body::new(Self::new(reader, Form::Plain, None, gaps)).with_heartbeat(line, heartbeat, first)
    }

    /// The body of an answer for `EventSource`: with the number of each event.
    pub fn numbered(reader: Reader, meter: Meter, heartbeat: Option<Duration>) -> Body<Self> {
        let gaps = meter.record().metrics().stream_gaps.clone();
        let line = reader.author().family.heartbeat(true);
        let rendered = Self::new(reader, Form::Numbered { told: false }, Some(meter), gaps);
        Body::new(rendered).with_heartbeat(line, heartbeat, Duration::ZERO)
    }

    fn new(reader: Reader, form: Form, meter: Option<Meter>, gaps: IntCounter) -> Self {
        Self { reader, form, meter, gaps, limit: FIRST_FRAME, pausing: false, ended: false }
    }

    fn gap(&mut self, out: &mut Vec<u8>, from: u64, to: u64) {
        self.gaps.inc();
        match self.form {
            // OpenAI's SDKs know no such event: they would take what is left for the whole answer
            Form::Plain => {
                out.put_slice(&self.reader.author().failure(&gap(from, to)));
                self.end(Outcome::Truncated);
            }
            Form::Numbered { .. } => self.form.write_own(out, "gap", &format!("{{\"from\":{from},\"to\":{to}}}")),
        }
    }

    fn lost(&mut self, out: &mut Vec<u8>) {
        let (reject, author) = (Failure::Draining.reject(), self.reader.author());
        match self.form {
            Form::Plain => out.put_slice(&author.failure(&reject)),
            Form::Numbered { .. } => {
                let error = author.family.error_body(&reject.api_error(&author.request_id));
                self.form.write_own(out, "draining", &String::from_utf8_lossy(&error));
            }
        }
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

impl Source for Rendered {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.ended {
            return Poll::Ready(Next::End);
        }
        if std::mem::take(&mut self.pausing) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (mut out, form) = (Vec::new(), &mut self.form);
        let taken = match form {
            Form::Plain => ready!(self.reader.poll_take(cx, self.limit, |event| form.write(&mut out, event))),
            Form::Numbered { .. } => {
                Taken::Read(ready!(self.reader.poll_read(cx, self.limit, |event| form.write(&mut out, event))))
            }
        };
        let read = match taken {
            Taken::Latest(Latest { bytes, .. }) => {
                return Poll::Ready(Next::Events(Batch::own(bytes, Flags::default())));
            }
            Taken::Read(read) => read,
        };
        match read {
            Read::Events(Then::More) => {
                self.pausing = self.limit < FRAME;
                self.limit = FRAME.min(self.limit * 2);
            }
            Read::Events(Then::Wait) => {}
            Read::Events(Then::End) => self.end(Outcome::Ok),
            Read::Gap { from, to } => self.gap(&mut out, from, to),
            Read::Ended => {
                self.end(Outcome::Ok);
                return Poll::Ready(Next::End);
            }
            // a resumable log has its errors as events
            Read::Lost | Read::Failed(_) | Read::Broken(_) => self.lost(&mut out),
        }
        Poll::Ready(Next::Events(Batch::own(out.into(), Flags::default())))
    }

    fn is_ended(&self) -> bool {
        self.ended
    }
}

impl Form {
    /// Writes an event of the upstream.
    fn write(&mut self, out: &mut Vec<u8>, event: Event<'_>) {
        if out.capacity() == 0 {
            // exactly, so that bytes that are not added to need no second allocation
            let number = if matches!(self, Form::Numbered { .. }) { 64 } else { 0 };
            *out = Vec::with_capacity(event.bytes.len() + number);
        }
        if let Form::Numbered { told } = self {
            put(out, format_args!("id: {}\n", event.number));
            tell(out, told);
        }
        out.put_slice(event.bytes);
    }

    /// Writes an event of the gateway's own. It has no number: a client that comes back asks from the last that has one.
    fn write_own(&mut self, out: &mut Vec<u8>, name: &str, data: &str) {
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

fn tell(out: &mut Vec<u8>, told: &mut bool) {
    if !std::mem::replace(told, true) {
        put(out, format_args!("retry: {RETRY}\n"));
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // a Vec grows: writing to it cannot fail
    let _ = out.write_fmt(text);
}

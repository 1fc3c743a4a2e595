//! Writes the events of a resumable stream for a client: the stored ones at once, new ones as they come in.

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

/// About the most bytes of one frame: a replay is read from the log in pieces, as fast as the client reads.
const FRAME: usize = 16 * 1024;

/// About the most bytes of a replay's first frame; each further frame may have twice as many. No part of a TLS record can be
/// read before the record is complete, so a large first frame would never arrive over a network that always breaks before
/// its end.
const FIRST_FRAME: usize = 1024;

/// The reconnection time of an `EventSource`, in milliseconds.
const RETRY: u32 = 1000;

/// The source of the response to one reader.
pub struct Rendered {
    reader: Reader,
    form: Form,
    /// Settled at the end. If the reader is dropped before, the client has left.
    meter: Option<Meter>,
    /// Counts the gaps that are sent.
    gaps: IntCounter,
    /// About the most bytes of the next frame.
    limit: usize,
    /// Yields once, so that the last frame is sent before there is another one: events that are ready together share a TLS
    /// record.
    pausing: bool,
    ended: bool,
}

/// How events are written.
enum Form {
    /// As the upstream wrote them: for the request that created the stream.
    Plain,
    /// With the number of each as its `id:`.
    Numbered {
        /// Whether `retry:` was sent. It is sent within the first block that has data: alone, it breaks openai-python.
        retry_sent: bool,
    },
}

impl Rendered {
    /// Makes the body of the response to the request that created the stream, its first heartbeat after `first`. It has no
    /// meter, because the stream itself is measured.
    pub fn plain(reader: Reader, metrics: &Metrics, heartbeat: Option<Duration>, first: Duration) -> Body<Self> {
        let (gaps, line) = (metrics.stream_gaps.clone(), reader.author().family.heartbeat(false));
        Body::new(Self::new(reader, Form::Plain, None, gaps)).with_heartbeat(line, heartbeat, first)
    }

    /// Makes the body of a response for `EventSource`: with the number of each event.
    pub fn numbered(reader: Reader, meter: Meter, heartbeat: Option<Duration>) -> Body<Self> {
        let gaps = meter.record().metrics().stream_gaps.clone();
        let line = reader.author().family.heartbeat(true);
        let rendered = Self::new(reader, Form::Numbered { retry_sent: false }, Some(meter), gaps);
        Body::new(rendered).with_heartbeat(line, heartbeat, Duration::ZERO)
    }

    fn new(reader: Reader, form: Form, meter: Option<Meter>, gaps: IntCounter) -> Self {
        Self { reader, form, meter, gaps, limit: FIRST_FRAME, pausing: false, ended: false }
    }

    fn gap(&mut self, out: &mut Vec<u8>, from: u64, to: u64) {
        self.gaps.inc();
        match self.form {
            // OpenAI's SDKs ignore such an event, so they would take the rest for the whole answer
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
            // a resumable log stores its errors as events
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
            // allocated exactly, so that bytes without more to add need no second allocation
            let number = if matches!(self, Form::Numbered { .. }) { 64 } else { 0 };
            *out = Vec::with_capacity(event.bytes.len() + number);
        }
        if let Form::Numbered { retry_sent } = self {
            put(out, format_args!("id: {}\n", event.number));
            write_retry(out, retry_sent);
        }
        out.put_slice(event.bytes);
    }

    /// Writes an event of the gateway's own. It has no number: a client that reconnects continues from the last event that
    /// has one.
    fn write_own(&mut self, out: &mut Vec<u8>, name: &str, data: &str) {
        if let Form::Numbered { retry_sent } = self {
            write_retry(out, retry_sent);
        }
        put(out, format_args!("event: {name}\ndata: {data}\n\n"));
    }
}

fn gap(from: u64, to: u64) -> Reject {
    let place = from.saturating_sub(1);
    let message = format!(
        "This connection was too slow: the events {from} to {to} were discarded before it read them. \
         `GET /v1/streams/{{id}}?from={place}` returns the events that are still stored."
    );
    Reject::new(Code::Gap, message)
}

fn write_retry(out: &mut Vec<u8>, retry_sent: &mut bool) {
    if !std::mem::replace(retry_sent, true) {
        put(out, format_args!("retry: {RETRY}\n"));
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // writing to a Vec cannot fail
    let _ = out.write_fmt(text);
}

//! The faults of the event stream: what they remove, add and cut. Pure.

use std::iter;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::answer::{DONE, Event};
use super::fault::{CANARY, FAKE_KEY, Fault};
use super::knobs::Knobs;
use super::timetable::{Random, Timetable};
use super::wire::Gzip;

pub(super) type Events = Box<dyn Iterator<Item = Event> + Send>;

/// The bytes in one write of an endless body.
const ENDLESS: usize = 4096;
/// The time between the comments of [`Fault::NeverFinish`].
const HEARTBEAT: Duration = Duration::from_millis(100);

/// The body of a stream with the changes of the fault.
pub(super) fn edited(events: impl Iterator<Item = Event> + Send + 'static, knobs: &Knobs) -> Events {
    let Some(fault) = knobs.fault else { return Box::new(events) };
    let at = usize::try_from(knobs.at).unwrap_or(usize::MAX);
    match fault {
        Fault::Crlf => Box::new(events.map(|event| line_ends(event, b"\r\n"))),
        Fault::Cr => Box::new(events.map(|event| line_ends(event, b"\r"))),
        Fault::Comments => Box::new(prefill(knobs.first_token).chain(events)),
        Fault::ErrorEvent => Box::new(events.take(at).chain([now(error_event())])),
        Fault::ErrorEventBeforeOutput => Box::new(events.take(1).chain([now(error_event())])),
        Fault::CleanEofWithoutDone => Box::new(events.take(at).filter(|event| event.bytes != DONE)),
        Fault::TrailingGarbageAfterDone => Box::new(events.chain([now(format!("{CANARY}: no event, no end"))])),
        Fault::ExtraAfterDone => Box::new(events.chain([now(extra())])),
        _ => broken_off(events, at, knobs, fault),
    }
}

/// The body of a response without `stream`, with the changes of the fault.
pub(super) fn edited_document(document: Event, knobs: &Knobs) -> Events {
    let Some(fault) = knobs.fault else { return Box::new(iter::once(document)) };
    match fault {
        Fault::ErrorEvent | Fault::ErrorEventBeforeOutput => Box::new(iter::once(Event { bytes: error(), ..document })),
        _ => {
            let mut first = document.clone();
            let second = Event { bytes: first.bytes.split_off(document.bytes.len() / 2), ..document };
            broken_off([first, second].into_iter(), usize::from(knobs.at > 0), knobs, fault)
        }
    }
}

/// The faults that are the same for streams and documents. `at` counts pieces of the body.
fn broken_off(body: impl Iterator<Item = Event> + Send + 'static, at: usize, knobs: &Knobs, fault: Fault) -> Events {
    match fault {
        Fault::EofNoEvents => Box::new(iter::empty()),
        Fault::ResetAfterEvents | Fault::ShortLength | Fault::BadChunk | Fault::CleanEofWithoutDone => {
            Box::new(body.take(at))
        }
        Fault::DisconnectMidEvent => {
            Box::new(body.take(at.saturating_add(1)).enumerate().map(move |(number, event)| {
                let length = if number == at { event.bytes.len() / 2 } else { event.bytes.len() };
                Event { bytes: event.bytes.slice(..length), ..event }
            }))
        }
        Fault::EndlessLine => {
            let filler = Bytes::from(vec![b'x'; ENDLESS]);
            Box::new(body.take(at).chain([now("data: ")]).chain(iter::repeat(now(filler))))
        }
        Fault::EndlessEvent => Box::new(body.take(at).chain(iter::repeat(now(b"data: x\n".repeat(ENDLESS / 8))))),
        Fault::EndlessComments => Box::new(body.take(at).chain(iter::repeat(now(b":     \n".repeat(ENDLESS / 7))))),
        Fault::NeverFinish => {
            let from = Timetable::new(knobs).due(at as u64);
            let heartbeats = (1..).map(move |count| Event {
                due: from.saturating_add(HEARTBEAT.saturating_mul(count)),
                bytes: Bytes::from_static(b": still here\n\n"),
            });
            Box::new(body.take(at).chain(heartbeats))
        }
        Fault::Bom => Box::new(body.enumerate().map(|(number, event)| match number {
            0 => Event { bytes: [b"\xef\xbb\xbf", &event.bytes[..]].concat().into(), ..event },
            _ => event,
        })),
        Fault::Gzip => Box::new(Gzipped { body, gzip: Some(Gzip::new()) }),
        _ => Box::new(body),
    }
}

/// An event that is due right after the previous one.
fn now(bytes: impl Into<Bytes>) -> Event {
    Event { due: Duration::ZERO, bytes: bytes.into() }
}

fn line_ends(event: Event, end: &[u8]) -> Event {
    let lines = event.bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    Event { bytes: lines.join(end).into(), ..event }
}

/// Comments until the first token, the first one at once.
fn prefill(first_token: Duration) -> impl Iterator<Item = Event> {
    (0..4).map(move |quarter| Event { due: first_token * quarter / 4, bytes: Bytes::from_static(b":\n\n") })
}

/// OpenAI's error object. Its message contains text that a gateway must not pass on.
pub(super) fn error() -> Bytes {
    json!({ "error": {
        "message": format!("The engine behind {FAKE_KEY} has failed. {CANARY}"),
        "type": "server_error",
        "param": null,
        "code": "engine_failed",
    }})
    .to_string()
    .into()
}

fn error_event() -> Bytes {
    [b"data: ", &error()[..], b"\n\n"].concat().into()
}

fn extra() -> Bytes {
    let chunk = json!({
        "id": "chatcmpl-late",
        "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": { "content": CANARY }, "finish_reason": null }],
    });
    format!("data: {chunk}\n\n").into()
}

/// A body in gzip, flushed after each event.
struct Gzipped<I> {
    body: I,
    /// `None` after the trailer.
    gzip: Option<Gzip>,
}

impl<I: Iterator<Item = Event>> Iterator for Gzipped<I> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        match self.body.next() {
            Some(event) => Some(Event { bytes: self.gzip.as_mut()?.piece(&event.bytes), ..event }),
            None => self.gzip.take().map(|gzip| now(gzip.end())),
        }
    }
}

/// The pieces of one event, each with a write and a chunk of its own.
pub(super) struct Pieces {
    rest: Event,
    cut: Cut,
}

enum Cut {
    Whole,
    /// Single bytes, this time apart.
    Bytes(Duration),
    Random(Random),
}

impl Pieces {
    /// Cuts the event with this number according to the fault.
    pub(super) fn of(event: Event, number: u64, knobs: &Knobs) -> Pieces {
        let cut = match knobs.fault {
            Some(Fault::SlowDrip) => {
                let bytes = u32::try_from(event.bytes.len()).unwrap_or(u32::MAX).max(1);
                Cut::Bytes(Timetable::new(knobs).interval() / bytes)
            }
            Some(Fault::SplitEverywhere) => Cut::Random(Random::new(knobs.seed ^ number)),
            _ => Cut::Whole,
        };
        Pieces { rest: event, cut }
    }
}

impl Iterator for Pieces {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let left = self.rest.bytes.len();
        if left == 0 {
            return None;
        }
        let due = self.rest.due;
        let length = match &mut self.cut {
            Cut::Whole => left,
            Cut::Bytes(apart) => {
                self.rest.due = due.saturating_add(*apart);
                1
            }
            Cut::Random(random) => left.min(1 + random.below(32) as usize),
        };
        Some(Event { due, bytes: self.rest.bytes.split_to(length) })
    }
}

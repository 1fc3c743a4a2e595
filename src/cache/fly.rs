//! Writes a flight: drives one completion to its end, for all who read it, and leaves what may be kept.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use tokio::time::Instant;

use super::entry::{Answer, Event, Events};
use super::flight::{Head, Logged, Pilot};
use crate::metering::meter::Meter;
use crate::spend::tally::Tally;
use crate::stream::feed::Opened;
use crate::stream::model_clients::Whole;
use crate::stream::relay::{Next, Opening, Relay};
use crate::upstream::failure::Failure;
use families::chat::answer::{Answer as Inspected, inspect_answer};
use families::chat::event::{Chunk, Inspector};
use sse::event::Fields;
use sse::framer::Framer;

/// Streams. `relay` should send no heartbeats: each reader has its own. `keep` gets the name of the model that answered, and
/// its answer, if that is whole: it ended cleanly, with a finish reason, within the bounds of a log.
///
/// When the last reader leaves, all of it is dropped, which cancels the upstream's completion and settles the meter as for
/// a client that leaves.
pub async fn streamed(
    pilot: Pilot,
    opening: Opening,
    meter: Meter,
    relay: impl FnOnce(Opened) -> Relay + Send,
    keep: impl FnOnce(&str, Tally, Answer) + Send,
) {
    let opened = tokio::select! {
        biased;
        () = pilot.abandoned() => return,
        opened = opening => opened,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(failure) => return pilot.fail(failure),
    };
    let head = head(&meter, opened.feed.vary().cloned(), None);
    let mut recorder = Recorder::new(head.model.clone(), keep);
    pilot.open(head, Tally::default());
    let mut relay = relay(opened);
    drop(meter);
    // its events are bounded already
    let mut framer = Framer::new(usize::MAX);
    loop {
        let next = tokio::select! {
            biased;
            () = pilot.abandoned() => return,
            next = poll_fn(|cx| relay.poll_next(cx)) => next,
        };
        match next {
            Next::Events(events) => framer.push(events),
            Next::End => break,
            // the gateway shuts down: no word of that belongs into an answer that is shared
            Next::Cut => return,
        }
        while let Ok(Some(event)) = framer.next_event() {
            recorder.push(&pilot, event.into_bytes());
        }
        pilot.room().await;
    }
    if !framer.unfinished().is_empty() {
        recorder.push(&pilot, Bytes::copy_from_slice(framer.unfinished()));
    }
    recorder.ended(&pilot);
    pilot.end();
}

/// An answer that is not streamed.
pub async fn whole(
    pilot: Pilot,
    asking: impl Future<Output = Result<Whole, Failure>> + Send,
    meter: Meter,
    keep: impl FnOnce(&str, Tally, Answer) + Send,
) {
    let whole = tokio::select! {
        biased;
        () = pilot.abandoned() => return,
        whole = asking => whole,
    };
    match whole {
        Err(failure) => pilot.fail(failure),
        Ok(whole) => {
            let head = head(&meter, whole.vary, Some(whole.body.clone()));
            let Inspected { usage, output, text_bytes, finished } = inspect_answer(&whole.body).unwrap_or_default();
            let output_events = u64::from(output);
            let tally = Tally { usage, output_events, output_bytes: text_bytes, finished, ..Tally::default() };
            if finished {
                keep(&head.model, tally.clone(), Answer::Whole(whole.body));
            }
            pilot.land();
            pilot.open(head, tally);
            pilot.end();
        }
    }
}

fn head(meter: &Meter, vary: Option<http::HeaderValue>, whole: Option<Bytes>) -> Head {
    let record = meter.record();
    let (model, upstream) = record.answering().map(|(model, upstream, _)| (model, upstream)).unwrap_or_default();
    Head {
        model: model.to_owned(),
        upstream: upstream.to_owned(),
        route: record.route(),
        vary,
        request_id: record.request_id().to_owned(),
        whole,
    }
}

/// Reads each event once more: whether it is output, whether the completion is whole.
struct Recorder<K> {
    model: String,
    inspector: Inspector,
    tally: Tally,
    first: Option<Instant>,
    broken: bool,
    keep: Option<K>,
}

impl<K: FnOnce(&str, Tally, Answer)> Recorder<K> {
    fn new(model: String, keep: K) -> Self {
        let inspector = Inspector::default();
        Self { model, inspector, tally: Tally::default(), first: None, broken: false, keep: Some(keep) }
    }

    fn push(&mut self, pilot: &Pilot, block: Bytes) {
        let at = Instant::now();
        let first = *self.first.get_or_insert(at);
        let fields = Fields::of(&block);
        let (mut output, mut usage_only, mut error) = (false, false, false);
        if let Some(data) = fields.data {
            match self.inspector.inspect(fields.name, &data) {
                Chunk::Done => self.tally.done = true,
                // the upstream's own never come as far as this
                Chunk::Error(_) => error = true,
                Chunk::Delta(delta) => {
                    self.tally.add(&delta);
                    (output, usage_only) = (delta.output, delta.usage_only);
                }
                Chunk::Malformed => {}
            }
        }
        self.broken |= error;
        let after = u32::try_from(at.duration_since(first).as_millis()).unwrap_or(u32::MAX);
        let logged = Logged { event: Event { block, after, output, usage_only }, at, error };
        if self.tally.done {
            // who has the last event and asks once more finds the entry
            self.keep(pilot, Some(&logged));
        }
        pilot.push(logged, &self.tally);
    }

    /// Some leave out `[DONE]`.
    fn ended(&mut self, pilot: &Pilot) {
        self.keep(pilot, None);
    }

    fn keep(&mut self, pilot: &Pilot, last: Option<&Logged>) {
        let Some(keep) = self.keep.take().filter(|_| self.tally.finished && !self.broken) else { return };
        let Some(recorded) = pilot.recorded() else { return };
        if let Some(events) = Events::collect(recorded.iter().chain(last).map(|logged| &logged.event)) {
            keep(&self.model, self.tally.clone(), Answer::Streamed(events));
        }
        pilot.land();
    }
}

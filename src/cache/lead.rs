//! Leads a coalesced answer: gets it from an upstream, for all requests that share it, and caches it.

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::entry::Answer;
use super::events::Collector;
use crate::metering::meter::Meter;
use crate::spend::tally::Tally;
use crate::stream::event::{Batch, Flags};
use crate::stream::feed::{Opened, Opening};
use crate::stream::log::coalescer::{Head, Leader};
use crate::stream::log::core::Fenced;
use crate::stream::log::writer::{Append, drive};
use crate::stream::model_clients::Whole;
use crate::stream::source::Broken;
use crate::stream::upstream_source::UpstreamSource;
use crate::upstream::failure::Failure;
use families::answer::Answer as Contents;

/// Leads a streamed answer. `source` makes the source of the opened stream, for a log. `cache` gets the name of the model
/// that answered and its answer, if the answer is complete: it ended cleanly, with a finish reason, within the bounds of a
/// log.
///
/// When the last subscriber leaves, everything is dropped. This cancels the upstream's completion and settles the meter as
/// for a client that leaves.
pub async fn streamed(
    mut leader: Leader,
    opening: Opening,
    source: impl FnOnce(Opened) -> (UpstreamSource, Meter),
    cache: impl FnOnce(&str, Tally, Answer) + Send + 'static,
) {
    let opened = tokio::select! {
        biased;
        () = leader.abandoned() => return,
        opened = opening => opened,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(failure) => return leader.fail_before_output(failure),
    };
    let vary = opened.feed.vary().cloned();
    let (source, meter) = source(opened);
    let head = head(&meter, vary, None);
    drop(meter);
    let model = head.model.clone();
    leader.open(head, Tally::default());
    drive(source, Recorder { leader, model, cache: Some(cache) }).await;
}

/// Leads a complete answer.
pub async fn whole(
    mut leader: Leader,
    asking: impl Future<Output = Result<Whole, Failure>> + Send,
    meter: Meter,
    cache: impl FnOnce(&str, Tally, Answer) + Send,
) {
    let whole = tokio::select! {
        biased;
        () = leader.abandoned() => return,
        whole = asking => whole,
    };
    match whole {
        Err(failure) => leader.fail_before_output(failure),
        Ok(whole) => {
            let head = head(&meter, whole.vary, Some(whole.body.clone()));
            let Contents { usage, output, text_bytes, finished } = whole.answer;
            let output_events = u64::from(output);
            let tally = Tally { usage, output_events, output_bytes: text_bytes, finished, ..Tally::default() };
            if finished {
                cache(&head.model, tally.clone(), Answer::Whole(whole.body));
            }
            leader.close();
            leader.open(head, tally.clone());
            leader.end(tally);
        }
    }
}

fn head(meter: &Meter, vary: Option<http::HeaderValue>, whole: Option<Bytes>) -> Head {
    let record = meter.record();
    let (model, upstream) = record.answering().map(|(model, upstream, _)| (model, upstream)).unwrap_or_default();
    Head { model: model.to_owned(), upstream: upstream.to_owned(), route: record.route(), vary, whole }
}

/// Writes the log of a coalesced answer, and caches the answer when it is whole.
struct Recorder<C> {
    leader: Leader,
    model: String,
    cache: Option<C>,
}

impl<C: FnOnce(&str, Tally, Answer)> Recorder<C> {
    /// Caches all events up to `last`, if the completion is finished.
    fn cache(&mut self, last: Option<&Batch>, tally: Tally) {
        let Some(cache) = self.cache.take().filter(|_| tally.finished) else { return };
        let mut events = Collector::default();
        if !self.leader.recorded(|event| events.push(event.bytes, event.flags, event.complete())) {
            return;
        }
        last.into_iter().for_each(|last| events.push(last.as_slice(), last.flags, last.complete));
        if let Some(events) = events.finish() {
            cache(&self.model, tally, Answer::Streamed(events));
        }
        self.leader.close();
    }
}

impl<C: FnOnce(&str, Tally, Answer) + Send + 'static> Append for Recorder<C> {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.leader.poll_room(cx)
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.leader.poll_stopped(cx)
    }

    fn append(&mut self, event: Batch, tally: impl FnOnce() -> Tally) -> Result<(), Fenced> {
        if event.flags.has(Flags::DONE) {
            let tally = tally();
            // a client that has the last event and asks once more finds the entry
            self.cache(Some(&event), tally.clone());
            return self.leader.publish(event, || tally);
        }
        self.leader.publish(event, tally)
    }

    fn wake(&mut self) {
        self.leader.wake();
    }

    fn end(mut self, tally: Tally) {
        // some upstreams leave out `[DONE]`
        self.cache(None, tally.clone());
        self.leader.end(tally);
    }

    fn fail(self, broken: Broken, tally: Tally) {
        self.leader.fail(broken, tally);
    }
}

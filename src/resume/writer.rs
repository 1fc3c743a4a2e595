//! Drives one completion into its log, whoever reads it and however slowly.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body;

use super::block;
use super::store::{Append, Fenced};
use crate::stream::framer::Framer;
use crate::stream::relay::Relay;

/// Reads the relay to its end, into the log. A stop ends it before, and drops the relay, which cancels the upstream's
/// completion and settles the meter as it does for a client that leaves.
///
/// The relay should send no heartbeats: each reader has its own.
pub async fn drive<A: Append>(mut relay: Relay, mut log: A) {
    // its events are bounded already
    let mut framer = Framer::new(usize::MAX);
    while let Some(frame) = next(&mut relay, &mut log).await {
        if relay.was_cut() {
            // the gateway shuts down: no word of that belongs into the log of the completion
            return;
        }
        framer.push(frame);
        while let Ok(Some(event)) = framer.next_event() {
            if append(&mut log, event.as_slice()).await.is_err() {
                return;
            }
        }
    }
    let last = append(&mut log, framer.unfinished()).await;
    if last.is_ok() && !relay.was_cut() {
        log.end().await;
    }
}

/// The next bytes of the relay: `None` at its end, and once the stream was stopped.
async fn next<A: Append>(relay: &mut Relay, log: &mut A) -> Option<Bytes> {
    poll_fn(|cx| {
        if log.poll_stopped(cx).is_ready() {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut *relay).poll_frame(cx);
        frame.map(|frame| frame.and_then(|Ok(frame)| frame.into_data().ok()))
    })
    .await
}

/// Adds an event, if it is one that a client dispatches.
async fn append<A: Append>(log: &mut A, event: &[u8]) -> Result<(), Fenced> {
    match block::keep(event) {
        Some(block) => log.append(&block).await,
        None => Ok(()),
    }
}

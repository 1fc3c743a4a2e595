//! Drives one completion into its log, whoever reads it and however slowly.

use std::future::poll_fn;
use std::task::Poll;

use super::store::Append;
use crate::stream::relay::{Next, Relay};

/// Reads the relay to its end, into the log. A stop ends it before, and drops the relay, which cancels the upstream's
/// completion and settles the meter as it does for a client that leaves.
///
/// The relay should send no heartbeats: each reader has its own.
pub async fn drive<A: Append>(mut relay: Relay, mut log: A) {
    loop {
        let next = poll_fn(|cx| match relay.poll_next(cx) {
            // while there are events, appending them tells of a stop
            Poll::Pending if log.poll_stopped(cx).is_ready() => Poll::Ready(None),
            next => next.map(Some),
        });
        match next.await {
            Some(Next::Events(events)) => {
                if log.append(&events).await.is_err() {
                    return;
                }
            }
            Some(Next::End) => return log.end().await,
            // the gateway shuts down: no word of that belongs into the log of the completion
            Some(Next::Cut) | None => return,
        }
    }
}

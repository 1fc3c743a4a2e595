//! The sink that writes a source into a log, independent of how fast the log is read.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::core::Fenced;
use crate::spend::tally::Tally;
use crate::stream::event::Batch;
use crate::stream::source::{Broken, Next, Source};

/// The one writer of a log. If it is dropped before the end, the log is lost and its readers get an error.
pub trait Append: Send + 'static {
    /// Ready once the source may be read further.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Ready once no reader wants the rest of the stream.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Adds one event; `tally` is what the completion has produced up to it. Readers are not woken yet.
    ///
    /// # Errors
    /// The stream has ended.
    fn append(&mut self, event: Batch, tally: impl FnOnce() -> Tally) -> Result<(), Fenced>;

    /// Wakes the readers that wait: once for all events of one read.
    fn wake(&mut self);

    /// Ends the stream: it is complete.
    fn end(self, tally: Tally);

    /// Ends the stream with an error.
    fn fail(self, broken: Broken, tally: Tally);
}

/// Reads the source to its end, into the log. A stop drops the source. This cancels the upstream's completion and settles
/// the meter as for a client that leaves.
pub async fn drive(mut source: impl Source, mut log: impl Append) {
    loop {
        let next = poll_fn(|cx| {
            let polled = match log.poll_room(cx) {
                Poll::Ready(()) => source.poll_next(cx),
                Poll::Pending => Poll::Pending,
            };
            if polled.is_pending() {
                log.wake();
                // while there are events, `append` reports a stop
                return log.poll_stopped(cx).map(|()| None);
            }
            polled.map(Some)
        });
        match next.await {
            Some(Next::Events(event)) => {
                if log.append(event, || source.tally()).is_err() {
                    return;
                }
            }
            Some(Next::End) => return log.end(source.tally()),
            // a shutdown is not part of the completion
            Some(Next::Broken(broken)) if broken.is_shutdown => return,
            Some(Next::Broken(broken)) => return log.fail(*broken, source.tally()),
            None => return,
        }
    }
}

//! The body of a streamed answer: sends each batch of a source without delay, and heartbeats during silence.
//!
//! The client's connection polls the body, and the body polls the source: there is no task and no queue between them. If a
//! client reads nothing, the source is not read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use super::deadlines::Deadlines;
use super::source::{Next, Source};

/// The response body. Dropping it drops the source.
pub struct Body<S> {
    source: S,
    /// The deadline of the next heartbeat, and its bytes.
    heartbeat: Option<(Deadlines, &'static [u8])>,
    ended: bool,
}

impl<S: Source> Body<S> {
    /// Makes a body without heartbeats: the source has its own, or there are none.
    pub fn new(source: S) -> Self {
        Self { source, heartbeat: None, ended: false }
    }

    /// Adds these heartbeats during silence, the first one after `first`.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: &'static [u8], every: Option<Duration>, first: Duration) -> Self {
        Self { heartbeat: every.map(|every| (Deadlines::heartbeat(every, first), heartbeat)), ..self }
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Option<Bytes>> {
        if let Some((deadlines, _)) = &mut self.heartbeat {
            deadlines.sent(Instant::now());
        }
        Poll::Ready(Some(bytes))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.source.poll_next(cx) {
            Poll::Ready(Next::Events(batch)) => self.send(batch.into_bytes()),
            Poll::Ready(Next::Broken(broken)) => {
                self.ended = true;
                Poll::Ready(Some(broken.event))
            }
            Poll::Ready(Next::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some((deadlines, heartbeat)) = &mut self.heartbeat else { return Poll::Pending };
                let due = deadlines.poll(cx, None, || self.source.is_between_events());
                due.map(|_| Some(Bytes::from_static(heartbeat)))
            }
        }
    }
}

impl<S: Source + Unpin> http_body::Body for Body<S> {
    type Data = Bytes;
    type Error = Infallible;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.source.is_ended()
    }
}

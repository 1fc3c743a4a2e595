//! The streams of one HTTP/2 connection: their number, and a write timeout for each.
//!
//! An HTTP/2 client can stop one stream by flow control, while its socket takes every byte of the others. The write timeout of the
//! socket does not detect that, and nothing polls the body of such a stream, so that no deadline inside the body runs either. Here
//! the task of the stream has the deadline.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::connections::Slot;
use super::deadline::Deadline;
use crate::body::Body;

/// The most bytes of one frame. A client that takes the next frame makes progress, so that it must take this much within
/// `write_timeout`. HTTP/2 cuts DATA frames at the same size unless the client allows more.
const SLICE: usize = 16 * 1024;

tokio::task_local! {
    /// The flow of the stream whose task is running.
    static FLOW: Cell<Flow>;
}

/// The progress of a response body between two polls of its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flow {
    /// Frames so far; wraps around.
    frames: u32,
    /// The last poll gave a frame, and the body was not polled for another: the client's window is closed.
    held: bool,
}

/// A response body in slices, which records whether the body or the client is waited for.
pub(super) struct Paced {
    body: Body,
    rest: Bytes,
}

impl Paced {
    /// Paces a body.
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new() }
    }

    fn poll_slice(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(never)) => match never {},
                None => return Poll::Ready(None),
            }
        }
        let slice = self.rest.split_to(self.rest.len().min(SLICE));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.get_mut().poll_slice(cx);
        let given = matches!(polled, Poll::Ready(Some(_)));
        // outside of a stream's task there is no flow to record
        let _ = FLOW.try_with(|flow| {
            let frames = flow.get().frames.wrapping_add(u32::from(given));
            flow.set(Flow { frames, held: given });
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

/// The streams of one HTTP/2 connection; lives as long as the connection or one of its streams.
pub(super) struct Streams {
    _slot: Slot,
    open: AtomicUsize,
    opened: AtomicUsize,
}

impl Streams {
    /// A connection without streams.
    pub(super) fn new(slot: Slot) -> Arc<Self> {
        Arc::new(Self { _slot: slot, open: AtomicUsize::new(0), opened: AtomicUsize::new(0) })
    }

    /// The number of open streams.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The number of all streams so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// Runs hyper's stream futures, each in a task of its own.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    streams: Arc<Streams>,
    write_timeout: Duration,
}

impl StreamExecutor {
    /// For the streams of one connection.
    pub(super) fn new(streams: Arc<Streams>, write_timeout: Duration) -> Self {
        Self { streams, write_timeout }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        // boxed, because hyper's future is not Unpin and the deadline polls it without unsafe code
        tokio::spawn(Stalling::new(Box::pin(future), OpenStream::new(self.streams.clone()), self.write_timeout));
    }
}

/// Counts a stream while it lives.
pub(super) struct OpenStream(Arc<Streams>);

impl OpenStream {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.opened.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream's future that ends when its client does not take a frame in time. Dropping it resets the stream.
struct Stalling<F, G> {
    stream: F,
    _open: G,
    write_timeout: Duration,
    flow: Flow,
    deadline: Deadline,
}

impl<F: Future<Output = ()> + Unpin, G> Stalling<F, G> {
    fn new(stream: F, open: G, write_timeout: Duration) -> Self {
        Self { stream, _open: open, write_timeout, flow: Flow::default(), deadline: Deadline::default() }
    }
}

impl<F: Future<Output = ()> + Unpin, G: Unpin> Future for Stalling<F, G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (polled, flow) =
            FLOW.sync_scope(Cell::new(this.flow), || (Pin::new(&mut this.stream).poll(cx), FLOW.with(Cell::get)));
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if flow != this.flow {
            this.flow = flow;
            this.deadline.disarm();
        }
        if flow.held {
            this.deadline.arm(this.write_timeout);
        }
        this.deadline.poll_expired(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use futures_util::stream::{self, StreamExt};
    use http_body::Body as _;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;
    use tokio::time::{Instant, sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn body(frames: impl stream::Stream<Item = Bytes> + Send + 'static) -> Paced {
        Paced::new(Body::Stream(Box::pin(StreamBody::new(frames.map(|data| Ok(Frame::data(data))))), None))
    }

    /// Runs a stream as hyper would, asking its body for a frame after each of `waits`; seconds until it ended.
    async fn run(mut body: Paced, waits: Vec<Duration>) -> u64 {
        let begun = Instant::now();
        let stream = Box::pin(async move {
            for wait in waits {
                poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                sleep(wait).await;
            }
            poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        });
        Stalling::new(stream, (), TIMEOUT).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_the_client_has_no_window_for_ends_the_stream_after_the_timeout() {
        let frames = stream::repeat(Bytes::from_static(b"x"));
        assert_eq!(run(body(frames), vec![SECOND, 100 * TIMEOUT]).await, 31);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_frame_now_and_then_is_served() {
        let frames = stream::repeat(Bytes::from_static(b"x"));
        assert_eq!(run(body(frames), vec![TIMEOUT - SECOND; 10]).await, 290);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_not_the_clients_fault() {
        let silent = stream::once(async {
            sleep(10 * TIMEOUT).await;
            Bytes::from_static(b"x")
        });
        assert_eq!(run(body(silent.chain(stream::once(sleep_forever()))), vec![SECOND]).await, 301);

        async fn sleep_forever() -> Bytes {
            Bytes::new()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_long_is_not_the_clients_fault() {
        let stalling = Stalling::new(Box::pin(pending::<()>()), (), TIMEOUT);
        assert!(tokio::time::timeout(10 * TIMEOUT, stalling).await.is_err());
    }

    #[test]
    fn open_streams_are_counted_until_they_are_dropped() {
        let connections = super::super::connections::Connections::new(prometheus::IntGauge::new("a", "b").unwrap());
        let streams = Streams::new(connections.admit([127, 0, 0, 1].into(), 1, 0).ok().unwrap());
        let (first, second) = (OpenStream::new(streams.clone()), OpenStream::new(streams.clone()));
        drop(first);
        assert_eq!((streams.open(), streams.opened()), (1, 2));
        drop(second);
        assert_eq!((streams.open(), streams.opened()), (0, 2));
    }

    proptest! {
        #[test]
        fn slices_are_the_body(lengths in prop::collection::vec(0usize..50_000, 0..5), full in any::<bool>()) {
            let frames: Vec<Bytes> = lengths.iter().enumerate().map(|(i, n)| Bytes::from(vec![i as u8; *n])).collect();
            let whole = frames.concat();
            let mut paced = if full { Paced::new(Body::full(whole.clone())) } else { body(stream::iter(frames)) };
            if full {
                prop_assert_eq!(paced.size_hint().exact(), Some(whole.len() as u64));
            }
            let mut got = Vec::new();
            while let Some(frame) = futures_util::FutureExt::now_or_never(paced.frame()).unwrap() {
                let data = frame.unwrap().into_data().unwrap();
                prop_assert!(data.len() <= SLICE);
                got.extend_from_slice(&data);
                if full {
                    prop_assert_eq!(paced.size_hint().exact(), Some((whole.len() - got.len()) as u64));
                    prop_assert_eq!(paced.is_end_stream(), got.len() == whole.len());
                }
            }
            prop_assert_eq!(got, whole);
        }
    }
}

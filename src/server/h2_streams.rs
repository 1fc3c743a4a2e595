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
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Busy};
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

/// The time between the last data of a stream and its end, while the connection drains.
///
/// curl 7.88 has no use for a connection with GOAWAY whose last stream has ended: it discards data that it has not processed by then.
const LAST_DATA: Duration = Duration::from_millis(100);

/// A response body in slices, which records whether the body or the client is waited for.
pub(super) struct Paced {
    body: Body,
    rest: Bytes,
    drains: CancellationToken,
    end: Option<End>,
}

/// The end of a body, which comes a moment later.
struct End {
    frame: Option<Frame<Bytes>>,
    due: Pin<Box<Sleep>>,
}

impl Paced {
    /// Paces a body.
    pub(super) fn new(body: Body, drains: CancellationToken) -> Self {
        Self { body, rest: Bytes::new(), drains, end: None }
    }

    fn poll_slice(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(end) = &mut self.end {
            ready!(end.due.as_mut().poll(cx));
            return Poll::Ready(end.frame.take().map(Ok));
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return self.poll_end(cx, Some(trailers)),
                Some(Err(never)) => match never {},
                None => return self.poll_end(cx, None),
            }
        }
        let slice = self.rest.split_to(self.rest.len().min(SLICE));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}

impl Paced {
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<Frame<Bytes>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.drains.is_cancelled() {
            return Poll::Ready(frame.map(Ok));
        }
        let end = self.end.insert(End { frame, due: Box::pin(sleep(LAST_DATA)) });
        ready!(end.due.as_mut().poll(cx));
        Poll::Ready(end.frame.take().map(Ok))
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
pub(super) struct Streams(Slot);

impl Streams {
    /// A connection without streams.
    pub(super) fn new(slot: Slot) -> Arc<Self> {
        Arc::new(Self(slot))
    }

    /// The streams as the connection's requests.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        self.0.activity()
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
        let activity = Arc::clone(self.streams.activity());
        let open = OpenStream::new(self.streams.clone());
        tokio::spawn(Stalling::new(Box::pin(future), open, activity, self.write_timeout));
    }
}

/// Counts a stream while it lives.
pub(super) struct OpenStream {
    _busy: Busy,
    _streams: Arc<Streams>,
}

impl OpenStream {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        Self { _busy: streams.activity().begin(), _streams: streams }
    }
}

/// A stream's future that ends when its client does not take a frame in time, although its socket accepts bytes all the while.
/// Dropping it resets the stream.
struct Stalling<F, G> {
    stream: F,
    _open: G,
    activity: Arc<Activity>,
    write_timeout: Duration,
    flow: Flow,
    deadline: Deadline,
}

impl<F: Future<Output = ()> + Unpin, G> Stalling<F, G> {
    fn new(stream: F, open: G, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self { stream, _open: open, activity, write_timeout, flow: Flow::default(), deadline: Deadline::default() }
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
        if !flow.held {
            return Poll::Pending;
        }
        let mut wait = this.write_timeout;
        loop {
            this.deadline.arm(wait);
            ready!(this.deadline.poll_expired(cx));
            // where the socket accepts nothing, it is not known whether the client wants this stream: the socket has a deadline
            let accepts_for = this.activity.accepts_for().unwrap_or_default();
            wait = this.write_timeout.saturating_sub(accepts_for);
            if wait.is_zero() {
                return Poll::Ready(());
            }
            this.deadline.disarm();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use futures_util::stream::{self, StreamExt};
    use http_body::Body as _;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn body(frames: impl stream::Stream<Item = Bytes> + Send + 'static) -> Paced {
        let body = Body::Stream(Box::pin(StreamBody::new(frames.map(|data| Ok(Frame::data(data))))), None);
        Paced::new(body, CancellationToken::new())
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
        Stalling::new(stream, (), Arc::default(), TIMEOUT).await;
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
    async fn a_slow_socket_that_all_streams_share_is_not_the_fault_of_one_stream() {
        let (begun, activity) = (Instant::now(), Arc::new(Activity::default()));
        let mut held = body(stream::repeat(Bytes::from_static(b"x")));
        let stream = Box::pin(async move {
            poll_fn(|cx| Pin::new(&mut held).poll_frame(cx)).await;
            pending().await
        });
        let socket = Arc::clone(&activity);
        tokio::spawn(async move {
            // bytes of other streams
            for _ in 0..20 {
                socket.block();
                sleep(TIMEOUT - SECOND).await;
                socket.unblock();
            }
        });
        Stalling::new(stream, (), activity, TIMEOUT).await;
        assert_eq!(begun.elapsed(), 20 * (TIMEOUT - SECOND) + TIMEOUT);
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
        let stalling = Stalling::new(Box::pin(pending::<()>()), (), Arc::default(), TIMEOUT);
        assert!(tokio::time::timeout(10 * TIMEOUT, stalling).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_connection_drains_the_end_of_a_stream_comes_a_moment_after_its_data() {
        for drains in [false, true] {
            let mut body = body(stream::iter([Bytes::from_static(b"x")]));
            if drains {
                body.drains.cancel();
            }
            let begun = Instant::now();
            assert!(body.frame().await.unwrap().unwrap().is_data() && begun.elapsed().is_zero());
            assert!(body.frame().await.is_none());
            assert_eq!(begun.elapsed(), if drains { LAST_DATA } else { Duration::ZERO });
        }
    }

    #[test]
    fn open_streams_are_counted_until_they_are_dropped() {
        let connections = super::super::connections::Connections::new(prometheus::IntGauge::new("a", "b").unwrap());
        let streams = Streams::new(connections.admit([127, 0, 0, 1].into(), 1, 0).ok().unwrap());
        let (first, second) = (OpenStream::new(streams.clone()), OpenStream::new(streams.clone()));
        drop(first);
        let activity = streams.activity();
        assert_eq!((activity.open(), activity.begun()), (1, 2));
        drop(second);
        assert_eq!((activity.open(), activity.begun()), (0, 2));
    }

    proptest! {
        #[test]
        fn slices_are_the_body(lengths in prop::collection::vec(0usize..50_000, 0..5), full in any::<bool>()) {
            let frames: Vec<Bytes> = lengths.iter().enumerate().map(|(i, n)| Bytes::from(vec![i as u8; *n])).collect();
            let whole = frames.concat();
            let mut paced = if full { Paced::new(Body::full(whole.clone()), CancellationToken::new()) } else { body(stream::iter(frames)) };
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

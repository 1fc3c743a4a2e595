//! One connection from its handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntCounterVec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Tracked};
use super::connection_settings::Settings;
use super::connections::Slot;
use super::guard_io::GuardIo;
use super::h1_guard::{H1Guard, HeadWait, has_left};
use super::h2_guard::H2Guard;
use super::h2_streams::{Paced, StreamExecutor, Streams};
use super::quiet::Quiet;
use super::tls::H2;
use crate::body::Body;
use crate::drain::Drain;
use crate::server::handler::{Handler, MAX_HEAD_BYTES, Peer};

/// How long connections stay open after the drain is over, so that their streams can send their last event.
const GRACE: Duration = Duration::from_secs(2);
/// How long a client without streams may take to close after GOAWAY.
const GOODBYE: Duration = Duration::from_secs(10);
/// The time between two HTTP/2 pings to a silent client, and the timeout of their answers.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(20);

/// The most concurrent HTTP/2 streams of one connection; browsers open at most 100.
const MAX_STREAMS: u32 = 128;
/// The flow-control windows of one stream and of the connection. The second is the bound of a connection's memory.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The send buffer of one HTTP/2 stream.
const SEND_BUFFER: usize = 16 * 1024;
/// The HTTP/1.1 buffer of each direction; it holds any head that is not too large.
const BUFFER: usize = 2 * MAX_HEAD_BYTES;
/// Bytes that are discarded after a close, in addition to a whole body: heads and TLS records.
const LINGER_EXTRA: usize = 256 * 1024;

/// The context that all connections share.
pub(super) struct Context<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    /// Connections that are closed without a response, by reason.
    pub(super) refused: IntCounterVec,
    pub(super) drain: Drain,
}

/// Performs the handshake, then spawns a task for the negotiated protocol: the state of the handshake ends here, and the task is no
/// larger than its protocol needs.
pub(super) async fn open<H: Handler>(tcp: TcpStream, peer: IpAddr, slot: Slot, context: Context<H>) {
    let settings = &context.settings;
    let activity = Arc::clone(slot.activity());
    let io = GuardIo::new(tcp, settings.write_timeout, settings.max_body.saturating_add(LINGER_EXTRA))
        .reporting_to(Arc::clone(&activity));
    let wait = HeadWait::new(activity, settings.header_timeout, settings.idle_timeout);
    let Some(tls) = settings.tls.clone() else {
        let io = H1Guard::new(io, |io| has_left(io.get_ref()), wait);
        tokio::spawn(http1(io, Peer { address: peer, tls: false }, slot, context));
        return;
    };
    let handshake = TlsAcceptor::from(tls).accept(io);
    let shaken = tokio::select! {
        biased;
        () = context.drain.begun.cancelled() => return,
        shaken = tokio::time::timeout(settings.handshake_timeout, handshake) => shaken,
    };
    let refused = |reason: &str| context.refused.with_label_values(&[reason]).inc();
    let peer = Peer { address: peer, tls: true };
    match shaken {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
            tokio::spawn(http2(stream, peer, slot, context));
        }
        Ok(Ok(stream)) => {
            let io = H1Guard::new(stream, |stream| has_left(stream.get_ref().0.get_ref()), wait);
            tokio::spawn(http1(io, peer, slot, context));
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            refused("handshake");
        }
        Err(_) => refused("handshake_timeout"),
    }
}

/// Serves HTTP/1.1. Not an `async fn`, whose future would have room for `io` twice.
fn http1<IO, H>(io: H1Guard<IO>, peer: Peer, slot: Slot, context: Context<H>) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let Context { settings, handler, drain, .. } = context;
    let activity = Arc::clone(slot.activity());
    let service = service_fn({
        let (activity, announced) = (Arc::clone(&activity), drain.announced.clone());
        move |request| {
            let busy = activity.begin();
            let response = respond(&*handler, request, peer, |body| Tracked { body, _busy: busy });
            let announced = announced.clone();
            async move {
                let mut response = response.await;
                if announced.is_cancelled() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let connection = http1::Builder::new()
        // `H1Guard` has both timeouts
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(io), service);
    let begun = drain.begun.clone();
    let (until, time_up) = if settings.evict_idle {
        let evicted = Arc::clone(&activity);
        let until = async move {
            tokio::select! {
                () = begun.cancelled() => {}
                () = evicted.evicted() => {}
            }
        };
        let time_up = async move {
            tokio::select! {
                () = drain_over(drain) => {}
                () = activity.evicted() => {}
            }
        };
        (Quiet::new(until), Quiet::new(time_up))
    } else {
        (Quiet::new(async move { begun.cancelled().await }), Quiet::new(drain_over(drain)))
    };
    Serve { connection, begin_close: http1::Connection::graceful_shutdown, until, time_up: Some(time_up), _open: slot }
}

/// Serves HTTP/2.
fn http2<H: Handler>(
    io: TlsStream<GuardIo<TcpStream>>,
    peer: Peer,
    slot: Slot,
    context: Context<H>,
) -> impl Future<Output = ()> + Send {
    let Context { settings, handler, refused, drain } = context;
    let announced = drain.announced.clone();
    let service = service_fn(move |request| {
        let announced = announced.clone();
        let response = respond(&*handler, request, peer, |body| Paced::new(body, announced));
        async move { Ok::<_, Infallible>(response.await) }
    });
    let streams = Streams::new(slot);
    let executor = StreamExecutor::new(streams.clone(), settings.write_timeout);
    let floods = refused.with_label_values(&["control_frames"]);
    let io = H2Guard::new(io, settings.header_timeout, settings.body_timeout, floods);
    let connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(io), service);
    let close_asked = {
        let (drain, streams) = (drain.clone(), streams.clone());
        async move {
            // GOAWAY loses no request (RFC 9113 §6.8). A client that has connected again after it is served first
            let asked_again = async {
                drain.announced.cancelled().await;
                streams.activity().first_request().await;
            };
            tokio::select! {
                () = drain.begun.cancelled() => {}
                () = asked_again => {}
                () = unused(streams.activity(), settings.idle_timeout) => {}
            }
        }
    };
    let time_up = {
        let streams = streams.clone();
        async move {
            tokio::select! {
                () = drain_over(drain) => {}
                () = gone(streams.activity()) => {}
            }
        }
    };
    Serve {
        connection,
        begin_close: http2::Connection::graceful_shutdown,
        until: Quiet::new(close_asked),
        time_up: Some(Quiet::new(time_up)),
        _open: streams,
    }
}

/// Answers one request.
fn respond<H: Handler, B, W: FnOnce(Body) -> B + Send>(
    handler: &H,
    request: Request<Incoming>,
    peer: Peer,
    wrap: W,
) -> impl Future<Output = Response<B>> + Send + use<H, B, W> {
    let answering = handler.handle(request, peer);
    async move { answering.await.map(wrap) }
}

/// Ready when no stream was open for the idle timeout. Other frames, such as PING, are no use of the connection.
async fn unused(activity: &Activity, idle_timeout: Duration) {
    loop {
        let left = idle_timeout.saturating_sub(activity.idle_for().unwrap_or_default());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// Ready when a client has no stream left after GOAWAY and does not close in time.
async fn gone(activity: &Activity) {
    loop {
        tokio::time::sleep(GOODBYE).await;
        if activity.open() == 0 {
            return;
        }
    }
}

/// Ready when open connections must be dropped.
async fn drain_over(drain: Drain) {
    drain.over.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// A connection in its task: served until it ends, closed gracefully at one event, dropped at another.
struct Serve<C, G> {
    connection: C,
    begin_close: fn(Pin<&mut C>),
    /// The event at which it is closed or dropped.
    until: Quiet,
    /// Taken when the close begins; the end of the grace period.
    time_up: Option<Quiet>,
    _open: G,
}

impl<C: Future<Output = hyper::Result<()>> + Unpin, G: Unpin> Future for Serve<C, G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return Poll::Ready(());
            }
            ready!(this.until.poll(cx));
            match this.time_up.take() {
                Some(time_up) => {
                    (this.begin_close)(Pin::new(&mut this.connection));
                    this.until = time_up;
                }
                None => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::super::connections::Connections;
    use super::super::h2_streams::OpenStream;
    use super::*;

    const IDLE: Duration = Duration::from_secs(75);

    fn streams() -> Arc<Streams> {
        let connections = Connections::new(prometheus::IntGauge::new("open", "open").unwrap());
        Streams::new(connections.admit([127, 0, 0, 1].into(), 1, 0).ok().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_stream_is_unused_after_a_while() {
        let begun = Instant::now();
        unused(streams().activity(), IDLE).await;
        assert_eq!(begun.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_stream_or_a_recent_one_is_in_use() {
        let (begun, streams) = (Instant::now(), streams());
        let open = OpenStream::new(streams.clone());
        let user = streams.clone();
        tokio::spawn(async move {
            sleep(5 * IDLE + IDLE / 2).await;
            drop(open);
            sleep(IDLE - Duration::from_secs(1)).await;
            drop(OpenStream::new(user));
        });
        unused(streams.activity(), IDLE).await;
        assert_eq!(begun.elapsed(), 7 * IDLE + IDLE / 2 - Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_sent_away_keeps_its_streams_and_then_has_ten_seconds() {
        let (begun, streams) = (Instant::now(), streams());
        let open = OpenStream::new(streams.clone());
        tokio::spawn(async move {
            sleep(30 * GOODBYE + Duration::from_secs(1)).await;
            drop(open);
        });
        gone(streams.activity()).await;
        assert_eq!(begun.elapsed(), 31 * GOODBYE);
    }
}

//! One HTTP/1.1 connection to an upstream, driven in place.
//!
//! hyper's usual way is to spawn each client connection as a task of its own; every event then hops from that task to the
//! one that serves the browser. Here the connection is polled by whoever holds it, so that an event goes from the
//! upstream's socket to the browser's in a single poll of a single task.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::Transport;
use super::inward::Inward;

/// Most bytes of an answer's head, and of what is read ahead of the client.
const READ_AHEAD: usize = 32 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;

type Http1 = Connection<TokioIo<Transport>, Full<Bytes>>;

/// A connection that carries one exchange at a time.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Http1,
    ended: bool,
    inward: Inward,
}

/// Why an exchange gave no response head.
pub(super) enum Unanswered {
    /// Not one byte of the request was sent: it is safe to send it again elsewhere.
    Unsent(Box<Request<Full<Bytes>>>),
    /// The connection broke, or what came was no HTTP.
    Broken,
}

impl Wire {
    /// Speaks HTTP/1.1 over a connected transport.
    pub(super) async fn open(transport: Transport) -> Result<Self, hyper::Error> {
        let mut builder = Builder::new();
        builder.max_buf_size(READ_AHEAD).max_headers(MAX_HEADERS);
        let (sender, connection) = builder.handshake(TokioIo::new(transport)).await?;
        Ok(Self { sender, connection, ended: false, inward: Inward::new() })
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        let result = std::future::poll_fn(|cx| {
            self.inward.poll(cx, |cx| {
                drive(connection, ended, cx);
                response.as_mut().poll(cx)
            })
        })
        .await;
        result.map_err(|mut error| match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Broken,
        })
    }

    /// The next bytes of the response body: `None` at its proper end, `Err` where it broke off.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        self.inward.poll(cx, |cx| {
            loop {
                // the body says first that it wants bytes; only then does the connection read them
                let mut frame = Pin::new(&mut *body).poll_frame(cx);
                if frame.is_pending() {
                    drive(connection, ended, cx);
                    frame = Pin::new(&mut *body).poll_frame(cx);
                }
                match ready!(frame) {
                    // trailers are of no use to an event stream, an empty frame to nobody
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                        _ => {}
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                }
            }
        })
    }

    /// Whether another request can be sent: open, idle, and nothing unasked-for has come in.
    ///
    /// Touches the socket, so that an upstream's FIN is seen before a request is lost on it.
    pub(super) fn is_reusable(&mut self) -> bool {
        drive(&mut self.connection, &mut self.ended, &mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}

/// Moves the connection on. How it ended is told through the response or the body.
fn drive(connection: &mut Http1, ended: &mut bool, cx: &mut Context<'_>) {
    if !*ended && Pin::new(connection).poll(cx).is_ready() {
        *ended = true;
    }
}

//! One HTTP/1.1 connection to an upstream, driven in place.
//!
//! hyper's usual way is to spawn each client connection as a task of its own; every event then hops from that task to the
//! one that serves the browser. Here the connection is polled by whoever holds it, so that an event goes from the
//! upstream's socket to the browser's in a single poll of a single task.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::Transport;

/// Most bytes of an answer's head, and of what is read ahead of the client.
const READ_AHEAD: usize = 32 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;

/// A connection that carries one exchange at a time.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Transport>, Full<Bytes>>,
    ended: bool,
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
        Ok(Self { sender, connection, ended: false })
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // how it ended is told through the response future or the body
        if !self.ended && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let mut response = pin!(self.sender.try_send_request(request));
        let result = std::future::poll_fn(|cx| {
            if !self.ended && Pin::new(&mut self.connection).poll(cx).is_ready() {
                self.ended = true;
            }
            response.as_mut().poll(cx)
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
        loop {
            // the body says first that it wants bytes; only then does the connection read them
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                match frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())) {
                    // trailers are of no use to an event stream
                    Some(Ok(data)) if data.is_empty() => continue,
                    other => return Poll::Ready(other),
                }
            }
            self.drive(cx);
            return match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => Poll::Ready(Some(Ok(data))),
                    _ => continue,
                },
                Poll::Ready(other) => Poll::Ready(other.map(|result| result.map(|_| Bytes::new()))),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// Whether another request can be sent: open, idle, and nothing unasked-for has come in.
    ///
    /// Touches the socket, so that an upstream's FIN is seen before a request is lost on it.
    pub(super) fn is_reusable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}

//! One HTTP/1.1 connection to an upstream, driven in place.
//!
//! hyper's usual way is to spawn each client connection as a task of its own; every event then hops from that task to the
//! one that serves the browser. Here hyper writes the request and reads the head of its response, polled by whoever waits
//! for it. Then the connection is taken back from it, and the body is read off the transport by whoever serves the
//! browser: an event goes from one socket to the other in a single poll of a single task.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header;
use http::response::Parts;
use http::{Request, StatusCode, Version};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};

use super::connect::Transport;
use super::gate::Gate;
use super::transfer::Decoder;

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 32 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;
/// Most bytes that one read takes in: what is read ahead of the client.
const READ_AHEAD: usize = 32 * 1024;

thread_local! {
    /// Each read goes here first, and what is content is copied out: a silent stream holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AHEAD].into());
}

/// A connection between two exchanges.
pub(super) struct Wire {
    transport: Transport,
}

/// A response body, as it comes in.
pub(super) struct Reading {
    transport: Transport,
    decoder: Decoder,
    /// What came in together with the head.
    early: Vec<u8>,
    /// Another request may follow.
    persistent: bool,
    /// The connection has ended, and with it a body that has no other end.
    closed: bool,
}

/// Why an exchange gave no response head.
pub(super) enum Unanswered {
    /// Not one byte of the request was sent: it is safe to send it again elsewhere.
    Unsent(Box<Request<Full<Bytes>>>),
    /// The connection broke, or what came was no HTTP.
    Broken,
}

/// The body did not come to its proper end.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl Wire {
    /// Speaks HTTP/1.1 over a connected transport.
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(self, request: Request<Full<Bytes>>) -> Result<(Parts, Reading), Unanswered> {
        let gate = Gate::new(self.transport);
        let flushed = gate.flushed();
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let (mut sender, mut connection) =
            builder.handshake(TokioIo::new(gate)).await.map_err(|_| Unanswered::Broken)?;
        let mut responding = pin!(sender.try_send_request(request));
        let mut response = None;
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx).is_ready();
            if response.is_none() {
                // only the connection can complete it, and was polled right before: there is nobody to wake
                response = match responding.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(response) => Some(response),
                    Poll::Pending => None,
                };
            }
            match &response {
                _ if ended => Poll::Ready(()),
                // an upstream that answers before it has read all is still sent the rest, but for a refusal
                Some(Ok(response)) if response.status() == StatusCode::OK && !flushed.get() => Poll::Pending,
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        })
        .await;
        let (head, incoming) = match response {
            Some(Ok(response)) => response.into_parts(),
            Some(Err(error)) => return Err(unanswered(error)),
            None => return Err(Unanswered::Broken),
        };
        let decoder = decoder(&head, &incoming).ok_or(Unanswered::Broken)?;
        let persistent = flushed.get() && is_persistent(&head);
        let (transport, early) = connection.into_parts().io.into_inner().into_parts();
        Ok((head, Reading { transport, decoder, early, persistent, closed: false }))
    }

    /// Whether another request can be sent: still open, and nothing unasked-for has come in.
    pub(super) fn is_reusable(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let mut byte = [0];
        Pin::new(&mut self.transport).poll_read(&mut nobody, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

fn unanswered(mut error: TrySendError<Request<Full<Bytes>>>) -> Unanswered {
    match error.take_message() {
        Some(request) => Unanswered::Unsent(Box::new(request)),
        None => Unanswered::Broken,
    }
}

/// How the end of the body is told (RFC 9112 §6.3); `None` where it is not told in a way that can be read.
fn decoder(head: &Parts, incoming: &Incoming) -> Option<Decoder> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        // hyper has read and compared the lines of content-length
        (None, _) => Some(incoming.size_hint().exact().map_or(Decoder::UntilClose, Decoder::Length)),
        (Some(only), None) if head.version == Version::HTTP_11 && only.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some(Decoder::chunked())
        }
        _ => None,
    }
}

/// Whether the connection outlives this response (RFC 9112 §9.3).
fn is_persistent(head: &Parts) -> bool {
    let closes = |line: &header::HeaderValue| {
        line.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    head.version == Version::HTTP_11 && !head.headers.get_all(header::CONNECTION).iter().any(closes)
}

impl Reading {
    /// The next bytes of the content: `None` at its proper end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if !self.early.is_empty() {
            let mut early = mem::take(&mut self.early);
            let content = self.take_in(&mut early);
            if !content.is_empty() {
                return Poll::Ready(Some(Ok(Bytes::from(early).slice(content))));
            }
        }
        while !self.is_ended() {
            if self.decoder.is_malformed() {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buffer)).map_err(|_| BrokenOff)?;
                let bytes = buffer.filled_mut();
                if bytes.is_empty() {
                    self.closed = self.decoder == Decoder::UntilClose;
                    return Poll::Ready(if self.closed { Ok(Bytes::new()) } else { Err(BrokenOff) });
                }
                let content = self.take_in(bytes);
                Poll::Ready(Ok(Bytes::copy_from_slice(&bytes[content])))
            });
            match ready!(read) {
                Ok(content) if content.is_empty() => {}
                read => return Poll::Ready(Some(read)),
            }
        }
        Poll::Ready(None)
    }

    /// Whether the body has come to its proper end.
    pub(super) fn is_ended(&self) -> bool {
        self.closed || self.early.is_empty() && self.decoder.is_ended()
    }

    /// The connection, for another request; `None` if none can follow.
    pub(super) fn into_wire(self) -> Option<Wire> {
        (self.persistent && self.is_ended()).then_some(Wire { transport: self.transport })
    }

    /// Where the content is in what was read.
    fn take_in(&mut self, bytes: &mut [u8]) -> Range<usize> {
        let found = self.decoder.decode(bytes);
        // what follows the end was not asked for
        self.persistent &= found.read == bytes.len();
        found.place
    }
}

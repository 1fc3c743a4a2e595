//! The body of a response, which the task of the client reads from the connection.

use std::mem;
use std::ops::Range;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::connect::Transport;
use super::connection::{Connection, poll_read};
use super::framing;
use super::head::{BadHead, Head};
use super::transfer::Decoder;

/// A response body that is being read. Dropping it closes the connection.
pub(super) struct ResponseBody<T = Transport> {
    transport: T,
    /// When the connection was opened.
    opened: Instant,
    progress: Progress,
}

/// The progress of reading a body.
pub(super) struct Progress {
    decoder: Decoder,
    /// Content that came in together with the head.
    early: Bytes,
    /// Another request may follow on the connection.
    persistent: bool,
    /// How long the connection stays open until then.
    keep_alive: Option<Duration>,
    /// The connection has ended. This ends a body that has no other end.
    closed: bool,
}

/// The body did not end properly.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl Progress {
    /// Starts the body of `head` with the bytes that came in behind it.
    ///
    /// # Errors
    /// The end of the body cannot be known.
    pub(super) fn begin(head: &Head, behind: &mut [u8]) -> Result<Self, BadHead> {
        let decoder = framing::decoder(head)?;
        let persistent = framing::is_persistent(head);
        let keep_alive = framing::keep_alive(head);
        let mut progress = Self { decoder, early: Bytes::new(), persistent, keep_alive, closed: false };
        let content = progress.take_in(behind);
        progress.early = Bytes::copy_from_slice(&behind[content]);
        Ok(progress)
    }

    /// Returns where the content is in what was read.
    fn take_in(&mut self, bytes: &mut [u8]) -> Range<usize> {
        let found = self.decoder.decode(bytes);
        // bytes behind the end were not requested
        self.persistent &= found.read == bytes.len();
        found.place
    }
}

impl<T: AsyncRead + Unpin> ResponseBody<T> {
    /// Makes a body that continues with the bytes of the transport. If `sent` is false, a part of the request was not sent,
    /// and the connection cannot be reused.
    pub(super) fn new(transport: T, opened: Instant, mut progress: Progress, sent: bool) -> Self {
        progress.persistent &= sent;
        Self { transport, opened, progress }
    }

    /// Returns the next bytes of the content, or `None` at its proper end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let Self { transport, progress, .. } = self;
        if !progress.early.is_empty() {
            return Poll::Ready(Some(Ok(mem::take(&mut progress.early))));
        }
        while !progress.is_ended() {
            if progress.decoder.is_malformed() {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            let content = ready!(poll_read(transport, cx, |bytes| progress.read(bytes)));
            match content.unwrap_or(Err(BrokenOff)) {
                Ok(content) if content.is_empty() => {}
                other => return Poll::Ready(Some(other)),
            }
        }
        Poll::Ready(None)
    }

    /// Whether the body has come to its proper end.
    pub(super) fn is_ended(&self) -> bool {
        self.progress.is_ended()
    }

    /// Returns the connection for another request, or `None` if it cannot be reused.
    pub(super) fn into_connection(self) -> Option<Connection<T>> {
        let is_reusable = self.progress.persistent && self.is_ended();
        let Self { transport, opened, progress: Progress { keep_alive, .. } } = self;
        is_reusable.then_some(Connection { transport, opened, keep_alive })
    }
}

impl Progress {
    /// Takes the bytes of a read (none at the end of the connection) and returns their content.
    fn read(&mut self, bytes: &mut [u8]) -> Result<Bytes, BrokenOff> {
        if bytes.is_empty() {
            self.closed = self.decoder == Decoder::UntilClose;
            return if self.closed { Ok(Bytes::new()) } else { Err(BrokenOff) };
        }
        let content = self.take_in(bytes);
        Ok(Bytes::copy_from_slice(&bytes[content]))
    }

    fn is_ended(&self) -> bool {
        self.closed || self.early.is_empty() && self.decoder.is_ended()
    }
}

//! The body of a response, read off the connection by the task that serves the client.

use std::mem;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::connect::Transport;
use super::connection::{Connection, poll_read};
use super::framing;
use super::head::{BadHead, Head};
use super::transfer::Decoder;

/// A response body, as it comes in. Dropping it closes the connection.
pub(super) struct ResponseBody<T = Transport> {
    transport: T,
    progress: Progress,
}

/// How far a body has been read.
pub(super) struct Progress {
    decoder: Decoder,
    /// Content that came in together with the head.
    early: Bytes,
    /// Another request may follow on the connection.
    persistent: bool,
    /// The connection has ended, and with it a body that has no other end.
    closed: bool,
}

/// The body did not come to its proper end.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl Progress {
    /// Begins the body of `head` with what came in behind it.
    ///
    /// # Errors
    /// Where the body ends cannot be known.
    pub(super) fn begin(head: &Head, behind: &mut [u8]) -> Result<Self, BadHead> {
        let decoder = framing::decoder(head)?;
        let persistent = framing::is_persistent(head);
        let mut progress = Self { decoder, early: Bytes::new(), persistent, closed: false };
        let content = progress.take_in(behind);
        progress.early = Bytes::copy_from_slice(&behind[content]);
        Ok(progress)
    }

    /// Returns where the content is in what was read.
    fn take_in(&mut self, bytes: &mut [u8]) -> Range<usize> {
        let found = self.decoder.decode(bytes);
        // what follows the end was not asked for
        self.persistent &= found.read == bytes.len();
        found.place
    }
}

impl<T: AsyncRead + Unpin> ResponseBody<T> {
    /// A body that goes on with what the transport brings. Without `sent`, part of the request was not sent, and no other one
    /// may follow.
    pub(super) fn new(transport: T, mut progress: Progress, sent: bool) -> Self {
        progress.persistent &= sent;
        Self { transport, progress }
    }

    /// The next bytes of the content: `None` at its proper end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let Self { transport, progress } = self;
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

    /// Returns the connection for another request; `None` if none can follow.
    pub(super) fn into_connection(self) -> Option<Connection<T>> {
        (self.progress.persistent && self.is_ended()).then_some(Connection { transport: self.transport })
    }
}

impl Progress {
    /// Takes what was read, nothing at the end of the connection, and returns its content.
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

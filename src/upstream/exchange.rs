//! One HTTP/1.1 exchange: a request out, the head of its response in.
//!
//! A connection has no task of its own. The task that serves the client writes the request, reads the head, and then reads
//! the body from the same transport: an event goes from one socket to the other in a single poll of a single task.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{Progress, ResponseBody};
use super::connection::{Connection, poll_read};
use super::head::{BadHead, Head, HeadReader};

/// Why an exchange gave no response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// No byte of the request was sent, so it is safe to send it again elsewhere.
    Unsent,
    /// The connection ended before the first byte of an answer. On a reused connection, the upstream had most likely closed it
    /// before the request came in.
    NoByte,
    /// The connection broke within the head, or the response was not HTTP.
    Broken,
}

/// A running request.
struct Exchange<'a, T> {
    transport: T,
    head: &'a [u8],
    body: &'a [u8],
    sending: Sending,
    reader: HeadReader,
    /// A byte of the answer has come.
    answered: bool,
    response: Option<(Head, Progress)>,
}

/// How much of the request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// This many bytes were sent.
    Underway(usize),
    Complete,
    /// The connection takes no more bytes; a response may have come in before.
    Failed,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// Sends a request and waits for the head of its response.
    ///
    /// An upstream may answer before it has read the whole request (RFC 9112 §9.5). The rest is sent if the upstream accepts
    /// the request; after a refusal it is not sent, and the connection is not reused.
    pub(super) async fn exchange(self, head: &[u8], body: &[u8]) -> Result<(Head, ResponseBody<T>), Unanswered> {
        let (transport, sending, reader) = (self.transport, Sending::Underway(0), HeadReader::default());
        let opened = self.opened;
        let mut exchange = Exchange { transport, head, body, sending, reader, answered: false, response: None };
        let (head, progress) = poll_fn(|cx| exchange.poll(cx)).await?;
        let sent = exchange.sending == Sending::Complete;
        Ok((head, ResponseBody::new(exchange.transport, opened, progress, sent)))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Exchange<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Progress), Unanswered>> {
        if self.response.is_none()
            && let Poll::Ready(response) = self.poll_response(cx)
        {
            self.response = Some(response?);
        }
        let refused = self.response.as_ref().is_some_and(|(head, _)| head.status != StatusCode::OK);
        if let Sending::Underway(_) = self.sending
            && !refused
        {
            self.sending = match ready!(self.poll_send(cx)) {
                Ok(()) => Sending::Complete,
                Err(_) => Sending::Failed,
            };
        }
        self.response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }

    /// Reads up to the end of the head.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Progress), Unanswered>> {
        loop {
            let (reader, answered) = (&mut self.reader, &mut self.answered);
            let read = ready!(poll_read(&mut self.transport, cx, |bytes| {
                *answered |= !bytes.is_empty();
                take_head(reader, bytes)
            }));
            // no response belongs to a request that was not sent: the connection was already unusable
            if self.sending == Sending::Underway(0) {
                return Poll::Ready(Err(Unanswered::Unsent));
            }
            match read {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(response))) => return Poll::Ready(Ok(response)),
                Ok(Err(BadHead)) | Err(_) if !self.answered => return Poll::Ready(Err(Unanswered::NoByte)),
                Ok(Err(BadHead)) | Err(_) => return Poll::Ready(Err(Unanswered::Broken)),
            }
        }
    }

    /// Writes the rest of the request: head and body with one call, if the connection accepts both.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut transport = Pin::new(&mut self.transport);
        while let Sending::Underway(sent) = self.sending
            && sent < self.head.len() + self.body.len()
        {
            let head = &self.head[sent.min(self.head.len())..];
            let body = &self.body[sent.saturating_sub(self.head.len())..];
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            let parts = if head.is_empty() { &parts[1..] } else { &parts[..] };
            match ready!(transport.as_mut().poll_write_vectored(cx, parts))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sending = Sending::Underway(sent + written),
            }
        }
        transport.poll_flush(cx)
    }
}

/// Takes the bytes of a read (none at the end of the connection). Returns `None` if the head is not complete.
fn take_head(reader: &mut HeadReader, bytes: &mut [u8]) -> Result<Option<(Head, Progress)>, BadHead> {
    if bytes.is_empty() {
        return Err(BadHead);
    }
    let Some((head, end)) = reader.read(bytes)? else { return Ok(None) };
    let progress = Progress::begin(&head, &mut bytes[end..])?;
    Ok(Some((head, progress)))
}

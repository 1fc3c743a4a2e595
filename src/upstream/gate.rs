//! What hyper is shown of a connection: it may write all of the request, and read the heads of its response, no more.
//!
//! hyper would begin to read the body along with the head, and how far it has come is known to nobody else. So what
//! follows the head is held back here, for [`super::wire`] to begin with.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that ends, for its reader, where the response head does.
pub(super) struct Gate<T> {
    transport: T,
    /// `None` once the head has passed.
    heads: Option<Heads>,
    rest: Vec<u8>,
    flushed: Flushed,
}

/// Whether all that was written has left.
#[derive(Debug, Clone)]
pub(super) struct Flushed(Arc<AtomicBool>);

impl<T> Gate<T> {
    /// A gate before the first byte of a response.
    pub(super) fn new(transport: T) -> Self {
        let flushed = Flushed(Arc::new(AtomicBool::new(false)));
        Self { transport, heads: Some(Heads::default()), rest: Vec::new(), flushed }
    }

    /// Tells whoever has given the gate away.
    pub(super) fn flushed(&self) -> Flushed {
        self.flushed.clone()
    }

    /// The transport, and what has been read from it of the body.
    pub(super) fn into_parts(self) -> (T, Vec<u8>) {
        (self.transport, self.rest)
    }
}

impl Flushed {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, flushed: bool) {
        self.0.store(flushed, Ordering::Relaxed);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        // nobody needs to be woken: whoever has seen the head takes the transport back
        let Some(heads) = &mut gate.heads else { return Poll::Pending };
        let before = buf.filled().len();
        ready!(Pin::new(&mut gate.transport).poll_read(cx, buf))?;
        if let Some(end) = heads.find_end(&buf.filled()[before..]) {
            gate.heads = None;
            gate.rest = buf.filled()[before + end..].to_vec();
            buf.set_filled(before + end);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.flushed.set(false);
        Pin::new(&mut gate.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(Pin::new(&mut gate.transport).poll_flush(cx))?;
        gate.flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

/// Finds the end of the response head that follows all interim ones (RFC 9110 §15.2), which are hyper's to skip.
#[derive(Debug, Default)]
struct Heads {
    /// The beginning of the line that is being read: `HTTP/1.1 2` tells all.
    line: Vec<u8>,
    /// A line of this head has been read.
    begun: bool,
    interim: bool,
}

/// `HTTP/1.1 ` and the first digit of the status.
const STATUS_CLASS: usize = 9;

impl Heads {
    /// How many of the next bytes belong to heads, once the last of those ends in them.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &bytes[at..]) {
            self.keep(&bytes[at..at + length]);
            at += length + 1;
            let line = std::mem::take(&mut self.line);
            let empty = matches!(&line[..], b"" | b"\r");
            match (empty, self.begun) {
                // hyper skips empty lines before a head
                (true, false) => {}
                (true, true) if self.interim => self.begun = false,
                (true, true) => return Some(at),
                (false, true) => {}
                (false, false) => {
                    self.begun = true;
                    self.interim = line.get(STATUS_CLASS) == Some(&b'1');
                }
            }
        }
        self.keep(&bytes[at..]);
        None
    }

    fn keep(&mut self, part: &[u8]) {
        let wanted = (STATUS_CLASS + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(wanted)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What a reader of these pieces gets to see, and what is held back.
    fn shown(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let mut heads = Some(Heads::default());
        let (mut shown, mut held) = (Vec::new(), Vec::new());
        for piece in pieces {
            let end = heads.as_mut().map_or(Some(0), |heads| heads.find_end(piece));
            let (head, rest) = piece.split_at(end.unwrap_or(piece.len()));
            shown.extend_from_slice(head);
            held.extend_from_slice(rest);
            heads = heads.filter(|_| end.is_none());
        }
        (shown, held)
    }

    proptest! {
        #[test]
        fn cut_anywhere_a_head_passes_whole_and_not_a_byte_of_the_body(
            empty in prop::sample::select(vec!["", "\r\n", "\n"]),
            interim in prop::collection::vec(100_u16..200, 0..3),
            status in 200_u16..600,
            fields in prop::collection::vec("[a-z]{1,12}: [ -~]{0,20}", 0..5),
            end in prop::sample::select(vec!["\r\n", "\n"]),
            body in prop::collection::vec(prop::sample::select(b"\r\nHTTP/1.1 100a".to_vec()), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut head = empty.to_owned();
            for status in interim.iter().chain([&status]) {
                head.push_str(&format!("HTTP/1.1 {status} x{end}"));
                fields.iter().for_each(|field| head.push_str(&format!("{field}{end}")));
                head.push_str(end);
            }
            let all = [head.as_bytes(), &body].concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            at.extend([0, all.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &all[pair[0]..pair[1]]).collect();
            prop_assert_eq!(shown(&pieces), (head.into_bytes(), body));
        }
    }

    #[tokio::test]
    async fn what_follows_the_head_is_given_back_with_the_transport() {
        let (mut far, near) = tokio::io::duplex(1024);
        far.write_all(b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody").await.unwrap();
        let mut gate = Gate::new(near);
        let mut buffer = [0; 100];
        let length = gate.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"HTTP/1.1 200 OK\r\na: b\r\n\r\n");
        let again = Pin::new(&mut gate)
            .poll_read(&mut Context::from_waker(std::task::Waker::noop()), &mut ReadBuf::new(&mut buffer));
        assert!(again.is_pending());
        assert_eq!(gate.into_parts().1, b"body");
    }

    #[tokio::test]
    async fn what_was_written_has_left_when_it_was_flushed() {
        let (_far, near) = tokio::io::duplex(1024);
        let mut gate = Gate::new(near);
        let flushed = gate.flushed();
        assert!(!flushed.get());
        gate.write_all(b"GET").await.unwrap();
        assert!(!flushed.get());
        gate.flush().await.unwrap();
        assert!(flushed.get());
    }
}

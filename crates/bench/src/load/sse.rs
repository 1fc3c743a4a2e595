//! Reads event streams with the crate `eventsource-stream`, which frames and parses the bytes of the response.
//!
//! The reader is independent of this workspace's own framer (crate `sse`): a fault of that framer cannot hide itself here.
//! Between the response and the reader there are only guards, because the reader is written for well-behaved servers:
//!
//! - it panics at a byte order mark: the guard removes the first one, as WHATWG HTML §9.2.6 says, and puts an empty line
//!   before the stream, so that a second one is not the reader's first character;
//! - it stops at invalid UTF-8: the guard replaces such bytes with U+FFFD, as the standard's decoder does;
//! - it has no bound on an event's size: the guard ends a stream that goes on for too long without a blank line;
//! - it waits behind a CR for the next byte: the guard writes line ends as LF, so that the last event is not late;
//! - it scans its buffer again at every chunk and copies the rest at every line: the guard passes bytes on only when a blank
//!   line has come, and in small pieces.
//!
//! The pieces do not follow the events, and the reader alone decides where an event begins and ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use eventsource_stream::{Event, EventStream, EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use memchr::memmem;

/// The usual maximum size of one event, in bytes: larger than any tool call in one piece.
pub const MAX_EVENT: usize = 4 * 1024 * 1024;
/// The most bytes that the reader gets at once.
const PIECE: usize = 2048;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The events of a body.
pub struct Events<B> {
    inner: EventStream<Guard<B>>,
}

/// Why there are no more events.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadError<E> {
    /// Reading the body failed.
    Body(E),
    /// An event exceeds the maximum size.
    TooLong,
}

impl<B, E> Events<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The events of this body, each of at most `max_event` bytes.
    pub fn new(body: B, max_event: usize) -> Self {
        let guard = Guard {
            body,
            max_event,
            at_start: true,
            after_cr: false,
            pending: BytesMut::new(),
            complete: Bytes::from_static(b"\n"),
        };
        Self { inner: guard.eventsource() }
    }

    /// The next event that has data; `None` at the end of the body. An unfinished event is discarded there, as WHATWG HTML
    /// §9.2.6 says.
    ///
    /// # Errors
    /// The body failed, or an event is too long. No event follows.
    pub async fn next(&mut self) -> Option<Result<Event, ReadError<E>>> {
        match self.inner.next().await? {
            Ok(event) => Some(Ok(event)),
            Err(EventStreamError::Transport(error)) => Some(Err(error)),
            // the guard passes on whole lines of valid UTF-8: every one of them is in the reader's grammar
            Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_)) => None,
        }
    }
}

/// The bytes of a body, made safe for the reader.
struct Guard<B> {
    body: B,
    max_event: usize,
    /// No byte has been passed on.
    at_start: bool,
    /// The latest byte was a CR, which an LF may complete.
    after_cr: bool,
    /// Bytes behind the latest blank line, with LF line ends.
    pending: BytesMut,
    /// Bytes up to a blank line, in valid UTF-8, for the reader.
    complete: Bytes,
}

impl<B> Guard<B> {
    /// Takes a chunk of the body.
    fn push(&mut self, chunk: &[u8]) {
        let searched = self.pending.len().saturating_sub(1);
        if self.after_cr || chunk.contains(&b'\r') {
            for &byte in chunk {
                match byte {
                    b'\n' if self.after_cr => {}
                    b'\r' => self.pending.extend_from_slice(b"\n"),
                    byte => self.pending.extend_from_slice(&[byte]),
                }
                self.after_cr = byte == b'\r';
            }
        } else {
            self.pending.extend_from_slice(chunk);
        }
        let Some(blank) = memmem::rfind(&self.pending[searched..], b"\n\n") else { return };
        let mut lines = self.pending.split_to(searched + blank + 2).freeze();
        if std::mem::take(&mut self.at_start) && lines.starts_with(BYTE_ORDER_MARK) {
            lines = lines.slice(BYTE_ORDER_MARK.len()..);
        }
        // a line end is no part of a longer character, so the whole lines are decoded at once
        self.complete = match String::from_utf8_lossy(&lines) {
            std::borrow::Cow::Borrowed(_) => lines,
            std::borrow::Cow::Owned(text) => text.into(),
        };
    }
}

impl<B, E> Stream for Guard<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, ReadError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.complete.is_empty() {
            if this.pending.len() > this.max_event {
                return Poll::Ready(Some(Err(ReadError::TooLong)));
            }
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(chunk)) => this.push(&chunk),
                Some(Err(error)) => return Poll::Ready(Some(Err(ReadError::Body(error)))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(this.complete.split_to(this.complete.len().min(PIECE)))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;
    use sse::event::Kind;
    use sse::framer::Framer;

    type Read = Vec<Result<(String, String), ReadError<()>>>;

    /// Names and data of all events of these chunks.
    fn read(chunks: Vec<Result<&[u8], ()>>, max_event: usize) -> Read {
        let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.map(Bytes::copy_from_slice)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut events = Events::new(stream::iter(chunks), max_event);
            let mut read = Read::new();
            while let Some(event) = events.next().await {
                let failed = event.is_err();
                read.push(event.map(|event| (event.event, event.data)));
                if failed {
                    break;
                }
            }
            read
        })
    }

    fn data(chunks: &[&[u8]]) -> Vec<String> {
        let chunks = chunks.iter().map(|chunk| Ok(*chunk)).collect();
        read(chunks, 1000).into_iter().map(|event| event.unwrap().1).collect()
    }

    #[test]
    fn a_byte_order_mark_is_harmless_alone_doubled_or_in_pieces() {
        assert_eq!(data(&["\u{feff}data: a\n\n".as_bytes()]), ["a"]);
        assert_eq!(data(&[b"\xef", b"\xbb", b"\xbfdata: a\n\n"]), ["a"]);
        assert_eq!(
            data(&["\u{feff}\u{feff}data: a\n\ndata: b\n\n".as_bytes()]),
            ["b"],
            "the second one is part of a field name"
        );
        assert_eq!(data(&["\u{feff}".as_bytes()]), [""; 0]);
    }

    #[test]
    fn invalid_utf_8_is_replaced_and_the_stream_goes_on() {
        assert_eq!(data(&[b"data: \xff\n\ndata: b\n\n"]), ["\u{fffd}", "b"]);
        assert_eq!(data(&[b"data: \xe2\x82", b"\xac\n\n"]), ["€"], "a character may be cut");
    }

    #[test]
    fn every_line_end_ends_an_event_at_once() {
        for end in ["\n", "\r", "\r\n"] {
            assert_eq!(data(&[format!("data: a{end}data: b{end}{end}").as_bytes()]), ["a\nb"], "{end:?}");
        }
        assert_eq!(data(&[b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n"]), ["a", "b"]);
    }

    #[test]
    fn an_endless_event_is_refused_and_an_unfinished_one_discarded() {
        let line = [b'x'; 300];
        let endless = vec![Ok(&b"data: a\n\ndata: "[..]), Ok(&line), Ok(&line), Ok(&line), Ok(&line)];
        assert_eq!(read(endless, 1000), [Ok(("message".into(), "a".into())), Err(ReadError::TooLong)]);
        assert_eq!(data(&[b"data: a\n\ndata: b\n"]), ["a"]);
    }

    #[test]
    fn a_failed_body_is_reported_after_the_events_before_it() {
        let failed = vec![Ok(&b"event: e\ndata: a\n\ndata: b"[..]), Err(())];
        assert_eq!(read(failed, 1000), [Ok(("e".into(), "a".into())), Err(ReadError::Body(()))]);
    }

    proptest! {
        #[test]
        fn it_reads_what_the_framer_of_the_crate_sse_reads(
            text in prop::collection::vec(prop_oneof![
                Just(b"data: ".to_vec()), Just(b"data".to_vec()), Just(b"event:".to_vec()), Just(b":".to_vec()),
                Just(b"\n".to_vec()), Just(b"\r".to_vec()), Just(b"\n\n".to_vec()), Just("\u{feff}".as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..4), "[a-z €]{0,5}".prop_map(String::into_bytes),
            ], 0..30),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = text.concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|ends| Ok(&text[ends[0]..ends[1]])).collect();
            let mut framer = Framer::new(1000);
            framer.push(Bytes::copy_from_slice(&text));
            let mut expected = Read::new();
            while let Some(event) = framer.next_event().unwrap() {
                let fields = event.fields();
                if fields.kind == Kind::Data {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let name = fields.name.map(text).filter(|name| !name.is_empty());
                    let data = fields.data.map(|data| text(&data)).unwrap_or_default();
                    expected.push(Ok((name.unwrap_or_else(|| "message".into()), data)));
                }
            }
            prop_assert_eq!(read(chunks, 1000), expected);
        }
    }
}

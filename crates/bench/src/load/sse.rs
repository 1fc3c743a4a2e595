//! Reads event streams with `eventsource-stream`, a reader that nobody here wrote, behind a guard.
//!
//! That reader is written for friendly servers: it panics at a byte order mark, stops at the first byte that is no UTF-8,
//! copies what is left of its buffer at every line, and has no bound on an event's size. The guard cuts the stream into
//! events first and hands them over one by one, so that it never sees more than one event, within a bound, in UTF-8.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use eventsource_stream::{Event, EventStream, EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use memchr::memchr;

use sse::framer::Framer;

/// The events of a body.
pub struct Events<B> {
    inner: EventStream<Guard<B>>,
}

/// Why there are no more events.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken<E> {
    /// The body broke off.
    Body(E),
    /// An event is longer than allowed.
    TooLong,
}

impl<B, E> Events<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The events of this body, each of at most `max_event` bytes.
    pub fn new(body: B, max_event: usize) -> Self {
        let guard = Guard { body, framer: Framer::new(max_event), begun: false };
        Self { inner: guard.eventsource() }
    }

    /// The next event that has data; `None` at the end of the body. What is left of an unfinished event is dropped there,
    /// as WHATWG HTML §9.2.6 says.
    ///
    /// # Errors
    /// The body broke, or an event is too long. There is nothing more to come.
    pub async fn next(&mut self) -> Option<Result<Event, Broken<E>>> {
        match self.inner.next().await? {
            Ok(event) => Some(Ok(event)),
            Err(EventStreamError::Transport(broken)) => Some(Err(broken)),
            // whole events in UTF-8 are never half a character, nor a line that its grammar does not know
            Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_)) => None,
        }
    }
}

/// Whole events, as `eventsource-stream` can read them.
struct Guard<B> {
    body: B,
    framer: Framer,
    begun: bool,
}

impl<B, E> Stream for Guard<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, Broken<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.begun {
            this.begun = true;
            // the framer drops a byte order mark; a second one, which is text, must not be what the reader sees first
            return Poll::Ready(Some(Ok(Bytes::from_static(b"\n"))));
        }
        loop {
            match this.framer.next_event() {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(readable(event.into_bytes())))),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Err(Broken::TooLong))),
            }
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(chunk)) => this.framer.push(chunk),
                Some(Err(error)) => return Poll::Ready(Some(Err(Broken::Body(error)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The event in UTF-8, with lines that end in LF: a reader that sees a CR waits for what follows it.
fn readable(event: Bytes) -> Bytes {
    let valid = std::str::from_utf8(&event).is_ok();
    if valid && memchr(b'\r', &event).is_none() {
        return event;
    }
    String::from_utf8_lossy(&event).replace("\r\n", "\n").replace('\r', "\n").into()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;
    use sse::event::Kind;

    type Read = Vec<Result<(String, String), Broken<()>>>;

    /// Names and data of all events of these chunks.
    fn read(chunks: Vec<Result<&[u8], ()>>, max_event: usize) -> Read {
        let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.map(Bytes::copy_from_slice)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut events = Events::new(stream::iter(chunks), max_event);
            let mut read = Read::new();
            while let Some(event) = events.next().await {
                let broken = event.is_err();
                read.push(event.map(|event| (event.event, event.data)));
                if broken {
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
    fn a_byte_order_mark_does_no_harm_alone_doubled_or_in_pieces() {
        assert_eq!(data(&["\u{feff}data: a\n\n".as_bytes()]), ["a"]);
        assert_eq!(data(&[b"\xef", b"\xbb", b"\xbfdata: a\n\n"]), ["a"]);
        assert_eq!(data(&["\u{feff}\u{feff}data: a\n\ndata: b\n\n".as_bytes()]), ["b"], "the second one is a name's");
        assert_eq!(data(&["\u{feff}".as_bytes()]), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_replaced_and_the_stream_goes_on() {
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
    fn an_endless_event_is_refused_and_an_unfinished_one_dropped() {
        let line = [b'x'; 300];
        let endless = vec![Ok(&b"data: a\n\ndata: "[..]), Ok(&line), Ok(&line), Ok(&line), Ok(&line)];
        assert_eq!(read(endless, 1000), [Ok(("message".into(), "a".into())), Err(Broken::TooLong)]);
        assert_eq!(data(&[b"data: a\n\ndata: b\n"]), ["a"]);
    }

    #[test]
    fn a_broken_body_is_told_after_the_events_before_it() {
        let broken = vec![Ok(&b"event: e\ndata: a\n\ndata: b"[..]), Err(())];
        assert_eq!(read(broken, 1000), [Ok(("e".into(), "a".into())), Err(Broken::Body(()))]);
    }

    proptest! {
        #[test]
        fn it_reads_what_the_gateway_s_own_reader_reads(
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

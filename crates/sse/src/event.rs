//! One event of an event stream, as a slice of the chunk that it came in, and its fields. Pure.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Buf, Bytes};
use memchr::{memchr, memchr2};

/// One event: its bytes as the upstream sent them, including the blank line that ends it.
///
/// It is never empty. Making, cloning and slicing it copies no byte.
#[derive(Debug, Clone)]
pub struct Event {
    source: Bytes,
    range: Range<usize>,
}

/// Consecutive events of one chunk as one slice of it, which is written to the client in one piece.
#[derive(Debug, Clone)]
pub struct Run(Event);

/// The fields of an event, read as WHATWG HTML §9.2.6 defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The values of the `data` lines, joined by LF; borrowed if there is one such line. `None` if there is none.
    pub data: Option<Cow<'a, [u8]>>,
    /// The value of the last `event` line: the event's type.
    pub name: Option<&'a [u8]>,
    /// The kind of lines that the event has.
    pub kind: Kind,
    /// Whether it has an `id` or a `retry` field.
    pub id_or_retry: bool,
}

/// The kind of lines that an event has; of several kinds the last one in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No line: one more blank line, or the LF of a CRLF whose CR already ended the event before. It belongs to the event
    /// before, and must be handled like it.
    Blank,
    /// Only comments.
    Comment,
    /// Fields (`id`, `retry`, `event` or unknown) without data: no client dispatches the event.
    Field,
    /// At least one `data` line, perhaps an empty one.
    Data,
}

impl Event {
    /// Makes an event of the bytes of `source` in `range`, which must lie within it.
    pub(super) fn new(source: Bytes, range: Range<usize>) -> Self {
        Self { source, range }
    }

    /// Returns all bytes of the event.
    pub fn as_slice(&self) -> &[u8] {
        &self.source[self.range.clone()]
    }

    /// Returns all bytes of the event. They keep their chunk in memory.
    pub fn into_bytes(self) -> Bytes {
        let Self { mut source, range } = self;
        source.truncate(range.end);
        source.advance(range.start);
        source
    }

    /// Reads the event's lines. This scans its bytes: call it once.
    pub fn fields(&self) -> Fields<'_> {
        Fields::of(self.as_slice())
    }
}

impl<'a> Fields<'a> {
    /// Reads the lines of these bytes, the last of which may lack its end.
    pub fn of(bytes: &'a [u8]) -> Self {
        let mut fields = Fields { data: None, name: None, kind: Kind::Blank, id_or_retry: false };
        for line in lines(bytes) {
            fields.read(line);
        }
        fields
    }

    /// Reads one line that is not empty, §9.2.6 "Interpreting an event stream".
    fn read(&mut self, line: &'a [u8]) {
        let (name, value) = match memchr(b':', line) {
            Some(0) => {
                self.kind = self.kind.max(Kind::Comment);
                return;
            }
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        self.kind = self.kind.max(Kind::Field);
        match name {
            b"data" => {
                self.kind = Kind::Data;
                match &mut self.data {
                    None => self.data = Some(Cow::Borrowed(value)),
                    Some(data) => {
                        let data = data.to_mut();
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                }
            }
            b"event" => self.name = Some(value),
            b"id" | b"retry" => self.id_or_retry = true,
            _ => {}
        }
    }
}

impl Run {
    /// Adds the events that follow this run in the same chunk without a gap.
    ///
    /// # Errors
    /// Returns the events if they do not follow: a new run begins with them.
    pub fn append(&mut self, next: impl Into<Run>) -> Result<(), Run> {
        let (run, next) = (&mut self.0, next.into());
        // both are alive, so equal addresses mean the same memory
        let same = run.source.as_ptr() == next.0.source.as_ptr() && run.source.len() == next.0.source.len();
        if same && run.range.end == next.0.range.start {
            run.range.end = next.0.range.end;
            Ok(())
        } else {
            Err(next)
        }
    }

    /// Returns all bytes of the run.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Returns the bytes, as one slice of their chunk.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

impl From<Event> for Run {
    fn from(event: Event) -> Self {
        Self(event)
    }
}

impl From<Bytes> for Run {
    /// Makes a run of these bytes, which are not part of a chunk.
    fn from(bytes: Bytes) -> Self {
        let range = 0..bytes.len();
        Self(Event::new(bytes, range))
    }
}

/// Iterates over the lines that are not empty. A CRLF is read as a CR, an empty line and an LF, which makes no difference
/// here.
fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let end = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            let line = &bytes[..end];
            bytes = bytes.get(end + 1..).unwrap_or_default();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &'static str) -> Event {
        Event::new(Bytes::from_static(text.as_bytes()), 0..text.len())
    }

    #[test]
    fn one_data_line_is_borrowed() {
        let event = event("id: 7\ndata: {\"a\": 1}\n\n");
        let data = event.fields().data;
        assert!(matches!(data, Some(Cow::Borrowed(b"{\"a\": 1}"))), "{data:?}");
    }

    #[test]
    fn several_data_lines_are_joined_by_lf_and_lose_one_leading_space_each() {
        let event = event("data:a\r\ndata:  b\rdata\ndata: \n\n");
        assert_eq!(event.fields().data.as_deref(), Some(&b"a\n b\n\n"[..]));
    }

    #[test]
    fn the_last_event_name_counts_and_a_field_name_is_taken_exactly() {
        let event = event("event: ping\nevent:error\n data: x\nDATA: y\ndata: z\n\n");
        let fields = event.fields();
        assert_eq!((fields.name, fields.data.as_deref()), (Some(&b"error"[..]), Some(&b"z"[..])));
    }

    #[test]
    fn each_kind_is_recognized() {
        let kinds = [
            ("\n", Kind::Blank),
            ("\r\n", Kind::Blank),
            (":\n\n", Kind::Comment),
            (": data: x\r\n\r\n", Kind::Comment),
            ("retry: 3\n\n", Kind::Field),
            (": hi\nid\n\n", Kind::Field),
            ("data\n\n", Kind::Data),
            ("data:\nid: 1\n: c\n\n", Kind::Data),
        ];
        for (text, kind) in kinds {
            assert_eq!(event(text).fields().kind, kind, "{text:?}");
        }
    }

    #[test]
    fn a_run_takes_only_the_event_right_behind_it_in_the_same_chunk() {
        let chunk = Bytes::from_static(b"a\n\nb\n\nc\n\n");
        let [a, b, c] = [0..3, 3..6, 6..9].map(|range| Event::new(chunk.clone(), range));
        let copy = Event::new(Bytes::copy_from_slice(&chunk), 3..6);

        let mut run = Run::from(a);
        assert!(run.append(c.clone()).is_err(), "a gap");
        assert!(run.append(copy).is_err(), "equal bytes elsewhere");
        assert!(run.append(b).is_ok());
        assert!(run.append(c).is_ok());
        let bytes = run.into_bytes();
        assert_eq!((bytes.as_ptr(), bytes.len()), (chunk.as_ptr(), 9), "no copy");
    }
}

//! The framer: finds where each event of a `text/event-stream` ends (WHATWG HTML §9.2.5 and §9.2.6). Pure.
//!
//! It returns every byte once and in order, as the upstream sent it, in its event. Only a leading byte order mark is
//! dropped: §9.2.5 requires readers to ignore it, and openai-python loses the first event because of it.

use std::mem;

use bytes::Bytes;
use memchr::memchr2;

use super::event::Event;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// Cuts a stream of chunks into events.
///
/// No byte is scanned twice. An event within one chunk is a slice of it; one that is split over chunks is joined once.
/// Between calls it holds at most `max_event` bytes and the current chunk.
#[derive(Debug)]
pub struct Framer {
    max_event: usize,
    /// The current chunk; empty when it has been read to its end.
    chunk: Bytes,
    /// The position in `chunk` at which the next event begins, or continues.
    start: usize,
    /// The bytes of the next event from earlier chunks; at most `max_event`.
    held: Vec<u8>,
    scanner: Scanner,
    /// The number of bytes of a byte order mark at the beginning of the stream; all of them once that is decided.
    bom: usize,
    failed: bool,
}

/// An event exceeds its maximum size. The rest of the stream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// The maximum size of an event, in bytes.
    pub max_event: usize,
}

impl Framer {
    /// Starts at the beginning of a stream whose events may have `max_event` bytes each.
    pub fn new(max_event: usize) -> Self {
        Self {
            max_event,
            chunk: Bytes::new(),
            start: 0,
            held: Vec::new(),
            scanner: Scanner::new(),
            bom: 0,
            failed: false,
        }
    }

    /// Adds the next bytes of the stream. [`Framer::next_event`] should have returned `None` before: the rest of the last
    /// chunk is copied otherwise.
    pub fn push(&mut self, chunk: Bytes) {
        let rest = &self.chunk[self.start..];
        self.chunk = if rest.is_empty() { chunk } else { [rest, &chunk].concat().into() };
        self.start = 0;
    }

    /// Returns the next event whose last byte has arrived, or `None` until more is pushed.
    ///
    /// An event that a CR ends is complete at that CR. If its LF comes in a later chunk, it is returned as a
    /// [`Blank`](super::event::Kind::Blank) event of its own.
    ///
    /// # Errors
    /// The event has more than `max_event` bytes, complete or not. Each later call returns the same error.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLong> {
        self.drop_bom();
        let unread = &self.chunk[self.start..];
        if unread.is_empty() || self.failed {
            self.chunk = Bytes::new();
            self.start = 0;
            return if self.failed { Err(self.too_long()) } else { Ok(None) };
        }
        if self.ended_in_cr() && unread[0] == b'\n' {
            self.scanner.saw_crlf();
            return Ok(Some(self.take(1)));
        }
        let end = self.scanner.find_end(unread);
        #[cfg(test)]
        {
            self.scanner.shown += end.unwrap_or(unread.len());
        }
        if self.held.len() + end.unwrap_or(unread.len()) > self.max_event {
            self.failed = true;
            return Err(self.too_long());
        }
        let Some(mut end) = end else {
            self.held.extend_from_slice(unread);
            self.chunk = Bytes::new();
            self.start = 0;
            return Ok(None);
        };
        if self.scanner.after_cr && unread.get(end) == Some(&b'\n') {
            self.scanner.saw_crlf();
            end += 1;
        }
        Ok(Some(self.take(end)))
    }

    /// Returns the bytes of an incomplete event. Empty at the end of a stream that ended between two events.
    pub fn unfinished(&self) -> &[u8] {
        &self.held
    }

    /// Whether the last event has ended with a CR whose LF is expected: the CR before had one.
    ///
    /// A line that the caller inserts must wait then: between the two it would turn that LF into a blank line. After the CR
    /// of an upstream that ends lines with CR nothing is expected. If an LF comes anyway, its blank line dispatches nothing,
    /// because the data buffer is empty (§9.2.6, "dispatch the event").
    pub fn awaits_lf(&self) -> bool {
        self.ended_in_cr() && self.scanner.crlf
    }

    /// Whether the last byte was a CR that ended an event: an LF now belongs to it.
    fn ended_in_cr(&self) -> bool {
        self.scanner.after_cr && self.held.is_empty()
    }

    /// Drops the byte order mark at the very beginning, which may come in pieces.
    fn drop_bom(&mut self) {
        let awaited = &BOM[self.bom..];
        let unread = &self.chunk[self.start..];
        let matched = awaited.iter().zip(unread).take_while(|(a, b)| a == b).count();
        if matched == awaited.len() {
            self.bom = BOM.len();
            self.start += matched;
            if matched > 0 {
                // the stream begins here: discard the mark's earlier bytes
                self.held.clear();
                self.scanner.line_start = true;
            }
        } else if matched < unread.len() {
            self.bom = BOM.len(); // something else, and what looked like it is the event's
        } else {
            self.bom += matched;
        }
    }

    /// Returns the event that ends after `len` more bytes of the chunk.
    fn take(&mut self, len: usize) -> Event {
        let range = self.start..self.start + len;
        self.start = range.end;
        if self.held.is_empty() {
            // the last event of a chunk takes the chunk over: if it is the only one, no byte and no handle is copied
            let chunk = if self.start == self.chunk.len() { mem::take(&mut self.chunk) } else { self.chunk.clone() };
            self.start = if self.chunk.is_empty() { 0 } else { self.start };
            return Event::new(chunk, range);
        }
        self.held.extend_from_slice(&self.chunk[range]);
        let joined = Bytes::from(mem::take(&mut self.held));
        let len = joined.len();
        Event::new(joined, 0..len)
    }

    fn too_long(&self) -> TooLong {
        TooLong { max_event: self.max_event }
    }
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an event has more than {} bytes", self.max_event)
    }
}

impl std::error::Error for TooLong {}

/// Finds blank lines. LF, CR and CRLF end a line, and each may be cut off anywhere.
#[derive(Debug)]
struct Scanner {
    /// At the beginning of a line: a line end here makes a blank line.
    line_start: bool,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    /// Whether the last completed CR had an LF; true at the beginning.
    crlf: bool,
    /// The number of scanned bytes.
    #[cfg(test)]
    shown: usize,
}

impl Scanner {
    fn new() -> Self {
        Self {
            line_start: true,
            after_cr: false,
            crlf: true,
            #[cfg(test)]
            shown: 0,
        }
    }

    /// Returns how many of the next bytes belong to the event, its end included, or `None` if it does not end in them.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest_of_crlf = byte == b'\n' && self.after_cr;
            if self.after_cr {
                self.crlf = rest_of_crlf;
            }
            self.after_cr = byte == b'\r';
            if rest_of_crlf {
                at += 1;
            } else if self.line_start && matches!(byte, b'\r' | b'\n') {
                return Some(at + 1);
            } else if let Some(line) = memchr2(b'\r', b'\n', &bytes[at..]) {
                self.line_start = true;
                self.after_cr = bytes[at + line] == b'\r';
                at += line + 1;
            } else {
                self.line_start = false;
                self.after_cr = false;
                break;
            }
        }
        None
    }

    /// Records that the LF of the last CR was read.
    fn saw_crlf(&mut self) {
        self.after_cr = false;
        self.crlf = true;
    }
}

#[cfg(test)]
mod tests;

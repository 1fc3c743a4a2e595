//! The events on the wire: 250-odd bytes each, as OpenAI sends them, all of one length, numbered and stamped with their
//! time of sending. Pure.

use std::fmt;

const HEAD: &[u8] = br#"data: {"id":"chatcmpl-edge0bench0edge","object":"chat.completion.chunk","created":1760000000,"model":"bench","system_fingerprint":"fp_edge0bench","choices":[{"index":0,"delta":{"content":" "#;
const TAIL: &[u8] = b"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const NUMBER: usize = 8;
const STAMP: usize = 16;

/// The length of every event, blank line included.
pub(crate) const EVENT: usize = HEAD.len() + NUMBER + 1 + STAMP + TAIL.len();
/// What ends a stream well.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// Appends event `number`, sent `nanos` after the run's start, to `out`.
pub(crate) fn event(number: u32, nanos: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    out.extend_from_slice(HEAD);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number:0NUMBER$} {nanos:0STAMP$}");
    out.extend_from_slice(TAIL);
}

/// What is wrong with the bytes of a stream.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Neither an event, nor a heartbeat, nor `[DONE]`.
    Garbage,
    /// An event out of turn: lost, repeated or swapped.
    OutOfTurn { expected: u32, got: u32 },
    /// Bytes after `[DONE]`.
    AfterDone,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Garbage => write!(f, "bytes that are no event of the source"),
            Fault::OutOfTurn { expected, got } => write!(f, "event {got} where {expected} was due"),
            Fault::AfterDone => write!(f, "bytes after [DONE]"),
        }
    }
}

impl std::error::Error for Fault {}

/// Takes a stream's bytes as they come and checks that they are the source's events, each once, in order.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    next: u32,
    done: bool,
    partial: Vec<u8>,
}

impl Reader {
    /// Calls `on_event` with the time stamp of every event that `bytes` completes.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut on_event: impl FnMut(u64)) -> Result<(), Fault> {
        if self.partial.is_empty() {
            let rest = self.take(bytes, &mut on_event)?;
            self.partial.extend_from_slice(&bytes[bytes.len() - rest..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let rest = self.take(&joined, &mut on_event)?;
        joined.drain(..joined.len() - rest);
        self.partial = joined;
        Ok(())
    }

    /// Whether `[DONE]` has come, and nothing is left over.
    pub(crate) fn is_done(&self) -> bool {
        self.done && self.partial.is_empty()
    }

    /// Returns how many bytes at the end of `bytes` are unfinished.
    fn take(&mut self, mut bytes: &[u8], on_event: &mut impl FnMut(u64)) -> Result<usize, Fault> {
        while let Some(first) = bytes.first() {
            if self.done {
                return Err(Fault::AfterDone);
            }
            if *first == b':' {
                let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { break };
                bytes = &bytes[end + 1..];
            } else if bytes.starts_with(DONE) {
                self.done = true;
                bytes = &bytes[DONE.len()..];
            } else if bytes.len() < EVENT {
                break;
            } else {
                let (event, rest) = bytes.split_at(EVENT);
                let (number, stamp) = parse(event).ok_or(Fault::Garbage)?;
                if number != self.next {
                    return Err(Fault::OutOfTurn { expected: self.next, got: number });
                }
                self.next += 1;
                on_event(stamp);
                bytes = rest;
            }
        }
        Ok(bytes.len())
    }
}

fn parse(event: &[u8]) -> Option<(u32, u64)> {
    let middle = event.strip_prefix(HEAD)?.strip_suffix(TAIL)?;
    let (number, stamp) = middle.split_at_checked(NUMBER)?;
    Some((digits(number)?.try_into().ok()?, digits(stamp.strip_prefix(b" ")?)?))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

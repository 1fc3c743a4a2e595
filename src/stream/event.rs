//! Events on their way from a source to a sink. They are framed and read once, where they come in; later stages use the flags.

use std::ops::BitOr;

use bytes::Bytes;
use sse::event::Run;
use tokio::time::Instant;

/// One event, or several adjacent events of one read where the sink is a body.
#[derive(Debug)]
pub struct Batch {
    run: Run,
    /// When the last byte came in; `None` for the gateway's own bytes, which are not measured.
    pub complete: Option<Instant>,
    /// The flags of the events.
    pub flags: Flags,
}

/// The properties of an event. A batch has the flags of all of its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// The event has output: content, reasoning, a refusal or a tool call.
    pub const OUTPUT: Self = Self(1);
    /// The event has only the usage. It is sent only to clients that ask for it.
    pub const USAGE_ONLY: Self = Self(1 << 1);
    /// The event has data: a client dispatches it.
    pub const DATA: Self = Self(1 << 2);
    /// The event has an `id` or a `retry` field.
    pub const ID_OR_RETRY: Self = Self(1 << 3);
    /// The event lacks its blank line: the stream ended without it.
    pub const UNENDED: Self = Self(1 << 4);
    /// The event proves that the stream is complete, and is the last one: `[DONE]`, in chat.
    pub const DONE: Self = Self(1 << 5);
    /// The event reports the progress of the prompt.
    pub const PROGRESS: Self = Self(1 << 6);

    /// Returns the bits of these flags.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the flags of these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether all of these flags are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Returns these flags if the condition is true, else none.
    #[must_use]
    pub const fn when(self, condition: bool) -> Self {
        Self(self.0 * condition as u8)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Batch {
    /// Makes a batch of an upstream's events.
    pub fn new(run: impl Into<Run>, complete: Instant, flags: Flags) -> Self {
        Self { run: run.into(), complete: Some(complete), flags }
    }

    /// Makes a batch of bytes that the gateway writes itself, or has measured before.
    pub fn own(bytes: Bytes, flags: Flags) -> Self {
        Self { run: bytes.into(), complete: None, flags }
    }

    /// Returns the bytes of all events.
    pub fn as_slice(&self) -> &[u8] {
        self.run.as_slice()
    }

    /// Returns the bytes of all events, as one slice of the chunk.
    pub fn into_bytes(self) -> Bytes {
        self.run.into_bytes()
    }

    /// Adds events that follow these directly in the same chunk.
    ///
    /// # Errors
    /// Returns the events if they do not follow directly.
    pub fn join(&mut self, next: Batch) -> Result<(), Batch> {
        let Batch { run, complete, flags } = next;
        match self.run.append(run) {
            Ok(()) => {
                self.complete = self.complete.max(complete);
                self.flags = self.flags | flags;
                Ok(())
            }
            Err(run) => Err(Batch { run, complete, flags }),
        }
    }
}

//! The meaning of one event of a stream: the same for each family. Pure.

use crate::api_error::ApiError;
use crate::fault::Fault;
use crate::usage::Usage;

/// The meaning of one event of an upstream's stream. The default is an event without a meaning for the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meaning {
    /// Whether the event has output: content, reasoning, a refusal, a tool call or audio that is not empty. The first output
    /// of a stream is its first token.
    pub output: bool,
    /// UTF-8 bytes of all text in it, for [`output_tokens`](crate::estimate::output_tokens).
    pub text_bytes: u64,
    /// The upstream's counts so far. Some upstreams send them in every event: the last ones count.
    pub usage: Option<Usage>,
    /// Whether it has only usage: the upstream sent it because usage was requested.
    pub usage_only: bool,
    /// Whether it reports how far the upstream has read the prompt.
    pub progress: bool,
    /// Whether the model has finished its answer: a stream that ends from here on is complete.
    pub finished: bool,
    /// Whether it proves that the stream is complete, and is its last event.
    pub terminal: bool,
    /// The upstream's report of a failure. None of its text is stored.
    pub fault: Option<Fault>,
    /// Whether its data is not of this family.
    pub malformed: bool,
}

/// Reads the events of one stream, in their order.
pub trait EventReader: Send {
    /// Reads an event that has data: the value of its `event` field, if it has one, and its data.
    fn read(&mut self, name: Option<&[u8]>, data: &[u8]) -> Meaning;

    /// Returns the event that reports a failure after the events that were read, with the blank line that ends it. It is the
    /// last one of the stream.
    fn failure(&self, error: &ApiError<'_>) -> Vec<u8>;
}

impl Meaning {
    /// Returns the meaning of an event in which the upstream reports a failure.
    pub fn failed(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

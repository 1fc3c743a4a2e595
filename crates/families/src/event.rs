//! What one event of a stream means: the same for each family. Pure.

use crate::api_error::ApiError;
use crate::fault::Fault;
use crate::usage::Usage;

/// What one event of an upstream's stream means. The default is an event that means nothing to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meaning {
    /// The event has output: content, reasoning, a refusal, a tool call or audio that is not empty. The first output of a stream
    /// is its first token.
    pub output: bool,
    /// UTF-8 bytes of all text in it, for [`output_tokens`](crate::estimate::output_tokens).
    pub text_bytes: u64,
    /// The upstream's counts up to here. Some upstreams send them in every event: the last ones hold.
    pub usage: Option<Usage>,
    /// It has nothing but usage: the upstream sent it only because usage was asked for.
    pub usage_only: bool,
    /// The model has finished its answer: a stream that ends from here on is complete.
    pub finished: bool,
    /// It proves that the stream is complete, and is its last event.
    pub terminal: bool,
    /// The upstream reports that it failed. Nothing of its text is stored.
    pub fault: Option<Fault>,
    /// Its data is none of this family.
    pub malformed: bool,
}

/// Reads the events of one stream, in their order.
pub trait EventReader: Send {
    /// Reads an event that has data: the value of its `event` field, if it has one, and its data.
    fn read(&mut self, name: Option<&[u8]>, data: &[u8]) -> Meaning;

    /// The event that reports a failure behind the events that were read, with the blank line that ends it. It is the last one of
    /// the stream.
    fn failure(&self, error: &ApiError<'_>) -> Vec<u8>;
}

impl Meaning {
    /// The meaning of an event in which the upstream reports that it failed.
    pub fn failed(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

//! What a chunk of a completion holds, as far as the gateway cares.

use crate::usage::Usage;

/// What a chunk of a completion holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta {
    /// Some choice says something: content, reasoning, a refusal, a tool call or audio that is not empty. A role alone, null
    /// and empty strings are not output.
    pub output: bool,
    /// UTF-8 bytes of all text in it, for [`output_tokens`](crate::estimate::output_tokens).
    pub text_bytes: u64,
    /// Some choice has a finish reason.
    pub finished: bool,
    /// The upstream's counts. Some upstreams send them in every chunk: the last ones count.
    pub usage: Option<Usage>,
    /// It has usage and no choices: sent only because `stream_options.include_usage` asked for it.
    pub usage_only: bool,
}

//! Running totals of a completion, counted from its events. Pure.

use crate::price::Count;
use families::estimate;
use families::event::Meaning;
use families::usage::Usage;

/// Running totals of one completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u64,
    /// Events that carried output.
    pub output_events: u64,
    /// Bytes of output text.
    pub output_bytes: u64,
    /// The upstream's own count, if it came.
    pub usage: Option<Usage>,
    /// A finish reason was seen.
    pub finished: bool,
    /// The event that proves a complete stream was seen, such as `[DONE]`.
    pub done: bool,
}

/// Where token counts come from; the value of the label `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The upstream's `usage`.
    Usage,
    /// Counted here, by [`estimate`].
    Estimate,
}

/// Tokens of one completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// The numbers.
    pub count: Count,
    /// Their source.
    pub source: Source,
}

impl Source {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Usage => "usage",
            Source::Estimate => "estimate",
        }
    }
}

impl Tally {
    /// For a prompt of this many tokens, estimated.
    pub fn new(prompt_tokens: u64) -> Self {
        Self { prompt_tokens, ..Self::default() }
    }

    /// Adds one event.
    pub fn add(&mut self, event: &Meaning) {
        self.output_events += u64::from(event.output);
        self.output_bytes += event.text_bytes;
        self.finished |= event.finished;
        self.done |= event.terminal;
        // some servers send a running count with every event: the last one is the total
        self.usage = event.usage.or(self.usage);
    }

    /// The tokens: the upstream's count, or an estimate.
    pub fn tokens(&self) -> Tokens {
        match self.usage {
            Some(usage) => Tokens {
                count: Count {
                    input: usage.prompt,
                    cached: usage.cached,
                    cache_write: usage.cache_write,
                    output: usage.completion,
                    reasoning: usage.reasoning,
                },
                source: Source::Usage,
            },
            None => Tokens {
                count: Count {
                    input: self.prompt_tokens,
                    output: estimate::output_tokens(self.output_bytes, self.output_events),
                    ..Count::default()
                },
                source: Source::Estimate,
            },
        }
    }
}

//! The contents of a whole answer: the same for each family. Pure.

use std::fmt;

use crate::fault::Fault;
use crate::usage::Usage;

/// The contents of a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// The upstream's counts.
    pub usage: Option<Usage>,
    /// Whether it has output, as [`Meaning::output`](crate::event::Meaning::output).
    pub output: bool,
    /// UTF-8 bytes of all text in it, for [`output_tokens`](crate::estimate::output_tokens).
    pub text_bytes: u64,
    /// Whether the model has finished, by its own report.
    pub finished: bool,
}

/// One event of the stream that a whole answer is split into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The event, with the blank line that ends it.
    pub event: Vec<u8>,
    /// Whether it has output, as [`Meaning::output`](crate::event::Meaning::output).
    pub output: bool,
    /// Whether it has only usage, as [`Meaning::usage_only`](crate::event::Meaning::usage_only).
    pub usage_only: bool,
}

/// Why the body of a successful response is not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is an error object.
    Error(Fault),
    /// It is not the JSON object that this family sends.
    Malformed,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Error(fault) => write!(f, "the upstream's answer is an error ({})", fault.as_str()),
            NoAnswer::Malformed => f.write_str("the upstream's answer is not of the family that was asked for"),
        }
    }
}

impl std::error::Error for NoAnswer {}

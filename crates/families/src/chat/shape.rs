//! The types of OpenAI's request parameters: strict for known parameters, without an opinion on unknown ones. Pure.

use std::fmt;

use crate::json::{Kind, Path};

/// The expected type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of these types.
    OneOf(&'static [Kind]),
    /// A whole number from 1, or null.
    Count,
    /// A whole number, or null.
    Whole,
}

use Kind::{Array, Boolean, Null, Number, Object, String};

/// The top-level parameters of OpenAI's API reference.
pub(super) const PARAMETERS: &[&str] = &[
    "messages",
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "stop",
    "response_format",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "web_search_options",
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// The type of a top-level parameter that all providers define alike. Others, and the providers' own, are passed on
/// unchanged.
fn of_parameter(name: &str) -> Option<Shape> {
    Some(match name {
        "model" => Shape::OneOf(&[String, Null]),
        "stream" | "logprobs" | "parallel_tool_calls" => Shape::OneOf(&[Boolean, Null]),
        "stream_options" | "logit_bias" | "response_format" => Shape::OneOf(&[Object, Null]),
        "max_tokens" | "max_completion_tokens" | "n" => Shape::Count,
        "temperature" | "top_p" | "frequency_penalty" | "presence_penalty" => Shape::OneOf(&[Number, Null]),
        "seed" | "top_logprobs" => Shape::Whole,
        "stop" => Shape::OneOf(&[String, Array, Null]),
        "tools" | "functions" => Shape::OneOf(&[Array, Null]),
        "tool_choice" => Shape::OneOf(&[String, Object, Null]),
        _ => return None,
    })
}

/// Checks the top-level parameter at `path`, if it is a known one.
///
/// # Errors
/// The sentence for the client.
pub(super) fn check_parameter(path: &Path<'_>, name: &str, value: &str) -> Result<(), std::string::String> {
    of_parameter(name).map_or(Ok(()), |shape| shape.check(path, value))
}

/// Returns the sentence for a missing member.
pub(super) fn missing(path: &Path<'_>, expected: &str) -> std::string::String {
    format!("{path}: expected {expected}, found nothing")
}

impl Shape {
    /// Checks the value at `path`: JSON without white space around it.
    ///
    /// # Errors
    /// The sentence for the client.
    pub(super) fn check(self, path: &Path<'_>, value: &str) -> Result<(), std::string::String> {
        let kind = Kind::of(value);
        let fits = match self {
            Shape::OneOf(kinds) => kinds.contains(&kind),
            Shape::Count => kind == Null || value.parse().is_ok_and(|count: u64| count > 0),
            Shape::Whole => kind == Null || value.parse::<i64>().is_ok(),
        };
        if fits {
            return Ok(());
        }
        // a number of the wrong kind is shown, unless it is very long
        let found = match (self, kind) {
            (Shape::Count | Shape::Whole, Number) if value.len() <= 24 => value.to_owned(),
            _ => kind.to_string(),
        };
        Err(format!("{path}: expected {self}, found {found}"))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Count => f.write_str("a whole number from 1, or null"),
            Shape::Whole => f.write_str("a whole number or null"),
            Shape::OneOf(kinds) => {
                for (at, kind) in kinds.iter().enumerate() {
                    let before = match at {
                        0 => "",
                        _ if at + 1 == kinds.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}{kind}")?;
                }
                Ok(())
            }
        }
    }
}

//! The types of OpenAI's request parameters: strict enough to name what is wrong, silent on what is unknown.

use std::fmt;

use serde_json::value::RawValue;

use super::text;
use crate::json::{self, Kind, Path};

/// What a value must be.
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

/// Top-level parameters whose type is the same everywhere. Others, and the providers' own, go through untouched.
const PARAMETERS: [(&str, Shape); 20] = [
    ("model", Shape::OneOf(&[String, Null])),
    ("stream", Shape::OneOf(&[Boolean, Null])),
    ("stream_options", Shape::OneOf(&[Object, Null])),
    ("max_tokens", Shape::Count),
    ("max_completion_tokens", Shape::Count),
    ("n", Shape::Count),
    ("temperature", Shape::OneOf(&[Number, Null])),
    ("top_p", Shape::OneOf(&[Number, Null])),
    ("frequency_penalty", Shape::OneOf(&[Number, Null])),
    ("presence_penalty", Shape::OneOf(&[Number, Null])),
    ("seed", Shape::Whole),
    ("logprobs", Shape::OneOf(&[Boolean, Null])),
    ("top_logprobs", Shape::Whole),
    ("logit_bias", Shape::OneOf(&[Object, Null])),
    ("stop", Shape::OneOf(&[String, Array, Null])),
    ("tools", Shape::OneOf(&[Array, Null])),
    ("tool_choice", Shape::OneOf(&[String, Object, Null])),
    ("parallel_tool_calls", Shape::OneOf(&[Boolean, Null])),
    ("functions", Shape::OneOf(&[Array, Null])),
    ("response_format", Shape::OneOf(&[Object, Null])),
];

/// Checks a top-level parameter, if it is a known one.
///
/// # Errors
/// The sentence for the client.
pub(super) fn check_parameter(name: &str, value: &RawValue) -> Result<(), std::string::String> {
    match PARAMETERS.iter().find(|(known, _)| *known == name) {
        Some((_, shape)) => shape.check(&Path::Member(&Path::Top, name), value),
        None => Ok(()),
    }
}

/// What the messages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Prompt {
    /// How many messages there are; never 0.
    pub(super) messages: u64,
    /// UTF-8 bytes of the text in them.
    pub(super) text_bytes: u64,
}

/// Checks the messages, an array of objects with a role each and content of a known type, and measures them.
///
/// # Errors
/// The sentence for the client.
pub(super) fn check_messages(messages: &RawValue) -> Result<Prompt, std::string::String> {
    let path = Path::Member(&Path::Top, "messages");
    Shape::OneOf(&[Array]).check(&path, messages)?;
    let mut prompt = Prompt::default();
    for (index, message) in json::elements(messages).unwrap_or_default().into_iter().enumerate() {
        prompt.text_bytes += check_message(&Path::Element(&path, index), message)?;
        prompt.messages += 1;
    }
    match prompt.messages {
        0 => Err(format!("{path}: expected at least one message, found an empty array")),
        _ => Ok(prompt),
    }
}

/// Checks one message, and counts the bytes of its text.
fn check_message(path: &Path<'_>, message: &RawValue) -> Result<u64, std::string::String> {
    Shape::OneOf(&[Object]).check(path, message)?;
    let (mut text_bytes, mut has_role) = (0, false);
    for (name, value) in json::members(message.get()).unwrap_or_default() {
        let path = Path::Member(path, &name);
        match &*name {
            "role" => {
                Shape::OneOf(&[String]).check(&path, value)?;
                has_role = true;
            }
            "content" => {
                Shape::OneOf(&[String, Array, Null]).check(&path, value)?;
                for (index, part) in json::elements(value).unwrap_or_default().into_iter().enumerate() {
                    Shape::OneOf(&[Object]).check(&Path::Element(&path, index), part)?;
                }
                text_bytes += text::measure(value).bytes;
            }
            "name" | "tool_calls" | "function_call" | "refusal" | "reasoning_content" => {
                text_bytes += text::measure(value).bytes;
            }
            _ => {}
        }
    }
    if has_role { Ok(text_bytes) } else { Err(missing(&Path::Member(path, "role"), "a string")) }
}

/// The sentence for a member that is not there.
pub(super) fn missing(path: &Path<'_>, expected: &str) -> std::string::String {
    format!("{path}: expected {expected}, found nothing")
}

impl Shape {
    /// Checks the value at `path`.
    ///
    /// # Errors
    /// The sentence for the client.
    pub(super) fn check(self, path: &Path<'_>, value: &RawValue) -> Result<(), std::string::String> {
        let kind = Kind::of(value);
        let fits = match self {
            Shape::OneOf(kinds) => kinds.contains(&kind),
            Shape::Count => kind == Null || value.get().parse().is_ok_and(|count: u64| count > 0),
            Shape::Whole => kind == Null || value.get().parse::<i64>().is_ok(),
        };
        if fits {
            return Ok(());
        }
        // a number of the wrong sort is better shown than named, unless it is absurdly long
        let found = match (self, kind, value.get()) {
            (Shape::Count | Shape::Whole, Number, number) if number.len() <= 24 => number.to_owned(),
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

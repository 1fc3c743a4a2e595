//! The types of OpenAI's request parameters: strict enough to name what is wrong, silent on what is unknown.

use std::fmt;

use serde_json::value::RawValue;

use super::json::{self, Kind, Path};

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

/// Checks the messages: an array of objects with a role each, and content of a known type.
///
/// # Errors
/// The sentence for the client.
pub(super) fn check_messages(messages: &RawValue) -> Result<(), std::string::String> {
    const CONTENT: Shape = Shape::OneOf(&[String, Array, Null]);
    let path = Path::Member(&Path::Top, "messages");
    Shape::OneOf(&[Array]).check(&path, messages)?;
    let messages = json::elements(messages).unwrap_or_default();
    if messages.is_empty() {
        return Err(format!("{path}: expected at least one message, found an empty array"));
    }
    for (index, message) in messages.into_iter().enumerate() {
        let path = Path::Element(&path, index);
        Shape::OneOf(&[Object]).check(&path, message)?;
        let mut role = None;
        for (name, value) in json::members(message).unwrap_or_default() {
            match &*name {
                "role" => role = Some(value),
                "content" => {
                    let path = Path::Member(&path, "content");
                    CONTENT.check(&path, value)?;
                    let parts = json::elements(value).unwrap_or_default();
                    for (index, part) in parts.into_iter().enumerate() {
                        Shape::OneOf(&[Object]).check(&Path::Element(&path, index), part)?;
                    }
                }
                _ => {}
            }
        }
        let role_path = Path::Member(&path, "role");
        Shape::OneOf(&[String]).check(&role_path, role.ok_or_else(|| missing(&role_path, "a string"))?)?;
    }
    Ok(())
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
        // a number of the wrong sort is better shown than named; it is short, or else it is cut
        let found = match kind {
            Number => value.get().get(..24).unwrap_or(value.get()).to_owned(),
            kind => kind.to_string(),
        };
        let found = if matches!(self, Shape::OneOf(_)) { kind.to_string() } else { found };
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

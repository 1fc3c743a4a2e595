//! The contents of a completion, or of a chunk of one: read in one pass, and without an allocation in the usual case. Pure.
//!
//! Upstreams differ: members may be null, missing, duplicate, of another type than OpenAI's, or unknown. All of this is
//! tolerated, and only known members are counted.

use super::text;
use crate::json::cursor::{Cursor, NotJson};
use crate::usage::Usage;

/// The contents of a completion or a chunk.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    /// Whether a choice has output.
    pub(super) output: bool,
    /// UTF-8 bytes of all text in all choices.
    pub(super) text_bytes: u64,
    /// Whether a choice has a finish reason.
    pub(super) finished: bool,
    /// The number of choices.
    pub(super) choices: u64,
    /// The upstream's counts, if it gives any.
    pub(super) usage: Option<Usage>,
    /// A top-level `error` that is not null, false, zero or empty text, as JSON: OpenAI's SDKs raise an exception for it.
    pub(super) error: Option<&'a str>,
}

/// The position at which the text for [`read`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// At the beginning of the object.
    Object,
    /// At the value of the object's member `choices`; no member before it is one that is read.
    Choices,
}

/// Reads a JSON object; returns `None` for any other value.
///
/// Bytes that are not UTF-8 are read as U+FFFD, as a client sees them. This needs a copy, hence the closure.
pub(super) fn read<T>(json: &[u8], begin: Begin, then: impl FnOnce(Option<Contents<'_>>) -> T) -> T {
    match std::str::from_utf8(json) {
        Ok(json) => then(Contents::read(json, begin).ok()),
        Err(_) => then(Contents::read(&String::from_utf8_lossy(json), begin).ok()),
    }
}

impl<'a> Contents<'a> {
    fn read(json: &'a str, begin: Begin) -> Result<Self, NotJson> {
        let mut contents = Self::default();
        let (mut cursor, mut members) = match begin {
            Begin::Object => {
                let mut cursor = Cursor::lenient(json);
                let members = cursor.object()?;
                (cursor, members)
            }
            Begin::Choices => {
                let (mut cursor, members) = Cursor::within_object(json);
                contents.read_choices(&mut cursor)?;
                (cursor, members)
            }
        };
        while let Some(name) = members.next(&mut cursor)? {
            match &*name {
                "choices" => contents.read_choices(&mut cursor)?,
                "usage" => contents.read_usage(&mut cursor)?,
                "error" => contents.error = Some(cursor.value()?.text).filter(|error| is_truthy(error)),
                _ => drop(cursor.value()?),
            }
        }
        cursor.end()?;
        Ok(contents)
    }

    fn read_choices(&mut self, cursor: &mut Cursor<'a>) -> Result<(), NotJson> {
        let Some(mut choices) = cursor.array_or_skip()? else { return Ok(()) };
        while choices.next(cursor)? {
            self.choices += 1;
            let Some(mut members) = cursor.object_or_skip()? else { continue };
            while let Some(name) = members.next(cursor)? {
                match &*name {
                    "delta" | "message" => self.read_delta(cursor)?,
                    "finish_reason" => self.finished |= is_truthy(cursor.value()?.text),
                    _ => drop(cursor.value()?),
                }
            }
        }
        Ok(())
    }

    fn read_delta(&mut self, cursor: &mut Cursor<'a>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            let value = cursor.value()?;
            let is_output = matches!(
                &*name,
                "content"
                    | "reasoning_content"
                    | "reasoning"
                    | "reasoning_details"
                    | "refusal"
                    | "tool_calls"
                    | "function_call"
                    | "audio"
            );
            if is_output {
                let text = text::measure(value.text);
                self.output |= text.present;
                self.text_bytes += text.bytes;
            }
        }
        Ok(())
    }

    fn read_usage(&mut self, cursor: &mut Cursor<'a>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            match &*name {
                "prompt_tokens" => self.read_count(cursor, |usage| &mut usage.prompt)?,
                "completion_tokens" => self.read_count(cursor, |usage| &mut usage.completion)?,
                "prompt_cache_hit_tokens" => self.read_count(cursor, |usage| &mut usage.cached)?,
                "prompt_tokens_details" => self.read_detail(cursor, "cached_tokens", |usage| &mut usage.cached)?,
                "completion_tokens_details" => {
                    self.read_detail(cursor, "reasoning_tokens", |usage| &mut usage.reasoning)?;
                }
                _ => drop(cursor.value()?),
            }
        }
        Ok(())
    }

    /// Reads the member of this name.
    fn read_detail(
        &mut self,
        cursor: &mut Cursor<'a>,
        wanted: &str,
        count: impl Fn(&mut Usage) -> &mut u64,
    ) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            match name == wanted {
                true => self.read_count(cursor, &count)?,
                false => drop(cursor.value()?),
            }
        }
        Ok(())
    }

    fn read_count(&mut self, cursor: &mut Cursor<'a>, count: impl Fn(&mut Usage) -> &mut u64) -> Result<(), NotJson> {
        let number = cursor.value()?.text;
        // some servers write 12.0
        if let Ok(number) = number.strip_suffix(".0").unwrap_or(number).parse() {
            *count(self.usage.get_or_insert_default()) = number;
        }
        Ok(())
    }
}

/// Whether JavaScript and Python treat the value as true. Empty containers, for which the two differ, count as true.
fn is_truthy(value: &str) -> bool {
    !matches!(value, "null" | "false" | "0" | "\"\"")
}

#[cfg(test)]
mod tests;

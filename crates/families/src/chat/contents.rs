//! The contents of a completion, or of a chunk of one: read in one pass, and without an allocation in the usual case. Pure.
//!
//! Upstreams differ: members may be null, missing, duplicate, of another type than OpenAI's, or unknown. All of this is
//! tolerated, and only known members are counted.

use super::counts::Counts;
use super::text;
use crate::error_object::ErrorObject;
use crate::fault::Fault;
use crate::json::Kind;
use crate::json::cursor::{Cursor, NotJson, Value};

/// The contents of a completion or a chunk.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    /// Whether a choice has output.
    pub(super) output: bool,
    /// UTF-8 bytes of all text in all choices.
    pub(super) text_bytes: u64,
    /// Whether a choice has a finish reason.
    pub(super) finished: bool,
    /// The failure that a finish reason reports.
    pub(super) failure: Option<Fault>,
    /// The number of choices.
    pub(super) choices: u64,
    /// The upstream's counts, if it gives any.
    pub(super) counts: Counts,
    /// Whether it reports the progress of the prompt, as llama.cpp does with `return_progress`.
    pub(super) progress: bool,
    /// Whether it has a member, not null, that a chunk with only the usage does not have. `choices` is not one of them.
    pub(super) more: bool,
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
                "usage" => contents.counts.read_usage(&mut cursor)?,
                "cached_tokens" => contents.counts.read_cached(&mut cursor)?,
                // Groq, beside its `usage` and before it had one
                "x_groq" => contents.counts.read_within(&mut cursor)?,
                "error" => contents.error = Some(cursor.value()?.text).filter(|error| is_truthy(error)),
                "id" | "object" | "created" | "model" | "service_tier" | "system_fingerprint" | "obfuscation" => {
                    cursor.value()?;
                }
                name => {
                    let (is_timings, is_progress) = (name == "timings", name == "prompt_progress");
                    let value = match is_timings {
                        true => contents.counts.read_timings(&mut cursor)?,
                        false => cursor.value()?,
                    };
                    contents.progress |= is_progress && value.kind() == Kind::Object;
                    contents.more |= value.kind() != Kind::Null;
                }
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
            let (mut failure, mut error) = (None, None);
            while let Some(name) = members.next(cursor)? {
                match &*name {
                    "delta" | "message" => self.read_delta(cursor)?,
                    "finish_reason" => {
                        let reason = cursor.value()?;
                        self.finished |= is_truthy(reason.text);
                        failure = failed(reason);
                    }
                    // OpenRouter
                    "error" => error = Some(cursor.value()?.text),
                    // Moonshot
                    "usage" => self.counts.read_usage(cursor)?,
                    _ => drop(cursor.value()?),
                }
            }
            if let Some(failure) = failure {
                let named = error.and_then(|error| ErrorObject::read(error.as_bytes()).fault);
                self.failure = Some(named.unwrap_or(failure));
            }
        }
        Ok(())
    }

    fn read_delta(&mut self, cursor: &mut Cursor<'a>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            let value = cursor.value()?;
            if name != "role" {
                let text = text::measure(value.text);
                self.output |= text.present;
                // text under any other name may as well be a picture in base64
                if text::is_text(&name) {
                    self.text_bytes += text.bytes;
                }
            }
        }
        Ok(())
    }
}

/// Returns the failure that a finish reason reports, or `None` for a reason of success and for an unknown one.
fn failed(reason: Value<'_>) -> Option<Fault> {
    match &*reason.string()? {
        // Mistral and OpenRouter; vLLM and SGLang; Zhipu
        "error" | "abort" | "network_error" => Some(Fault::Other),
        // DeepSeek
        "insufficient_system_resource" => Some(Fault::Overloaded),
        _ => None,
    }
}

/// Whether JavaScript and Python treat the value as true. Empty containers, for which the two differ, count as true.
fn is_truthy(value: &str) -> bool {
    !matches!(value, "null" | "false" | "0" | "\"\"")
}

#[cfg(test)]
mod tests;

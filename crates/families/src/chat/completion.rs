//! Reads a completion, or a chunk of one, in a single pass and without allocating in the usual case.
//!
//! Upstreams differ: members may be null, missing, doubled, of another type than OpenAI's, or unknown. All that is
//! tolerated, and only what is understood is counted.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::text;
use crate::usage::Usage;

/// What a completion or a chunk holds.
#[derive(Debug, Default)]
pub(super) struct Seen<'de> {
    /// Some choice says something.
    pub(super) output: bool,
    /// UTF-8 bytes of all text in all choices.
    pub(super) text_bytes: u64,
    /// Some choice has a finish reason.
    pub(super) finished: bool,
    /// How many choices there are.
    pub(super) choices: u64,
    /// The upstream's counts, if it gives any.
    pub(super) usage: Option<Usage>,
    /// A top-level `error` that is not null, false, zero or empty text: what OpenAI's SDKs raise on.
    pub(super) error: Option<&'de RawValue>,
}

/// Reads a JSON object; `None` if it is anything else.
///
/// Bytes that are not UTF-8 are read as the U+FFFD that a client sees in their place, which needs a copy: hence the closure.
pub(super) fn read<T>(json: &[u8], then: impl FnOnce(Option<Seen<'_>>) -> T) -> T {
    match std::str::from_utf8(json) {
        Ok(json) => then(Seen::read(json)),
        Err(_) => then(Seen::read(&String::from_utf8_lossy(json))),
    }
}

impl<'de> Seen<'de> {
    fn read(json: &'de str) -> Option<Self> {
        if !json.trim_ascii_start().starts_with('{') {
            return None;
        }
        let mut seen = Self::default();
        let mut input = serde_json::Deserializer::from_str(json);
        Walk { at: At::Top, seen: &mut seen }.deserialize(&mut input).ok()?;
        input.end().ok()?;
        Some(seen)
    }

    fn says(&mut self, value: &RawValue) {
        let text = text::measure(value);
        self.output |= text.present;
        self.text_bytes += text.bytes;
    }

    fn counts(&mut self, value: &RawValue, count: impl FnOnce(&mut Usage) -> &mut u64) {
        // some servers write 12.0
        let number = value.get().strip_suffix(".0").unwrap_or(value.get()).parse();
        if let Ok(number) = number {
            *count(self.usage.get_or_insert_default()) = number;
        }
    }
}

/// The places that are read; everything elsewhere is skipped.
#[derive(Debug, Clone, Copy)]
enum At {
    Top,
    Choices,
    Choice,
    Delta,
    Usage,
    PromptDetails,
    CompletionDetails,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Choices,
    Usage,
    Error,
    Delta,
    Message,
    FinishReason,
    Content,
    ReasoningContent,
    Reasoning,
    ReasoningDetails,
    Refusal,
    ToolCalls,
    FunctionCall,
    Audio,
    PromptTokens,
    CompletionTokens,
    PromptCacheHitTokens,
    PromptTokensDetails,
    CompletionTokensDetails,
    CachedTokens,
    ReasoningTokens,
    #[serde(other)]
    Other,
}

/// Reads the value at one place into `seen`.
struct Walk<'a, 'de> {
    at: At,
    seen: &'a mut Seen<'de>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { at, seen } = self;
        while let Some(key) = map.next_key()? {
            let inner = match (at, key) {
                (At::Top, Key::Choices) => At::Choices,
                (At::Top, Key::Usage) => At::Usage,
                (At::Choice, Key::Delta | Key::Message) => At::Delta,
                (At::Usage, Key::PromptTokensDetails) => At::PromptDetails,
                (At::Usage, Key::CompletionTokensDetails) => At::CompletionDetails,
                (at, key) => {
                    leaf(at, key, seen, &mut map)?;
                    continue;
                }
            };
            map.next_value_seed(Walk { at: inner, seen })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { at, seen } = self;
        if !matches!(at, At::Choices) {
            return IgnoredAny.visit_seq(seq).map(drop);
        }
        while seq.next_element_seed(Walk { at: At::Choice, seen })?.is_some() {
            seen.choices += 1;
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a member that is not walked into.
fn leaf<'de, A: MapAccess<'de>>(at: At, key: Key, seen: &mut Seen<'de>, map: &mut A) -> Result<(), A::Error> {
    match (at, key) {
        (
            At::Delta,
            Key::Content
            | Key::ReasoningContent
            | Key::Reasoning
            | Key::ReasoningDetails
            | Key::Refusal
            | Key::ToolCalls
            | Key::FunctionCall
            | Key::Audio,
        ) => seen.says(map.next_value()?),
        (At::Choice, Key::FinishReason) => seen.finished |= is_truthy(map.next_value()?),
        (At::Top, Key::Error) => {
            let error: &RawValue = map.next_value()?;
            seen.error = Some(error).filter(|error| is_truthy(error));
        }
        (At::Usage, Key::PromptTokens) => seen.counts(map.next_value()?, |usage| &mut usage.prompt),
        (At::Usage, Key::CompletionTokens) => seen.counts(map.next_value()?, |usage| &mut usage.completion),
        (At::Usage, Key::PromptCacheHitTokens) | (At::PromptDetails, Key::CachedTokens) => {
            seen.counts(map.next_value()?, |usage| &mut usage.cached);
        }
        (At::CompletionDetails, Key::ReasoningTokens) => seen.counts(map.next_value()?, |usage| &mut usage.reasoning),
        _ => {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(())
}

/// JavaScript's and Python's idea of truth, but for empty containers, on which those two differ.
fn is_truthy(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "false" | "0" | "\"\"")
}

//! Measures the text in a JSON value, without a copy of it. Pure.

use memchr::memchr;

use crate::json::Kind;
use crate::json::cursor::{Cursor, NotJson};

/// The result of [`measure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Text {
    /// Whether the value is a string, an array or an object, and not empty.
    pub(super) present: bool,
    /// UTF-8 bytes of its text, unescaped.
    pub(super) bytes: u64,
}

/// Measures a string, or the text in an array or object of content parts, tool calls or reasoning details: a JSON value without
/// white space around it.
///
/// Images, audio, identifiers and other members that are not text are not counted.
pub(super) fn measure(value: &str) -> Text {
    match value.as_bytes() {
        [b'"', escaped @ .., b'"'] => Text { present: !escaped.is_empty(), bytes: unescaped_len(escaped) },
        [b'[' | b'{', inside @ .., _] if !inside.trim_ascii().is_empty() => {
            let mut bytes = 0;
            // a value that is nested too deeply to be read ends the count and has no other effect
            let _ = count(&mut Cursor::lenient(value), &mut bytes);
            Text { present: true, bytes }
        }
        _ => Text::default(),
    }
}

/// Adds up the strings that are text: those in arrays, and those under the names that have text.
fn count(cursor: &mut Cursor<'_>, bytes: &mut u64) -> Result<(), NotJson> {
    match cursor.kind()? {
        Kind::String => *bytes += unescaped_len(cursor.string()?.as_bytes()),
        Kind::Array => {
            let mut elements = cursor.array()?;
            while elements.next(cursor)? {
                count(cursor, bytes)?;
            }
        }
        Kind::Object => {
            let mut members = cursor.object()?;
            while let Some(name) = members.next(cursor)? {
                if is_text(&name) {
                    count(cursor, bytes)?;
                } else {
                    cursor.value()?;
                }
            }
        }
        Kind::Null | Kind::Boolean | Kind::Number => drop(cursor.value()?),
    }
    Ok(())
}

/// Whether a member of this name has text that a model reads or writes, in the messages and parts of OpenAI, Anthropic or
/// Mistral.
pub(super) fn is_text(name: &str) -> bool {
    matches!(
        name,
        "text"
            | "content"
            | "name"
            | "arguments"
            | "function"
            | "function_call"
            | "tool_calls"
            | "refusal"
            | "reasoning"
            | "reasoning_content"
            | "reasoning_details"
            | "summary"
            | "thinking"
            | "audio"
            | "transcript"
    )
}

/// Returns the length in UTF-8 of the text between the quotation marks of a JSON string (RFC 8259 §7).
fn unescaped_len(mut escaped: &[u8]) -> u64 {
    let mut len = 0;
    while let Some(at) = memchr(b'\\', escaped) {
        let (written, meant) = match escaped.get(at + 1) {
            Some(b'u') => (6, utf8_len(escaped.get(at + 2..at + 6).unwrap_or_default())),
            _ => (2, 1),
        };
        len += at + meant;
        escaped = escaped.get(at + written..).unwrap_or_default();
    }
    (len + escaped.len()) as u64
}

/// Returns the length in UTF-8 of one `\uXXXX`. A surrogate pair is two of them and four bytes: two for each half.
fn utf8_len(hex: &[u8]) -> usize {
    let unit = hex.iter().fold(0, |unit, digit| unit << 4 | (*digit as char).to_digit(16).unwrap_or(0));
    match unit {
        0..=0x7f => 1,
        0x80..=0x7ff | 0xd800..=0xdfff => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(json: &str) -> (bool, u64) {
        let text = measure(json);
        (text.present, text.bytes)
    }

    #[test]
    fn what_is_null_empty_or_no_text_says_nothing() {
        for json in ["null", "\"\"", "[]", "{ }", "[\n]", "0", "true"] {
            assert_eq!(measured(json), (false, 0), "{json}");
        }
    }

    #[test]
    fn escapes_count_as_what_they_mean() {
        assert_eq!(measured(r#""a\n\"\\""#), (true, 4));
        assert_eq!(measured(r#""\u0041\u00e9\u4f60\ud83d\ude00""#), (true, 1 + 2 + 3 + 4));
        assert_eq!(measured(r#""\ud83d""#), (true, 2), "half a pair");
    }

    #[test]
    fn parts_count_their_text_and_not_their_images() {
        let parts =
            r#"[{"type":"text","text":"four"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]"#;
        assert_eq!(measured(parts), (true, 4));
        let calls = r#"[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\""}}]"#;
        assert_eq!(measured(calls), (true, 1 + 4));
        assert_eq!(measured(r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]"#), (true, 2));
    }

    #[test]
    fn absurd_depth_is_measured_without_harm() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(measured(&deep), (true, 0));
    }

    proptest! {
        #[test]
        fn a_string_is_as_long_as_serde_reads_it(text in any::<String>(), ascii: bool) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                let escape = |c: char| -> String {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                };
                json = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect();
            }
            prop_assert_eq!(measured(&json), (!text.is_empty(), text.len() as u64));
        }
    }
}

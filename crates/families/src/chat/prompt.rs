//! Reads the parts of a request's body that the router needs. Pure.

use crate::excerpt::Excerpt;
use crate::json::Kind;
use crate::json::cursor::{Cursor, NotJson, Value};
use crate::prompt::Prompt;

/// The number of bytes that are stored of either end of the last message.
const END: usize = 8 * 1024;

/// Reads a checked body: no object has a duplicate name.
pub(super) fn read(body: &str) -> Prompt {
    let mut prompt = Prompt::default();
    // a checked body is valid to its end
    let _ = read_members(&mut Cursor::lenient(body), &mut prompt);
    prompt
}

fn read_members(cursor: &mut Cursor<'_>, prompt: &mut Prompt) -> Result<(), NotJson> {
    let mut members = cursor.object()?;
    while let Some(name) = members.next(cursor)? {
        match &*name {
            "messages" => read_messages(cursor, prompt)?,
            "tools" | "functions" => prompt.tools |= is_filled_array(cursor.value()?.text),
            _ => drop(cursor.value()?),
        }
    }
    Ok(())
}

fn read_messages(cursor: &mut Cursor<'_>, prompt: &mut Prompt) -> Result<(), NotJson> {
    let Some(mut messages) = cursor.array_or_skip()? else { return Ok(()) };
    let mut last = None;
    while messages.next(cursor)? {
        let Some(message) = Message::read(cursor)? else { continue };
        let content = Content::read(message.content)?;
        prompt.images |= content.has_more_than_text;
        if message.is_users {
            prompt.earlier += u64::from(last.is_some());
            last = Some(content);
        }
    }
    if let Some(last) = last {
        let texts: Vec<_> = last.texts.into_iter().map(|text| text.string().unwrap_or_default()).collect();
        prompt.text = Excerpt::of(&texts.join("\n"), END, END);
    }
    Ok(())
}

fn is_filled_array(value: &str) -> bool {
    let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| !inside.trim_ascii().is_empty())
}

/// One message.
struct Message<'a> {
    is_users: bool,
    content: Option<Value<'a>>,
}

impl<'a> Message<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Option<Self>, NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(None) };
        let mut message = Self { is_users: false, content: None };
        while let Some(name) = members.next(cursor)? {
            let value = cursor.value()?;
            match &*name {
                "role" => message.is_users = value.string().as_deref() == Some("user"),
                "content" => message.content = Some(value),
                _ => {}
            }
        }
        Ok(Some(message))
    }
}

/// The content of one message.
#[derive(Default)]
struct Content<'a> {
    /// The texts in it: the content itself, or the member `text` of each part.
    texts: Vec<Value<'a>>,
    /// Whether a part is an image, audio or a file.
    has_more_than_text: bool,
}

impl<'a> Content<'a> {
    fn read(value: Option<Value<'a>>) -> Result<Self, NotJson> {
        let mut content = Self::default();
        let Some(value) = value else { return Ok(content) };
        if value.kind() == Kind::String {
            content.texts.push(value);
            return Ok(content);
        }
        let mut cursor = Cursor::lenient(value.text);
        let Some(mut parts) = cursor.array_or_skip()? else { return Ok(content) };
        while parts.next(&mut cursor)? {
            let Some(mut members) = cursor.object_or_skip()? else { continue };
            while let Some(name) = members.next(&mut cursor)? {
                let value = cursor.value()?;
                match &*name {
                    "type" => {
                        let is_text = matches!(value.string().as_deref(), Some("text" | "input_text" | "refusal"));
                        content.has_more_than_text |= !is_text;
                    }
                    "text" => content.texts.push(value),
                    _ => {}
                }
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_question_and_what_is_around_it_is_seen() {
        let body = json!({
            "model": "auto",
            "tools": [{ "type": "function" }],
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "First" },
                { "role": "assistant", "content": "Yes?" },
                { "content": [
                    { "type": "text", "text": "one" },
                    { "type": "image_url", "image_url": { "url": "data:" } },
                    { "text": "two", "type": "text" },
                ], "role": "user" },
                { "role": "tool", "content": "42" },
            ],
        });
        let expected = Prompt {
            text: Excerpt::of("one\ntwo", END, END),
            earlier: 1,
            tokens: 0,
            answer: 0,
            tools: true,
            images: true,
        };
        assert_eq!(read(&body.to_string()), expected);
    }

    #[test]
    fn no_tools_no_images_and_no_user_are_just_not_there() {
        let body = r#"{"messages":[{"role":"assistant","content":null}],"tools":[]}"#;
        assert_eq!(read(body), Prompt::default());
    }

    proptest! {
        #[test]
        fn any_text_arrives_unescaped(text: String) {
            let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
            prop_assert_eq!(read(&body).text.head, text);
        }

        #[test]
        fn any_body_can_be_read(body in "\\PC{0,40}", content in "[\\[\\]{}\",:a-z]{0,30}") {
            read(&body);
            read(&format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#));
        }
    }
}

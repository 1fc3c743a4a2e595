//! What of a request the router looks at.

use serde_json::value::RawValue;

use crate::excerpt::Excerpt;
use crate::json::{self, Kind};
use crate::prompt::Prompt;

/// Bytes that are kept of either end of the last message.
const END: usize = 8 * 1024;

/// Reads the text of a body that was checked.
pub(super) fn read(body: &str, tokens: u64) -> Prompt {
    let mut prompt = Prompt { tokens, ..Prompt::default() };
    let mut last = None;
    for (name, value) in json::members(body).unwrap_or_default() {
        match &*name {
            "messages" => {
                for message in json::elements(value).unwrap_or_default() {
                    let message = Message::read(message);
                    prompt.images |= message.parts().iter().any(|part| !part.is_text);
                    if message.is_users {
                        prompt.earlier += u64::from(last.is_some());
                        last = Some(message);
                    }
                }
            }
            "tools" | "functions" => prompt.tools |= !json::elements(value).unwrap_or_default().is_empty(),
            _ => {}
        }
    }
    if let Some(last) = last {
        prompt.text = Excerpt::of(&last.text(), END, END);
    }
    prompt
}

/// One message.
#[derive(Default)]
struct Message<'a> {
    is_users: bool,
    content: Option<&'a RawValue>,
}

/// One piece of a content that is a list.
struct Part<'a> {
    is_text: bool,
    text: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    fn read(message: &'a RawValue) -> Self {
        let mut read = Self::default();
        for (name, value) in json::members(message.get()).unwrap_or_default() {
            match &*name {
                "role" => read.is_users = string(value) == "user",
                "content" => read.content = Some(value),
                _ => {}
            }
        }
        read
    }

    fn parts(&self) -> Vec<Part<'a>> {
        let parts = self.content.and_then(json::elements).unwrap_or_default();
        parts.into_iter().map(Part::read).collect()
    }

    /// All that is text in it, each piece on lines of its own.
    fn text(&self) -> String {
        match self.content {
            Some(content) if Kind::of(content) == Kind::String => string(content),
            _ => self.parts().iter().filter_map(|part| part.text).map(string).collect::<Vec<_>>().join("\n"),
        }
    }
}

impl<'a> Part<'a> {
    fn read(part: &'a RawValue) -> Self {
        let mut read = Self { is_text: true, text: None };
        for (name, value) in json::members(part.get()).unwrap_or_default() {
            match &*name {
                "type" => read.is_text = matches!(string(value).as_str(), "text" | "input_text" | "refusal"),
                "text" => read.text = Some(value),
                _ => {}
            }
        }
        read
    }
}

/// The string that this is; empty where it is none.
fn string(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_default()
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
            tokens: 9,
            answer: 0,
            tools: true,
            images: true,
        };
        assert_eq!(read(&body.to_string(), 9), expected);
    }

    #[test]
    fn no_tools_no_images_and_no_user_are_just_not_there() {
        let body = r#"{"messages":[{"role":"assistant","content":null}],"tools":[]}"#;
        assert_eq!(read(body, 0), Prompt::default());
    }

    proptest! {
        #[test]
        fn any_text_arrives_unescaped(text: String) {
            let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
            prop_assert_eq!(read(&body, 0).text.head, text);
        }

        #[test]
        fn any_body_can_be_read(body in "\\PC{0,40}", content in "[\\[\\]{}\",:a-z]{0,30}") {
            read(&body, 0);
            read(&format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#), 0);
        }
    }
}

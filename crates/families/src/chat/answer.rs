//! The whole answer to a request without streaming. Pure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::contents::{self, Begin};
use crate::answer::{Answer, NoAnswer};
use crate::error_object::ErrorObject;
use crate::fault::Fault;

/// Parses an answer.
///
/// # Errors
/// The body is not a chat completion.
pub(super) fn read(body: &[u8]) -> Result<Answer, NoAnswer> {
    contents::read(body, Begin::Object, |contents| {
        // an error without the member `error`, or a list of errors
        let other = || ErrorObject::read(body).fault.map_or(NoAnswer::Malformed, NoAnswer::Error);
        let contents = contents.ok_or_else(other)?;
        if let Some(error) = contents.error {
            return Err(NoAnswer::Error(ErrorObject::read(error.as_bytes()).fault.unwrap_or(Fault::Other)));
        }
        if let Some(fault) = contents.failure {
            return Err(NoAnswer::Error(fault));
        }
        if contents.choices == 0 {
            return Err(other());
        }
        let contents::Contents { output, text_bytes, finished, .. } = contents;
        Ok(Answer { usage: contents.counts.usage(), output, text_bytes, finished })
    })
}

/// Writes the answer of `POST /v1/chat`: `{"content","usage","model"}`.
///
/// `content` is the text of the first choice, its refusal if it refuses, or null; `usage` is the upstream's own, or null.
///
/// # Errors
/// The body is not a chat completion.
pub(super) fn to_short(body: &[u8], model: &str) -> Result<Vec<u8>, NoAnswer> {
    read(body)?;
    let completion: Completion<'_> = serde_json::from_slice(body).map_err(|_| NoAnswer::Malformed)?;
    let [Choice { message }, ..] = &completion.choices[..] else {
        return Err(NoAnswer::Malformed);
    };
    let short = Short { content: message.content.or(message.refusal), usage: completion.usage, model };
    serde_json::to_vec(&short).map_err(|_| NoAnswer::Malformed)
}

/// Returns the text of the first choice, if it has one.
///
/// # Errors
/// The body is not a chat completion.
pub fn text(body: &[u8]) -> Result<Option<String>, NoAnswer> {
    read(body)?;
    let completion: Completion<'_> = serde_json::from_slice(body).map_err(|_| NoAnswer::Malformed)?;
    let content = completion.choices.first().and_then(|choice| choice.message.content);
    Ok(content.and_then(|content| serde_json::from_str(content.get()).ok()))
}

#[derive(Serialize)]
struct Short<'a> {
    content: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    model: &'a str,
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;
    use proptest::prelude::*;

    fn short(body: &str) -> Result<String, NoAnswer> {
        to_short(body.as_bytes(), "gpt-4o").map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_answer_is_read_like_the_chunks_of_a_stream() {
        let body = br#"{"choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let usage = Some(Usage { prompt: 3, completion: 1, ..Usage::default() });
        assert_eq!(read(body), Ok(Answer { usage, output: true, text_bytes: 5, finished: true }));
    }

    #[test]
    fn the_text_of_the_first_choice_is_read() {
        let body = br#"{"choices":[{"message":{"content":"ea\u0073y"}},{"message":{"content":"hard"}}]}"#;
        assert_eq!(text(body), Ok(Some("easy".into())));
        assert_eq!(text(br#"{"choices":[{"message":{"content":null,"reasoning":"hm"}}]}"#), Ok(None));
        assert_eq!(text(br#"{"choices":[{"message":{"content":[{"text":"easy"}]}}]}"#), Ok(None));
        assert_eq!(text(b"{}"), Err(NoAnswer::Malformed));
    }

    #[test]
    fn an_error_with_a_status_of_success_is_no_answer() {
        assert_eq!(read(br#"{"error":{"code":"insufficient_quota"}}"#), Err(NoAnswer::Error(Fault::QuotaExhausted)));
        assert_eq!(
            read(br#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#),
            Err(NoAnswer::Error(Fault::Credentials))
        );
        assert_eq!(read(br#"{"object":"error","message":"m","code":503}"#), Err(NoAnswer::Error(Fault::Overloaded)));
        let failed = br#"{"choices":[{"message":{"content":""},"finish_reason":"error","error":{"code":502}}]}"#;
        assert_eq!(read(failed), Err(NoAnswer::Error(Fault::Other)));
        for body in ["", "<html>", "[]", "null", "{}", r#"{"choices":[]}"#, r#"{"choices":null}"#] {
            assert_eq!(read(body.as_bytes()), Err(NoAnswer::Malformed), "{body}");
        }
    }

    #[test]
    fn the_short_form_keeps_the_text_as_it_is_spelled() {
        assert_eq!(
            short(
                r#"{"model":"other","choices":[{"message":{"content":"a\u0041\n"}},{"message":{"content":"b"}}],"usage":{"x":1.0}}"#
            ),
            Ok(r#"{"content":"a\u0041\n","usage":{"x":1.0},"model":"gpt-4o"}"#.into())
        );
    }

    #[test]
    fn the_short_form_of_a_refusal_is_the_refusal_and_of_nothing_null() {
        assert_eq!(
            short(r#"{"choices":[{"message":{"content":null,"refusal":"I can't."}}]}"#),
            Ok(r#"{"content":"I can't.","usage":null,"model":"gpt-4o"}"#.into())
        );
        assert_eq!(
            short(r#"{"choices":[{"message":{"role":"assistant"}}]}"#),
            Ok(r#"{"content":null,"usage":null,"model":"gpt-4o"}"#.into())
        );
        assert_eq!(short(r#"{"choices":[{}]}"#), Err(NoAnswer::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(body: Vec<u8>) {
            let _ = (read(&body), to_short(&body, "m"), text(&body));
        }

        #[test]
        fn the_short_form_has_the_content_and_the_model(content: String, model: String) {
            let body = serde_json::json!({ "choices": [{ "message": { "content": content } }] }).to_string();
            let short: serde_json::Value = serde_json::from_slice(&to_short(body.as_bytes(), &model).unwrap()).unwrap();
            prop_assert_eq!(short, serde_json::json!({ "content": content, "usage": null, "model": model }));
        }
    }
}

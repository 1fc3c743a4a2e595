//! Parses chat completion requests. Lenient: only the members that are used are checked. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::knobs::{Knobs, Overrides};

/// A parsed request, with its knobs.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) has_stream_options: bool,
    /// `max_completion_tokens`, else `max_tokens`.
    pub(super) max_tokens: Option<u64>,
    /// The text of the last message of the user.
    pub(super) prompt: String,
    /// The number of words of all messages, which count as prompt tokens.
    pub(super) prompt_tokens: u64,
    /// The name of the first tool, if there are any.
    pub(super) tool: Option<String>,
    pub(super) knobs: Knobs,
}

/// Why a request is refused: the fields of OpenAI's error object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Chat {
    /// Parses a request body.
    pub(super) fn parse(body: &[u8], knobs: &Knobs) -> Result<Chat, Refusal> {
        let raw: Raw = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
        if raw.messages.is_empty() {
            return Err(invalid("messages: expected at least one".into()));
        }
        if raw.n.is_some_and(|n| n != 1) {
            return Err(invalid("n: expected 1, this demo gives one choice".into()));
        }
        let max_tokens = raw.max_completion_tokens.or(raw.max_tokens);
        if max_tokens == Some(0) {
            return Err(invalid("max_tokens: expected at least 1".into()));
        }
        let model = raw.model.unwrap_or_else(|| knobs.models.first().map_or("demo", String::as_str).to_owned());
        let mut knobs = match raw.demo {
            None | Some(Value::Null) => knobs.clone(),
            Some(demo) => serde_json::from_value::<Overrides>(demo)
                .map_err(|error| invalid(format!("demo: {error}")))
                .and_then(|overrides| overridden(knobs, &overrides, &model).map_err(invalid))?,
        };
        knobs.seed ^= raw.seed.unwrap_or(0).cast_unsigned();
        if !knobs.models.is_empty() && !knobs.models.contains(&model) {
            let message = "model: this demo upstream was started with other names, see GET /v1/models";
            return Err(Refusal { status: 404, code: "model_not_found", message: message.into() });
        }
        Ok(Chat {
            model,
            stream: raw.stream.unwrap_or(false),
            has_stream_options: raw.stream_options.is_some(),
            include_usage: raw.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            max_tokens,
            prompt: raw.messages.iter().rfind(|message| message.role == "user").map(Message::text).unwrap_or_default(),
            prompt_tokens: raw.messages.iter().map(|message| message.text().split_whitespace().count() as u64).sum(),
            tool: raw.tools.as_ref().and_then(first_tool),
            knobs,
        })
    }
}

fn overridden(knobs: &Knobs, by: &Overrides, model: &str) -> Result<Knobs, String> {
    let knobs = knobs.overridden(by)?;
    by.of_model(model).map_or(Ok(knobs.clone()), |own| knobs.overridden(own))
}

fn invalid(message: String) -> Refusal {
    Refusal { status: 400, code: "invalid_request", message }
}

fn first_tool(tools: &Value) -> Option<String> {
    Some(tools.get(0)?.get("function")?.get("name")?.as_str()?.to_owned())
}

#[derive(Deserialize)]
struct Raw {
    model: Option<String>,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    seed: Option<i64>,
    tools: Option<Value>,
    demo: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

impl Message {
    /// The text, from a string or from parts.
    fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let texts: Vec<_> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
                texts.join(" ")
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_user_message_is_the_prompt_also_in_parts() {
        let body = br#"{"messages":[{"role":"user","content":"one"},
            {"role":"user","content":[{"type":"text","text":"two three"},{"type":"image_url"},{"type":"text","text":"four"}]},
            {"role":"assistant","content":null}]}"#;
        let chat = Chat::parse(body, &Knobs::default()).unwrap();
        assert_eq!((chat.prompt.as_str(), chat.prompt_tokens), ("two three four", 4));
    }

    #[test]
    fn the_knobs_of_one_model_override_those_of_all_models() {
        let knobs = |model: &str| {
            let demo = r#"{"tokens":7,"seed":3,"models":{"a":{"tokens":9},"b":{"fault":"bom"}}}"#;
            let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user"}}],"demo":{demo}}}"#);
            let knobs = Chat::parse(body.as_bytes(), &Knobs::default()).unwrap().knobs;
            (knobs.tokens, knobs.seed, knobs.fault)
        };
        assert_eq!(knobs("a"), (Some(9), 3, None));
        assert_eq!(knobs("b"), (Some(7), 3, Some(crate::Fault::Bom)));
        assert_eq!(knobs("c"), (Some(7), 3, None));
    }

    #[test]
    fn a_wrong_request_is_refused_with_the_place_of_the_error() {
        for (body, status, named) in [
            (r#"{"#, 400, "line 1"),
            (r#"{"messages":[]}"#, 400, "messages"),
            (r#"{"messages":[{"role":"user"}],"n":2}"#, 400, "n:"),
            (r#"{"messages":[{"role":"user"}],"max_tokens":0}"#, 400, "max_tokens"),
            (r#"{"messages":[{"role":"user"}],"demo":[]}"#, 400, "demo"),
            (r#"{"messages":[{"role":"user"}],"demo":{"fault":"none_such"}}"#, 400, "demo: unknown fault"),
            (r#"{"messages":[{"role":"user"}],"demo":{"tokens":-1}}"#, 400, "demo: invalid value"),
            (r#"{"messages":[{"role":"user"}],"model":"other"}"#, 404, "model"),
        ] {
            let knobs = Knobs { models: vec!["mine".into()], ..Knobs::default() };
            let refusal = Chat::parse(body.as_bytes(), &knobs).unwrap_err();
            assert_eq!(refusal.status, status, "{body}");
            assert!(refusal.message.contains(named), "{body}: {}", refusal.message);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = Chat::parse(&body, &Knobs::default());
        }

        #[test]
        fn no_json_values_make_it_panic(messages in ".{0,20}", n: i64, demo in "[\\[\\]{}:,\"a-z0-9-]{0,30}") {
            let body = format!(r#"{{"messages":[{{"role":"user","content":{messages:?}}}],"seed":{n},"demo":{demo}}}"#);
            let _ = Chat::parse(body.as_bytes(), &Knobs::default());
        }
    }
}

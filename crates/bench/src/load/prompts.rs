//! Request bodies, made once from a prompt or from a file of prompts. Pure.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Request bodies, which are sent in turn.
#[derive(Debug, Clone)]
pub struct Prompts(Vec<Bytes>);

/// The members of every request body besides the prompt.
#[derive(Debug, Clone, Default)]
pub struct CommonFields {
    /// `model`
    pub model: Option<String>,
    /// `max_tokens`
    pub max_tokens: Option<u64>,
    /// Any other members.
    pub members: Map<String, Value>,
}

/// Why a file of prompts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptError {
    /// The line, from 1; `None` for the whole file.
    pub line: Option<usize>,
    /// What is wrong and what to write instead. Never a prompt.
    pub reason: String,
}

const EXPECTED: &str = "expected a JSON string, or an object with \"prompt\" or \"messages\"";

impl Prompts {
    /// The same prompt in every request.
    pub fn one(prompt: &str, common: &CommonFields) -> Self {
        Self(vec![body(Map::from_iter([("messages".to_owned(), messages(prompt))]), common)])
    }

    /// Parses a file of JSON lines, each a string, `{"prompt": …}` or `{"messages": […]}`. The other members of an object are
    /// copied into its request. Empty lines are skipped.
    ///
    /// # Errors
    /// The first line that is none of these; or the file has no prompt.
    pub fn parse(text: &str, common: &CommonFields) -> Result<Self, PromptError> {
        let lines = text.trim_start_matches('\u{feff}').lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let bodies = lines.map(|(line, number)| {
            let members = members(line).map_err(|reason| PromptError { line: Some(number), reason })?;
            Ok(body(members, common))
        });
        let bodies: Vec<_> = bodies.collect::<Result<_, _>>()?;
        if bodies.is_empty() {
            return Err(PromptError { line: None, reason: format!("holds no prompt; on each line, {EXPECTED}") });
        }
        Ok(Self(bodies))
    }

    /// The body of the request with this number.
    pub fn body(&self, number: u64) -> Bytes {
        // no constructor makes an empty list
        self.0[(number % self.0.len() as u64) as usize].clone()
    }
}

fn members(line: &str) -> Result<Map<String, Value>, String> {
    let value =
        serde_json::from_str(line).map_err(|error| format!("is no JSON: column {}; {EXPECTED}", error.column()))?;
    let mut members = match value {
        Value::String(prompt) => return Ok(Map::from_iter([("messages".to_owned(), messages(&prompt))])),
        Value::Object(members) => members,
        _ => return Err(format!("is neither a string nor an object; {EXPECTED}")),
    };
    match (members.remove("prompt"), members.get("messages")) {
        (Some(Value::String(prompt)), None) => drop(members.insert("messages".to_owned(), messages(&prompt))),
        (None, Some(Value::Array(messages))) if !messages.is_empty() => {}
        (Some(_), Some(_)) => return Err("has both \"prompt\" and \"messages\"; keep one".to_owned()),
        (Some(_), None) => return Err("has a \"prompt\" that is no string".to_owned()),
        (None, Some(_)) => return Err("has \"messages\" that are no list, or an empty one".to_owned()),
        (None, None) => return Err(format!("has neither \"prompt\" nor \"messages\"; {EXPECTED}")),
    }
    Ok(members)
}

fn messages(prompt: &str) -> Value {
    json!([{ "role": "user", "content": prompt }])
}

/// The body: the common members, then those of the prompt's own line, then those that a load test needs.
fn body(own: Map<String, Value>, common: &CommonFields) -> Bytes {
    let mut body = Map::new();
    body.extend(common.model.clone().map(|model| ("model".to_owned(), model.into())));
    body.extend(common.max_tokens.map(|most| ("max_tokens".to_owned(), most.into())));
    // the server's token count is exact, an estimate is not
    body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    body.extend(common.members.clone());
    body.extend(own);
    body.insert("stream".to_owned(), true.into());
    Value::Object(body).to_string().into()
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for PromptError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(prompts: &Prompts, number: u64) -> Value {
        serde_json::from_slice(&prompts.body(number)).unwrap()
    }

    #[test]
    fn every_spelling_of_a_prompt_becomes_messages() {
        let text = "\u{feff}\"one\"\n\n{\"prompt\":\"two\",\"temperature\":0}\r\n  \n{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}],\"model\":\"own\"}";
        let common = CommonFields { model: Some("m".into()), max_tokens: Some(7), members: Map::new() };
        let prompts = Prompts::parse(text, &common).unwrap();
        let usage = json!({ "include_usage": true });
        assert_eq!(
            value(&prompts, 0),
            json!({ "model": "m", "max_tokens": 7, "stream": true, "stream_options": usage,
                "messages": [{ "role": "user", "content": "one" }] })
        );
        assert_eq!(
            (&value(&prompts, 1)["messages"][0]["content"], &value(&prompts, 1)["temperature"]),
            (&json!("two"), &json!(0))
        );
        assert_eq!((&value(&prompts, 2)["model"], prompts.body(3)), (&json!("own"), prompts.body(0)));
    }

    #[test]
    fn the_prompt_s_own_members_override_the_common_ones_and_it_always_streams() {
        let members = json!({ "stream": false, "top_p": 1, "demo": { "tokens": 3 } });
        let common = CommonFields { members: members.as_object().unwrap().clone(), ..CommonFields::default() };
        let body = value(&Prompts::parse(r#"{"prompt":"x","top_p":2}"#, &common).unwrap(), 0);
        assert_eq!((&body["stream"], &body["top_p"], &body["demo"]["tokens"]), (&json!(true), &json!(2), &json!(3)));
        assert_eq!(value(&Prompts::one("x", &common), 9)["messages"][0]["content"], "x");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_never_repeated() {
        for (text, line, part) in [
            ("", None, "holds no prompt"),
            ("\n \n", None, "holds no prompt"),
            ("\"a\"\ncanary", Some(2), "is no JSON: column 1"),
            ("\"a\"\n\n[\"canary\"]", Some(3), "neither a string nor an object"),
            ("{\"text\":\"canary\"}", Some(1), "neither \"prompt\" nor \"messages\""),
            ("{\"prompt\":[\"canary\"]}", Some(1), "no string"),
            ("{\"prompt\":\"canary\",\"messages\":[]}", Some(1), "keep one"),
            ("{\"messages\":[]}", Some(1), "empty"),
            ("{\"messages\":\"canary\"}", Some(1), "no list"),
        ] {
            let error = Prompts::parse(text, &CommonFields::default()).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            let message = error.to_string();
            assert!(message.contains(part) && !message.contains("canary"), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_prompt_is_in_its_body_unchanged(prompt: String, number: u64) {
            let line = serde_json::to_string(&prompt).unwrap();
            let prompts = Prompts::parse(&line, &CommonFields::default()).unwrap();
            prop_assert_eq!(&value(&prompts, number)["messages"][0]["content"], &json!(prompt));
        }

        #[test]
        fn any_file_is_read_or_refused(text in "[\\[\\]{}:,\"a-z\\n0-9]{0,60}|\\PC{0,40}") {
            let _ = Prompts::parse(&text, &CommonFields::default());
        }
    }
}

//! Joins the chunks of a stream to the completion of a request with `stream: false`, and splits such a completion. Pure.
//!
//! Pieces are joined as OpenAI's own SDKs join them: text is appended, lists grow by the `index` of their members, names and
//! types are not changed. Unknown members are joined by the same rules.

use serde_json::{Map, Value, json};

/// Returns the completion of these chunks, each the data of one event. Returns `None` if they have no choice, if one of them
/// cannot be parsed, or if it is not certain which parts belong to the same tool call.
pub(super) fn completion<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut whole = Map::new();
    let mut choices: Vec<Choice> = Vec::new();
    for chunk in chunks {
        let Value::Object(chunk) = serde_json::from_slice(chunk).ok()? else { return None };
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("choices", Value::Array(parts)) => parts.into_iter().for_each(|part| add(&mut choices, part)),
                // padding against eavesdroppers belongs to the stream, not to the answer
                ("choices" | "object" | "obfuscation", _) => {}
                // some upstreams send counts with every chunk: of the counts the last ones count, of all other members the
                // first
                ("usage", value) => latest(&mut whole, name, value),
                (_, value) if whole.get(&name).is_none_or(Value::is_null) => drop(whole.insert(name, value)),
                _ => {}
            }
        }
    }
    if choices.is_empty() {
        return None;
    }
    if !choices.iter().all(Choice::is_certain) {
        return None;
    }
    choices.sort_by_key(|choice| choice.index);
    let choices = choices.into_iter().map(Choice::finish).collect();
    whole.insert("object".into(), "chat.completion".into());
    whole.insert("choices".into(), Value::Array(choices));
    serde_json::to_vec(&whole).ok()
}

struct Choice {
    index: u64,
    message: Map<String, Value>,
    rest: Map<String, Value>,
}

fn add(choices: &mut Vec<Choice>, part: Value) {
    let Value::Object(part) = part else { return };
    let index = part.get("index").and_then(Value::as_u64).unwrap_or(0);
    let at = choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
        choices.push(Choice { index, message: Map::new(), rest: Map::new() });
        choices.len() - 1
    });
    let choice = &mut choices[at];
    for (name, value) in part {
        match (name.as_str(), value) {
            ("index", _) => {}
            ("delta", Value::Object(delta)) => join_members(&mut choice.message, delta),
            ("delta", _) => {}
            ("logprobs", value) => join(choice.rest.entry(name).or_insert(Value::Null), value, "logprobs"),
            (_, value) => latest(&mut choice.rest, name, value),
        }
    }
}

impl Choice {
    /// Whether each tool call has its own name: a call without one is a part of another call that was not found.
    fn is_certain(&self) -> bool {
        let calls = self.message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        calls.iter().all(|call| {
            // OpenAI's kinds of tools: each has an object of its own name
            ["function", "custom"].iter().any(|kind| call[kind]["name"].as_str().is_some_and(|name| !name.is_empty()))
        })
    }

    fn finish(mut self) -> Value {
        let message = &mut self.message;
        message.entry("role").or_insert_with(|| "assistant".into());
        message.entry("refusal").or_insert(Value::Null);
        let empty = |value: &Value| value.as_str() == Some("");
        // a stream begins with empty content in any case; a whole answer has null there
        let only_calls = message.contains_key("tool_calls") || message.contains_key("function_call");
        if !message.contains_key("content") || only_calls && message.get("content").is_some_and(empty) {
            message.insert("content".into(), Value::Null);
        }
        if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
            calls.iter_mut().filter_map(Value::as_object_mut).for_each(|call| drop(call.remove("index")));
        }
        let mut choice = self.rest;
        choice.insert("index".into(), self.index.into());
        choice.insert("message".into(), Value::Object(self.message));
        choice.entry("finish_reason").or_insert(Value::Null);
        Value::Object(choice)
    }
}

fn latest(members: &mut Map<String, Value>, name: String, value: Value) {
    if !value.is_null() || !members.contains_key(&name) {
        members.insert(name, value);
    }
}

fn join_members(whole: &mut Map<String, Value>, part: Map<String, Value>) {
    for (name, value) in part {
        let member = whole.entry(name.clone()).or_insert(Value::Null);
        join(member, value, &name);
    }
}

fn join(whole: &mut Value, part: Value, name: &str) {
    match (whole, part) {
        (_, Value::Null) => {}
        (whole @ Value::Null, Value::Array(parts)) => {
            *whole = Value::Array(Vec::new());
            join(whole, Value::Array(parts), name);
        }
        (whole @ Value::Null, part) => *whole = part,
        // some upstreams repeat in each chunk what others send once
        (Value::String(whole), Value::String(part)) if matches!(name, "role" | "type" | "id" | "name" | "format") => {
            if whole.is_empty() {
                *whole = part;
            }
        }
        (Value::String(whole), Value::String(part)) => whole.push_str(&part),
        (Value::Object(whole), Value::Object(part)) => join_members(whole, part),
        (Value::Array(whole), Value::Array(parts)) => {
            for part in parts {
                let index = part.get("index").filter(|index| index.is_u64());
                // the last one: some upstreams write index 0 in all of several calls, which differ only in their ids
                let same = index.and_then(|index| whole.iter().rposition(|other| other.get("index") == Some(index)));
                match same.filter(|at| !have_different_ids(&whole[*at], &part)) {
                    Some(at) => join(&mut whole[at], part, name),
                    None => whole.push(part),
                }
            }
        }
        (whole, part) => *whole = part,
    }
}

fn have_different_ids(one: &Value, other: &Value) -> bool {
    let id = |value: &Value| value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (one, other) = (id(one), id(other));
    !one.is_empty() && !other.is_empty() && one != other
}

/// Returns the chunks of this completion: of each choice the role, its output, and its finish reason; then the usage.
/// Returns `None` if it is not a completion.
pub(super) fn chunks(completion: &[u8]) -> Option<Vec<(Vec<u8>, Part)>> {
    let Value::Object(mut whole) = serde_json::from_slice(completion).ok()? else { return None };
    let Some(Value::Array(choices)) = whole.remove("choices") else { return None };
    let usage = whole.remove("usage").filter(|usage| !usage.is_null());
    whole.insert("object".into(), "chat.completion.chunk".into());
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = whole.clone();
        chunk.insert("choices".into(), choices);
        chunk.insert("usage".into(), usage);
        serde_json::to_vec(&chunk).ok()
    };
    let mut out = Vec::new();
    for (number, choice) in choices.into_iter().enumerate() {
        let Value::Object(mut choice) = choice else { return None };
        let Some(Value::Object(mut message)) = choice.remove("message") else { return None };
        let index = choice.remove("index").unwrap_or_else(|| number.into());
        let logprobs = choice.remove("logprobs").unwrap_or_default();
        let role = message.remove("role").unwrap_or_else(|| "assistant".into());
        let part = |delta: Value, logprobs: &Value| json!([{ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null }]);
        out.push((chunk(part(json!({ "role": role, "content": "" }), &Value::Null), Value::Null)?, Part::Role));
        if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
            for (number, call) in calls.iter_mut().filter_map(Value::as_object_mut).enumerate() {
                call.insert("index".into(), number.into());
            }
        }
        message.retain(|_, value| {
            !value.is_null() && value.as_str() != Some("") && value.as_array().is_none_or(|all| !all.is_empty())
        });
        // reasoning comes before the content
        for thought in ["reasoning_content", "reasoning", "reasoning_details"] {
            if let Some(value) = message.remove(thought) {
                out.push((chunk(part(json!({ thought: value }), &Value::Null), Value::Null)?, Part::Output));
            }
        }
        if !message.is_empty() || !logprobs.is_null() {
            let kind = if message.is_empty() { Part::Role } else { Part::Output };
            out.push((chunk(part(Value::Object(message), &logprobs), Value::Null)?, kind));
        }
        choice.insert("index".into(), index.clone());
        choice.insert("delta".into(), json!({}));
        choice.insert("logprobs".into(), Value::Null);
        out.push((chunk(json!([choice]), Value::Null)?, Part::Role));
    }
    if let Some(usage) = usage {
        out.push((chunk(json!([]), usage)?, Part::Usage));
    }
    Some(out)
}

/// The kind of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// No output.
    Role,
    /// Output.
    Output,
    /// Only the usage.
    Usage,
}

#[cfg(test)]
mod tests;

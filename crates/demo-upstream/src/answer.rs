//! The answer to a request in the format of OpenAI's API: events, or one document. Pure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::chat::Chat;
use super::fault::Fault;
use super::knobs::Script;
use super::text::Text;
use super::timetable::{Random, Timetable};

/// The event that ends a complete stream.
pub(super) const DONE: &[u8] = b"data: [DONE]\n\n";

/// The time of every answer, 2025-01-01T00:00:00Z, so that the same request gets the same bytes.
const CREATED: u64 = 1_735_689_600;

/// Bytes, and the time at which they are due, since the end of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) due: Duration,
    pub(super) bytes: Bytes,
}

/// The content of an answer, and its times.
#[derive(Debug)]
pub(super) struct Answer {
    id: String,
    chat: Chat,
    text: Text,
    /// The output tokens; for a tool call, the pieces after the one with its name.
    tokens: u64,
    finish: &'static str,
    times: Timetable,
}

impl Answer {
    pub(super) fn new(chat: Chat) -> Answer {
        let knobs = &chat.knobs;
        let number = fingerprint(&chat.prompt, knobs.seed);
        let text = match knobs.script {
            Script::Text if knobs.say.is_some() => Text::once(knobs.say.clone().unwrap_or_default()),
            Script::Text | Script::Reasoning => Text::answering(&chat.prompt, number),
            Script::ToolCall => Text::once(r#"{"location": "Łódź, Poland 🌧️", "unit": "celsius"}"#),
            Script::Refusal => Text::once("I’m sorry, but I can’t help with that. 🙅"),
        };
        let wanted = match knobs.script {
            // repeated arguments would be no JSON
            Script::ToolCall => text.len(),
            _ => knobs.tokens.unwrap_or_else(|| text.len()),
        };
        let tokens = chat.max_tokens.map_or(wanted, |most| most.min(wanted));
        let finish = match knobs.script {
            _ if tokens < wanted => "length",
            Script::ToolCall => "tool_calls",
            _ => "stop",
        };
        Answer { id: format!("chatcmpl-demo{number:016x}"), times: Timetable::new(knobs), text, tokens, finish, chat }
    }

    /// The events of a streamed answer. They are generated one by one, so a long answer needs no more memory than a short one.
    pub(super) fn events(self) -> impl Iterator<Item = Event> + Send + use<> {
        let fault = self.chat.knobs.fault;
        let frame = Frame::new(&self.id, &self.chat.model, usage_suffix(&self.chat));
        let usage = (self.chat.include_usage && !matches!(fault, Some(Fault::NoUsage | Fault::UsageNullEverywhere)))
            .then_some(Part::Usage);
        let outputs = self.outputs();
        let first = self.times.due(0);
        let last = self.times.due(outputs.saturating_sub(1));
        let role = if fault == Some(Fault::RoleDelay) { Duration::ZERO } else { first };
        let mut cursor = 0;
        std::iter::once(Part::Role)
            .chain((0..outputs).map(Part::Output))
            .chain([Part::Finish])
            .chain(usage)
            .chain([Part::Done])
            .map(move |part| match part {
                Part::Role => Event { due: role, bytes: frame.delta(&self.role()) },
                Part::Output(number) => {
                    Event { due: self.times.due(number), bytes: frame.delta(&self.delta(number, &mut cursor)) }
                }
                Part::Finish => Event { due: last, bytes: frame.finish(self.finish) },
                Part::Usage => Event { due: last, bytes: frame.usage(&self.usage()) },
                Part::Done => Event { due: last, bytes: Bytes::from_static(DONE) },
            })
    }

    /// The whole answer as one document, due when its last token is.
    pub(super) fn document(&self) -> Event {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
        let mut cursor = 0;
        let mut say = |tokens: u64| (0..tokens).map(|_| self.text.token(&mut cursor)).collect::<String>();
        match self.chat.knobs.script {
            Script::Text => message["content"] = say(self.tokens).into(),
            Script::Reasoning => {
                message["reasoning_content"] = say(self.reasoning()).into();
                message["content"] = say(self.tokens - self.reasoning()).into();
            }
            Script::Refusal => message["refusal"] = say(self.tokens).into(),
            Script::ToolCall => message["tool_calls"] = json!([self.call(&say(self.tokens))]),
        }
        let mut document = json!({
            "id": self.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": self.chat.model,
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": self.finish }],
            "usage": self.usage(),
            "service_tier": "default",
            "system_fingerprint": "fp_demo",
        });
        match self.chat.knobs.fault {
            Some(Fault::NoUsage) => drop(document.as_object_mut().map(|document| document.remove("usage"))),
            Some(Fault::UsageNullEverywhere) => document["usage"] = Value::Null,
            _ => {}
        }
        let due = self.times.due(self.outputs().saturating_sub(1));
        Event { due, bytes: document.to_string().into() }
    }

    /// The number of output events: the tokens, and the name of the tool before its arguments.
    fn outputs(&self) -> u64 {
        self.tokens + u64::from(self.chat.knobs.script == Script::ToolCall)
    }

    /// The tokens of reasoning, which precede those of content.
    fn reasoning(&self) -> u64 {
        self.tokens.div_ceil(3)
    }

    fn role(&self) -> String {
        match self.chat.knobs.script {
            Script::ToolCall => r#"{"role":"assistant","content":null}"#.into(),
            _ => r#"{"role":"assistant","content":"","refusal":null}"#.into(),
        }
    }

    fn delta(&self, number: u64, cursor: &mut usize) -> String {
        let field = match self.chat.knobs.script {
            Script::ToolCall if number == 0 => {
                let mut call = self.call("");
                call["index"] = 0.into();
                return json!({ "tool_calls": [call] }).to_string();
            }
            Script::ToolCall => {
                let arguments = quoted(self.text.token(cursor));
                return format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":{arguments}}}}}]}}"#);
            }
            Script::Reasoning if number < self.reasoning() => "reasoning_content",
            Script::Text | Script::Reasoning => "content",
            Script::Refusal => "refusal",
        };
        format!(r#"{{"{field}":{}}}"#, quoted(self.text.token(cursor)))
    }

    fn call(&self, arguments: &str) -> Value {
        let name = self.chat.tool.as_deref().unwrap_or("get_weather");
        json!({ "id": "call_demo0", "type": "function", "function": { "name": name, "arguments": arguments } })
    }

    /// The usage of the whole answer.
    pub(super) fn usage(&self) -> Value {
        let (prompt, completion) = (self.chat.prompt_tokens, self.outputs());
        let reasoning = if self.chat.knobs.script == Script::Reasoning { self.reasoning() } else { 0 };
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        })
    }
}

/// A number that depends on the prompt and the seed.
fn fingerprint(prompt: &str, seed: u64) -> u64 {
    prompt.bytes().fold(Random::new(seed).next(), |number, byte| Random::new(number ^ u64::from(byte)).next())
}

/// The part of the answer that an event carries.
enum Part {
    Role,
    Output(u64),
    Finish,
    Usage,
    Done,
}

/// The text after `choices` in each chunk: OpenAI sends a null usage if the client asks for usage.
fn usage_suffix(chat: &Chat) -> &'static str {
    match chat.knobs.fault {
        Some(Fault::UsageNullEverywhere) => r#","usage":null}"#,
        Some(Fault::NoUsage) => "}",
        _ if chat.include_usage => r#","usage":null}"#,
        _ => "}",
    }
}

/// The bytes that all chunks of an answer share.
struct Frame {
    prefix: String,
    suffix: &'static str,
}

impl Frame {
    fn new(id: &str, model: &str, suffix: &'static str) -> Frame {
        let model = quoted(model);
        let prefix = format!(
            r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{CREATED},"model":{model},"service_tier":"default","system_fingerprint":"fp_demo","choices":["#
        );
        Frame { prefix, suffix }
    }

    fn delta(&self, delta: &str) -> Bytes {
        self.event(&[r#"{"index":0,"delta":"#, delta, r#","logprobs":null,"finish_reason":null}]"#, self.suffix])
    }

    fn finish(&self, reason: &str) -> Bytes {
        self.event(&[r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":""#, reason, r#""}]"#, self.suffix])
    }

    fn usage(&self, usage: &Value) -> Bytes {
        self.event(&[r#"],"usage":"#, &usage.to_string(), "}"])
    }

    fn event(&self, parts: &[&str]) -> Bytes {
        let length = self.prefix.len() + parts.iter().map(|part| part.len()).sum::<usize>() + 2;
        let mut event = String::with_capacity(length);
        event.push_str(&self.prefix);
        event.extend(parts.iter().copied());
        event.push_str("\n\n");
        event.into()
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::knobs::Knobs;

    fn answer(request: Value) -> Answer {
        Answer::new(Chat::parse(request.to_string().as_bytes(), &Knobs::default()).unwrap())
    }

    fn chunks(request: Value) -> Vec<Value> {
        let events: Vec<_> = answer(request).events().map(|event| event.bytes).collect();
        assert_eq!(events.last().unwrap(), DONE);
        let chunk = |event: &Bytes| {
            let data = event.strip_prefix(b"data: ").unwrap().strip_suffix(b"\n\n").unwrap();
            assert!(!data.contains(&b'\n'));
            serde_json::from_slice(data).unwrap()
        };
        events[..events.len() - 1].iter().map(chunk).collect()
    }

    fn request(more: Value) -> Value {
        let mut request = json!({ "stream": true, "messages": [{ "role": "user", "content": "Hello \"you\" 🌊" }] });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    }

    /// The joined values of one delta field, and the finish reason.
    fn joined(chunks: &[Value], field: &str) -> (String, String) {
        let choices = || chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
        (
            choices().filter_map(|choice| choice["delta"][field].as_str()).collect(),
            choices().filter_map(|choice| choice["finish_reason"].as_str()).collect(),
        )
    }

    #[test]
    fn a_stream_has_the_format_of_openai_byte_for_byte() {
        let request = request(json!({ "model": "m\"1", "demo": { "tokens": 1, "script": "refusal" },
            "stream_options": { "include_usage": true } }));
        let events: Vec<_> =
            answer(request).events().map(|event| String::from_utf8(event.bytes.into()).unwrap()).collect();
        let frame = |inside: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-demo2bd0e6fcdf9a3a10\",\"object\":\"chat.completion.chunk\",\"created\":1735689600,\
                 \"model\":\"m\\\"1\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_demo\",{inside}}}\n\n"
            )
        };
        assert_eq!(
            events,
            [
                frame(
                    r#""choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null"#
                ),
                frame(
                    r#""choices":[{"index":0,"delta":{"refusal":"I’m"},"logprobs":null,"finish_reason":null}],"usage":null"#
                ),
                frame(r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null"#),
                frame(
                    r#""choices":[],"usage":{"completion_tokens":1,"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,"rejected_prediction_tokens":0},"prompt_tokens":3,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},"total_tokens":4}"#
                ),
                "data: [DONE]\n\n".into(),
            ]
        );
    }

    #[test]
    fn prompt_and_seed_decide_the_answer() {
        let ask = |prompt: &str, seed: u64| {
            answer(json!({ "messages": [{ "role": "user", "content": prompt }], "demo": { "seed": seed } }))
                .document()
                .bytes
        };
        assert_eq!(ask("a", 1), ask("a", 1));
        assert_ne!(ask("a", 1), ask("a", 2));
        assert_ne!(ask("a", 1), ask("b", 1));
    }

    #[test]
    fn usage_is_sent_only_on_request() {
        let chunks = chunks(request(json!({})));
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn faults_of_usage_leave_it_out() {
        let asked = |fault: &str| {
            chunks(request(json!({ "stream_options": { "include_usage": true }, "demo": { "fault": fault } })))
        };
        assert!(asked("no_usage").iter().all(|chunk| chunk.get("usage").is_none()));
        assert!(
            asked("usage_null_everywhere").iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some())
        );
    }

    #[test]
    fn max_tokens_cuts_the_answer_with_the_reason_length() {
        for (field, tokens, finish) in [("max_tokens", 5, "length"), ("max_completion_tokens", 500, "stop")] {
            let (text, reason) = joined(&chunks(request(json!({ field: tokens }))), "content");
            assert_eq!(reason, finish);
            assert!(text.split_whitespace().count() <= tokens);
        }
    }

    #[test]
    fn more_tokens_than_the_text_has_repeat_it() {
        let chunks = chunks(request(json!({ "demo": { "tokens": 2000 } })));
        assert_eq!(chunks.len(), 2000 + 2);
    }

    #[test]
    fn the_pieces_of_a_tool_call_join_to_json() {
        let chunks = chunks(request(json!({ "demo": { "script": "tool_call", "tokens": 99 },
            "tools": [{ "type": "function", "function": { "name": "rain" } }] })));
        let functions = || {
            chunks
                .iter()
                .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0))
                .map(|call| &call["function"])
        };
        assert_eq!(functions().next().unwrap()["name"], "rain");
        let arguments: String = functions().filter_map(|function| function["arguments"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap()["unit"], "celsius");
        assert_eq!(joined(&chunks, "content").1, "tool_calls");
    }

    proptest! {
        #[test]
        fn the_document_equals_the_stream(
            prompt in ".{0,80}", seed: u32, tokens in 0..90u64, most in 1..60u64,
            script in prop::sample::select(&["text", "reasoning", "refusal"]),
        ) {
            let request = json!({ "stream": true, "messages": [{ "role": "user", "content": prompt }], "max_tokens": most,
                "stream_options": { "include_usage": true },
                "demo": { "seed": seed, "tokens": tokens, "script": script } });
            let chunks = chunks(request.clone());
            let document: Value = serde_json::from_slice(&answer(request).document().bytes).unwrap();
            for field in ["content", "reasoning_content", "refusal"] {
                let whole = document["choices"][0]["message"][field].as_str().unwrap_or_default();
                prop_assert_eq!(whole, joined(&chunks, field).0);
            }
            prop_assert_eq!(&document["usage"], &chunks.last().unwrap()["usage"]);
            prop_assert_eq!(document["choices"][0]["finish_reason"].as_str().unwrap(), joined(&chunks, "content").1);
        }
    }
}

//! A request of any family: checked once, then passed on as the client spelled it. Pure.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::estimate;
use crate::family::{Family, Form};
use crate::prompt::Prompt;

/// A checked request. It holds the body as it came; the body that goes to the upstream differs from it only where it must.
#[derive(Debug, Clone)]
pub struct Request {
    family: &'static dyn Family,
    form: Form,
    body: Bytes,
    parsed: Parsed,
}

/// What a family has read in a body. Each place is a range of bytes of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The model that the client names; never empty.
    pub model: Option<String>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client itself asks for events that hold nothing but usage.
    pub wants_usage: bool,
    /// The most tokens that each choice of the answer may have.
    pub max_tokens: Option<u64>,
    /// How many choices are asked for.
    pub choices: u64,
    /// UTF-8 bytes of what the model reads.
    pub prompt_bytes: u64,
    /// How many messages the model reads.
    pub messages: u64,
    /// Where the name of the model is: the place of the old one, or an empty place right behind the first brace of an object
    /// that has other members.
    pub model_place: Range<usize>,
    /// What makes the upstream stream; none if the body asks for it itself, or if nothing is streamed.
    pub stream_edit: Option<Edit>,
    /// What makes the upstream count; none if it is asked already, or if nothing is streamed.
    pub usage_edit: Option<Edit>,
}

/// A change of the body for the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the body that are replaced.
    pub place: Range<usize>,
    /// What replaces them.
    pub text: &'static str,
}

impl Request {
    /// A request of this family, whose parser has read `parsed` in the body.
    pub fn new(family: &'static dyn Family, form: Form, body: Bytes, parsed: Parsed) -> Self {
        Self { family, form, body, parsed }
    }

    /// The family whose request it is.
    pub fn family(&self) -> &'static dyn Family {
        self.family
    }

    /// The form of the request, and of its answer.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The model that the client names; never empty.
    pub fn model(&self) -> Option<&str> {
        self.parsed.model.as_deref()
    }

    /// Whether the answer is to be streamed.
    pub fn stream(&self) -> bool {
        self.parsed.stream
    }

    /// Whether the client itself asked for events that hold nothing but usage.
    pub fn wants_usage(&self) -> bool {
        self.parsed.wants_usage
    }

    /// Has the events that hold nothing but usage passed on, whether the client asked for them or not.
    pub fn keep_usage(&mut self) {
        self.parsed.wants_usage = true;
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The most tokens that each choice of the answer may have; `None` where the request sets no bound.
    pub fn max_tokens(&self) -> Option<u64> {
        self.parsed.max_tokens
    }

    /// How many choices are asked for, each as long as [`Request::max_tokens`] and each paid for.
    pub fn choices(&self) -> u64 {
        self.parsed.choices
    }

    /// UTF-8 bytes of what the model reads: the text of all messages, and the tools as they are spelled.
    pub fn prompt_bytes(&self) -> u64 {
        self.parsed.prompt_bytes
    }

    /// How many tokens that is, by [`estimate::prompt_tokens`].
    pub fn estimated_prompt_tokens(&self) -> u64 {
        estimate::prompt_tokens(self.parsed.prompt_bytes, self.parsed.messages)
    }

    /// The context that a model needs for it, in tokens, estimated: the prompt and one choice of the answer.
    pub fn least_context(&self) -> u64 {
        self.estimated_prompt_tokens().saturating_add(self.parsed.max_tokens.unwrap_or(0))
    }

    /// What the router looks at. Reads the body once more: for requests that are to be routed.
    pub fn prompt(&self) -> Prompt {
        // the parser has refused what is not UTF-8
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        let (tokens, answer) = (self.estimated_prompt_tokens(), self.max_tokens().unwrap_or(0));
        Prompt { tokens, answer, ..self.family.prompt(body) }
    }

    /// The length of the body as it came, in bytes.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The body for the upstream: the client's, byte for byte, but that it names `upstream_model`, and asks for a stream
    /// and for usage if it is to stream.
    pub fn to_upstream(&self, upstream_model: &str) -> Bytes {
        let Parsed { model_place, stream_edit, usage_edit, .. } = &self.parsed;
        let mut model = serde_json::Value::from(upstream_model).to_string();
        if model_place.is_empty() {
            model = format!("\"model\":{model},"); // other members follow in any case
        }
        let [stream, usage] = [stream_edit, usage_edit].map(|edit| edit.as_ref().map(|e| (&e.place, e.text)));
        let mut edits = [Some((model_place, &model[..])), stream, usage];
        edits.sort_by_key(|edit| edit.map(|(place, _)| place.start));
        let mut out = Vec::with_capacity(self.body.len() + model.len() + 64);
        let mut copied = 0;
        for (place, text) in edits.into_iter().flatten() {
            out.extend_from_slice(&self.body[copied..place.start]);
            out.extend_from_slice(text.as_bytes());
            copied = place.end;
        }
        out.extend_from_slice(&self.body[copied..]);
        out.into()
    }
}

/// What is wrong with a request: the JSON path, what was expected there and what was found, in one sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

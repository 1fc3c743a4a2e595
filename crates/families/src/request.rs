//! A request of any family: checked once, then passed on as the client spelled it. Pure.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::estimate;
use crate::family::{Family, Form};
use crate::json::{Path, fold};
use crate::media::{Media, TOKENS_PER_IMAGE};
use crate::prompt::Prompt;

/// A checked request. It holds the body unchanged; the body for the upstream differs from it only where necessary.
#[derive(Debug, Clone)]
pub struct Request {
    family: &'static dyn Family,
    form: Form,
    body: Bytes,
    parsed: Parsed,
    /// See [`Request::mark_members`].
    marked: Vec<String>,
    tokens_per_image: u64,
}

/// The relevant values of a body. Each place is a range of bytes of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The model that the client names; never empty.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client itself asks for events that have only usage.
    pub wants_usage: bool,
    /// The most tokens that each choice of the answer may have.
    pub max_tokens: Option<u64>,
    /// The number of requested choices.
    pub choices: u64,
    /// UTF-8 bytes of the model's input.
    pub prompt_bytes: u64,
    /// The number of messages that the model reads.
    pub messages: u64,
    /// The images, audio and files that the model reads.
    pub media: Media,
    /// The place of the model's name: the range of the old one, or an empty range right behind the first brace of an object
    /// that has other members.
    pub model_place: Range<usize>,
    /// The edit that makes the upstream stream; none if the body asks for it itself, or if nothing is streamed.
    pub stream_edit: Option<Edit>,
    /// The edit that makes the upstream send usage; none if the body asks for it itself, or if nothing is streamed.
    pub usage_edit: Option<Edit>,
}

/// A change of the body for the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the body that are replaced.
    pub place: Range<usize>,
    /// Their replacement.
    pub text: &'static str,
}

impl Request {
    /// Makes a request of this family, whose parser has read `parsed` in the body.
    pub fn new(family: &'static dyn Family, form: Form, body: Bytes, parsed: Parsed) -> Self {
        Self { family, form, body, parsed, marked: Vec::new(), tokens_per_image: TOKENS_PER_IMAGE }
    }

    /// Returns the family of the request.
    pub fn family(&self) -> &'static dyn Family {
        self.family
    }

    /// Returns the form of the request, and of its answer.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the model that the client names; never empty.
    pub fn model(&self) -> Option<&str> {
        self.parsed.model.as_deref()
    }

    /// Whether the answer is streamed.
    pub fn stream(&self) -> bool {
        self.parsed.stream
    }

    /// Whether the client itself asked for events that have only usage.
    pub fn wants_usage(&self) -> bool {
        self.parsed.wants_usage
    }

    /// Has events with only usage passed on, even if the client did not ask for them.
    pub fn keep_usage(&mut self) {
        self.parsed.wants_usage = true;
    }

    /// Notes which of these top-level members the body has, in whatever case. Reads the body once more.
    pub fn mark_members(&mut self, names: &[String]) {
        if !names.is_empty() {
            // the parser has refused what is not UTF-8
            self.marked = fold::members_among(std::str::from_utf8(&self.body).unwrap_or_default(), names);
        }
    }

    /// Returns the path of the first marked member that has one of these names, in whatever case.
    pub fn marked_member(&self, names: &[String]) -> Option<String> {
        let is_named = |marked: &&String| names.iter().any(|name| fold::is_same(marked, name));
        self.marked.iter().find(is_named).map(|marked| Path::Member(&Path::Top, marked).written())
    }

    /// Returns the unchanged body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the most tokens that each choice of the answer may have, or `None` if the request sets no bound.
    pub fn max_tokens(&self) -> Option<u64> {
        self.parsed.max_tokens
    }

    /// Returns the number of requested choices, each as long as [`Request::max_tokens`] and each paid for.
    pub fn choices(&self) -> u64 {
        self.parsed.choices
    }

    /// Returns the UTF-8 bytes of the model's input: the text of all messages, and the tools as they are spelled.
    pub fn prompt_bytes(&self) -> u64 {
        self.parsed.prompt_bytes
    }

    /// Returns the tokens of the input, by [`estimate::prompt_tokens`] and [`Request::media_tokens`].
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let text = estimate::prompt_tokens(self.parsed.prompt_bytes, self.parsed.messages);
        text.saturating_add(self.media_tokens())
    }

    /// Sets the estimate for one image.
    pub fn set_tokens_per_image(&mut self, tokens: u64) {
        self.tokens_per_image = tokens;
    }

    /// Returns the tokens of images, audio and files, by [`Media::tokens`].
    pub fn media_tokens(&self) -> u64 {
        self.parsed.media.tokens(self.tokens_per_image)
    }

    /// Returns the estimated context that a model needs for it, in tokens: the prompt and one choice of the answer.
    pub fn least_context(&self) -> u64 {
        self.estimated_prompt_tokens().saturating_add(self.parsed.max_tokens.unwrap_or(0))
    }

    /// Returns the prompt for the router. Parses the body once more, so only requests for `auto` need it.
    pub fn prompt(&self) -> Prompt {
        // the parser has refused what is not UTF-8
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        let (tokens, answer) = (self.estimated_prompt_tokens(), self.max_tokens().unwrap_or(0));
        Prompt { tokens, answer, ..self.family.prompt(body) }
    }

    /// Returns the length of the unchanged body, in bytes.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Whether the body for the upstream asks for usage, which the client's does not.
    pub fn adds_usage(&self) -> bool {
        self.parsed.usage_edit.is_some()
    }

    /// Returns the body for the upstream: the client's, byte for byte, except that it names `upstream_model`, and asks for a
    /// stream if the answer is streamed, and for usage if `with_usage`.
    pub fn to_upstream(&self, upstream_model: &str, with_usage: bool) -> Bytes {
        let Parsed { model_place, stream_edit, usage_edit, .. } = &self.parsed;
        let mut model = serde_json::Value::from(upstream_model).to_string();
        if model_place.is_empty() {
            model = format!("\"model\":{model},"); // other members follow in any case
        }
        let usage_edit = usage_edit.as_ref().filter(|_| with_usage);
        let [stream, usage] = [stream_edit.as_ref(), usage_edit].map(|edit| edit.map(|e| (&e.place, e.text)));
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

/// Returns the body without a byte order mark before its JSON, which a parser may ignore (RFC 8259 §8.1). Some editors and shells
/// write one. It is not sent to the upstream, which may refuse it.
pub fn without_byte_order_mark(body: Bytes) -> Bytes {
    if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body }
}

/// A mistake in a request: the JSON path, the expected and the actual value, in one sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

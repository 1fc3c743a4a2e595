//! A request for a chat completion: checked once, then passed on as the client spelled it.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::estimate;
use crate::invalid::Invalid;
use crate::json::{self, Kind, Path};
use crate::prompt::Prompt;

use super::prompt;
use super::shape::{self, Shape};

/// The members of the short form.
const SHORT: [&str; 4] = ["messages", "model", "temperature", "stream"];

/// A checked request. It keeps the body as it came; what goes up differs from it only where it must.
#[derive(Debug, Clone)]
pub struct Request {
    body: Bytes,
    model: Option<String>,
    stream: bool,
    wants_usage: bool,
    max_tokens: Option<u64>,
    choices: u64,
    prompt_bytes: u64,
    messages: u64,
    /// Where the name of the model goes: the old one's place, or an empty one right behind the first brace.
    model_place: Range<usize>,
    /// What makes the upstream stream; none if the body asks for it itself, or if nothing is streamed.
    stream_edit: Option<Edit>,
    /// What makes the upstream count; none if it is asked already, or if nothing is streamed.
    usage_edit: Option<Edit>,
}

/// Some bytes of the body, and what stands in their place upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    place: Range<usize>,
    text: &'static str,
}

impl Request {
    /// Reads the body of `POST /v1/chat/completions`. Members that are unknown here are untouched.
    ///
    /// # Errors
    /// [`Invalid`], with the path of what is wrong and what was expected there.
    pub fn parse(body: Bytes) -> Result<Self, Invalid> {
        parse(body, None, false).map_err(Invalid)
    }

    /// The same for `POST /v1/streams`, which streams whatever `stream` says.
    ///
    /// # Errors
    /// [`Invalid`], with the path of what is wrong and what was expected there.
    pub fn parse_streaming(body: Bytes) -> Result<Self, Invalid> {
        parse(body, None, true).map_err(Invalid)
    }

    /// Reads the body of `POST /v1/chat`: `{messages, model?, temperature?, stream?}` and nothing else.
    ///
    /// # Errors
    /// [`Invalid`], with the path of what is wrong and what was expected there.
    pub fn parse_short(body: Bytes) -> Result<Self, Invalid> {
        parse(body, Some(&SHORT), false).map_err(Invalid)
    }

    /// The model that the client names; never empty.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Whether the answer is to be streamed.
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// Whether the client itself asked for the usage chunk at the end of the stream.
    pub fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// Takes the usage chunk as asked for, whoever gets the answer in the end.
    pub fn keep_usage(&mut self) {
        self.wants_usage = true;
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The most tokens that each choice of the answer may have: `max_completion_tokens` or `max_tokens`; of both the larger
    /// one, for upstreams differ in which of them they read.
    pub fn max_tokens(&self) -> Option<u64> {
        self.max_tokens
    }

    /// How many choices are asked for: `n`, each as long as [`Request::max_tokens`] and each paid for.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// UTF-8 bytes of what the model reads: the text of all messages, and the tools as they are spelled.
    pub fn prompt_bytes(&self) -> u64 {
        self.prompt_bytes
    }

    /// How many tokens that is, by [`estimate::prompt_tokens`].
    pub fn estimated_prompt_tokens(&self) -> u64 {
        estimate::prompt_tokens(self.prompt_bytes, self.messages)
    }

    /// The context that a model needs for it, in tokens, as far as one can know before: prompt and one choice of the answer.
    pub fn least_context(&self) -> u64 {
        self.estimated_prompt_tokens().saturating_add(self.max_tokens.unwrap_or(0))
    }

    /// What the router looks at. Reads the body once more: for requests that are to be routed.
    pub fn prompt(&self) -> Prompt {
        // what is no UTF-8 was refused
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        let prompt = prompt::read(body.trim_ascii(), self.estimated_prompt_tokens());
        Prompt { answer: self.max_tokens().unwrap_or(0), ..prompt }
    }

    /// The bytes of the body as it came.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The body for the upstream: the client's, byte for byte, but that it names `upstream_model`, and asks for a stream
    /// and for usage if it is to stream.
    pub fn to_upstream(&self, upstream_model: &str) -> Bytes {
        let mut model = serde_json::Value::from(upstream_model).to_string();
        if self.model_place.is_empty() {
            model = format!("\"model\":{model},"); // messages follow in any case
        }
        let [stream, usage] =
            [&self.stream_edit, &self.usage_edit].map(|edit| edit.as_ref().map(|e| (&e.place, e.text)));
        let mut edits = [Some((&self.model_place, &model[..])), stream, usage];
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

/// `streaming`: it is to stream, whatever the body says.
fn parse(body: Bytes, allowed: Option<&[&str]>, streaming: bool) -> Result<Request, String> {
    let top = json::check(&body).map_err(|defect| defect.to_string())?;
    let members =
        json::members(top).ok_or_else(|| format!("the body: expected an object, found {}", Kind::of_text(top)))?;
    for (name, value) in &members {
        if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(&&**name)) {
            let path = Path::Member(&Path::Top, name).written();
            let allowed = allowed.join(", ");
            return Err(format!(
                "{path}: unknown here: this route takes {allowed}; POST /v1/chat/completions takes all"
            ));
        }
        shape::check_parameter(name, value)?;
    }
    let member = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let not_null = |wanted: &str| member(wanted).filter(|value| Kind::of(value) != Kind::Null);

    let messages = member("messages")
        .ok_or_else(|| shape::missing(&Path::Member(&Path::Top, "messages"), "an array of messages"))?;
    let prompt = shape::check_messages(messages)?;
    let tool_bytes: usize = ["tools", "functions"].into_iter().filter_map(not_null).map(|raw| raw.get().len()).sum();

    let model: Option<String> = not_null("model").and_then(|raw| serde_json::from_str(raw.get()).ok());
    if model.as_deref() == Some("") {
        return Err("model: expected the name of a model, found an empty string".into());
    }
    let asks_for_stream = member("stream").is_some_and(|raw| raw.get() == "true");
    let stream = streaming || asks_for_stream;
    let start_of = |text: &str| text.as_ptr() as usize - body.as_ptr() as usize;
    let place_of = |raw: &RawValue| {
        let start = start_of(raw.get());
        start..start + raw.get().len()
    };
    let inside = start_of(top) + 1;
    let (wants_usage, usage_edit) = usage(member("stream_options"), stream, inside, place_of)?;
    let stream_edit = (stream && !asks_for_stream).then(|| match member("stream") {
        Some(other) => Edit { place: place_of(other), text: "true" },
        None => Edit { place: inside..inside, text: r#""stream":true,"# },
    });
    let count = |name| not_null(name).and_then(|raw| raw.get().parse::<u64>().ok());

    Ok(Request {
        stream,
        wants_usage,
        max_tokens: count("max_completion_tokens").max(count("max_tokens")),
        choices: count("n").unwrap_or(1),
        prompt_bytes: prompt.text_bytes + tool_bytes as u64,
        messages: prompt.messages,
        model_place: member("model").map_or(inside..inside, place_of),
        stream_edit,
        usage_edit,
        model,
        body,
    })
}

/// Whether `stream_options` asks for usage, and the edit after which it does.
fn usage(
    options: Option<&RawValue>,
    stream: bool,
    inside: usize,
    place_of: impl Fn(&RawValue) -> Range<usize>,
) -> Result<(bool, Option<Edit>), String> {
    let path = Path::Member(&Path::Top, "stream_options");
    let edit = |place, text| Some(Edit { place, text }).filter(|_| stream);
    let Some(options) = options else {
        return Ok((false, edit(inside..inside, r#""stream_options":{"include_usage":true},"#)));
    };
    let place = place_of(options);
    if Kind::of(options) == Kind::Null {
        return Ok((false, edit(place, r#"{"include_usage":true}"#)));
    }
    if !stream {
        // OpenAI refuses it as well, and the upstream's own words would not reach the client
        return Err(format!("{path}: only a stream has options: set stream to true or leave them out"));
    }
    let members = json::members(options.get()).unwrap_or_default();
    let Some((_, asked)) = members.iter().find(|(name, _)| name == "include_usage") else {
        let text = if members.is_empty() { r#""include_usage":true"# } else { r#""include_usage":true,"# };
        return Ok((false, edit(place.start + 1..place.start + 1, text)));
    };
    Shape::OneOf(&[Kind::Boolean, Kind::Null]).check(&Path::Member(&path, "include_usage"), asked)?;
    match asked.get() {
        "true" => Ok((true, None)),
        _ => Ok((false, edit(place_of(asked), "true"))),
    }
}

#[cfg(test)]
mod tests;

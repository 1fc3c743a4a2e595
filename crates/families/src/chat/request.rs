//! The body of a request for a chat completion, read in one pass. Pure.

use std::borrow::Cow;
use std::ops::Range;

use super::messages::Messages;
use super::shape::{self, Shape};
use crate::family::Form;
use crate::json::check::{Checker, Defect, check};
use crate::json::cursor::Value;
use crate::json::{Kind, Path, fold};
use crate::request::{Edit, Parsed};

/// The members of the short form.
const SHORT: [&str; 4] = ["messages", "model", "temperature", "stream"];

/// Reads a body. Unknown members are not changed; the short form refuses them.
///
/// # Errors
/// A sentence for the client, with the path of the mistake and the expected value.
pub(super) fn parse(body: &[u8], form: Form) -> Result<Parsed, String> {
    let read = check(body, |checker| {
        if checker.kind()? != Kind::Object {
            let found = checker.value(&Path::Top)?.kind();
            return Ok(Err(format!("the body: expected an object, found {found}")));
        }
        let mut members = Members { inside: checker.position() + 1, ..Members::default() };
        checker.object(&Path::Top, |checker, path, name| members.read(checker, path, name, form))?;
        Ok(Ok(members))
    });
    read.map_err(|defect| defect.to_string())??.parsed(form)
}

/// The relevant members. Null is the same as a missing member where null is allowed.
#[derive(Default)]
struct Members<'a> {
    /// The position after the first brace.
    inside: usize,
    model: Option<Value<'a>>,
    stream: Option<Value<'a>>,
    stream_options: Option<StreamOptions<'a>>,
    /// The larger one of `max_completion_tokens` and `max_tokens`, because upstreams differ in which of them they read.
    max_tokens: Option<u64>,
    choices: Option<u64>,
    /// The length of the tools, as they are spelled.
    tool_bytes: usize,
    messages: Option<Messages>,
    /// The first wrong parameter: the sentence for the client.
    wrong: Option<String>,
}

struct StreamOptions<'a> {
    value: Value<'a>,
    is_empty: bool,
    include_usage: Option<Value<'a>>,
}

impl<'a> Members<'a> {
    fn read(&mut self, checker: &mut Checker<'a>, path: &Path<'_>, name: &str, form: Form) -> Result<(), Defect> {
        if let (Some(known), None) = (fold::known_in_other_case(name, shape::PARAMETERS), &self.wrong) {
            self.wrong = Some(fold::refusal(path, known));
        }
        if form == Form::Short && !SHORT.contains(&name) && self.wrong.is_none() {
            let (path, allowed) = (path.written(), SHORT.join(", "));
            self.wrong =
                Some(format!("{path}: unknown here: this route takes {allowed}; POST /v1/chat/completions takes all"));
        }
        let value = match name {
            "messages" => {
                self.messages = Some(Messages::read(checker, path)?);
                return Ok(());
            }
            "stream_options" => {
                let (options, wrong) = StreamOptions::read(checker, path)?;
                self.wrong = self.wrong.take().or(wrong);
                self.stream_options.insert(options).value
            }
            _ => checker.value(path)?,
        };
        if self.wrong.is_none() {
            self.wrong = shape::check_parameter(path, name, value.text).err();
        }
        match name {
            "model" => self.model = Some(value),
            "stream" => self.stream = Some(value),
            "max_tokens" | "max_completion_tokens" => self.max_tokens = self.max_tokens.max(value.text.parse().ok()),
            "n" => self.choices = value.text.parse().ok(),
            "tools" | "functions" if value.kind() != Kind::Null => self.tool_bytes += value.text.len(),
            _ => {}
        }
        Ok(())
    }

    fn parsed(self, form: Form) -> Result<Parsed, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let messages = self
            .messages
            .ok_or_else(|| shape::missing(&Path::Member(&Path::Top, "messages"), "an array of messages"))?;
        if let Some(wrong) = messages.wrong {
            return Err(wrong);
        }
        let model = self.model.and_then(Value::string).map(Cow::into_owned);
        if model.as_deref() == Some("") {
            return Err("model: expected the name of a model, found an empty string".into());
        }
        let here = self.inside..self.inside;
        let asks_for_stream = self.stream.is_some_and(|value| value.text == "true");
        let stream = form == Form::Stream || asks_for_stream;
        let (wants_usage, usage_edit) = usage(self.stream_options, stream, &here)?;
        let stream_edit = (stream && !asks_for_stream).then(|| match self.stream {
            Some(other) => Edit { place: other.place(), text: "true" },
            None => Edit { place: here.clone(), text: r#""stream":true,"# },
        });
        Ok(Parsed {
            model,
            stream,
            wants_usage,
            max_tokens: self.max_tokens,
            choices: self.choices.unwrap_or(1),
            prompt_bytes: messages.text_bytes + self.tool_bytes as u64,
            messages: messages.count,
            media: messages.media,
            model_place: self.model.map_or(here, Value::place),
            stream_edit,
            usage_edit,
        })
    }
}

impl<'a> StreamOptions<'a> {
    /// Reads them, and returns the first mistake, too.
    fn read(checker: &mut Checker<'a>, path: &Path<'_>) -> Result<(Self, Option<String>), Defect> {
        let (mut is_empty, mut include_usage, mut wrong) = (true, None, None);
        let value = match checker.kind()? {
            Kind::Object => checker.object(path, |checker, path, name| {
                let value = checker.value(path)?;
                is_empty = false;
                if name == "include_usage" {
                    include_usage = Some(value);
                }
                if let (Some(known), None) = (fold::known_in_other_case(name, &["include_usage"]), &wrong) {
                    wrong = Some(fold::refusal(path, known));
                }
                Ok(())
            })?,
            _ => checker.value(path)?,
        };
        Ok((Self { value, is_empty, include_usage }, wrong))
    }
}

/// Returns whether `stream_options` asks for usage, and the edit that adds this. `here` is the place for another member.
fn usage(
    options: Option<StreamOptions<'_>>,
    stream: bool,
    here: &Range<usize>,
) -> Result<(bool, Option<Edit>), String> {
    let path = Path::Member(&Path::Top, "stream_options");
    let edit = |place, text| Some(Edit { place, text }).filter(|_| stream);
    let Some(StreamOptions { value, is_empty, include_usage }) = options else {
        return Ok((false, edit(here.clone(), r#""stream_options":{"include_usage":true},"#)));
    };
    if value.kind() == Kind::Null {
        return Ok((false, edit(value.place(), r#"{"include_usage":true}"#)));
    }
    if !stream {
        // OpenAI refuses it as well, and the upstream's own text would not reach the client
        return Err(format!("{path}: only a stream has options: set stream to true or leave them out"));
    }
    let Some(asked) = include_usage else {
        let text = if is_empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
        let inside = value.start + 1;
        return Ok((false, edit(inside..inside, text)));
    };
    Shape::OneOf(&[Kind::Boolean, Kind::Null]).check(&Path::Member(&path, "include_usage"), asked.text)?;
    match asked.text {
        "true" => Ok((true, None)),
        _ => Ok((false, edit(asked.place(), "true"))),
    }
}

#[cfg(test)]
mod tests;

//! OpenAI's chat completions: requests, whole answers and streamed events. Pure.

pub mod answer;
mod contents;
mod counts;
mod id;
mod media;
mod merge;
mod messages;
mod prompt;
mod quick;
mod reader;
mod request;
mod shape;
mod text;

use std::ops::Range;

use bytes::Bytes;

use crate::answer::{Answer, NoAnswer, Piece};
use crate::event::EventReader;
use crate::family::{Endpoint, Family, Form};
use crate::prompt::Prompt;
use crate::request::{Invalid, Request, without_byte_order_mark};

use self::merge::Part;
use self::reader::Reader;

/// The heartbeat: a comment and a blank line, so that it is a block of its own (WHATWG HTML §9.2.6). Some clients split a stream
/// at blank lines and look only at the first line of each block: without the blank line they would lose the next event.
const HEARTBEAT: &[u8] = b": hb\n\n";

/// The heartbeat behind an `id:` field: without the blank line, at which openai-python would dispatch an empty event.
const NUMBERED_HEARTBEAT: &[u8] = b": hb\n";

/// The family of OpenAI's chat completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chat;

impl Family for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        &[
            Endpoint { path: "/v1/chat/completions", label: "chat_completions", form: Form::Full },
            Endpoint { path: "/v1/chat", label: "chat", form: Form::Short },
            Endpoint { path: "/v1/streams", label: "streams", form: Form::Stream },
        ]
    }

    fn upstream_path(&self) -> &'static str {
        "/chat/completions"
    }

    fn usage_members(&self) -> &'static [&'static str] {
        &["stream_options", "include_usage"]
    }

    fn parse(&self, body: Bytes, form: Form) -> Result<Request, Invalid> {
        let body = without_byte_order_mark(body);
        let parsed = request::parse(&body, form).map_err(Invalid)?;
        Ok(Request::new(&Self, form, body, parsed))
    }

    fn prompt(&self, body: &str) -> Prompt {
        prompt::read(body)
    }

    fn reader(&self) -> Box<dyn EventReader> {
        Box::new(Reader::default())
    }

    fn read_answer(&self, body: &[u8]) -> Result<Answer, NoAnswer> {
        answer::read(body)
    }

    fn write_answer(&self, body: Bytes, form: Form, model: &str) -> Result<Bytes, NoAnswer> {
        match form {
            Form::Short => answer::to_short(&body, model).map(Bytes::from),
            Form::Full | Form::Stream => Ok(body),
        }
    }

    fn join(&self, events: &[&[u8]]) -> Option<Vec<u8>> {
        merge::completion(events.iter().copied().filter(|data| !data.starts_with(b"[DONE]")))
    }

    fn split(&self, answer: &[u8]) -> Option<Vec<Piece>> {
        let piece = |(json, part): (Vec<u8>, Part)| Piece {
            event: [b"data: ", json.as_slice(), b"\n\n"].concat(),
            output: part == Part::Output,
            usage_only: part == Part::Usage,
        };
        let done = Piece { event: b"data: [DONE]\n\n".to_vec(), output: false, usage_only: false };
        Some(merge::chunks(answer)?.into_iter().map(piece).chain([done]).collect())
    }

    fn heartbeat(&self, numbered: bool) -> &'static [u8] {
        if numbered { NUMBERED_HEARTBEAT } else { HEARTBEAT }
    }

    fn answer_id(&self, json: &[u8]) -> Option<Range<usize>> {
        id::place(json)
    }

    fn new_answer_id(&self, random: [u8; 16]) -> String {
        format!("chatcmpl-{:032x}", u128::from_be_bytes(random))
    }
}

//! An API family that exists only in this test: this file, and the line that registers it.

use std::ops::Range;

use bytes::Bytes;
use families::answer::{Answer, NoAnswer};
use families::api_error::ApiError;
use families::chat::Chat;
use families::event::{EventReader, Meaning};
use families::family::{Endpoint, Family, Form};
use families::fault::Fault;
use families::media::Media;
use families::prompt::Prompt;
use families::request::{Invalid, Parsed, Request};
use families::usage::Usage;
use serde_json::{Value, json};

/// The registration.
pub static FAMILIES: &[&dyn Family] = &[&Chat, &Toy];

/// Requests are `{"model", "ask", "stream"}`. Events are named: `say` has text, `count` has usage, `bye` ends the stream, `oops`
/// is an error.
#[derive(Debug)]
struct Toy;

impl Family for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        &[Endpoint { path: "/v1/toys", label: "toys", form: Form::Full }]
    }

    fn upstream_path(&self) -> &'static str {
        "/toys"
    }

    fn parse(&self, body: Bytes, form: Form) -> Result<Request, Invalid> {
        let wrong = |what: &str| Invalid(what.to_owned());
        let json: Value = serde_json::from_slice(&body).map_err(|_| wrong("the body is no toy"))?;
        let ask = json["ask"].as_str().ok_or_else(|| wrong("ask: expected a string"))?;
        let model = json["model"].as_str().map(str::to_owned);
        let (spelled, text) = (json["model"].to_string(), String::from_utf8_lossy(&body));
        let model_place = text.find(&spelled).map_or(1..1, |at| at..at + spelled.len());
        let stream = json["stream"] == true;
        let parsed = Parsed {
            model,
            stream,
            wants_usage: false,
            max_tokens: None,
            choices: 1,
            prompt_bytes: ask.len() as u64,
            messages: 1,
            media: Media::default(),
            model_place,
            stream_edit: None,
            usage_edit: None,
        };
        Ok(Request::new(&Self, form, body.clone(), parsed))
    }

    fn prompt(&self, _: &str) -> Prompt {
        Prompt::default()
    }

    fn reader(&self) -> Box<dyn EventReader> {
        Box::new(Reader::default())
    }

    fn read_answer(&self, body: &[u8]) -> Result<Answer, NoAnswer> {
        let json: Value = serde_json::from_slice(body).map_err(|_| NoAnswer::Malformed)?;
        let text = json["say"].as_str().ok_or(NoAnswer::Malformed)?;
        let text_bytes = text.len() as u64;
        Ok(Answer { usage: Some(usage(&json)), output: true, text_bytes, finished: true })
    }

    fn error_body(&self, error: &ApiError<'_>) -> Vec<u8> {
        json!({ "oops": error.code, "of": error.request_id }).to_string().into_bytes()
    }

    fn heartbeat(&self, numbered: bool) -> &'static [u8] {
        if numbered { b": thump\n" } else { b"event: thump\ndata: {}\n\n" }
    }

    fn answer_id(&self, _: &[u8]) -> Option<Range<usize>> {
        None
    }

    fn new_answer_id(&self, random: [u8; 16]) -> String {
        format!("toy-{:x}", u128::from_be_bytes(random))
    }
}

/// Counts what was said: the error event has the number.
#[derive(Default)]
struct Reader {
    said: u64,
}

impl EventReader for Reader {
    fn read(&mut self, name: Option<&[u8]>, data: &[u8]) -> Meaning {
        let json: Value = serde_json::from_slice(data).unwrap_or_default();
        match name {
            Some(b"say") => {
                self.said += 1;
                let text_bytes = json["say"].as_str().unwrap_or_default().len() as u64;
                Meaning { output: true, text_bytes, ..Meaning::default() }
            }
            Some(b"count") => Meaning { usage: Some(usage(&json)), usage_only: true, ..Meaning::default() },
            Some(b"bye") => Meaning { finished: true, terminal: true, ..Meaning::default() },
            Some(b"oops") => Meaning::failed(Fault::Overloaded),
            _ => Meaning { malformed: true, ..Meaning::default() },
        }
    }

    fn failure(&self, error: &ApiError<'_>) -> Vec<u8> {
        let data = json!({ "after": self.said, "of": error.request_id, "oops": error.code });
        format!("event: oops\ndata: {data}\n\n").into_bytes()
    }
}

fn usage(json: &Value) -> Usage {
    let count = |name: &str| json[name].as_u64().unwrap_or(0);
    Usage { prompt: count("in"), completion: count("out"), ..Usage::default() }
}

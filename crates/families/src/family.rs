//! What one API family does in its own way: the interface that each family implements. Pure.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::answer::{Answer, NoAnswer, Piece};
use crate::api_error::ApiError;
use crate::event::EventReader;
use crate::prompt::Prompt;
use crate::request::{Invalid, Request};

/// One API family. All requests, answers and errors of one path are in the form of one family.
pub trait Family: fmt::Debug + Send + Sync {
    /// The name in configuration, logs and metrics: lower-case letters, different for each family.
    fn name(&self) -> &'static str;

    /// The public paths on which requests of this family come in, all by `POST`.
    fn endpoints(&self) -> &'static [Endpoint];

    /// The endpoint of this path.
    fn endpoint(&self, path: &str) -> Option<&'static Endpoint> {
        self.endpoints().iter().find(|endpoint| endpoint.path == path)
    }

    /// The path of a request at the upstream, behind its base URL; begins with a slash.
    fn upstream_path(&self) -> &'static str;

    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Invalid`], with the path of what is wrong and what was expected there.
    fn parse(&self, body: Bytes, form: Form) -> Result<Request, Invalid>;

    /// What a router looks at in the body of a request that [`Family::parse`] has accepted. [`Request::prompt`] adds the counts
    /// of tokens.
    fn prompt(&self, body: &str) -> Prompt;

    /// Reads the events of one stream, from the first one on.
    fn reader(&self) -> Box<dyn EventReader>;

    /// Reads a whole answer, of a request that did not ask for a stream.
    ///
    /// # Errors
    /// The body is an error, or no answer of this family.
    fn read_answer(&self, body: &[u8]) -> Result<Answer, NoAnswer>;

    /// A whole answer in the form that the request asked for. `model` is the public name of the model that answered.
    ///
    /// # Errors
    /// The body is an error, or no answer of this family.
    fn write_answer(&self, body: Bytes, form: Form, model: &str) -> Result<Bytes, NoAnswer> {
        let _ = (form, model);
        Ok(body)
    }

    /// Joins the events of a stream to the whole answer. `events` has the data of each event, in order. `None` where they make no
    /// answer, or where this family has no such conversion.
    fn join(&self, events: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = events;
        None
    }

    /// Splits a whole answer into the events of a stream, up to its terminal event. `None` where it is no answer, or where this
    /// family has no such conversion.
    fn split(&self, answer: &[u8]) -> Option<Vec<Piece>> {
        let _ = answer;
        None
    }

    /// The JSON body of an answer that is an error.
    fn error_body(&self, error: &ApiError<'_>) -> Vec<u8> {
        error.openai()
    }

    /// What is sent to a client that has received nothing for a while. Where the client has received an `id:` line on this
    /// connection (`numbered`), a blank line would make some SDKs dispatch an empty event.
    fn heartbeat(&self, numbered: bool) -> &'static [u8];

    /// Where the id of the answer is in the JSON of a whole answer or of an event's data, quotation marks included; `None`
    /// where there is none, or where this family never changes it.
    fn answer_id(&self, json: &[u8]) -> Option<Range<usize>>;

    /// A new id of an answer, from 128 random bits.
    fn new_answer_id(&self, random: [u8; 16]) -> String;
}

/// A public path of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The exact path.
    pub path: &'static str,
    /// The value of the label `route` in metrics and logs.
    pub label: &'static str,
    /// What the path takes and answers.
    pub form: Form,
}

/// What a path takes and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// All that the family knows.
    #[default]
    Full,
    /// A few parameters, and a short answer where that is not streamed.
    Short,
    /// All parameters; the answer is always a stream, whatever the body asks for, and that stream is resumable.
    Stream,
}

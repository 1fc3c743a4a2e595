//! The interface that each API family implements. Pure.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::answer::{Answer, NoAnswer, Piece};
use crate::api_error::ApiError;
use crate::event::EventReader;
use crate::prompt::Prompt;
use crate::request::{Invalid, Request};

/// One API family. All requests, answers and errors of one path have the format of one family.
pub trait Family: fmt::Debug + Send + Sync {
    /// Returns the name in configuration, logs and metrics: lower-case letters, different for each family.
    fn name(&self) -> &'static str;

    /// Returns the public paths on which requests of this family come in, all by `POST`.
    fn endpoints(&self) -> &'static [Endpoint];

    /// Returns the endpoint of this path.
    fn endpoint(&self, path: &str) -> Option<&'static Endpoint> {
        self.endpoints().iter().find(|endpoint| endpoint.path == path)
    }

    /// Returns the path of a request at the upstream, behind its base URL; begins with a slash.
    fn upstream_path(&self) -> &'static str;

    /// Returns the names of the members by which a request asks for usage. The gateway adds them, and an upstream may refuse them.
    fn usage_members(&self) -> &'static [&'static str] {
        &[]
    }

    /// Parses the body of a request.
    ///
    /// # Errors
    /// [`Invalid`], with the path of the mistake and the expected value.
    fn parse(&self, body: Bytes, form: Form) -> Result<Request, Invalid>;

    /// Returns the parts of a body for the router. [`Family::parse`] has accepted the body. [`Request::prompt`] adds the
    /// counts of tokens.
    fn prompt(&self, body: &str) -> Prompt;

    /// Returns a reader for the events of one stream, from the first one on.
    fn reader(&self) -> Box<dyn EventReader>;

    /// Reads the whole answer to a request without streaming.
    ///
    /// # Errors
    /// The body is an error, or not an answer of this family.
    fn read_answer(&self, body: &[u8]) -> Result<Answer, NoAnswer>;

    /// Returns a whole answer in the form of the request. `model` is the public name of the model that answered.
    ///
    /// # Errors
    /// The body is an error, or not an answer of this family.
    fn write_answer(&self, body: Bytes, form: Form, model: &str) -> Result<Bytes, NoAnswer> {
        let _ = (form, model);
        Ok(body)
    }

    /// Joins the events of a stream to the whole answer. `events` has the data of each event, in order. Returns `None` if
    /// they are not an answer, or if this family has no such conversion.
    fn join(&self, events: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = events;
        None
    }

    /// Splits a whole answer into the events of a stream, up to its terminal event. Returns `None` if it is not an answer,
    /// or if this family has no such conversion.
    fn split(&self, answer: &[u8]) -> Option<Vec<Piece>> {
        let _ = answer;
        None
    }

    /// Returns the JSON body of an error response.
    fn error_body(&self, error: &ApiError<'_>) -> Vec<u8> {
        error.openai()
    }

    /// Returns the heartbeat. If the client has received an `id:` line on this connection (`numbered`), it must have no
    /// blank line, which would make some SDKs dispatch an empty event.
    fn heartbeat(&self, numbered: bool) -> &'static [u8];

    /// Returns the place of the answer's id in the JSON of a whole answer or of an event's data, quotation marks included;
    /// `None` if there is none, or if this family never changes it.
    fn answer_id(&self, json: &[u8]) -> Option<Range<usize>>;

    /// Returns a new id of an answer, from 128 random bits.
    fn new_answer_id(&self, random: [u8; 16]) -> String;
}

/// A public path of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The exact path.
    pub path: &'static str,
    /// The value of the label `route` in metrics and logs.
    pub label: &'static str,
    /// The form of the requests and answers on this path.
    pub form: Form,
}

/// The form of requests and answers on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// All parameters of the family.
    #[default]
    Full,
    /// A few parameters, and a short answer if it is not streamed.
    Short,
    /// All parameters; the answer is always a stream, independent of the body, and that stream is resumable.
    Stream,
}

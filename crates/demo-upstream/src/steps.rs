//! A response as a script of timed writes with an ending. A fault is a change of the script. Pure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::answer::{Answer, Event};
use super::canned;
use super::chat::Chat;
use super::edits::{Events, Pieces, edited, edited_document};
use super::fault::Fault;
use super::knobs::Knobs;
use super::quirks;
use super::request::Request;
use super::wire::Framing;

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// One write, this time after the end of the request or later.
    Write { due: Duration, bytes: Bytes },
    /// Wait for [`Demo::release`](super::Demo::release).
    Hold,
    /// The last step.
    End(Ending),
}

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It serves the next request.
    KeepAlive,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// It stays open without a further byte until the client leaves.
    Silence,
}

/// A script, generated while it is played.
pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// The script of the response to a request.
pub(super) fn steps(request: &Request, knobs: &Knobs) -> Steps {
    let keep_alive = request.keep_alive;
    let canned = match (request.method.as_str(), request.path.as_str()) {
        ("POST", COMPLETIONS) => match Chat::parse(&request.body, knobs) {
            Ok(chat) => return completion(chat, request),
            Err(refusal) => canned::refusal(refusal.status, refusal.code, &refusal.message, keep_alive),
        },
        ("GET", MODELS) => {
            let listed = ["demo".to_owned()];
            let names = if knobs.models.is_empty() { &listed[..] } else { &knobs.models };
            let model =
                |name| json!({ "id": name, "object": "model", "created": 1_735_689_600, "owned_by": "tokenway" });
            let models: Vec<_> = names.iter().map(model).collect();
            canned::json(200, &json!({ "object": "list", "data": models }), keep_alive)
        }
        ("GET", HEALTH) => canned::json(200, &json!({ "status": "ok" }), keep_alive),
        (_, COMPLETIONS | MODELS | HEALTH) => {
            canned::refusal(405, "method_not_allowed", "this route has another method", keep_alive)
        }
        _ => canned::refusal(
            404,
            "not_found",
            "the demo upstream has POST /v1/chat/completions, GET /v1/models and GET /health",
            keep_alive,
        ),
    };
    Box::new(canned.into_iter())
}

const COMPLETIONS: &str = "/v1/chat/completions";
const MODELS: &str = "/v1/models";
const HEALTH: &str = "/health";

fn completion(chat: Chat, request: &Request) -> Steps {
    let knobs = chat.knobs.clone();
    if let Some(replaced) = knobs.fault.and_then(|fault| canned::replaced(fault, &chat, request.keep_alive)) {
        return Box::new(replaced.into_iter());
    }
    let (stream, usage) = (is_streamed(&chat), chat.include_usage || !chat.stream);
    let answer = Answer::new(Chat { include_usage: usage, ..chat });
    let (content_type, body, length) = if stream {
        let usage = answer.usage();
        ("text/event-stream", edited(quirks::edited(answer.events(), &knobs, &usage), &knobs), None)
    } else {
        let document = quirks::edited_document(answer.document(), &knobs);
        let length = document.bytes.len() as u64;
        ("application/json", edited_document(document, &knobs), Some(length))
    };
    let (framing, body) = match (knobs.fault, length) {
        (Some(Fault::ShortLength), _) => short_length(body),
        (None | Some(Fault::ResetAfterEvents | Fault::DisconnectMidEvent), Some(length)) => {
            (Framing::Length(length), body)
        }
        (Some(Fault::Http10 | Fault::TransferIdentity), _) => (Framing::UntilClose, body),
        (Some(Fault::ChunkExtensions), _) => (Framing::ChunkedExtended, body),
        _ if request.http10 => (Framing::UntilClose, body),
        _ => (Framing::Chunked, body),
    };
    script(content_type, body, framing, knobs, request.keep_alive)
}

/// Whether the answer is a stream: as the request asks, but for two quirks.
pub(super) fn is_streamed(chat: &Chat) -> bool {
    match chat.knobs.fault {
        Some(Fault::JsonCompletion) => false,
        Some(Fault::StreamToWhole) => true,
        _ => chat.stream,
    }
}

/// A length that exceeds the body.
fn short_length(body: Events) -> (Framing, Events) {
    let body: Vec<Event> = body.collect();
    let length = body.iter().map(|event| event.bytes.len() as u64).sum::<u64>();
    (Framing::Length(length + 100), Box::new(body.into_iter()))
}

/// The script of a head, a body and an ending.
fn script(content_type: &str, body: Events, framing: Framing, knobs: Knobs, keep_alive: bool) -> Steps {
    let head = canned::head(&knobs, content_type, framing, keep_alive);
    let head = Step::Write { due: Duration::ZERO, bytes: head };
    let normal = if keep_alive && framing != Framing::UntilClose { Ending::KeepAlive } else { Ending::Close };
    let (last, ending) = match knobs.fault {
        Some(Fault::HeadersThenSilent) => return Box::new([head, Step::End(Ending::Silence)].into_iter()),
        Some(Fault::ResetAfterHead) => return Box::new([head, Step::End(Ending::Reset)].into_iter()),
        Some(Fault::ResetAfterEvents) => (None, Ending::Reset),
        Some(Fault::DisconnectMidEvent | Fault::ShortLength) => (None, Ending::Close),
        Some(Fault::BadChunk) => (Some(Bytes::from_static(b"size\r\nno chunk\r\n")), Ending::Close),
        _ => (framing.end(), normal),
    };
    let body = body.zip(0..).flat_map(move |(event, number)| {
        let hold = (knobs.hold == Some(number)).then_some(Step::Hold);
        let write = move |piece: Event| Step::Write { due: piece.due, bytes: framing.frame(piece.bytes) };
        hold.into_iter().chain(Pieces::of(event, number, &knobs).map(write))
    });
    let last = last.map(|bytes| Step::Write { due: Duration::ZERO, bytes });
    Box::new([head].into_iter().chain(body).chain(last).chain([Step::End(ending)]))
}

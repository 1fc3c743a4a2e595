//! Where the events of one answer come from: an upstream, another request's answer, the cache, or a log.

use std::task::{Context, Poll};

use bytes::Bytes;
use families::event::EventReader;

use super::event::Batch;
use crate::error::Reject;
use crate::spend::tally::Tally;

/// The events of one answer.
pub trait Source: Send + 'static {
    /// What comes next. Nothing waits: a batch has what is there.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next>;

    /// Whether the last batch was the last one: then [`Source::poll_next`] returns the end.
    fn is_ended(&self) -> bool {
        false
    }

    /// Whether a line of the gateway's own may be written now: not between the CR and the LF of a line end.
    fn is_between_events(&self) -> bool {
        true
    }

    /// What the completion has produced so far.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// What a source has next.
#[derive(Debug)]
pub enum Next {
    /// Whole events, but for a last one that lacks its blank line.
    Events(Batch),
    /// The proper end.
    End,
    /// The stream breaks here.
    Broken(Box<Broken>),
}

/// Why a stream breaks before its proper end.
#[derive(Debug)]
pub struct Broken {
    /// The error.
    pub reject: Reject,
    /// The error event that ends the stream for this request.
    pub event: Bytes,
    /// The gateway shuts down. That is no part of the completion, so no log has an event of it.
    pub is_shutdown: bool,
}

impl Broken {
    /// With an error event that names this request. `reader` has read the events before it.
    pub fn new(reject: Reject, reader: &dyn EventReader, request_id: &str) -> Box<Self> {
        let event = reader.failure(&reject.api_error(request_id)).into();
        Box::new(Self { reject, event, is_shutdown: false })
    }

    /// The same, because the gateway shuts down.
    pub fn shutdown(reject: Reject, reader: &dyn EventReader, request_id: &str) -> Box<Self> {
        Box::new(Self { is_shutdown: true, ..*Self::new(reject, reader, request_id) })
    }
}

//! The interface of event sources: an upstream, another request's answer, the cache, or a log.

use std::task::{Context, Poll};

use bytes::Bytes;
use families::event::EventReader;

use super::event::Batch;
use crate::error::Reject;
use crate::spend::tally::Tally;

/// The events of one answer.
pub trait Source: Send + 'static {
    /// Returns the next batch. A batch never waits for more events.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next>;

    /// Whether the last batch was the last one: then [`Source::poll_next`] returns the end.
    fn is_ended(&self) -> bool {
        false
    }

    /// Whether the gateway may write a line of its own now: not between the CR and the LF of a line end.
    fn is_between_events(&self) -> bool {
        true
    }

    /// Returns what the completion has produced so far.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// The next item of a source.
#[derive(Debug)]
pub enum Next {
    /// Whole events. Only the last event of a stream may lack its blank line.
    Events(Batch),
    /// The proper end.
    End,
    /// The stream ends here with an error.
    Broken(Box<Broken>),
}

/// Why a stream ends before its proper end.
#[derive(Debug)]
pub struct Broken {
    /// The error.
    pub reject: Reject,
    /// The error event that ends the stream for this request.
    pub event: Bytes,
    /// The gateway shuts down. This is not part of the completion, so no log stores an event of it.
    pub is_shutdown: bool,
}

impl Broken {
    /// Makes the error with an event that names this request. `reader` has read the events before it.
    pub fn new(reject: Reject, reader: &dyn EventReader, request_id: &str) -> Box<Self> {
        let event = reader.failure(&reject.api_error(request_id)).into();
        Box::new(Self { reject, event, is_shutdown: false })
    }

    /// Makes the error of a shutdown.
    pub fn shutdown(reject: Reject, reader: &dyn EventReader, request_id: &str) -> Box<Self> {
        Box::new(Self { is_shutdown: true, ..*Self::new(reject, reader, request_id) })
    }
}

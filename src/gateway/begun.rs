//! A stream whose head can go out.

use std::time::Duration;

use http::{HeaderValue, Response};

use crate::body::{Body, Frames};
use crate::gateway::answers;
use crate::metering::meter::Meter;

/// What tells the stream, and what is known of it by now.
pub(super) struct Begun<S> {
    pub(super) source: S,
    pub(super) head: Head,
}

/// What the head of the answer depends on.
pub(super) struct Head {
    /// Of the upstream's answer.
    pub(super) vary: Option<HeaderValue>,
    /// The first output has come in.
    pub(super) has_output: bool,
    /// Nobody else will be asked.
    pub(super) answerer_is_known: bool,
    /// Of a kept answer.
    pub(super) age: Option<Duration>,
}

impl Head {
    /// The answer whose body is `frames`.
    pub(super) fn answer(self, frames: Frames, meter: &Meter) -> Response<Body> {
        let mut response = answers::stream(frames, self.vary);
        match self.answerer_is_known {
            true => answers::describe(&mut response, meter),
            false => answers::name_cache(&mut response, meter),
        }
        self.age.into_iter().for_each(|age| answers::age(&mut response, age));
        response
    }
}

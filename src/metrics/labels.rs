//! Closed sets of label values. Pure.

/// How a request ended; the value of the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response is complete.
    Ok,
    /// The client disconnected, or took no byte for too long.
    ClientGone,
    /// The stream broke after its commit point; the client got an error event.
    Truncated,
    /// No upstream answered.
    UpstreamFailure,
    /// The gateway refused the request.
    Rejected,
}

impl Outcome {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientGone => "client_gone",
            Outcome::Truncated => "truncated",
            Outcome::UpstreamFailure => "upstream_failure",
            Outcome::Rejected => "rejected",
        }
    }
}

/// How the cache took part in an answer; the value of the label `result`, and of the header `tokenway-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cached {
    /// It did not: it is off, the client excluded it, or the request has no key.
    #[default]
    Off,
    /// There was no cached answer; this one may be stored.
    Miss,
    /// The answer was cached.
    Hit,
    /// The request was coalesced with another one.
    Joined,
}

impl Cached {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Cached::Off => "off",
            Cached::Miss => "miss",
            Cached::Hit => "hit",
            Cached::Joined => "joined",
        }
    }
}

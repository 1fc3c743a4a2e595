//! The closed set of ways in which an upstream can fail, and what each means to the client.

use crate::chat::fault::Fault;
use crate::chat::upstream_error;
use crate::error::{Code, Reject};

/// Why an attempt gave no answer, or why a stream broke. Holds nothing that the upstream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No TCP connection: refused, unreachable, name unknown.
    Connect,
    /// TCP, but no TLS: the certificate is not trusted, or the handshake broke.
    Tls,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// Nothing within `first_event_timeout`.
    SilentBeforeFirstEvent,
    /// Nothing for `idle_timeout`.
    SilentBetweenEvents,
    /// `max_duration` is over.
    TooLong,
    /// An HTTP status that is no success, already mapped.
    Refused(upstream_error::Failure),
    /// An error inside a stream or an answer whose status was a success.
    InBody(Fault),
    /// The head of the answer cannot be used: wrong content type, compressed, a redirect.
    BadHead(&'static str),
    /// The body cannot be used: an event over `max_event`, an answer that is not JSON.
    BadBody(&'static str),
    /// The connection broke, or the body ended before the completion did.
    Broken,
    /// The body ended cleanly without a single output event.
    Empty,
    /// The caller has reached its limit at the model that was decided on: no upstream was asked.
    Limited(Box<Reject>),
    /// This gateway is shutting down and `server.drain` is over.
    Draining,
}

impl Failure {
    /// Whether another model may be asked: true unless the request itself is at fault, or time is up.
    pub fn is_retryable(&self) -> bool {
        match self {
            Failure::Refused(refusal) => refusal.is_retryable(),
            Failure::InBody(fault) => fault.is_retryable(),
            Failure::TooLong | Failure::Limited(_) | Failure::Draining => false,
            _ => true,
        }
    }

    /// The label `reason` of `tokenway_fallbacks_total`, and the word in the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Tls => "tls",
            Failure::ConnectTimeout => "connect_timeout",
            Failure::SilentBeforeFirstEvent => "first_event_timeout",
            Failure::SilentBetweenEvents => "idle_timeout",
            Failure::TooLong => "max_duration",
            Failure::Refused(refusal) => refusal.fault.as_str(),
            Failure::InBody(fault) => fault.as_str(),
            Failure::BadHead(_) => "bad_head",
            Failure::BadBody(_) => "bad_body",
            Failure::Broken => "broken",
            Failure::Empty => "empty",
            Failure::Limited(_) => "rate_limited",
            Failure::Draining => "draining",
        }
    }

    /// What the client is told, as a status before the commit point or as an event after it.
    pub fn reject(&self) -> Reject {
        let failure = |message: &'static str| Reject::new(Code::UpstreamFailure, message);
        let timeout = |message: &'static str| Reject::new(Code::UpstreamTimeout, message);
        match self {
            Failure::Connect => failure("The upstream could not be reached."),
            Failure::Tls => failure("No trusted TLS connection to the upstream could be made."),
            Failure::ConnectTimeout => timeout("The upstream did not accept a connection in time."),
            Failure::SilentBeforeFirstEvent => timeout("The upstream sent nothing within stream.first_event_timeout."),
            Failure::SilentBetweenEvents => timeout("The upstream fell silent for stream.idle_timeout."),
            Failure::TooLong => timeout("The completion took longer than stream.max_duration."),
            Failure::Refused(refusal) => refusal.reject.clone(),
            Failure::InBody(fault) => upstream_error::Failure::from(*fault).reject,
            Failure::BadHead(what) => {
                Reject::new(Code::UpstreamFailure, format!("The upstream's answer cannot be used: {what}."))
            }
            Failure::BadBody(what) => {
                Reject::new(Code::UpstreamFailure, format!("The upstream's answer cannot be used: {what}."))
            }
            Failure::Broken => failure("The upstream's answer broke off."),
            Failure::Empty => failure("The upstream's answer was empty."),
            Failure::Limited(reject) => (**reject).clone(),
            Failure::Draining => Reject::new(Code::Draining, "The gateway is shutting down: ask again."),
        }
    }
}

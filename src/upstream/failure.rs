//! The closed set of upstream failures: what each means for the client, and for the circuit breakers.

use std::time::Duration;

use super::refusal;
use crate::error::{Code, Reject};
use dial::connect_error::{Cause, ConnectError};
use families::answer::NoAnswer;
use families::fault::Fault;
use families::refusal::Refusal;

/// The `retry-after` during a drain: by then, the client reaches another instance, or this one has restarted.
const RETRY_WHILE_DRAINING: Duration = Duration::from_secs(2);

/// Why an attempt gave no answer, or why a stream broke. It contains no text of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection, or no trusted TLS, within `connect_timeout`.
    NoConnection(ConnectError),
    /// The upstream sent nothing within `first_event_timeout`.
    SilentBeforeFirstEvent,
    /// The upstream sent no head of an answer that is not streamed within `whole_timeout`.
    SilentBeforeWhole,
    /// The upstream sent nothing for `idle_timeout`.
    SilentBetweenEvents,
    /// `max_duration` is over.
    TooLong,
    /// `fallback.deadline` is over, and no model has given output.
    Deadline,
    /// An HTTP status that is not a success, already classified.
    Refused(Refusal),
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
    /// The caller has reached its limit at the selected model: no upstream was asked.
    Limited(Box<Reject>),
    /// The gateway is shutting down and `server.drain` is over.
    Draining,
    /// The task that led the answer for several requests panicked.
    Defect,
}

/// Which circuit breaker a failure counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The upstream's: it cannot even be reached.
    Upstream,
    /// The model's, as far as can be known.
    Model,
    /// None: the request or the gateway caused the failure.
    Neither,
}

impl From<NoAnswer> for Failure {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Error(fault) => Self::InBody(fault),
            NoAnswer::Malformed => Self::BadBody("it is not a completion"),
        }
    }
}

impl Failure {
    /// Whether a fallback attempt may follow: true unless the request caused the failure, or time is up.
    pub fn is_retryable(&self) -> bool {
        match self {
            Failure::Refused(refusal) => refusal.is_retryable(),
            Failure::InBody(fault) => fault.is_retryable(),
            Failure::TooLong | Failure::Deadline | Failure::Limited(_) | Failure::Draining | Failure::Defect => false,
            _ => true,
        }
    }

    /// Returns which circuit breaker the failure counts against.
    pub fn blame(&self) -> Blame {
        match self {
            Failure::NoConnection(_) => Blame::Upstream,
            Failure::Refused(_) | Failure::InBody(_) if !self.is_retryable() => Blame::Neither,
            Failure::TooLong | Failure::Limited(_) | Failure::Draining | Failure::Defect => Blame::Neither,
            _ => Blame::Model,
        }
    }

    /// Returns the `retry-after` of the upstream.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// Returns the label `reason` of `tokenway_fallbacks_total`, which is also in the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::NoConnection(connect_error) => match connect_error.cause {
                Cause::NoSuchHost | Cause::Refused | Cause::NoRoute | Cause::Socket(_) | Cause::Proxy(_) => "connect",
                Cause::Certificate(_) | Cause::NotTls | Cause::Handshake(_) => "tls",
                Cause::TimedOut(_) => "connect_timeout",
            },
            Failure::SilentBeforeFirstEvent => "first_event_timeout",
            Failure::SilentBeforeWhole => "whole_timeout",
            Failure::SilentBetweenEvents => "idle_timeout",
            Failure::TooLong => "max_duration",
            Failure::Deadline => "deadline",
            Failure::Refused(refusal) => refusal.fault.as_str(),
            Failure::InBody(fault) => fault.as_str(),
            Failure::BadHead(_) => "bad_head",
            Failure::BadBody(_) => "bad_body",
            Failure::Broken => "broken",
            Failure::Empty => "empty",
            Failure::Limited(_) => "rate_limited",
            Failure::Draining => "draining",
            Failure::Defect => "panic",
        }
    }

    /// Returns where and why there is no connection: for the operator, never for a client.
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match self {
            Failure::NoConnection(connect_error) => Some(connect_error),
            _ => None,
        }
    }

    /// Returns the error for the client, as a status before the commit point or as an event after it.
    pub fn reject(&self) -> Reject {
        let failure = |message: &'static str| Reject::new(Code::UpstreamFailure, message);
        let timeout = |message: &'static str| Reject::new(Code::UpstreamTimeout, message);
        match self {
            // the address and the cause are only for the operator: see `connect_error`
            Failure::NoConnection(connect_error) => match connect_error.cause {
                Cause::NoSuchHost | Cause::Refused | Cause::NoRoute | Cause::Socket(_) | Cause::Proxy(_) => {
                    failure("The upstream could not be reached.")
                }
                Cause::Certificate(_) | Cause::NotTls | Cause::Handshake(_) => {
                    failure("No trusted TLS connection to the upstream could be made.")
                }
                Cause::TimedOut(_) => timeout("The upstream did not accept a connection in time."),
            },
            Failure::SilentBeforeFirstEvent => timeout("The upstream sent nothing within stream.first_event_timeout."),
            Failure::SilentBeforeWhole => timeout("The upstream sent no answer within stream.whole_timeout."),
            Failure::SilentBetweenEvents => timeout("The upstream fell silent for stream.idle_timeout."),
            Failure::TooLong => timeout("The completion took longer than stream.max_duration."),
            Failure::Deadline => timeout("No model gave output within fallback.deadline."),
            Failure::Refused(refused) => refusal::reject(refused),
            Failure::InBody(fault) => refusal::reject(&Refusal::from(*fault)),
            Failure::BadHead(what) => {
                Reject::new(Code::UpstreamFailure, format!("The upstream's answer cannot be used: {what}."))
            }
            Failure::BadBody(what) => {
                Reject::new(Code::UpstreamFailure, format!("The upstream's answer cannot be used: {what}."))
            }
            Failure::Broken => failure("The upstream's answer broke off."),
            Failure::Empty => failure("The upstream's answer was empty."),
            Failure::Limited(reject) => (**reject).clone(),
            Failure::Draining => Reject::new(Code::Draining, "The gateway is shutting down: ask again.")
                .retry_after(RETRY_WHILE_DRAINING),
            Failure::Defect => Reject::defect(),
        }
    }
}

#[cfg(test)]
impl Failure {
    /// Returns a refused TCP connection, for tests.
    pub(crate) fn no_connection() -> Self {
        let cause = Cause::Refused;
        Self::NoConnection(ConnectError { place: "up.example:443".to_owned(), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dial::connect_error::CertificateFault;

    fn connect_error(cause: Cause) -> Failure {
        Failure::NoConnection(ConnectError { place: "secret.internal:443".to_owned(), cause })
    }

    #[test]
    fn the_message_for_clients_has_neither_the_upstream_s_address_nor_the_cause() {
        for (cause, reason) in [
            (Cause::NoSuchHost, "connect"),
            (Cause::Refused, "connect"),
            (Cause::NoRoute, "connect"),
            (Cause::Socket("secret".to_owned()), "connect"),
            (Cause::Certificate(CertificateFault::Expired), "tls"),
            (Cause::NotTls, "tls"),
            (Cause::Handshake("secret".to_owned()), "tls"),
            (Cause::TimedOut(Duration::from_secs(7)), "connect_timeout"),
        ] {
            let failure = connect_error(cause.clone());
            let message = failure.reject().message;
            assert!(!message.contains("secret") && !message.contains(&cause.to_string()), "{message}");
            assert_eq!(failure.reason(), reason);
            assert_eq!(failure.connect_error().map(ToString::to_string), Some(format!("secret.internal:443: {cause}")));
        }
    }

    #[test]
    fn the_message_of_every_failure_is_a_sentence() {
        let refusals = [400, 401, 402, 404, 408, 413, 422, 429, 500, 503].map(|status| {
            let failure = families::refusal::classify(status, None, b"", &[]);
            Failure::Refused(failure)
        });
        let faults = [Fault::ContextLengthExceeded, Fault::ContentPolicy, Fault::Unsupported].map(Failure::InBody);
        let own = [connect_error(Cause::Refused), Failure::BadHead("it is odd"), Failure::Broken, Failure::Empty];
        for failure in refusals.into_iter().chain(faults).chain(own) {
            let message = failure.reject().message;
            assert!(message.starts_with(char::is_uppercase) && message.ends_with('.'), "{message}");
        }
    }

    #[test]
    fn every_failure_that_allows_a_fallback_counts_against_a_breaker_and_429_and_503_have_a_retry_after() {
        let refused = |status| Failure::Refused(families::refusal::classify(status, None, b"", &[]));
        let all = [
            connect_error(Cause::Refused),
            connect_error(Cause::NotTls),
            connect_error(Cause::TimedOut(Duration::from_secs(1))),
            Failure::SilentBeforeFirstEvent,
            Failure::SilentBeforeWhole,
            Failure::SilentBetweenEvents,
            refused(429),
            refused(500),
            refused(401),
            Failure::InBody(Fault::Overloaded),
            Failure::BadHead("it is odd"),
            Failure::BadBody("it is odd"),
            Failure::Broken,
            Failure::Empty,
        ];
        for failure in all {
            assert!(failure.is_retryable() && failure.blame() != Blame::Neither, "{failure:?}");
        }
        for failure in [refused(400), refused(413), Failure::InBody(Fault::ContentPolicy), Failure::Draining] {
            assert!(!failure.is_retryable() && failure.blame() == Blame::Neither, "{failure:?}");
        }
        for failure in [refused(429), refused(503), Failure::InBody(Fault::Overloaded), Failure::Draining] {
            let reject = failure.reject();
            assert!(reject.retry_after.is_some(), "{} says when to come back", reject.code.as_str());
        }
        assert_eq!((Failure::Deadline.is_retryable(), Failure::Deadline.blame()), (false, Blame::Model));
    }
}

//! The closed set of ways in which an upstream can fail, and what each means to the client and to the upstream's own repute.

use std::time::Duration;

use super::refusal;
use crate::error::{Code, Reject};
use dial::connect_error::{Cause, ConnectError};
use families::answer::NoAnswer;
use families::fault::Fault;
use families::refusal::Refusal;

/// A client that is told to come back while this gateway shuts down will find another one, or this one restarted.
const RETRY_WHILE_DRAINING: Duration = Duration::from_secs(2);

/// Why an attempt gave no answer, or why a stream broke. Holds nothing that the upstream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or no trusted TLS, within `connect_timeout`.
    NoConnection(ConnectError),
    /// Nothing within `first_event_timeout`.
    SilentBeforeFirstEvent,
    /// Nothing for `idle_timeout`.
    SilentBetweenEvents,
    /// `max_duration` is over.
    TooLong,
    /// `fallback.deadline` is over, and no model has given output.
    Deadline,
    /// An HTTP status that is no success, already mapped.
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
    /// The caller has reached its limit at the model that was decided on: no upstream was asked.
    Limited(Box<Reject>),
    /// This gateway is shutting down and `server.drain` is over.
    Draining,
}

/// Who is to blame for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The upstream as a whole: it cannot even be reached.
    Upstream,
    /// The model, as far as one can know.
    Model,
    /// Neither: the request was at fault, or this gateway.
    Nobody,
}

impl From<NoAnswer> for Failure {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Error(fault) => Self::InBody(fault),
            NoAnswer::Malformed => Self::BadBody("it is no completion"),
        }
    }
}

impl Failure {
    /// Whether another model may be asked: true unless the request itself is at fault, or time is up.
    pub fn is_retryable(&self) -> bool {
        match self {
            Failure::Refused(refusal) => refusal.is_retryable(),
            Failure::InBody(fault) => fault.is_retryable(),
            Failure::TooLong | Failure::Deadline | Failure::Limited(_) | Failure::Draining => false,
            _ => true,
        }
    }

    /// Whose health it speaks of.
    pub fn blame(&self) -> Blame {
        match self {
            Failure::NoConnection(_) => Blame::Upstream,
            Failure::Refused(_) | Failure::InBody(_) if !self.is_retryable() => Blame::Nobody,
            Failure::TooLong | Failure::Limited(_) | Failure::Draining => Blame::Nobody,
            _ => Blame::Model,
        }
    }

    /// How long the upstream itself asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// The label `reason` of `tokenway_fallbacks_total`, and the word in the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::NoConnection(connect_error) => match connect_error.cause {
                Cause::NoSuchHost | Cause::Refused | Cause::NoRoute | Cause::Socket(_) => "connect",
                Cause::Certificate(_) | Cause::NotTls | Cause::Handshake(_) => "tls",
                Cause::TimedOut(_) => "connect_timeout",
            },
            Failure::SilentBeforeFirstEvent => "first_event_timeout",
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
        }
    }

    /// Where there is no connection, and why: for the operator, never for a client.
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match self {
            Failure::NoConnection(connect_error) => Some(connect_error),
            _ => None,
        }
    }

    /// What the client is told, as a status before the commit point or as an event after it.
    pub fn reject(&self) -> Reject {
        let failure = |message: &'static str| Reject::new(Code::UpstreamFailure, message);
        let timeout = |message: &'static str| Reject::new(Code::UpstreamTimeout, message);
        match self {
            // where it is, and what is wrong with it, is the operator's business: see `connect_error`
            Failure::NoConnection(connect_error) => match connect_error.cause {
                Cause::NoSuchHost | Cause::Refused | Cause::NoRoute | Cause::Socket(_) => {
                    failure("The upstream could not be reached.")
                }
                Cause::Certificate(_) | Cause::NotTls | Cause::Handshake(_) => {
                    failure("No trusted TLS connection to the upstream could be made.")
                }
                Cause::TimedOut(_) => timeout("The upstream did not accept a connection in time."),
            },
            Failure::SilentBeforeFirstEvent => timeout("The upstream sent nothing within stream.first_event_timeout."),
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
        }
    }
}

#[cfg(test)]
impl Failure {
    /// A refused TCP connection, for tests.
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
    fn clients_are_not_told_where_the_upstream_is_nor_why_it_cannot_be_reached() {
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
            let told = failure.reject().message;
            assert!(!told.contains("secret") && !told.contains(&cause.to_string()), "{told}");
            assert_eq!(failure.reason(), reason);
            assert_eq!(failure.connect_error().map(ToString::to_string), Some(format!("secret.internal:443: {cause}")));
        }
    }

    #[test]
    fn whatever_fails_the_client_is_told_in_a_sentence() {
        let refusals = [400, 401, 402, 404, 408, 413, 422, 429, 500, 503].map(|status| {
            let failure = families::refusal::classify(status, None, b"");
            Failure::Refused(failure)
        });
        let faults = [Fault::ContextLengthExceeded, Fault::ContentPolicy, Fault::Unsupported].map(Failure::InBody);
        let own = [connect_error(Cause::Refused), Failure::BadHead("it is odd"), Failure::Broken, Failure::Empty];
        for failure in refusals.into_iter().chain(faults).chain(own) {
            let told = failure.reject().message;
            assert!(told.starts_with(char::is_uppercase) && told.ends_with('.'), "{told}");
        }
    }

    #[test]
    fn somebody_is_to_blame_for_every_failure_after_which_another_model_is_asked_and_429_and_503_name_a_time() {
        let refused = |status| Failure::Refused(families::refusal::classify(status, None, b""));
        let all = [
            connect_error(Cause::Refused),
            connect_error(Cause::NotTls),
            connect_error(Cause::TimedOut(Duration::from_secs(1))),
            Failure::SilentBeforeFirstEvent,
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
            assert!(failure.is_retryable() && failure.blame() != Blame::Nobody, "{failure:?}");
        }
        for failure in [refused(400), refused(413), Failure::InBody(Fault::ContentPolicy), Failure::Draining] {
            assert!(!failure.is_retryable() && failure.blame() == Blame::Nobody, "{failure:?}");
        }
        for failure in [refused(429), refused(503), Failure::InBody(Fault::Overloaded), Failure::Draining] {
            let reject = failure.reject();
            assert!(reject.retry_after.is_some(), "{} says when to come back", reject.code.as_str());
        }
        assert_eq!((Failure::Deadline.is_retryable(), Failure::Deadline.blame()), (false, Blame::Model));
    }
}

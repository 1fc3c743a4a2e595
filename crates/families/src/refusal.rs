//! The meaning of an upstream's refusal: its class, the wrong parameter, the time to wait. Pure.

use std::time::Duration;

use crate::fault::{ErrorObject, Fault};

/// The meaning of an upstream's refusal for the client and for fallback.
///
/// It holds no byte of the upstream's body, except the name of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its class, for metrics and logs.
    pub fault: Fault,
    /// The wrong parameter, if the body names one.
    pub param: Option<String>,
    /// The upstream's `retry-after`: at most an hour.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether a fallback attempt is possible: see [`Fault::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.fault.is_retryable()
    }
}

/// Classifies an upstream's answer that is not a success by its status, by what [`asked_for`] has read in its head, and by its
/// body.
pub fn classify(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Refusal {
    let object = ErrorObject::read(body);
    let fault = match (Fault::from_status(status), object.fault) {
        // the status names no reason, the body may name one
        (
            Fault::Invalid,
            Some(
                why @ (Fault::ContextLengthExceeded
                | Fault::ContentPolicy
                | Fault::Unsupported
                | Fault::Credentials
                | Fault::QuotaExhausted
                | Fault::NotFound),
            ),
        ) => why,
        (Fault::Credentials, Some(why @ (Fault::ContentPolicy | Fault::QuotaExhausted))) => why,
        // waiting does not help an account without credit
        (Fault::RateLimited, Some(Fault::QuotaExhausted)) => Fault::QuotaExhausted,
        (fault, _) => fault,
    };
    Refusal { fault, param: object.param, retry_after }
}

impl From<Fault> for Refusal {
    /// Makes the refusal of a fault that came inside a stream, or in an answer with a status of success.
    fn from(fault: Fault) -> Self {
        Self { fault, param: None, retry_after: None }
    }
}

/// Returns the wait of a `retry-after` (RFC 9110 §10.2.3), from one second to one hour. The value is a number of seconds or
/// a date. Of a date only the distance to the `date` of the same answer counts, because both come from the upstream's clock.
pub fn asked_for(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    const LONGEST: u64 = 3600;
    let value = retry_after.trim();
    let seconds = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true if value.is_empty() => return None,
        // more digits than a number can have are a long wait
        true => value.parse().unwrap_or(LONGEST),
        false => {
            let (then, now) = (httpdate::parse_http_date(value).ok()?, httpdate::parse_http_date(date?.trim()).ok()?);
            then.duration_since(now).unwrap_or_default().as_secs()
        }
    };
    Some(Duration::from_secs(seconds.clamp(1, LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_body_says_why_a_request_was_refused() {
        let body = br#"{"error":{"code":"unsupported_parameter","param":"logit_bias","message":"sk-secret"}}"#;
        let refusal = classify(400, None, body);
        assert_eq!((refusal.fault, refusal.param.as_deref()), (Fault::Unsupported, Some("logit_bias")));
        let long = br#"{"error":{"code":"context_length_exceeded","param":"messages"}}"#;
        assert!(!classify(400, None, long).is_retryable());
    }

    #[test]
    fn the_body_cannot_make_a_failure_of_the_upstream_the_client_s() {
        let body = br#"{"error":{"code":"context_length_exceeded"}}"#;
        assert_eq!(classify(500, None, body).fault, Fault::Other);
        assert_eq!(classify(503, None, body).fault, Fault::Overloaded);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_bounds() {
        const DATE: Option<&str> = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        for (header, date, seconds) in [
            ("7", None, Some(7)),
            (" 30 ", DATE, Some(30)),
            ("0", None, Some(1)),
            ("86400", None, Some(3600)),
            ("99999999999999999999999", None, Some(3600)),
            ("-1", DATE, None),
            ("1.5", DATE, None),
            ("", DATE, None),
            ("Wed, 21 Oct 2015 07:28:30 GMT", DATE, Some(30)),
            ("Wednesday, 21-Oct-15 07:29:00 GMT", DATE, Some(60)),
            ("Wed Oct 21 07:28:05 2015", DATE, Some(5)),
            // over already, or far away
            ("Wed, 21 Oct 2015 07:20:00 GMT", DATE, Some(1)),
            ("Thu, 21 Oct 2055 07:28:00 GMT", DATE, Some(3600)),
            // by whose clock
            ("Wed, 21 Oct 2015 07:28:30 GMT", None, None),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some("today"), None),
            ("Wed, 21 Oct 2015 07:28:30 CET", DATE, None),
        ] {
            assert_eq!(asked_for(header, date), seconds.map(Duration::from_secs), "{header} {date:?}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_can_be_classified(status: u16, body: Vec<u8>) {
            classify(status, None, &body);
        }

        #[test]
        fn whatever_is_said_the_wait_is_bounded(said: String, seconds in 0u64..1 << 33, date: Option<String>) {
            let bounded = |wait: Duration| (1..=3600).contains(&wait.as_secs());
            prop_assert!(asked_for(&said, date.as_deref()).is_none_or(bounded));
            prop_assert!(asked_for(&seconds.to_string(), date.as_deref()).is_some_and(bounded));
        }
    }
}

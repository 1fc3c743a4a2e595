//! The meaning of an upstream's refusal: its class, the wrong parameter, the time to wait. Pure.

use std::time::Duration;

use memchr::memmem;

use crate::error_object::ErrorObject;
use crate::fault::Fault;

/// The meaning of an upstream's refusal for the client and for fallback.
///
/// It holds no byte of the upstream's body, except the name of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its class, for metrics and logs.
    pub fault: Fault,
    /// The wrong parameter, if the body names one.
    pub param: Option<String>,
    /// The time to wait, by the upstream's header or body: at most an hour.
    pub retry_after: Option<Duration>,
    /// Whether the upstream refuses something that the gateway has added to the request, and names it.
    pub refuses_addition: bool,
}

impl Refusal {
    /// Whether a fallback attempt is possible: see [`Fault::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.fault.is_retryable()
    }
}

/// Classifies an upstream's answer that is not a success by its status, by what [`asked_for`] has read in its head, and by its
/// body. `added` has the names of the members that the gateway itself has added to the request.
pub fn classify(status: u16, retry_after: Option<Duration>, body: &[u8], added: &[&str]) -> Refusal {
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
    let retry_after = retry_after.or(object.retry_after.map(bounded));
    let is_named = |name: &&str| memmem::find(body, name.as_bytes()).is_some();
    let refuses_addition = matches!(status, 400 | 422) && added.iter().any(is_named);
    Refusal { fault, param: object.param, retry_after, refuses_addition }
}

impl From<Fault> for Refusal {
    /// Makes the refusal of a fault that came inside a stream, or in an answer with a status of success.
    fn from(fault: Fault) -> Self {
        Self { fault, param: None, retry_after: None, refuses_addition: false }
    }
}

/// The longest time to wait that is passed on.
const LONGEST: Duration = Duration::from_secs(3600);

/// Returns the wait of a `retry-after` (RFC 9110 §10.2.3), from one second to one hour. The value is a number of seconds or
/// a date. Of a date only the distance to the `date` of the same answer counts, because both come from the upstream's clock.
/// Some upstreams write a fraction: it is rounded up.
pub fn asked_for(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    let value = retry_after.trim();
    if let Some(wait) = decimal(value) {
        return Some(bounded(wait));
    }
    let (then, now) = (httpdate::parse_http_date(value).ok()?, httpdate::parse_http_date(date?.trim()).ok()?);
    Some(bounded(then.duration_since(now).unwrap_or_default()))
}

/// Returns the wait of a `retry-after-ms`, a number of milliseconds: OpenAI and Azure send it, and their SDKs prefer it.
pub fn asked_for_in_milliseconds(retry_after_ms: &str) -> Option<Duration> {
    decimal(retry_after_ms.trim()).map(|wait| bounded(wait / 1000))
}

/// Reads a number of seconds in plain decimal notation. A longer one than a [`Duration`] can have is the longest one.
fn decimal(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(whole) && is_number(fraction)).then_some(())?;
    let seconds = value.parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Rounds up to whole seconds, from one second to one hour.
fn bounded(wait: Duration) -> Duration {
    let wait = wait.min(LONGEST);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_body_says_why_a_request_was_refused() {
        let body = br#"{"error":{"code":"unsupported_parameter","param":"logit_bias","message":"sk-secret"}}"#;
        let refusal = classify(400, None, body, &[]);
        assert_eq!((refusal.fault, refusal.param.as_deref()), (Fault::Unsupported, Some("logit_bias")));
        let long = br#"{"error":{"code":"context_length_exceeded","param":"messages"}}"#;
        assert!(!classify(400, None, long, &[]).is_retryable());
    }

    #[test]
    fn the_body_cannot_make_a_failure_of_the_upstream_the_client_s() {
        let body = br#"{"error":{"code":"context_length_exceeded"}}"#;
        assert_eq!(classify(500, None, body, &[]).fault, Fault::Other);
        assert_eq!(classify(503, None, body, &[]).fault, Fault::Overloaded);
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
            ("42.6", None, Some(43)),
            ("0.2", None, Some(1)),
            ("1.", None, None),
            (".5", None, None),
            ("1.5s", DATE, None),
            ("1e3", DATE, None),
            ("inf", DATE, None),
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

    #[test]
    fn milliseconds_are_rounded_up_to_seconds() {
        for (header, seconds) in
            [("42600", Some(43)), ("1", Some(1)), ("1000", Some(1)), ("0.5", Some(1)), ("x", None), ("", None)]
        {
            assert_eq!(asked_for_in_milliseconds(header), seconds.map(Duration::from_secs), "{header}");
        }
    }

    #[test]
    fn a_body_can_name_the_time_to_wait() {
        let body = br#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"42.6s"}]}}]"#;
        assert_eq!(classify(429, None, body, &[]).retry_after, Some(Duration::from_secs(43)));
        let header = Some(Duration::from_secs(5));
        assert_eq!(classify(429, header, body, &[]).retry_after, header, "the header is for this");
    }

    #[test]
    fn a_refusal_of_what_the_gateway_has_added_is_recognized() {
        let body = br#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
        let added = ["stream_options", "include_usage"];
        assert!(classify(422, None, body, &added).refuses_addition);
        assert!(classify(400, None, b"include_usage is not supported", &added).refuses_addition);
        assert!(!classify(422, None, body, &[]).refuses_addition, "the client wrote it");
        assert!(!classify(500, None, body, &added).refuses_addition);
        assert!(!classify(422, None, b"temperature", &added).refuses_addition);
    }

    proptest! {
        #[test]
        fn any_answer_can_be_classified(status: u16, body: Vec<u8>) {
            classify(status, None, &body, &[]);
        }

        #[test]
        fn whatever_is_said_the_wait_is_bounded(said: String, seconds in 0u64..1 << 33, date: Option<String>) {
            let bounded = |wait: Duration| (1..=3600).contains(&wait.as_secs());
            prop_assert!(asked_for(&said, date.as_deref()).is_none_or(bounded));
            prop_assert!(asked_for(&seconds.to_string(), date.as_deref()).is_some_and(bounded));
        }
    }
}

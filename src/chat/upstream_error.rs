//! An upstream's refusal, in the gateway's own words.

use std::time::Duration;

use crate::error::{Code, Reject};

use super::fault::{Fault, Said};

/// What an upstream's failure means for the client and for the choice of the next model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its class, for metrics and logs.
    pub fault: Fault,
    /// What the client is told if no other model answers. No byte of the upstream's body is in it, but for the name of a
    /// parameter that can be nothing else.
    pub reject: Reject,
    /// How long the upstream itself asked to be left alone: at most an hour.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Whether another model may be asked: see [`Fault::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.fault.is_retryable()
    }
}

/// The meaning of an upstream's answer that is not a success: its status, what [`asked_for`] read in its head, and its body.
pub fn classify(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let said = Said::read(body);
    let fault = match (Fault::from_status(status), said.fault) {
        // the status says only that the request was refused: the body may say why
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
        // an account without credit is not helped by waiting
        (Fault::RateLimited, Some(Fault::QuotaExhausted)) => Fault::QuotaExhausted,
        (fault, _) => fault,
    };
    failure(fault, said.param.as_deref(), retry_after)
}

impl From<Fault> for Failure {
    /// A fault that came inside a stream, or as an answer with a status of success.
    fn from(fault: Fault) -> Self {
        failure(fault, None, None)
    }
}

fn failure(fault: Fault, param: Option<&str>, retry_after: Option<Duration>) -> Failure {
    let reject = match fault {
        Fault::RateLimited => Reject::new(Code::RateLimited, "The upstream limits its requests: try again later.")
            .retry_after(wait(retry_after)),
        Fault::Overloaded => Reject::new(Code::Overloaded, "The upstream has no capacity now: try again later.")
            .retry_after(wait(retry_after)),
        Fault::QuotaExhausted => {
            Reject::new(Code::UpstreamFailure, "The gateway's account at the upstream has no credit left.")
        }
        Fault::Timeout => Reject::new(Code::UpstreamTimeout, "The upstream gave up waiting for its model."),
        Fault::Credentials => Reject::new(Code::UpstreamFailure, "The upstream refused the gateway's own credentials."),
        Fault::NotFound => Reject::new(Code::UpstreamFailure, "The upstream does not know the model or the path."),
        Fault::TooLarge => Reject::new(Code::BodyTooLarge, "The upstream takes no request of this size: shorten it."),
        Fault::ContextLengthExceeded => invalid(
            param,
            "The prompt, with the answer asked for, is longer than the model's context: shorten the messages or ask for fewer tokens.",
        ),
        Fault::ContentPolicy => invalid(param, "The upstream's content policy refused the request."),
        Fault::Unsupported => {
            invalid(param, "The upstream does not support this parameter or its value for this model.")
        }
        Fault::Invalid => invalid(param, "The upstream refused the request as invalid."),
        Fault::Other => Reject::new(Code::UpstreamFailure, "The upstream failed."),
    };
    Failure { fault, reject, retry_after }
}

fn invalid(param: Option<&str>, why: &'static str) -> Reject {
    match param {
        Some(param) => Reject::new(Code::InvalidRequest, format!("{param}: {why}")),
        None => Reject::new(Code::InvalidRequest, why),
    }
}

/// How long the client is to wait: as the upstream says, or else a few seconds.
fn wait(retry_after: Option<Duration>) -> Duration {
    const UNSAID: Duration = Duration::from_secs(5);
    retry_after.unwrap_or(UNSAID)
}

/// What `retry-after` says (RFC 9110 §10.2.3), from a second to an hour: a number of seconds; or a moment, of which only the
/// distance to the `date` of the same answer counts, for both are told by the upstream's clock.
pub fn asked_for(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    const LONGEST: u64 = 3600;
    let said = retry_after.trim();
    let seconds = match said.bytes().all(|byte| byte.is_ascii_digit()) {
        true if said.is_empty() => return None,
        // more digits than a number can have are a long time
        true => said.parse().unwrap_or(LONGEST),
        false => {
            let (then, now) = (httpdate::parse_http_date(said).ok()?, httpdate::parse_http_date(date?.trim()).ok()?);
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
    fn each_status_has_its_code_and_may_or_may_not_be_tried_elsewhere() {
        for (status, code, retryable) in [
            (400, Code::InvalidRequest, false),
            (422, Code::InvalidRequest, false),
            (413, Code::BodyTooLarge, false),
            (401, Code::UpstreamFailure, true),
            (402, Code::UpstreamFailure, true),
            (403, Code::UpstreamFailure, true),
            (404, Code::UpstreamFailure, true),
            (408, Code::UpstreamTimeout, true),
            (504, Code::UpstreamTimeout, true),
            (429, Code::RateLimited, true),
            (503, Code::Overloaded, true),
            (529, Code::Overloaded, true),
            (500, Code::UpstreamFailure, true),
            (502, Code::UpstreamFailure, true),
            (302, Code::UpstreamFailure, true),
            (204, Code::UpstreamFailure, true),
            (999, Code::UpstreamFailure, true),
        ] {
            let failure = classify(status, None, b"<html>sk-secret</html>");
            assert_eq!((failure.reject.code, failure.is_retryable()), (code, retryable), "{status}");
        }
    }

    #[test]
    fn the_body_says_why_a_request_was_refused() {
        let body = br#"{"error":{"code":"unsupported_parameter","param":"logit_bias","message":"sk-secret"}}"#;
        let failure = classify(400, None, body);
        assert_eq!(failure.fault, Fault::Unsupported);
        assert_eq!(
            failure.reject.message,
            "logit_bias: The upstream does not support this parameter or its value for this model."
        );
        let long = br#"{"error":{"code":"context_length_exceeded","param":"messages"}}"#;
        assert!(classify(400, None, long).reject.message.starts_with("messages: The prompt"));
        assert!(!classify(400, None, long).is_retryable());
    }

    #[test]
    fn the_body_cannot_make_a_failure_of_the_upstream_the_client_s() {
        let body = br#"{"error":{"code":"context_length_exceeded"}}"#;
        assert_eq!(classify(500, None, body).fault, Fault::Other);
        assert_eq!(classify(503, None, body).fault, Fault::Overloaded);
    }

    #[test]
    fn an_account_without_credit_is_no_rate_limit() {
        let failure = classify(429, Some(Duration::from_secs(7)), br#"{"error":{"code":"insufficient_quota"}}"#);
        assert_eq!((failure.reject.code, failure.reject.retry_after), (Code::UpstreamFailure, None));
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

    #[test]
    fn the_client_waits_as_long_as_the_upstream_says_or_a_few_seconds() {
        for (said, wait) in [(Some(7), 7), (None, 5)] {
            let said = said.map(Duration::from_secs);
            for status in [429, 503] {
                assert_eq!(classify(status, said, b"").reject.retry_after, Some(Duration::from_secs(wait)));
            }
            // what the upstream did not say is not its own word
            assert_eq!(classify(500, said, b"").retry_after, said);
        }
    }

    proptest! {
        #[test]
        fn no_text_of_the_upstream_is_passed_on(status in 300u16..600, text in "[A-Za-z0-9-]{12,40}X") {
            let body = serde_json::json!({ "message": text, "error": {
                "message": text, "type": text, "code": text, "param": text, "status": text, &text: text,
            }});
            let failure = classify(status, None, body.to_string().as_bytes());
            prop_assert!(!failure.reject.message.contains(&text));
        }

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

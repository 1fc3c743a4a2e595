//! The gateway's own code and message for an upstream's refusal. Pure.

use std::time::Duration;

use families::fault::Fault;
use families::refusal::Refusal;

use crate::error::{Code, Reject};

/// Returns the error for the client, if no other model answers.
///
/// It contains nothing of the upstream's body, except the name of a parameter.
pub(super) fn reject(refusal: &Refusal) -> Reject {
    let (param, retry_after) = (refusal.param.as_deref(), refusal.retry_after);
    match refusal.fault {
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
    }
}

fn invalid(param: Option<&str>, why: &'static str) -> Reject {
    match param {
        Some(param) => Reject::new(Code::InvalidRequest, format!("{param}: {why}")),
        None => Reject::new(Code::InvalidRequest, why),
    }
}

/// Returns how long the client has to wait: the upstream's `retry-after`, or else a few seconds.
fn wait(retry_after: Option<Duration>) -> Duration {
    const UNSAID: Duration = Duration::from_secs(5);
    retry_after.unwrap_or(UNSAID)
}

#[cfg(test)]
mod tests {
    use families::refusal::classify;
    use proptest::prelude::*;

    use super::*;

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
            let refusal = classify(status, None, b"<html>sk-secret</html>", &[]);
            assert_eq!((reject(&refusal).code, refusal.is_retryable()), (code, retryable), "{status}");
        }
    }

    #[test]
    fn the_message_names_the_parameter_at_fault() {
        let body = br#"{"error":{"code":"unsupported_parameter","param":"logit_bias","message":"sk-secret"}}"#;
        assert_eq!(
            reject(&classify(400, None, body, &[])).message,
            "logit_bias: The upstream does not support this parameter or its value for this model."
        );
        let long = br#"{"error":{"code":"context_length_exceeded","param":"messages"}}"#;
        assert!(reject(&classify(400, None, long, &[])).message.starts_with("messages: The prompt"));
    }

    #[test]
    fn an_account_without_credit_is_no_rate_limit() {
        let refused =
            reject(&classify(429, Some(Duration::from_secs(7)), br#"{"error":{"code":"insufficient_quota"}}"#, &[]));
        assert_eq!((refused.code, refused.retry_after), (Code::UpstreamFailure, None));
    }

    #[test]
    fn the_client_waits_as_long_as_the_upstream_says_or_a_few_seconds() {
        for (said, wait) in [(Some(7), 7), (None, 5)] {
            let said = said.map(Duration::from_secs);
            for status in [429, 503] {
                assert_eq!(reject(&classify(status, said, b"", &[])).retry_after, Some(Duration::from_secs(wait)));
            }
            // without a `retry-after` of the upstream, none is reported
            assert_eq!(classify(500, said, b"", &[]).retry_after, said);
        }
    }

    proptest! {
        #[test]
        fn no_text_of_the_upstream_is_passed_on(status in 300u16..600, text in "[A-Za-z0-9-]{12,40}X") {
            let body = serde_json::json!({ "message": text, "error": {
                "message": text, "type": text, "code": text, "param": text, "status": text, &text: text,
            }});
            let refused = reject(&classify(status, None, body.to_string().as_bytes(), &[]));
            prop_assert!(!refused.message.contains(&text));
        }
    }
}

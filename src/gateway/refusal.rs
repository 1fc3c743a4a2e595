//! Refusals and failures as responses. A refusal that only one stage makes is in the file of that stage.

use std::time::Duration;

use http::Response;
use http::header::{self, HeaderName, HeaderValue};

use super::response::{add_cost, describe, json};
use crate::auth::authenticate::challenge;
use crate::body::Body;
use crate::error::Reject;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::request_id::RequestId;
use crate::upstream::failure::Failure;
use families::family::Family;

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The longest wait that a program may sleep through. Beyond it the response asks OpenAI's SDKs not to retry by themselves
/// (`x-should-retry`): openai-node sleeps as long as `retry-after` says, with a budget a whole day, and its caller sees nothing.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The response to a refused request, with an error body of this family.
pub(super) fn refuse(reject: &Reject, family: &dyn Family, id: &RequestId, meter: &Meter) -> Response<Body> {
    let mut response = json(family.error_body(&reject.api_error(&id.text())));
    *response.status_mut() = reject.code.status();
    let headers = response.headers_mut();
    if let Some(after) = reject.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        if after > LONGEST_RETRY {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
    }
    if let Some(allow) = reject.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    challenge(reject.code).into_iter().for_each(|(name, value)| drop(headers.insert(name, value)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    describe(&mut response, meter);
    // what failed may have cost something all the same
    add_cost(&mut response, meter);
    let mut record = meter.record();
    record.error(reject.code.as_str());
    record.status(response.status());
    record.settle(Outcome::Rejected);
    drop(record);
    response
}

/// The refusal that reports this failure of an upstream to the client. The meter records the failure.
pub(super) fn failed(failure: &Failure, meter: &Meter) -> Reject {
    let reject = failure.reject();
    let mut record = meter.record();
    record.error(failure.reason());
    record.status(reject.code.status());
    record.settle(match failure {
        // no upstream has failed
        Failure::Limited(_) | Failure::Draining => Outcome::Rejected,
        _ => Outcome::UpstreamFailure,
    });
    reject
}

/// 503: the gateway shuts down and begins nothing new.
pub(super) fn draining() -> Reject {
    Failure::Draining.reject()
}

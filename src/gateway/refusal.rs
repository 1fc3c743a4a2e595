//! Refusals and failures as responses. Each refusal is made by its stage; here it is counted and written.

use std::time::Duration;

use http::Response;
use http::header::{self, HeaderName, HeaderValue};

use super::exchange::Exchange;
use super::response;
use super::response_head::{add_cost, describe};
use crate::auth::authenticate::challenge;
use crate::body::Body;
use crate::error::{Code, Reject};
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::upstream::failure::Failure;

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The longest wait that a program may sleep through. Beyond it `x-should-retry` stops the retries of OpenAI's SDKs:
/// openai-node sleeps as long as `retry-after` says, a whole day with a budget, and its caller sees nothing.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

impl Exchange {
    /// The refusal as a response.
    pub(super) fn refuse(&self, reject: &Reject) -> Response<Body> {
        let mut response = response::json(reject.json(&self.id.text()));
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
        describe(&mut response, &self.meter);
        // a failed request can have a cost, too
        add_cost(&mut response, &self.meter);
        let mut record = self.meter.record();
        record.error(reject.code.as_str());
        record.status(response.status());
        record.settle(Outcome::Rejected);
        drop(record);
        response
    }
}

/// The failure of all upstreams as a refusal; it settles the meter.
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

/// A defect of the gateway.
pub(super) fn defect() -> Reject {
    Reject::new(Code::InternalError, "The gateway failed: this is a defect of it.")
}

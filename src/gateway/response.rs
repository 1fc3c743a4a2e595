//! The responses of the public listener: their heads, and the bodies that are not streamed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;

use crate::body::{Body, Frames};
use crate::gateway::routes::Route;
use crate::metering::meter::Meter;
use crate::request_id::{RequestId, X_REQUEST_ID};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const TOKENWAY_MODEL: HeaderName = HeaderName::from_static("tokenway-model");
const TOKENWAY_UPSTREAM: HeaderName = HeaderName::from_static("tokenway-upstream");
const TOKENWAY_ATTEMPTS: HeaderName = HeaderName::from_static("tokenway-attempts");
const TOKENWAY_ROUTE: HeaderName = HeaderName::from_static("tokenway-route");
const TOKENWAY_BUDGET: HeaderName = HeaderName::from_static("tokenway-budget");
const TOKENWAY_COST: HeaderName = HeaderName::from_static("tokenway-cost");
const TOKENWAY_CACHE: HeaderName = HeaderName::from_static("tokenway-cache");

/// Room for the headers of most responses: a map that grows hashes all of them again. Room for one more would double the memory,
/// which hyper holds for as long as the stream is open.
const HEADERS: usize = 12;

/// A status and no body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 with a JSON body.
pub(super) fn json(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `OPTIONS` that is no preflight: what the route can do (RFC 9110 §9.3.7).
pub(super) fn options(route: Route) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    response
}

/// A stream of events.
pub(super) fn stream(frames: Frames, vary: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::Stream(frames, None));
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
    response
}

/// Adds `tokenway-cache`: a hit, a miss, coalesced.
pub(super) fn name_cache(response: &mut Response<Body>, meter: &Meter) {
    let value = HeaderValue::from_static(meter.record().cache().as_str());
    response.headers_mut().insert(TOKENWAY_CACHE, value);
}

/// How old a cached answer is, in whole seconds (RFC 9111 §5.1).
pub(super) fn age(response: &mut Response<Body>, age: Duration) {
    response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
}

/// Adds the cost of a stream as a trailer field, for it is known at the end only. Over HTTP/2 every client takes trailers or
/// ignores them (RFC 9113 §8.1); over HTTP/1.1 only a client that sends `te: trailers` gets them (RFC 9110 §6.5.1).
pub(super) fn add_cost_trailer(response: &mut Response<Body>, parts: &Parts, meter: &Meter) {
    let says_trailers = |line: &HeaderValue| {
        let mut codings = line.to_str().unwrap_or_default().split(',');
        codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    };
    let takes = match parts.version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => parts.headers.get_all(header::TE).iter().any(says_trailers),
        _ => false,
    };
    let Body::Stream(_, trailer) = response.body_mut() else { return };
    if !takes {
        return;
    }
    let meter = meter.clone();
    *trailer = Some(Box::new(move || Some(HeaderMap::from_iter([(TOKENWAY_COST, cost(&meter)?)]))));
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("tokenway-cost"));
}

/// Adds `tokenway-cost`, where the cost is known.
pub(super) fn add_cost(response: &mut Response<Body>, meter: &Meter) {
    cost(meter).into_iter().for_each(|cost| drop(response.headers_mut().insert(TOKENWAY_COST, cost)));
}

/// In dollars, exact.
fn cost(meter: &Meter) -> Option<HeaderValue> {
    let cost = meter.record().cost()?;
    HeaderValue::try_from(cost.to_string()).ok()
}

/// Adds the headers of every response, and settles a response that is not a stream.
pub(super) fn finish(response: &mut Response<Body>, method: &Method, id: &RequestId, meter: &Meter) {
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    if *method != Method::OPTIONS {
        // RFC 9111 §4.2.2: without it a cache may keep an answer by guess, and some depend on who asks
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    let mut record = meter.record();
    record.status(response.status());
    if let Some(limits) = record.limits() {
        limits.write(response.headers_mut());
    }
    if record.is_beyond_budget() {
        response.headers_mut().insert(TOKENWAY_BUDGET, HeaderValue::from_static("exceeded"));
    }
    if let Some(decision) = record.route() {
        response.headers_mut().insert(TOKENWAY_ROUTE, HeaderValue::from_static(decision.as_str()));
    }
    if matches!(response.body(), Body::Full(_)) {
        record.answered();
    }
    if *method == Method::HEAD {
        // the length that GET would give (RFC 9110 §9.3.2)
        let length = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = Body::empty();
    }
}

/// Adds which model and upstream answer, at which attempt, and how long both sides took until now.
pub(super) fn describe(response: &mut Response<Body>, meter: &Meter) {
    let started = meter.started();
    let record = meter.record();
    let Some((model, upstream, attempts)) = record.answering() else { return };
    let upstream_time = record.upstream_time();
    let gateway_time = started.elapsed().saturating_sub(upstream_time);
    let headers = response.headers_mut();
    for (name, value) in [(TOKENWAY_MODEL, model), (TOKENWAY_UPSTREAM, upstream)] {
        // names are checked by the configuration
        HeaderValue::from_str(value).into_iter().for_each(|value| drop(headers.insert(name.clone(), value)));
    }
    let timing = server_timing(gateway_time, upstream_time);
    timing.into_iter().for_each(|timing| drop(headers.insert(SERVER_TIMING, timing)));
    headers.insert(TOKENWAY_ATTEMPTS, HeaderValue::from(attempts));
    headers.insert(TOKENWAY_CACHE, HeaderValue::from_static(record.cache().as_str()));
}

/// `gateway;dur=0.123, upstream;dur=45.678`, in milliseconds (Server Timing §3). `core::fmt` costs 2,700 instructions here.
fn server_timing(gateway: Duration, upstream: Duration) -> Option<HeaderValue> {
    let mut value = BytesMut::with_capacity(64);
    for (name, time) in [("gateway;dur=", gateway), (", upstream;dur=", upstream)] {
        let (whole, thousandths) = (time.as_micros() / 1000, time.as_micros() % 1000);
        value.extend_from_slice(name.as_bytes());
        value.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        value.extend_from_slice(b".");
        // three digits: the leading one of 1000 to 1999 is left out
        value.extend_from_slice(&itoa::Buffer::new().format(1000 + thousandths).as_bytes()[1..]);
    }
    HeaderValue::from_maybe_shared(value.freeze()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_is_in_milliseconds_with_three_digits_behind_the_point() {
        for (gateway, upstream, text) in [
            (0, 0, "gateway;dur=0.000, upstream;dur=0.000"),
            (7, 1_000, "gateway;dur=0.007, upstream;dur=1.000"),
            (123_456, 99_999_090, "gateway;dur=123.456, upstream;dur=99999.090"),
        ] {
            let value = server_timing(Duration::from_micros(gateway), Duration::from_micros(upstream));
            assert_eq!(value.unwrap(), text);
        }
    }
}

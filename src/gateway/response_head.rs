//! The header fields of a response that depend on its request: the model, times, cost, limits and CORS.

use std::io::Write;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::routes::Route;
use crate::body::Body;
use crate::metering::meter::Meter;
use crate::request_id::X_REQUEST_ID;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TOKENWAY_MODEL: HeaderName = HeaderName::from_static("tokenway-model");
const TOKENWAY_UPSTREAM: HeaderName = HeaderName::from_static("tokenway-upstream");
const TOKENWAY_ATTEMPTS: HeaderName = HeaderName::from_static("tokenway-attempts");
const TOKENWAY_ROUTE: HeaderName = HeaderName::from_static("tokenway-route");
const TOKENWAY_BUDGET: HeaderName = HeaderName::from_static("tokenway-budget");
const TOKENWAY_COST: HeaderName = HeaderName::from_static("tokenway-cost");
const TOKENWAY_CACHE: HeaderName = HeaderName::from_static("tokenway-cache");

/// Bytes of the longest `server-timing`: its names, and two durations of at most 24 characters.
const LONGEST_TIMING: usize = 96;

impl Exchange {
    /// Adds what every response carries, whatever it is; settles the meter of a response that is no stream.
    pub(super) fn finish_head(&self, response: &mut Response<Body>) {
        let is_completion = matches!(self.route, Route::ChatCompletions | Route::Chat);
        let priced = || self.gateway.config.models.models().iter().any(|model| model.prices().is_some());
        if is_completion && self.takes_trailers() && priced() {
            add_cost_as_trailer(response, &self.meter);
        }
        response.headers_mut().insert(X_REQUEST_ID, self.id.header());
        if self.parts.method != Method::OPTIONS {
            // RFC 9111 §4.2.2: without it a cache may store a response by heuristics, and some depend on the caller
            response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        let mut record = self.meter.record();
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
        if self.parts.method == Method::HEAD {
            // the length of the response to GET (RFC 9110 §9.3.2)
            let length = response.body().size_hint().exact().unwrap_or_default();
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Body::empty();
        }
    }

    /// Whether the client takes trailer fields. Over HTTP/2 each client takes them, or ignores them (RFC 9113 §8.1); over
    /// HTTP/1.1 one that sends `te: trailers` (RFC 9110 §6.5.1).
    fn takes_trailers(&self) -> bool {
        let lists_trailers = |line: &HeaderValue| {
            let mut codings = line.to_str().unwrap_or_default().split(',');
            codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
        };
        match self.parts.version {
            Version::HTTP_2 => true,
            Version::HTTP_11 => self.parts.headers.get_all(header::TE).iter().any(lists_trailers),
            _ => false,
        }
    }
}

/// Adds the model and the upstream that answer, the number of attempts, the cache, and the time of both sides so far.
pub(super) fn describe(response: &mut Response<Body>, meter: &Meter) {
    let now = Instant::now();
    let record = meter.record();
    let Some((target, attempts)) = record.target() else { return };
    let upstream = record.upstream_time(now);
    let gateway = now.saturating_duration_since(record.started()).saturating_sub(upstream);
    let headers = response.headers_mut();
    let fields = [
        (TOKENWAY_MODEL, target.model_header.clone()),
        (TOKENWAY_UPSTREAM, target.upstream_header.clone()),
        (SERVER_TIMING, server_timing(gateway, upstream)),
        (TOKENWAY_ATTEMPTS, Some(number(attempts))),
        (TOKENWAY_CACHE, Some(HeaderValue::from_static(record.cache().as_str()))),
    ];
    for (name, value) in fields {
        value.into_iter().for_each(|value| drop(headers.insert(&name, value)));
    }
}

/// Adds how the cache was used, where the model is not known yet.
pub(super) fn name_cache(response: &mut Response<Body>, meter: &Meter) {
    let value = HeaderValue::from_static(meter.record().cache().as_str());
    response.headers_mut().insert(TOKENWAY_CACHE, value);
}

/// Adds the age of a cached answer, in whole seconds (RFC 9111 §5.1).
pub(super) fn add_age(response: &mut Response<Body>, age: Duration) {
    response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
}

/// Adds the cost, if it is known.
pub(super) fn add_cost(response: &mut Response<Body>, meter: &Meter) {
    cost(meter).into_iter().for_each(|cost| drop(response.headers_mut().insert(TOKENWAY_COST, cost)));
}

/// Adds the cost of a stream as a trailer field (RFC 9110 §6.5): it is known at the end.
fn add_cost_as_trailer(response: &mut Response<Body>, meter: &Meter) {
    let Body::Stream(_, trailer) = response.body_mut() else { return };
    let meter = meter.clone();
    *trailer = Some(Box::new(move || Some(HeaderMap::from_iter([(TOKENWAY_COST, cost(&meter)?)]))));
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("tokenway-cost"));
}

/// In dollars, exact.
fn cost(meter: &Meter) -> Option<HeaderValue> {
    let cost = meter.record().cost()?;
    HeaderValue::try_from(cost.to_string()).ok()
}

fn number(number: u32) -> HeaderValue {
    match number {
        1 => HeaderValue::from_static("1"),
        number => HeaderValue::from(number),
    }
}

/// `gateway;dur=1.234, upstream;dur=5.678`, in milliseconds (Server-Timing, W3C). Written without `core::fmt`, which costs ten
/// times as much: each request has this field.
fn server_timing(gateway: Duration, upstream: Duration) -> Option<HeaderValue> {
    let mut buffer = [0; LONGEST_TIMING];
    let mut rest = &mut buffer[..];
    for (name, duration) in [("gateway;dur=", gateway), (", upstream;dur=", upstream)] {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // digits
        let digit = |place: u64| b'0' + (micros / place % 10) as u8;
        rest.write_all(name.as_bytes()).ok()?;
        rest.write_all(itoa::Buffer::new().format(micros / 1000).as_bytes()).ok()?;
        rest.write_all(&[b'.', digit(100), digit(10), digit(1)]).ok()?;
    }
    let left = rest.len();
    HeaderValue::from_bytes(&buffer[..LONGEST_TIMING - left]).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn server_timing_has_milliseconds_with_three_digits(gateway: u32, upstream: u64) {
            let value = server_timing(Duration::from_micros(gateway.into()), Duration::from_micros(upstream)).unwrap();
            let ms = |micros: u64| format!("{}.{:03}", micros / 1000, micros % 1000);
            let expected = format!("gateway;dur={}, upstream;dur={}", ms(gateway.into()), ms(upstream));
            prop_assert_eq!(value.to_str().unwrap(), expected);
        }
    }

    #[test]
    fn any_duration_has_a_server_timing() {
        assert!(server_timing(Duration::MAX, Duration::MAX).is_some());
    }
}

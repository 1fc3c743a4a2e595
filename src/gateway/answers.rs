//! The answers of the public listener: their heads, and the bodies that are not streamed.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use serde_json::json;

use crate::auth::authenticate::challenge;
use crate::body::{Body, Frames};
use crate::error::{Code, Reject};
use crate::gateway::routes::Route;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::stream::log::id::StreamId;
use crate::upstream::failure::Failure;
use families::family::Family;
use families::request::Request;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const TOKENWAY_MODEL: HeaderName = HeaderName::from_static("tokenway-model");
const TOKENWAY_UPSTREAM: HeaderName = HeaderName::from_static("tokenway-upstream");
const TOKENWAY_ATTEMPTS: HeaderName = HeaderName::from_static("tokenway-attempts");
const TOKENWAY_ROUTE: HeaderName = HeaderName::from_static("tokenway-route");
const TOKENWAY_STREAM_ID: HeaderName = HeaderName::from_static("tokenway-stream-id");
const TOKENWAY_BUDGET: HeaderName = HeaderName::from_static("tokenway-budget");
const TOKENWAY_COST: HeaderName = HeaderName::from_static("tokenway-cost");
const TOKENWAY_CACHE: HeaderName = HeaderName::from_static("tokenway-cache");

/// Streams end all the time.
const RETRY_WHILE_FULL: Duration = Duration::from_secs(2);

/// A wait that a program may sleep through. Beyond it OpenAI's SDKs are told not to try again by themselves (`x-should-retry`):
/// openai-node sleeps for as long as `retry-after` says, a whole day with a budget, and its caller sees nothing.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// A status and no body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 with a JSON body.
pub fn json(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `OPTIONS` that is no preflight: what the route can do (RFC 9110 §9.3.7).
pub fn options(route: Route) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    response
}

/// A stream of events.
pub fn stream(frames: Frames, vary: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::Stream(frames, None));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
    response
}

/// 201: a resumable stream has begun. `base` is where the client has reached this gateway: a page of another origin needs
/// the whole URL.
pub fn created(stream: StreamId, base: &str) -> Response<Body> {
    let path = format!("/v1/streams/{stream}");
    let mut response = json(json!({ "id": stream.to_string(), "url": format!("{base}{path}") }).to_string());
    *response.status_mut() = StatusCode::CREATED;
    name_stream(&mut response, stream);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HeaderValue::try_from(path).into_iter().for_each(|path| drop(headers.insert(header::LOCATION, path)));
    response
}

/// Says by which id the stream can be resumed.
pub fn name_stream(response: &mut Response<Body>, stream: StreamId) {
    let id = HeaderValue::try_from(stream.to_string());
    id.into_iter().for_each(|id| drop(response.headers_mut().insert(TOKENWAY_STREAM_ID, id)));
}

/// A whole answer, in the form of the route.
///
/// # Errors
/// The upstream's JSON lacks what the form needs.
pub fn whole(route: Route, body: Bytes, vary: Option<HeaderValue>, meter: &Meter) -> Result<Response<Body>, Reject> {
    let model = meter.record().answering().map(|(model, ..)| model.to_owned()).unwrap_or_default();
    let body = route.family().write_answer(body, route.form(), &model);
    let mut response = json(body.map_err(|none| failed(&Failure::from(none), meter))?);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
    describe(&mut response, meter);
    cost(meter).into_iter().for_each(|cost| drop(response.headers_mut().insert(TOKENWAY_COST, cost)));
    let mut record = meter.record();
    record.status(StatusCode::OK);
    record.settle(Outcome::Ok);
    drop(record);
    Ok(response)
}

/// What the cache had to do with the answer.
pub fn name_cache(response: &mut Response<Body>, meter: &Meter) {
    let value = HeaderValue::from_static(meter.record().cache().as_str());
    response.headers_mut().insert(TOKENWAY_CACHE, value);
}

/// How old a kept answer is, in whole seconds (RFC 9111 §5.1).
pub fn age(response: &mut Response<Body>, age: Duration) {
    response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
}

/// Only a kept answer was wanted, and there is none.
pub fn not_cached() -> Reject {
    let message = "No kept answer to this request: ask without `cache-control: only-if-cached`.";
    Reject::new(Code::NotCached, message)
}

/// What the client is told of an upstream's failure, and the meter of it.
pub fn failed(failure: &Failure, meter: &Meter) -> Reject {
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

/// A refusal as a response, with a body of this family.
pub fn refuse(reject: &Reject, family: &dyn Family, id: &RequestId, meter: &Meter) -> Response<Body> {
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
    cost(meter).into_iter().for_each(|cost| drop(response.headers_mut().insert(TOKENWAY_COST, cost)));
    let mut record = meter.record();
    record.error(reject.code.as_str());
    record.status(response.status());
    record.settle(Outcome::Rejected);
    drop(record);
    response
}

/// Has a stream tell its cost when that is known: at its end, as a trailer field, if the client takes those. Over HTTP/2 any
/// client does, or ignores them (RFC 9113 §8.1); over HTTP/1.1 one that says `te: trailers` (RFC 9110 §6.5.1).
pub fn tell_cost_at_end(response: &mut Response<Body>, parts: &Parts, meter: &Meter) {
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

/// In dollars, exact.
fn cost(meter: &Meter) -> Option<HeaderValue> {
    let cost = meter.record().cost()?;
    HeaderValue::try_from(cost.to_string()).ok()
}

/// What every answer carries; an answer that is not a stream is settled by it.
pub fn finish(response: &mut Response<Body>, method: &Method, id: &RequestId, meter: &Meter) {
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

/// No such route.
pub fn no_such_route() -> Reject {
    let message = "No such route. There are POST /v1/chat/completions, POST /v1/chat, POST /v1/streams, \
                   GET and DELETE /v1/streams/{id}, GET /v1/models and GET /healthz; and, where sessions are taken, \
                   POST and DELETE /v1/session.";
    Reject::new(Code::NotFound, message)
}

/// The route has other methods.
pub fn no_such_method(route: Route) -> Reject {
    let allow = route.methods();
    Reject { allow: Some(allow), ..Reject::new(Code::MethodNotAllowed, format!("This route takes {allow}.")) }
}

/// The model is not configured, or not the caller's to use; or none was named and there is no default for it.
pub fn no_such_model(request: &Request) -> Reject {
    let message = match request.model() {
        Some(_) => "`model`: no such model here; GET /v1/models lists those that there are.",
        None => "`model`: missing, and this gateway has no routing.default for you; GET /v1/models lists the models.",
    };
    match request.model() {
        Some(_) => Reject::new(Code::ModelNotFound, message),
        None => Reject::new(Code::InvalidRequest, message),
    }
}

/// No such resumable stream, or not this caller's: nobody learns which.
pub fn no_such_stream() -> Reject {
    let message =
        "No such stream, or not yours, or forgotten since: streams are kept for resume.retention after their end.";
    Reject::new(Code::StreamNotFound, message)
}

/// As many resumable streams are running as there may be.
pub fn no_room() -> Reject {
    let message = "No room for another resumable stream now: try again, or ask without tokenway-resumable.";
    Reject::new(Code::Overloaded, message).retry_after(RETRY_WHILE_FULL)
}

/// The caller has spent its budget of the day.
pub fn over_budget(until_midnight: Duration) -> Reject {
    let message = "Your budget of the day does not hold this request: ask for less, or again after midnight UTC.";
    Reject::new(Code::BudgetExceeded, message).retry_after(until_midnight)
}

/// No new work while shutting down.
pub fn draining() -> Reject {
    Failure::Draining.reject()
}

/// Written with three digits behind the point, without the cost of a float's.
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// Who answered, at which attempt, and how long both sides took up to here.
pub fn describe(response: &mut Response<Body>, meter: &Meter) {
    let started = meter.started();
    let record = meter.record();
    let Some((model, upstream, attempts)) = record.answering() else { return };
    let upstream_time = record.upstream_time();
    let gateway_time = started.elapsed().saturating_sub(upstream_time);
    let timing = format!("gateway;dur={}, upstream;dur={}", Milliseconds(gateway_time), Milliseconds(upstream_time));
    let headers = response.headers_mut();
    let named = [(TOKENWAY_MODEL, model), (TOKENWAY_UPSTREAM, upstream), (SERVER_TIMING, timing.as_str())];
    for (name, value) in named {
        // names are checked by the configuration
        HeaderValue::from_str(value).into_iter().for_each(|value| drop(headers.insert(&name, value)));
    }
    headers.insert(TOKENWAY_ATTEMPTS, HeaderValue::from(attempts));
    headers.insert(TOKENWAY_CACHE, HeaderValue::from_static(record.cache().as_str()));
}

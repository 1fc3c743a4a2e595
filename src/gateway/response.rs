//! Responses without the fields that depend on the request: a status, a JSON body, a stream of events.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::{Body, Frames};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Room for the header fields of a completion, so that the map does not grow while it is filled.
const FIELDS: usize = 12;

/// A status and no body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 with a JSON body.
pub(super) fn json(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.headers_mut() = headers;
    response
}

/// 200 with a stream of events.
pub(super) fn stream(frames: Frames, vary: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::Stream(frames, None));
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
    *response.headers_mut() = headers;
    response
}

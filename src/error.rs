//! A refusal as a value: [`Reject`] holds what the client may see, and nothing else. Pure.

use std::borrow::Cow;
use std::time::Duration;

use families::api_error::ApiError;
use families::request::Invalid;
use http::StatusCode;

/// The closed set of error codes of the public API; each has one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request itself is wrong; the message names the JSON path or the header.
    InvalidRequest,
    /// There are no credentials, but they are required.
    MissingCredentials,
    /// The credentials are unknown, expired or revoked: one answer for all.
    InvalidCredentials,
    /// The page's origin is not in `cors.origins`.
    OriginNotAllowed,
    /// No such route.
    NotFound,
    /// The named model is not configured.
    ModelNotFound,
    /// The resumable stream does not exist, or belongs to another caller: one answer for both.
    StreamNotFound,
    /// A resumable stream was stopped before its end. It is an event of the stream, never a status.
    StreamStopped,
    /// Events of a stream were discarded before its reader read them. It is an event of the stream, never a status.
    Gap,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The request body is over `server.max_body`.
    BodyTooLarge,
    /// The request body is not JSON.
    UnsupportedMediaType,
    /// The host is not one of this gateway.
    MisdirectedRequest,
    /// The request head is too large.
    HeadersTooLarge,
    /// The request target is too long.
    UriTooLong,
    /// Too many requests, here or at the upstream.
    RateLimited,
    /// The caller has spent its daily budget.
    BudgetExceeded,
    /// The upstream failed, or its answer cannot be used.
    UpstreamFailure,
    /// The upstream or the gateway has no capacity now.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
    /// The upstream was silent for too long.
    UpstreamTimeout,
    /// The request asks only for a cached answer, and there is none (RFC 9111 §5.2.1.7).
    NotCached,
    /// A defect of the gateway itself.
    InternalError,
}

impl Code {
    /// Every code, for table tests.
    pub const ALL: [Code; 24] = [
        Code::InvalidRequest,
        Code::MissingCredentials,
        Code::InvalidCredentials,
        Code::OriginNotAllowed,
        Code::NotFound,
        Code::ModelNotFound,
        Code::StreamNotFound,
        Code::StreamStopped,
        Code::Gap,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::BodyTooLarge,
        Code::UnsupportedMediaType,
        Code::MisdirectedRequest,
        Code::HeadersTooLarge,
        Code::UriTooLong,
        Code::RateLimited,
        Code::BudgetExceeded,
        Code::UpstreamFailure,
        Code::Overloaded,
        Code::Draining,
        Code::UpstreamTimeout,
        Code::NotCached,
        Code::InternalError,
    ];

    /// Returns the value of `error.code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::MissingCredentials => "missing_credentials",
            Code::InvalidCredentials => "invalid_credentials",
            Code::OriginNotAllowed => "origin_not_allowed",
            Code::NotFound => "not_found",
            Code::ModelNotFound => "model_not_found",
            Code::StreamNotFound => "stream_not_found",
            Code::StreamStopped => "stream_stopped",
            Code::Gap => "gap",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::RequestTimeout => "request_timeout",
            Code::BodyTooLarge => "body_too_large",
            Code::UnsupportedMediaType => "unsupported_media_type",
            Code::MisdirectedRequest => "misdirected_request",
            Code::HeadersTooLarge => "headers_too_large",
            Code::UriTooLong => "uri_too_long",
            Code::RateLimited => "rate_limited",
            Code::BudgetExceeded => "budget_exceeded",
            Code::UpstreamFailure => "upstream_failure",
            Code::Overloaded => "overloaded",
            Code::Draining => "draining",
            Code::UpstreamTimeout => "upstream_timeout",
            Code::NotCached => "not_cached",
            Code::InternalError => "internal_error",
        }
    }

    /// Returns the HTTP status of the code.
    pub fn status(self) -> StatusCode {
        match self {
            Code::InvalidRequest => StatusCode::BAD_REQUEST,
            Code::MissingCredentials | Code::InvalidCredentials => StatusCode::UNAUTHORIZED,
            Code::OriginNotAllowed => StatusCode::FORBIDDEN,
            Code::NotFound | Code::ModelNotFound | Code::StreamNotFound => StatusCode::NOT_FOUND,
            Code::StreamStopped | Code::Gap => StatusCode::GONE,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Code::UriTooLong => StatusCode::URI_TOO_LONG,
            Code::RateLimited | Code::BudgetExceeded => StatusCode::TOO_MANY_REQUESTS,
            Code::UpstreamFailure => StatusCode::BAD_GATEWAY,
            Code::Overloaded | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Code::UpstreamTimeout | Code::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A refused or failed request, as the client sees it.
///
/// The message is written by the gateway: it never contains a byte of an upstream's error body, a secret or a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The error code.
    pub code: Code,
    /// One or two sentences for a person: what is wrong, where, and the fix.
    pub message: Cow<'static, str>,
    /// When to retry: sent as `retry-after`, whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// For 405: the methods of the route, sent as `allow`.
    pub allow: Option<&'static str>,
}

impl From<Invalid> for Reject {
    fn from(invalid: Invalid) -> Self {
        Self::new(Code::InvalidRequest, invalid.0)
    }
}

impl From<cors::decision::Refusal> for Reject {
    fn from(refusal: cors::decision::Refusal) -> Self {
        let code = match refusal.verdict {
            cors::decision::Verdict::OriginNotAllowed => Code::OriginNotAllowed,
            _ => Code::InvalidRequest,
        };
        Self::new(code, refusal.message)
    }
}

impl Reject {
    /// Makes a refusal with this code and message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, allow: None }
    }

    /// Makes the refusal for a panic.
    pub fn defect() -> Self {
        Self::new(Code::InternalError, "The gateway failed: this is a defect of it.")
    }

    /// Adds a time after which the client may retry.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Returns the error for the client of this request; its family writes it.
    pub fn api_error<'a>(&'a self, request_id: &'a str) -> ApiError<'a> {
        let Self { code, message, .. } = self;
        ApiError { status: code.status().as_u16(), code: code.as_str(), message, request_id }
    }
}

//! Checks the declared type of a request body. Pure.

use http::header;
use http::request::Parts;

use crate::error::{Code, Reject};

/// Requires a body that the head declares as JSON without a content coding.
///
/// # Errors
/// 415 `unsupported_media_type`.
pub fn require_json(parts: &Parts) -> Result<(), Reject> {
    let refuse = |message: &'static str| Err(Reject::new(Code::UnsupportedMediaType, message));
    let mut types = parts.headers.get_all(header::CONTENT_TYPE).iter();
    let essence = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim(),
        _ => "",
    };
    if !essence.eq_ignore_ascii_case("application/json") {
        return refuse("The body must be JSON: send `content-type: application/json`.");
    }
    let identity = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match parts.headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        true => Ok(()),
        false => refuse("The body must not be compressed: send it without `content-encoding`."),
    }
}

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
    // a proxy may have doubled the field, in one line or in two: as in a browser, all of its values count (Fetch §2.2.2)
    let lines = parts.headers.get_all(header::CONTENT_TYPE).iter();
    let mut types = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let is_json = |value: &str| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    };
    let has_any = parts.headers.contains_key(header::CONTENT_TYPE);
    if !has_any || !types.all(is_json) {
        return refuse("The body must be JSON: send `content-type: application/json`.");
    }
    let identity = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match parts.headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        true => Ok(()),
        false => refuse("The body must not be compressed: send it without `content-encoding`."),
    }
}

//! Fetch §4.10, "CORS check": whether a page of another origin may read a response.

use http::header;
use url::Url;

use super::block::{Block, Stage, Step};
use super::code::Code;
use super::head::ResponseHead;
use super::request::Request;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";

/// Checks the response to a request, or a redirect in between.
///
/// # Errors
/// The first step that fails.
pub fn cors_check(request: &Request, response: &ResponseHead) -> Result<(), Block> {
    let block = |code, step, reason, received, needed| {
        Err(Block { code: Some(code), stage: Stage::Response, step: Step::cors_check(step), reason, received, needed })
    };
    let own = request.serialized_origin();
    let needed = format!("{ALLOW_ORIGIN}: {own}");
    let Some(allowed) = response.get(header::ACCESS_CONTROL_ALLOW_ORIGIN) else {
        let reason = format!("The response has no {ALLOW_ORIGIN}.");
        return block(Code::MissingAllowOriginHeader, "2", reason, Vec::new(), needed);
    };
    let received = response.lines(ALLOW_ORIGIN);
    let with_credentials = request.includes_credentials();
    if allowed == b"*" {
        if !with_credentials {
            return Ok(());
        }
        let reason = format!("{ALLOW_ORIGIN} is `*`, which is not enough for a request with credentials.");
        return block(Code::WildcardOriginNotAllowed, "4", reason, received, needed);
    }
    if allowed != own.as_bytes() {
        let (code, reason) = mismatch(&allowed, received.len(), own);
        return block(code, "4", reason, received, needed);
    }
    if !with_credentials {
        return Ok(());
    }
    match response.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS) {
        Some(allowed) if allowed == b"true" => Ok(()),
        other => {
            let reason = match other {
                None => format!("The request is made with credentials, and the response has no {ALLOW_CREDENTIALS}."),
                Some(_) => format!("{ALLOW_CREDENTIALS} is not exactly `true`, once and in lower case."),
            };
            let needed = format!("{ALLOW_CREDENTIALS}: true");
            block(Code::InvalidAllowCredentials, "8", reason, response.lines(ALLOW_CREDENTIALS), needed)
        }
    }
}

/// Names a mismatch. The standard has one kind; Chromium distinguishes three.
fn mismatch(allowed: &[u8], lines: usize, own: &str) -> (Code, String) {
    let text = String::from_utf8_lossy(allowed);
    if allowed.iter().any(|b| matches!(b, b' ' | b',')) {
        let reason = match lines {
            1 => format!("{ALLOW_ORIGIN} holds more than one value."),
            _ => format!(
                "{ALLOW_ORIGIN} is in the response {lines} times: browsers join the lines, and the result is no origin."
            ),
        };
        return (Code::MultipleAllowOriginValues, reason);
    }
    if allowed != b"null" && Url::parse(&text).is_err() {
        return (Code::InvalidAllowOriginValue, format!("{ALLOW_ORIGIN} is `{text}`, which is no origin."));
    }
    (Code::AllowOriginMismatch, format!("{ALLOW_ORIGIN} is `{text}`, but the page's origin is `{own}`."))
}

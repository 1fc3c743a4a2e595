//! Fetch §4.5, "HTTP-redirect fetch": the request after a redirect. Pure.

use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use url::Url;

use super::block::{Block, Stage, Step};
use super::code::Code;
use super::head::{ResponseHead, trimmed};
use super::request::{Body, Kind, Mode, Request, Tainting};

/// Fetch §2.2.2, "request-body-header name".
const BODY_HEADERS: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];
/// Chromium drops these on redirects to other origins, also if the page set them.
const CLIENT_HINTS: [&str; 7] = ["device-memory", "downlink", "dpr", "ect", "rtt", "viewport-width", "width"];
/// The most redirects that a browser follows.
pub const MOST_REDIRECTS: u8 = 20;

/// What a redirect changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The method is GET now, without the body and the headers that describe it.
    ToGet,
    /// `authorization` is removed: the new URL has another origin.
    AuthorizationDropped,
    /// The origin is `null` from here on: a redirect led from an origin other than the page's to a third one.
    OriginTainted,
}

/// "redirect status" (Fetch §2.2.3).
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Follows a redirect: the new request and what changed; `None` if the response is no redirect.
///
/// # Errors
/// The first step that fails.
pub fn follow(request: &Request, response: &ResponseHead) -> Result<Option<(Request, Vec<Change>)>, Block> {
    let Some(to) = location(request, response)? else { return Ok(None) };
    check(request, response, &to)?;
    let mut next = request.clone();
    let mut changes = Vec::new();
    next.redirects += 1;
    if becomes_get(response.status, &request.method) {
        next.method = Method::GET;
        next.body = Body::None;
        for name in BODY_HEADERS {
            next.headers.remove(name);
        }
        changes.push(Change::ToGet);
    }
    if request.browser.safelists_client_hints() && !request.origin.is_same_origin(&to) {
        for name in CLIENT_HINTS {
            next.headers.remove(name);
        }
    }
    if request.url.origin() != to.origin() {
        if next.headers.remove(header::AUTHORIZATION).is_some() {
            changes.push(Change::AuthorizationDropped);
        }
        // §2.2.5, "redirect-taint", step 4.3
        if !request.origin.is_same_origin(&request.url) && !request.tainted_origin {
            next.tainted_origin = true;
            changes.push(Change::OriginTainted);
        }
    }
    next.url = to;
    Ok(Some((next, changes)))
}

/// "location URL" (Fetch §2.2.6), without fragment.
pub(super) fn location(request: &Request, response: &ResponseHead) -> Result<Option<Url>, Block> {
    if !is_redirect(response.status) {
        return Ok(None);
    }
    let mut lines = response.headers.get_all(header::LOCATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let written = String::from_utf8_lossy(trimmed(line.as_bytes())).into_owned();
    match request.url.join(&written) {
        Ok(mut url) => {
            url.set_fragment(None);
            Ok(Some(url))
        }
        Err(_) => {
            let reason = "The redirect's Location is no URL.".to_owned();
            Err(block(None, "5", reason, vec![status_line(response)], "location: a URL".to_owned()))
        }
    }
}

/// Steps 6 to 11.
fn check(request: &Request, response: &ResponseHead, to: &Url) -> Result<(), Block> {
    let received = vec![status_line(response), format!("location: {}", without_userinfo(to))];
    if !matches!(to.scheme(), "http" | "https") {
        let reason = format!("The redirect leads to a `{}:` URL.", to.scheme());
        return Err(block(None, "6", reason, received, "an http or https URL".to_owned()));
    }
    if request.redirects == MOST_REDIRECTS {
        let reason = format!("The request was redirected more than {MOST_REDIRECTS} times.");
        return Err(block(None, "7", reason, received, "a response that is no redirect".to_owned()));
    }
    if let Some((code, step)) = userinfo_flaw(request, to) {
        let reason = "The redirect leads to a URL with a user name or password.".to_owned();
        return Err(block(code, step, reason, received, "location: the URL without them".to_owned()));
    }
    if response.status != StatusCode::SEE_OTHER && request.body == Body::Stream {
        let reason = "The body is a stream, which cannot be sent again after a redirect.".to_owned();
        return Err(block(None, "11", reason, received, "status 303, or a body that is no stream".to_owned()));
    }
    Ok(())
}

/// Steps 9 and 10.
fn userinfo_flaw(request: &Request, to: &Url) -> Option<(Option<Code>, &'static str)> {
    let code = Some(Code::RedirectContainsCredentials);
    if to.username().is_empty() && to.password().is_none() {
        None
    } else if request.mode == Mode::Cors && !request.origin.is_same_origin(to) {
        Some((code, "9"))
    } else if request.tainting == Tainting::Cors {
        Some((code, "10"))
    } else {
        (request.browser.refuses_userinfo() && request.kind != Kind::Xhr).then_some((None, "9"))
    }
}

/// Step 12.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        301 | 302 => *method == Method::POST,
        303 => !matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

fn without_userinfo(url: &Url) -> String {
    let mut url = url.clone();
    // these fail only where a URL has no host, and then it has no user name either
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn status_line(response: &ResponseHead) -> String {
    format!("status {}", response.status)
}

fn block(code: Option<Code>, step: &'static str, reason: String, received: Vec<String>, needed: String) -> Block {
    Block { code, stage: Stage::Redirect, step: Step::redirect(step), reason, received, needed }
}

//! Fetch §4.8, "CORS-preflight fetch": when a browser sends a preflight, what it sends, and how it checks the response. Pure.

use std::fmt;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::block::{Block, Stage, Step};
use super::check::cors_check;
use super::code::Code;
use super::head::ResponseHead;
use super::request::{Kind, Mode, Request, Tainting, is_safelisted_method};
use super::safelist::{self, Unsafe};

const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
/// The seconds for which a preflight response without a maximum age is cached (step 7.9).
const DEFAULT_MAX_AGE: u64 = 5;

/// Why a browser sends a preflight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The method is not GET, HEAD or POST.
    Method(Method),
    /// A header that is not safelisted: its name and the reason.
    Header(String, Unsafe),
    /// A listener on `XMLHttpRequest.upload`.
    UploadListener,
    /// A stream as the body.
    StreamingBody,
}

impl Reason {
    /// The part of the standard.
    pub fn step(&self) -> Step {
        match self {
            Reason::Method(_) => Step::SAFELISTED_METHOD,
            Reason::Header(_, why) => why.step(),
            // XMLHttpRequest §3.6.6, "send()", sets the use-CORS-preflight flag that this step reads
            Reason::UploadListener => Step::main_fetch("12"),
            Reason::StreamingBody => Step::request_constructor("39.3"),
        }
    }
}

impl fmt::Display for Reason {
    /// The clause after "because".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Method(method) => write!(f, "the method {method} is not GET, HEAD or POST"),
            Reason::Header(name, why) => write!(f, "{name} {why}"),
            Reason::UploadListener => f.write_str("the page listens to the upload's progress"),
            Reason::StreamingBody => f.write_str("the body is a stream"),
        }
    }
}

/// The reasons for which a request is preflighted; empty without a preflight and for the page's own origin.
pub fn needed(request: &Request) -> Vec<Reason> {
    // §4.1, step 12: only mode `cors` can lead to a preflight; EventSource has neither the unsafe-request flag nor the
    // use-CORS-preflight flag
    if request.mode != Mode::Cors || request.kind == Kind::EventSource || is_same_origin(request) {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    if !is_safelisted_method(&request.method) {
        reasons.push(Reason::Method(request.method.clone()));
    }
    let unsafe_names = safelist::unsafe_names(&request.headers, request.browser);
    reasons.extend(unsafe_names.into_iter().map(|(name, why)| Reason::Header(name, why)));
    if request.listens_to_upload {
        reasons.push(Reason::UploadListener);
    }
    if request.streams_body {
        reasons.push(Reason::StreamingBody);
    }
    reasons
}

/// Whether the request goes to the page's own origin and was never redirected to another one (§4.1, step 12).
pub(super) fn is_same_origin(request: &Request) -> bool {
    request.tainting == Tainting::Basic && request.origin.is_same_origin(&request.url)
}

/// A CORS-preflight request as a browser sends it: without credentials and without following redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// The request's URL.
    pub url: Url,
    /// `accept`, `access-control-request-method`, `access-control-request-headers` (if there are any), `origin`.
    pub headers: HeaderMap,
}

impl Preflight {
    /// The preflight of a request, whether or not it needs one (steps 1 to 5).
    pub fn of(request: &Request) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let method = HeaderValue::from_str(request.method.as_str()).expect("a method is a token");
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, method);
        let names: Vec<String> = safelist::unsafe_names(&request.headers, request.browser).into_keys().collect();
        if !names.is_empty() {
            // without a space after the comma, which some servers depend on
            let names = HeaderValue::try_from(names.join(",")).expect("header names are tokens");
            headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, names);
        }
        let origin = HeaderValue::from_str(request.serialized_origin()).expect("a serialised origin is visible ASCII");
        headers.insert(header::ORIGIN, origin);
        Self { url: request.url.clone(), headers }
    }
}

/// What a preflight response allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// `Access-Control-Allow-Methods`; empty without the header.
    pub methods: Vec<String>,
    /// `Access-Control-Allow-Headers`; empty without the header.
    pub headers: Vec<String>,
    /// `Access-Control-Max-Age` in seconds; `None` without the header, or if it is no number.
    pub written_max_age: Option<u64>,
    /// The seconds for which this browser caches the response.
    pub max_age: u64,
    /// Whether `authorization` is allowed only because this browser lets `*` cover it, against the standard.
    pub authorization_by_wildcard: bool,
}

/// Checks a preflight response in the standard's order: the CORS check for the request itself, the status, the lists, the
/// method, the headers.
///
/// # Errors
/// The first step that fails.
pub fn check(request: &Request, response: &ResponseHead) -> Result<Allowed, Block> {
    check_redirect(response)?;
    cors_check(request, response).map_err(|block| Block {
        code: block.code.map(Code::in_preflight),
        stage: Stage::Preflight,
        ..block
    })?;
    if !response.status.is_success() {
        let reason = "The status of the preflight response is not 200 to 299.".to_owned();
        let needed = "status 204, without asking for credentials".to_owned();
        return Err(block(Code::PreflightInvalidStatus, "7", reason, vec![status_line(response.status)], needed));
    }
    let methods = list(response, ALLOW_METHODS, "7.3", Code::InvalidAllowMethodsPreflightResponse)?;
    let headers = list(response, ALLOW_HEADERS, "7.3", Code::InvalidAllowHeadersPreflightResponse)?;
    check_method(request, response, &methods)?;
    let authorization_by_wildcard = check_headers(request, response, &headers)?;
    let written_max_age = max_age(response);
    let wanted = written_max_age.unwrap_or(DEFAULT_MAX_AGE);
    let max_age = request.browser.longest_max_age().map_or(wanted, |longest| wanted.min(longest));
    Ok(Allowed { methods, headers, written_max_age, max_age, authorization_by_wildcard })
}

/// Step 6 does not follow redirects, so the status of a redirect fails. Chromium has a name for it and checks it first.
fn check_redirect(response: &ResponseHead) -> Result<(), Block> {
    if !super::redirect::is_redirect(response.status) || !response.headers.contains_key(header::LOCATION) {
        return Ok(());
    }
    let reason = "The preflight response is a redirect, which no browser follows.".to_owned();
    let needed = "status 204 from the URL itself".to_owned();
    let received = vec![status_line(response.status)];
    Err(block(Code::PreflightDisallowedRedirect, "7", reason, received, needed))
}

fn list(response: &ResponseHead, name: &'static str, step: &'static str, code: Code) -> Result<Vec<String>, Block> {
    response.tokens(name).map(Option::unwrap_or_default).map_err(|bad| {
        let reason = format!("{name} is no comma-separated list of names: `{}` is none.", bad.0);
        block(code, step, reason, response.lines(name), format!("{name}: names, separated by commas"))
    })
}

/// Step 7.5. Methods are compared byte for byte: `patch` is not `PATCH`.
fn check_method(request: &Request, response: &ResponseHead, methods: &[String]) -> Result<(), Block> {
    let method = request.method.as_str();
    let has = |wanted: &str| methods.iter().any(|listed| listed == wanted);
    let wildcard = has("*") && !request.includes_credentials();
    if has(method) || is_safelisted_method(&request.method) || wildcard {
        return Ok(());
    }
    let reason = match methods.iter().find(|listed| listed.eq_ignore_ascii_case(method)) {
        Some(other) => {
            format!("{ALLOW_METHODS} has `{other}`, but the method is `{method}`: upper and lower case differ.")
        }
        None if has("*") => format!("{ALLOW_METHODS} is `*`, which is no wildcard for a request with credentials."),
        None => format!("{ALLOW_METHODS} does not name {method}."),
    };
    let needed = format!("{ALLOW_METHODS}: {method}");
    Err(block(Code::MethodDisallowedByPreflightResponse, "7.5", reason, response.lines(ALLOW_METHODS), needed))
}

/// Steps 7.6 and 7.7; returns whether only `*` covers `authorization`.
fn check_headers(request: &Request, response: &ResponseHead, headers: &[String]) -> Result<bool, Block> {
    let wildcard = headers.iter().any(|listed| listed == "*") && !request.includes_credentials();
    let is_listed = |name: &str| headers.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    let names = safelist::unsafe_names(&request.headers, request.browser);
    // §2.2.2, "CORS non-wildcard request-header name"
    let is_authorization = |name: &str| name == header::AUTHORIZATION.as_str();
    let covered = |name: &str| wildcard && (!is_authorization(name) || request.browser.wildcard_covers_authorization());
    let missing: Vec<&str> =
        names.keys().map(String::as_str).filter(|name| !is_listed(name) && !covered(name)).collect();
    if missing.is_empty() {
        return Ok(wildcard && names.keys().any(|name| is_authorization(name) && !is_listed(name)));
    }
    let has_star = headers.iter().any(|listed| listed == "*");
    let reason = if wildcard {
        format!("{ALLOW_HEADERS} is `*`, which does not cover authorization.")
    } else if has_star {
        format!("{ALLOW_HEADERS} has `*`, which is no wildcard for a request with credentials.")
    } else {
        format!("{ALLOW_HEADERS} does not name {}.", missing.join(", "))
    };
    let step = if missing.contains(&"authorization") { "7.6" } else { "7.7" };
    let needed = format!("{ALLOW_HEADERS}: {}", missing.join(", "));
    Err(block(Code::HeaderDisallowedByPreflightResponse, step, reason, response.lines(ALLOW_HEADERS), needed))
}

/// Steps 7.8 and 7.9: the value of a single line of digits.
fn max_age(response: &ResponseHead) -> Option<u64> {
    let mut lines = response.headers.get_all(header::ACCESS_CONTROL_MAX_AGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let digits = line.to_str().ok()?.trim();
    // delta-seconds (RFC 9111 §1.2.2): a number that overflows is the largest one
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn status_line(status: StatusCode) -> String {
    format!("status {status}")
}

fn block(code: Code, step: &'static str, reason: String, received: Vec<String>, needed: String) -> Block {
    Block { code: Some(code), stage: Stage::Preflight, step: Step::preflight(step), reason, received, needed }
}

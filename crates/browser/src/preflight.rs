//! Fetch §4.8, "CORS-preflight fetch": when a browser asks first, what it asks, and what it makes of the answer.

use std::fmt;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::answer::Answer;
use super::block::{Block, Stage};
use super::check::cors_check;
use super::code::Code;
use super::request::{Kind, Mode, Request, Tainting, is_safelisted_method};
use super::safelist::{self, Unsafe};
use super::step::Step;

const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
/// Seconds for which a preflight's answer is kept where it does not say (step 7.9).
const DEFAULT_MAX_AGE: u64 = 5;

/// Why a browser asks first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The method is not GET, HEAD or POST.
    Method(Method),
    /// A header that is not safelisted: its name, and why.
    Header(String, Unsafe),
    /// A listener on `XMLHttpRequest.upload`.
    UploadListener,
    /// A stream as the body.
    StreamingBody,
}

impl Reason {
    /// The part of the standard that says so.
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
    /// As it follows "because".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Method(method) => write!(f, "the method {method} is not GET, HEAD or POST"),
            Reason::Header(name, why) => write!(f, "{name} {why}"),
            Reason::UploadListener => f.write_str("the page listens to the upload's progress"),
            Reason::StreamingBody => f.write_str("the body is a stream"),
        }
    }
}

/// Every reason for which a cross-origin request is preflighted; none where it is not, or goes to the page's own origin.
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

/// Whether the request goes to the page's own origin and has never left it (§4.1, step 12).
pub(super) fn is_same_origin(request: &Request) -> bool {
    request.tainting == Tainting::Basic && request.origin.is_same_origin(&request.url)
}

/// A CORS-preflight request as a browser sends it: without credentials and without following redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// The request's own.
    pub url: Url,
    /// `accept`, `access-control-request-method`, `access-control-request-headers` where there are any, `origin`.
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
            // without a blank after the comma, which servers have been seen to depend on
            let names = HeaderValue::try_from(names.join(",")).expect("header names are tokens");
            headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, names);
        }
        let origin = HeaderValue::from_str(request.serialized_origin()).expect("a serialised origin is visible ASCII");
        headers.insert(header::ORIGIN, origin);
        Self { url: request.url.clone(), headers }
    }
}

/// What a preflight's answer allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// `Access-Control-Allow-Methods`; empty where there is none.
    pub methods: Vec<String>,
    /// `Access-Control-Allow-Headers`; empty where there is none.
    pub headers: Vec<String>,
    /// Seconds for which the answer says it may be kept; `None` where it does not say, or not in a number.
    pub written_max_age: Option<u64>,
    /// Seconds for which this browser keeps it.
    pub max_age: u64,
    /// Whether `authorization` passed only because this browser lets `*` cover it, which the standard does not.
    pub authorization_by_wildcard: bool,
}

/// Checks a preflight's answer, in the standard's order: the CORS check for the request itself, the status, the lists, the
/// method, the headers.
///
/// # Errors
/// The first step that fails.
pub fn check(request: &Request, answer: &Answer) -> Result<Allowed, Block> {
    check_redirect(answer)?;
    cors_check(request, answer).map_err(|block| Block {
        code: block.code.map(Code::in_preflight),
        stage: Stage::Preflight,
        ..block
    })?;
    if !answer.status.is_success() {
        let reason = "The preflight's status is not of 200 to 299.".to_owned();
        let needed = "status 204, without asking for credentials".to_owned();
        return Err(block(Code::PreflightInvalidStatus, "7", reason, vec![status_line(answer.status)], needed));
    }
    let methods = list(answer, ALLOW_METHODS, "7.3", Code::InvalidAllowMethodsPreflightResponse)?;
    let headers = list(answer, ALLOW_HEADERS, "7.3", Code::InvalidAllowHeadersPreflightResponse)?;
    check_method(request, answer, &methods)?;
    let authorization_by_wildcard = check_headers(request, answer, &headers)?;
    let written_max_age = max_age(answer);
    let wanted = written_max_age.unwrap_or(DEFAULT_MAX_AGE);
    let max_age = request.browser.longest_max_age().map_or(wanted, |longest| wanted.min(longest));
    Ok(Allowed { methods, headers, written_max_age, max_age, authorization_by_wildcard })
}

/// Step 6 makes a request whose answer is judged as it is: a redirect is not followed, and its status is none of success.
/// Chromium has a name for it, and sees it before anything else.
fn check_redirect(answer: &Answer) -> Result<(), Block> {
    if !super::redirect::is_redirect(answer.status) || !answer.headers.contains_key(header::LOCATION) {
        return Ok(());
    }
    let reason = "The preflight was answered with a redirect, which no browser follows.".to_owned();
    let needed = "status 204 from the URL itself".to_owned();
    let received = vec![status_line(answer.status)];
    Err(block(Code::PreflightDisallowedRedirect, "7", reason, received, needed))
}

fn list(answer: &Answer, name: &'static str, step: &'static str, code: Code) -> Result<Vec<String>, Block> {
    answer.tokens(name).map(Option::unwrap_or_default).map_err(|bad| {
        let reason = format!("{name} is no comma-separated list of names: `{}` is none.", bad.0);
        block(code, step, reason, answer.lines(name), format!("{name}: names, separated by commas"))
    })
}

/// Step 7.5. Methods are compared byte for byte: `patch` is not `PATCH`.
fn check_method(request: &Request, answer: &Answer, methods: &[String]) -> Result<(), Block> {
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
        None if has("*") => format!("{ALLOW_METHODS} is `*`, which means nothing for a request with credentials."),
        None => format!("{ALLOW_METHODS} does not name {method}."),
    };
    let needed = format!("{ALLOW_METHODS}: {method}");
    Err(block(Code::MethodDisallowedByPreflightResponse, "7.5", reason, answer.lines(ALLOW_METHODS), needed))
}

/// Steps 7.6 and 7.7; gives back whether only `*` covered `authorization`.
fn check_headers(request: &Request, answer: &Answer, headers: &[String]) -> Result<bool, Block> {
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
        format!("{ALLOW_HEADERS} has `*`, which means nothing for a request with credentials.")
    } else {
        format!("{ALLOW_HEADERS} does not name {}.", missing.join(", "))
    };
    let step = if missing.contains(&"authorization") { "7.6" } else { "7.7" };
    let needed = format!("{ALLOW_HEADERS}: {}", missing.join(", "));
    Err(block(Code::HeaderDisallowedByPreflightResponse, step, reason, answer.lines(ALLOW_HEADERS), needed))
}

/// Steps 7.8 and 7.9: one line of digits.
fn max_age(answer: &Answer) -> Option<u64> {
    let mut lines = answer.headers.get_all(header::ACCESS_CONTROL_MAX_AGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let digits = line.to_str().ok()?.trim();
    // delta-seconds (RFC 9111 §1.2.2): too many digits are as many seconds as can be
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn status_line(status: StatusCode) -> String {
    format!("status {status}")
}

fn block(code: Code, step: &'static str, reason: String, received: Vec<String>, needed: String) -> Block {
    Block { code: Some(code), stage: Stage::Preflight, step: Step::preflight(step), reason, received, needed }
}

//! Turns a transcript into the steps of a report. Pure.

use std::collections::BTreeSet;

use http::{HeaderMap, Version};

use super::plan::Plan;
use super::redact::{self, printable};
use super::report::Step;
use super::transcript::{End, Event, Exchange, Secrets, Transcript};
use browser::cookie::{Context, CookieOutcome, Rejection, SetCookie};
use browser::preflight::{Allowed, Reason};
use browser::quirks::Browser;
use browser::redirect::Change;
use browser::request::{Kind, PageRequest, Request, Tainting};
use browser::response::{Hidden, HiddenReason, Readable};
use browser::safelist::{Unsafe, unsafe_names};

/// The most headers that one line lists.
const LISTED: usize = 12;

/// The steps of a transcript.
pub fn describe(plan: &Plan, transcript: &Transcript) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut tainting = Tainting::Basic;
    for event in &transcript.events {
        match event {
            Event::Preflight { reasons, request } => {
                tainting = request.tainting();
                let mut step = preflight_needed(reasons, request);
                if request.redirects() == 0 {
                    step.lines.extend(other_browsers(plan, request));
                }
                steps.push(step);
            }
            Event::Preflighted(exchange) => steps.push(exchange_step("preflight", exchange)),
            Event::Allowed(allowed) => steps.push(allowed_step(allowed)),
            Event::Answered(exchange) => steps.push(exchange_step("request", exchange)),
            Event::Redirected(url, changes, secrets) => steps.push(redirected(url, changes, secrets)),
        }
    }
    match &transcript.end {
        End::Blocked(block) => {
            let id = match block.stage {
                browser::block::Stage::Page => "page-check",
                browser::block::Stage::Preflight => "preflight-check",
                browser::block::Stage::Response => "response-check",
                browser::block::Stage::Redirect => "redirect-check",
            };
            steps.push(Step::failed(id, block));
        }
        End::Delivered { request, readable, .. } => {
            steps.push(response_passed(request, tainting));
            steps.push(readable_step(readable));
            if let Some(exchange) = transcript.answered() {
                steps.extend(cookies(plan, request, exchange));
            }
        }
    }
    steps
}

fn preflight_needed(reasons: &[Reason], request: &Request) -> Step {
    if let Some(first) = reasons.first() {
        let step = Step::info("preflight-needed", "preflight needed, because");
        let lines = reason_lines(reasons);
        return Step { standard: Some(first.step().to_string()), ..step.with_lines(lines) };
    }
    let why = match request.tainting() {
        Tainting::Basic => "no preflight: the page's own origin",
        _ if request.kind() == Kind::EventSource => "no preflight: EventSource never sends one",
        _ => "no preflight: a form could send this method and these headers",
    };
    Step::info("preflight-needed", why)
}

/// Where the preflights of other browsers ask for more or less: one line for each difference.
fn other_browsers(plan: &Plan, request: &Request) -> Vec<String> {
    let own = names_asked_for(request);
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for browser in Browser::ALL.into_iter().filter(|browser| *browser != plan.page.browser) {
        let Ok(other) = Request::new(&PageRequest { browser, ..plan.page.clone() }) else { continue };
        let names = names_asked_for(&other);
        let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (more, less) = (list(names.difference(&own).collect()), list(own.difference(&names).collect()));
        let line = match (more.as_str(), less.as_str()) {
            ("", "") => continue,
            (more, "") => format!("also {more}"),
            ("", less) => format!("not {less}"),
            (more, less) => format!("also {more}, not {less}"),
        };
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, browsers)) => browsers.push(browser.as_str()),
            None => lines.push((line, vec![browser.as_str()])),
        }
    }
    lines.into_iter().map(|(line, browsers)| format!("by {} rules: {line}", browsers.join(", "))).collect()
}

fn names_asked_for(request: &Request) -> BTreeSet<String> {
    unsafe_names(request.headers(), request.browser()).into_keys().collect()
}

/// One line for each reason; the headers that are not safelisted by name share one.
fn reason_lines(reasons: &[Reason]) -> Vec<String> {
    let by_name = |reason: &Reason| matches!(reason, Reason::Header(_, Unsafe::Name));
    let mut lines: Vec<String> = reasons.iter().filter(|reason| !by_name(reason)).map(ToString::to_string).collect();
    let named = reasons.iter().filter_map(|reason| match reason {
        Reason::Header(name, Unsafe::Name) => Some(name.as_str()),
        _ => None,
    });
    let named: Vec<&str> = named.collect();
    match named[..] {
        [] => {}
        [_] => lines.extend(reasons.iter().filter(|reason| by_name(reason)).map(ToString::to_string)),
        _ => lines.push(format!("not safelisted: {}", named.join(", "))),
    }
    lines
}

fn exchange_step(id: &'static str, exchange: &Exchange) -> Step {
    let Exchange { method, url, headers, response, .. } = exchange;
    let title = format!("{method} {}: {} {}", url.path(), version(exchange.version), response.status);
    let (sends, gets): (&[&str], &[&str]) = match id {
        "preflight" => (
            &["origin", "access-control-request-method", "access-control-request-headers"],
            &["access-control-", "location", "vary"],
        ),
        _ => (
            &["origin", "authorization", "cookie"],
            &[
                "access-control-",
                "location",
                "vary",
                "content-type",
                "content-encoding",
                "content-length",
                "set-cookie",
            ],
        ),
    };
    let mut lines = picked('>', headers, |name| sends.contains(&name));
    lines.extend(picked('<', &response.headers, |name| gets.iter().any(|wanted| name.starts_with(wanted))));
    Step { milliseconds: Some(exchange.after.as_secs_f64() * 1e3), ..Step::info(id, title).with_lines(lines) }
}

/// The relevant lines, in order for each name.
fn picked(direction: char, headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    lines
        .map(|(name, value)| format!("{direction} {name}: {}", redact::header(name.as_str(), value.as_bytes())))
        .collect()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn allowed_step(allowed: &Allowed) -> Step {
    let caching = match allowed.max_age {
        0 => "does not cache it".to_owned(),
        seconds => format!("caches it for {}", duration(seconds)),
    };
    Step::passed("preflight-check", format!("preflight passes; the browser {caching}"))
}

/// A number of seconds with a unit.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{seconds} s"),
    }
}

fn redirected(url: &url::Url, changes: &[Change], secrets: &Secrets) -> Step {
    let lines = changes.iter().map(|change| {
        match change {
            Change::ToGet => "the method becomes GET, without a body",
            Change::AuthorizationDropped => "authorization is removed: the new URL has another origin",
            Change::OriginTainted => {
                "the origin is `null` from here on: two redirects in a row leave the page's origin"
            }
        }
        .to_owned()
    });
    let mut lines: Vec<String> = lines.collect();
    let host = printable(url.host_str().unwrap_or_default());
    if !secrets.withheld.is_empty() {
        let names: Vec<&str> = secrets.withheld.iter().map(http::HeaderName::as_str).collect();
        lines.push(format!(
            "a browser sends {} to {host}, too: of the page's headers it removes only authorization. The doctor sends a placeholder",
            names.join(", ")
        ));
    }
    if !secrets.cookies.is_empty() {
        let names: Vec<String> = secrets.cookies.iter().map(|name| printable(name)).collect();
        lines.push(format!("cookies that are not sent to this URL: {}", names.join(", ")));
    }
    Step::info("redirect", format!("redirected to {}", redact::url(url))).with_lines(lines)
}

fn response_passed(request: &Request, tainting: Tainting) -> Step {
    let title = match tainting {
        Tainting::Basic => "the page's own origin: nothing to check".to_owned(),
        _ => format!("the response passes for credentials {}", request.credentials().as_str()),
    };
    Step::passed("response-check", title)
}

fn readable_step(readable: &Readable) -> Step {
    let names = |names: Vec<&str>| match names.len() {
        0 => "none".to_owned(),
        1..=LISTED => names.join(", "),
        more => format!("{} and {} more", names[..LISTED].join(", "), more - LISTED),
    };
    let own = readable.headers.iter().map(|name| name.as_str()).filter(|name| !is_of_cors(name));
    let title = format!("the page can read {}", names(own.collect()));
    let hidden: Vec<&str> =
        readable.hidden.iter().filter(|hidden| is_useful(hidden)).map(|h| h.name.as_str()).collect();
    let lines = if hidden.is_empty() { Vec::new() } else { vec![format!("not: {}", names(hidden))] };
    Step::info("readable-headers", title).with_lines(lines)
}

fn is_of_cors(name: &str) -> bool {
    name.starts_with("access-control-") || name == "vary"
}

/// Whether a page could use the header.
fn is_useful(hidden: &Hidden) -> bool {
    let name = hidden.name.as_str();
    hidden.why != HiddenReason::Forbidden
        && !is_of_cors(name)
        && !matches!(name, "date" | "server" | "connection" | "transfer-encoding" | "keep-alive" | "via" | "alt-svc")
}

/// One step for all cookies; `None` without cookies.
fn cookies(plan: &Plan, request: &Request, exchange: &Exchange) -> Option<Step> {
    let context = Context {
        url: &exchange.url,
        page: &plan.page.origin,
        credentials: request.sends_credentials(),
        browser: request.browser(),
        third_parties_blocked: false,
    };
    let blocking = Context { third_parties_blocked: true, ..context.clone() };
    let lines: Vec<String> = exchange
        .response
        .headers
        .get_all(http::header::SET_COOKIE)
        .iter()
        .map(|line| {
            let Some(cookie) = SetCookie::parse(line.as_bytes()) else { return "one that browsers ignore".to_owned() };
            let name = printable(&cookie.name);
            match cookie.outcome(&context) {
                CookieOutcome::Stored => match cookie.outcome(&blocking) {
                    CookieOutcome::Rejected(Rejection::ThirdParty) => {
                        format!("{name}: stored and sent, but not if third-party cookies are blocked: add Partitioned")
                    }
                    _ => format!("{name}: stored, and sent with the page's next request"),
                },
                CookieOutcome::Removed => format!("{name}: removed"),
                CookieOutcome::Partitioned => format!("{name}: stored separately for each top-level site"),
                CookieOutcome::Rejected(rejection) => format!("{name}: lost: {rejection}"),
            }
        })
        .collect();
    let title = match lines.len() {
        0 => return None,
        1 => "one cookie".to_owned(),
        count => format!("{count} cookies"),
    };
    Some(Step::info("cookies", title).with_lines(lines))
}

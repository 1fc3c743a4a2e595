//! What happened, told in order. Pure.

use std::collections::BTreeSet;

use http::{HeaderMap, Version};

use super::course::{Course, End, Event, Sent};
use super::plan::Plan;
use super::report::Step;
use super::secret::{printable, shown, shown_url};
use browser::cookie::{Context, Fate, Loss, SetCookie};
use browser::preflight::{Allowed, Reason};
use browser::quirks::Browser;
use browser::redirect::Change;
use browser::request::{Kind, PageRequest, Request, Tainting};
use browser::response::{Hidden, Readable, Why};
use browser::safelist::{Unsafe, unsafe_names};

/// Most headers that one line lists.
const LISTED: usize = 12;

/// The story of a course.
pub fn tell(plan: &Plan, course: &Course) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut tainting = Tainting::Basic;
    for event in &course.events {
        match event {
            Event::Preflight { reasons, request } => {
                tainting = request.tainting();
                let mut step = why_ask(reasons, request);
                if request.redirects() == 0 {
                    step.lines.extend(elsewhere(plan, request));
                }
                steps.push(step);
            }
            Event::Preflighted(sent) => steps.push(exchange("preflight", sent)),
            Event::Allowed(allowed) => steps.push(allowed_step(allowed)),
            Event::Answered(sent) => steps.push(exchange("request", sent)),
            Event::Redirected(url, changes) => steps.push(redirected(url, changes)),
        }
    }
    match &course.end {
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
            if let Some(sent) = course.answered() {
                steps.extend(cookies(plan, request, sent));
            }
        }
    }
    steps
}

fn why_ask(reasons: &[Reason], request: &Request) -> Step {
    if let Some(first) = reasons.first() {
        let step = Step::told("preflight-needed", "preflight needed, because");
        let lines = because(reasons);
        return Step { standard: Some(first.step().to_string()), ..step.with_lines(lines) };
    }
    let why = match request.tainting() {
        Tainting::Basic => "no preflight: the page's own origin",
        _ if request.kind() == Kind::EventSource => "no preflight: EventSource never asks first",
        _ => "no preflight: a form could send this method and these headers",
    };
    Step::told("preflight-needed", why)
}

/// Where other browsers ask for more or less: one line for each difference.
fn elsewhere(plan: &Plan, request: &Request) -> Vec<String> {
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

/// One line a reason; the headers that are merely not on the list share one.
fn because(reasons: &[Reason]) -> Vec<String> {
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

fn exchange(id: &'static str, sent: &Sent) -> Step {
    let title = format!("{} {}: {} {}", sent.method, sent.url.path(), version(sent.version), sent.answer.status);
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
    let mut lines = picked('>', &sent.headers, |name| sends.contains(&name));
    lines.extend(picked('<', &sent.answer.headers, |name| gets.iter().any(|wanted| name.starts_with(wanted))));
    Step { milliseconds: Some(sent.after.as_secs_f64() * 1e3), ..Step::told(id, title).with_lines(lines) }
}

/// The lines that matter, in order for each name.
fn picked(direction: char, headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    lines.map(|(name, value)| format!("{direction} {name}: {}", shown(name.as_str(), value.as_bytes()))).collect()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn allowed_step(allowed: &Allowed) -> Step {
    let kept = match allowed.max_age {
        0 => "asks again each time".to_owned(),
        seconds => format!("keeps the answer for {}", duration(seconds)),
    };
    Step::passed("preflight-check", format!("preflight passes; the browser {kept}"))
}

/// Seconds as people say them.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{seconds} s"),
    }
}

fn redirected(url: &url::Url, changes: &[Change]) -> Step {
    let lines = changes.iter().map(|change| {
        match change {
            Change::ToGet => "the method becomes GET, and the body is gone",
            Change::AuthorizationDropped => "authorization is dropped: the new URL is of another origin",
            Change::OriginTainted => "the origin is `null` from here on: two origins in a row are not the page's",
        }
        .to_owned()
    });
    Step::told("redirect", format!("redirected to {}", shown_url(url))).with_lines(lines.collect())
}

fn response_passed(request: &Request, tainting: Tainting) -> Step {
    let title = match tainting {
        Tainting::Basic => "the page's own origin: nothing to check".to_owned(),
        _ => format!("the answer passes for credentials {}", request.credentials().as_str()),
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
    // what no page has a use for needs no line
    let hidden: Vec<&str> =
        readable.hidden.iter().filter(|hidden| is_worth_a_line(hidden)).map(|h| h.name.as_str()).collect();
    let lines = if hidden.is_empty() { Vec::new() } else { vec![format!("not: {}", names(hidden))] };
    Step::told("readable-headers", title).with_lines(lines)
}

fn is_of_cors(name: &str) -> bool {
    name.starts_with("access-control-") || name == "vary"
}

fn is_worth_a_line(hidden: &Hidden) -> bool {
    let name = hidden.name.as_str();
    hidden.why != Why::Forbidden
        && !is_of_cors(name)
        && !matches!(name, "date" | "server" | "connection" | "transfer-encoding" | "keep-alive" | "via" | "alt-svc")
}

/// One step for all cookies; none where none came.
fn cookies(plan: &Plan, request: &Request, sent: &Sent) -> Option<Step> {
    let context = Context {
        url: &sent.url,
        page: &plan.page.origin,
        credentials: request.sends_credentials(),
        browser: request.browser(),
        third_parties_blocked: false,
    };
    let blocking = Context { third_parties_blocked: true, ..context.clone() };
    let lines: Vec<String> = sent
        .answer
        .headers
        .get_all(http::header::SET_COOKIE)
        .iter()
        .map(|line| {
            let Some(cookie) = SetCookie::parse(line.as_bytes()) else { return "one that cannot be read".to_owned() };
            let name = printable(&cookie.name);
            match cookie.fate(&context) {
                Fate::Kept => match cookie.fate(&blocking) {
                    Fate::Lost(Loss::ThirdParty) => {
                        format!(
                            "{name}: stored and sent, but lost where third-party cookies are blocked: add Partitioned"
                        )
                    }
                    _ => format!("{name}: stored, and sent with the page's next request"),
                },
                Fate::Removed => format!("{name}: removed"),
                Fate::Partitioned => format!("{name}: stored apart for each site that embeds it, and sent from there"),
                Fate::Lost(loss) => format!("{name}: lost: {loss}"),
            }
        })
        .collect();
    let title = match lines.len() {
        0 => return None,
        1 => "one cookie".to_owned(),
        count => format!("{count} cookies"),
    };
    Some(Step::told("cookies", title).with_lines(lines))
}

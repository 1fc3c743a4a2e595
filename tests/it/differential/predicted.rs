//! What the crate `browser` predicts for a case.

use std::collections::BTreeSet;

use browser::block::Block;
use browser::fetch::{Fetch, Progress};
use browser::head::ResponseHead;
use browser::origin::PageOrigin;
use browser::quirks::Browser;
use browser::request::{Body, Credentials, Kind, Mode, PageRequest, RedirectMode, Tainting};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::case::{Case, Interface, Site};
use super::stage::{Seen, Sites, latin1, told};

/// What a page gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Shown { kind: &'static str, status: u16, headers: BTreeSet<String> },
    Blocked { code: Option<String> },
}

/// What the page gets, and the requests that the server gets.
pub fn predict(case: &Case, id: u64, sites: &Sites) -> (Outcome, Vec<Seen>, Option<Block>) {
    let mut seen = Vec::new();
    match follow(case, id, sites, &mut seen) {
        Ok(outcome) => (outcome, seen, None),
        Err(block) => {
            let code = block.code.map(|code| code.as_str().to_owned());
            (Outcome::Blocked { code }, seen, Some(block))
        }
    }
}

fn follow(case: &Case, id: u64, sites: &Sites, seen: &mut Vec<Seen>) -> Result<Outcome, Block> {
    let mut fetch = Fetch::new(&page_request(case, id, sites))?;
    loop {
        let path = fetch.request().url().path().to_owned();
        let hop: usize = path.rsplit('/').next().unwrap().parse().unwrap();
        if let Some(preflight) = fetch.preflight() {
            seen.push(asked(hop, "OPTIONS", &preflight.headers));
            fetch.preflight_answered(&answer(case, id, sites, hop, true))?;
        }
        let outgoing = fetch.outgoing();
        seen.push(asked(hop, outgoing.method.as_str(), &outgoing.headers));
        match fetch.answered(&answer(case, id, sites, hop, false))? {
            Progress::Redirected(next, _) => fetch = *next,
            Progress::OpaqueRedirect => {
                return Ok(Outcome::Shown { kind: "opaqueredirect", status: 0, headers: BTreeSet::new() });
            }
            Progress::Done(_) if case.interface == Interface::EventSource => {
                return Ok(Outcome::Shown { kind: "open", status: 200, headers: BTreeSet::new() });
            }
            Progress::Done(readable) => {
                return Ok(Outcome::Shown {
                    kind: match readable.tainting {
                        _ if case.interface != Interface::Fetch => "xhr",
                        Tainting::Basic => "basic",
                        Tainting::Cors => "cors",
                        Tainting::Opaque => "opaque",
                    },
                    status: readable.status.map_or(0, |status| status.as_u16()),
                    headers: readable.headers.iter().map(|name| name.as_str().to_owned()).collect(),
                });
            }
        }
    }
}

pub fn page_request(case: &Case, id: u64, sites: &Sites) -> PageRequest {
    PageRequest {
        url: sites.url(case, id, 0).parse().unwrap(),
        origin: PageOrigin::parse(sites.of(Site::Own)).unwrap(),
        method: case.method.to_owned(),
        headers: case.headers.iter().map(|(name, value)| ((*name).to_owned(), latin1(value))).collect(),
        credentials: match case.credentials {
            "omit" => Credentials::Omit,
            "include" => Credentials::Include,
            _ => Credentials::SameOrigin,
        },
        mode: match case.mode {
            "no-cors" => Mode::NoCors,
            "same-origin" => Mode::SameOrigin,
            _ => Mode::Cors,
        },
        redirect: match case.redirect {
            "error" => RedirectMode::Error,
            "manual" => RedirectMode::Manual,
            _ => RedirectMode::Follow,
        },
        body: if case.body { Body::Text } else { Body::None },
        upload_listener: case.interface == Interface::Xhr(true),
        kind: match case.interface {
            Interface::Fetch => Kind::Fetch,
            Interface::Xhr(_) => Kind::Xhr,
            Interface::EventSource => Kind::EventSource,
        },
        browser: Browser::Chromium,
    }
}

fn answer(case: &Case, id: u64, sites: &Sites, hop: usize, preflight: bool) -> ResponseHead {
    let (status, lines) = sites.lines(case, id, hop, preflight);
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = latin1(value.trim_matches([' ', '\t']));
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
    }
    ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers }
}

fn asked(hop: usize, method: &str, headers: &HeaderMap) -> Seen {
    let get = |name: &str| {
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let joined = values.join(&b", "[..]);
        (!values.is_empty()).then(|| joined.iter().map(|b| char::from(*b)).collect::<String>())
    };
    let lines: Vec<(String, String)> =
        headers.keys().filter_map(|name| Some((name.as_str().to_owned(), get(name.as_str())?))).collect();
    Seen {
        hop,
        method: method.to_owned(),
        origin: get("origin"),
        asks_method: get("access-control-request-method"),
        asks_headers: get("access-control-request-headers"),
        told: told(&lines),
    }
}

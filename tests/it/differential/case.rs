//! Random calls of a page, and servers that answer them in random ways. What is first in a list is what a failing case
//! shrinks to.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::lists::{
    CONTENT_TYPES, EXPOSED_LISTS, GENEROUS, HEADER_LISTS, METHOD_LISTS, ORIGINS, RESPONSE_HEADERS, SHORT_HEADERS,
};

/// Through which interface the page calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Fetch,
    /// `XMLHttpRequest`, with a listener for the upload's progress where it is true.
    Xhr(bool),
    EventSource,
}

/// A page's call, and the URLs to which it leads.
#[derive(Debug, Clone)]
pub struct Case {
    pub interface: Interface,
    pub method: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub credentials: &'static str,
    pub mode: &'static str,
    pub redirect: &'static str,
    /// Whether there is a body, of text.
    pub body: bool,
    /// Each but the last redirects to the next.
    pub hops: Vec<Hop>,
}

#[derive(Debug, Clone)]
pub struct Hop {
    pub site: Site,
    pub preflight: Play,
    pub response: Play,
    /// How the `Location` that leads here is written.
    pub location: Location,
}

/// Origins, all on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    Other,
    Own,
    Third,
}

/// An answer's status and lines, in which `{own}`, `{other}` and `{third}` stand for origins, `{id}` for the case's number.
#[derive(Debug, Clone)]
pub struct Play {
    pub status: u16,
    pub lines: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Absolute,
    Userinfo,
    User,
    Data,
    Foreign,
    Broken,
    Missing,
}

pub fn case() -> impl Strategy<Value = Case> {
    prop_oneof![12 => fetch(), 2 => xhr(), 2 => event_source()]
}

fn fetch() -> impl Strategy<Value = Case> {
    let call = (
        method(),
        headers(),
        select(&["same-origin", "include", "omit"][..]),
        prop_oneof![20 => Just("cors"), 1 => Just("no-cors"), 1 => Just("same-origin")],
        prop_oneof![10 => Just("follow"), 1 => Just("manual"), 1 => Just("error")],
        weighted(0.2, Just(())).prop_map(|body| body.is_some()),
    );
    (call, hops()).prop_map(|((method, headers, credentials, mode, redirect, body), hops)| Case {
        interface: Interface::Fetch,
        method,
        headers,
        credentials,
        mode,
        redirect,
        body,
        hops,
    })
}

fn xhr() -> impl Strategy<Value = Case> {
    (fetch(), any::<bool>()).prop_map(|(case, listens)| Case {
        interface: Interface::Xhr(listens),
        // `withCredentials` knows no third value; a GET's body is dropped; and a written content type is respelled to say
        // that text is sent in UTF-8
        credentials: if case.credentials == "include" { "include" } else { "same-origin" },
        body: case.body
            && !matches!(case.method.to_ascii_uppercase().as_str(), "GET" | "HEAD")
            && !case.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")),
        mode: "cors",
        redirect: "follow",
        ..case
    })
}

fn event_source() -> impl Strategy<Value = Case> {
    (fetch(), vec(content_type(), 4)).prop_map(|(mut case, types)| {
        for (hop, content_type) in case.hops.iter_mut().zip(types) {
            hop.response.lines.retain(|(name, _)| *name != "content-type");
            hop.response.lines.extend(content_type.map(|value| ("content-type", value)));
        }
        Case {
            interface: Interface::EventSource,
            method: "GET",
            headers: Vec::new(),
            credentials: if case.credentials == "include" { "include" } else { "same-origin" },
            mode: "cors",
            redirect: "follow",
            body: false,
            ..case
        }
    })
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![3 => Just(Some("text/event-stream")), 4 => weighted(0.9, select(CONTENT_TYPES))]
}

fn hops() -> impl Strategy<Value = Vec<Hop>> {
    prop_oneof![
        12 => vec(hop(), 1),
        3 => vec(hop(), 2),
        1 => vec(hop(), 3..5),
    ]
}

fn method() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        9 => select(&["GET", "POST", "HEAD"][..]),
        9 => select(&["PUT", "DELETE", "PATCH", "OPTIONS", "get", "pOsT", "put", "patch", "CHICKEN", "x!#$%&'*+-.^_`|~"][..]),
        1 => select(&["TRACE", "connect", "TRACK", "BAD METHOD", ""][..]),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    prop_oneof![
        2 => Just(Vec::new()),
        6 => vec(header(), 1..4),
        1 => vec(long_header(), 1..12),
    ]
}

fn header() -> impl Strategy<Value = (&'static str, String)> {
    let short = select(SHORT_HEADERS).prop_map(|(name, value)| (name, value.to_owned()));
    let bad = select(BAD_HEADERS).prop_map(|(name, value)| (name, value.to_owned()));
    prop_oneof![30 => short, 3 => long_header(), 1 => bad]
}

/// What makes a call fail before anything is sent.
const BAD_HEADERS: &[(&str, &str)] = &[("bad name", "1"), ("bad:name", "1"), ("x-bad-value", "a\nb"), ("", "x")];

fn long_header() -> impl Strategy<Value = (&'static str, String)> {
    let names =
        &["accept", "accept-language", "content-language", "x-long", "intervention", "dpr", "width", "rtt", "downlink"];
    (select(&names[..]), prop_oneof![Just(128_usize), Just(129), 1_usize..140])
        .prop_map(|(name, length)| (name, "7".repeat(length)))
}

fn hop() -> impl Strategy<Value = Hop> {
    let site = prop_oneof![6 => Just(Site::Other), 1 => Just(Site::Own), 1 => Just(Site::Third)];
    let location = prop_oneof![
        8 => Just(Location::Absolute),
        1 => Just(Location::Userinfo),
        1 => Just(Location::User),
        1 => Just(Location::Data),
        1 => Just(Location::Foreign),
        1 => Just(Location::Broken),
        1 => Just(Location::Missing),
    ];
    (site, preflight(), response(), location).prop_map(|(site, preflight, response, location)| Hop {
        site,
        preflight,
        response,
        location,
    })
}

fn preflight() -> impl Strategy<Value = Play> {
    let status = prop_oneof![
        8 => select(&[204_u16, 200][..]),
        2 => select(&[202_u16, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 429, 500, 503][..]),
    ];
    let location = weighted(0.1, Just(("location", "{other}/elsewhere")));
    let methods = prop_oneof![
        4 => Just(vec![("access-control-allow-methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS, CHICKEN, patch")]),
        3 => lines("access-control-allow-methods", METHOD_LISTS),
    ];
    let headers = prop_oneof![
        4 => Just(vec![("access-control-allow-headers", GENEROUS)]),
        3 => lines("access-control-allow-headers", HEADER_LISTS),
    ];
    let max_age = weighted(0.3, select(&["600", "0", "-1", "abc", "99999999999999999999"][..]));
    (status, access(), methods, headers, location, max_age).prop_map(
        |(status, access, methods, headers, location, max_age)| {
            let max_age = max_age.map(|value| ("access-control-max-age", value));
            let lines =
                [access, methods, headers, location.into_iter().collect(), max_age.into_iter().collect()].concat();
            Play { status, lines }
        },
    )
}

fn response() -> impl Strategy<Value = Play> {
    let status = prop_oneof![
        6 => Just(200_u16),
        3 => select(&[201_u16, 204, 206, 300, 304, 400, 401, 403, 404, 405, 413, 429, 500, 503][..]),
        1 => select(&[301_u16, 302, 303, 307, 308][..]),
    ];
    let exposed = prop_oneof![2 => Just(Vec::new()), 3 => lines("access-control-expose-headers", EXPOSED_LISTS)];
    let more = vec(select(RESPONSE_HEADERS), 0..5);
    (status, access(), exposed, more)
        .prop_map(|(status, access, exposed, more)| Play { status, lines: [access, exposed, more].concat() })
}

fn access() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let origin = prop_oneof![
        6 => Just(vec![("access-control-allow-origin", "{own}")]),
        2 => Just(vec![("access-control-allow-origin", "*")]),
        1 => Just(vec![("access-control-allow-origin", "null")]),
        4 => lines("access-control-allow-origin", ORIGINS),
    ];
    let credentials = prop_oneof![
        5 => Just(vec![("access-control-allow-credentials", "true")]),
        4 => lines("access-control-allow-credentials", &["TRUE", "True", "false", "", " true ", "true, true", "1", "\"true\""]),
    ];
    (origin, credentials).prop_map(|(origin, credentials)| [origin, credentials].concat())
}

/// None, one, or two lines.
fn lines(
    name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let some = move |count: usize| vec(select(values).prop_map(move |value| (name, value)), count);
    prop_oneof![1 => some(0), 5 => some(1), 1 => some(2)]
}

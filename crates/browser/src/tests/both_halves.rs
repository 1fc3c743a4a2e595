//! The server side (crate `cors`) against the browser side: a browser accepts the responses to allowed pages, and blocks the
//! responses to all other pages.

use http::Method;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::fetch::{Fetch, Progress};
use cors::decision::{self, Decision, Verdict, decide};
use cors::origin::Origin;
use cors::policy::{Policy, Spec};

const ORIGINS: [&str; 9] = [
    "https://app.example.com",
    "https://app.example.com:8443",
    "https://a.b.example.com",
    "https://example.com",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://localhost:3000",
    "http://[::1]:5173",
    "null",
];
const ENTRIES: [&str; 6] = [
    "https://app.example.com",
    "https://*.example.com",
    "https://app.example.com:*",
    "http://localhost:*",
    "http://[::1]:5173",
    "*",
];
const HEADERS: [(&str, &str); 12] = [
    ("authorization", "Bearer k"),
    ("content-type", "application/json"),
    ("content-type", "text/plain"),
    ("accept", "text/event-stream"),
    ("x-request-id", "mine"),
    ("X-Stainless-Lang", "js"),
    ("x-mine", "1"),
    ("x-other", "1"),
    ("user-agent", "me"),
    ("last-event-id", "7"),
    ("range", "bytes=-1"),
    ("idempotency-key", "1"),
];
const ROUTES: [&str; 4] = ["GET, POST", "POST", "GET, DELETE", ""];
const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "DELETE", "PUT", "patch", "OPTIONS"];

/// A policy, and whether it allows credentials.
fn policy() -> impl Strategy<Value = (Policy, bool)> {
    let named = (subsequence(&ENTRIES[..5], 0..=5), any::<bool>());
    let origins = prop_oneof![4 => named, 1 => Just((vec!["*"], false))];
    let extra = subsequence(vec!["x-mine".to_owned(), "x-more".to_owned()], 0..=2);
    (origins, extra, 0u64..86_400).prop_filter_map(
        "the policy refuses itself",
        |((origins, credentials), extra, seconds)| {
            let spec = Spec {
                origins: origins.into_iter().map(str::to_owned).collect(),
                credentials,
                allow_headers: extra.clone(),
                expose_headers: extra,
                max_age: std::time::Duration::from_secs(seconds),
            };
            Policy::new(&spec).ok().map(|policy| (policy, credentials))
        },
    )
}

fn page_request() -> impl Strategy<Value = PageRequest> {
    let credentials = select(&[Credentials::Omit, Credentials::SameOrigin, Credentials::Include][..]);
    let headers = subsequence(&HEADERS[..], 0..5);
    (select(&ORIGINS[..]), select(&METHODS[..]), headers, credentials, select(&Browser::ALL[..])).prop_map(
        |(origin, method, lines, credentials, browser)| PageRequest {
            origin: PageOrigin::parse(origin).unwrap(),
            method: method.to_owned(),
            url: "https://api.example.net/".parse().unwrap(),
            credentials,
            browser,
            ..with_headers(&lines)
        },
    )
}

/// The server's response: its own, or else `status` with an application's `lines`.
fn served(
    policy: &Policy,
    route: &'static str,
    method: &Method,
    headers: &HeaderMap,
    status: u16,
    lines: &[(&str, &str)],
) -> (ResponseHead, Decision) {
    let decision = decide(policy, route, method, headers);
    let mut response = match decision.answer() {
        Some(decision::Answer::Empty(status)) => ResponseHead { status, headers: HeaderMap::new() },
        Some(decision::Answer::Refuse(_)) => response(403, &[]),
        None => response(status, lines),
    };
    decision.apply(&mut response.headers);
    (response, decision)
}

/// CORS headers of the application, which must have no effect.
const UPSTREAM: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-origin", "https://evil.example"),
    ("access-control-allow-credentials", "true"),
    ("x-request-id", "r"),
];

proptest! {
    #[test]
    fn allowed_pages_are_always_accepted_and_refused_ones_never(
        (policy, grants_credentials) in policy(), route in select(&ROUTES[..]), page in page_request(),
        status in select(&[200u16, 400, 401, 404, 413, 429, 500, 502, 503][..]),
    ) {
        let allowed = policy.allows(&Origin::parse(page.origin.as_str().as_bytes()).unwrap());
        let allowed = allowed && (grants_credentials || page.credentials != Credentials::Include);

        // mixed content does not concern CORS
        prop_assume!(page.origin.as_str() == "null" || Fetch::new(&page).is_ok());
        let fetch = Fetch::new(&page).unwrap();
        if let Some(preflight) = fetch.preflight() {
            let (response, decision) = served(&policy, route, &Method::OPTIONS, &preflight.headers, 200, &UPSTREAM);
            let lists_cover = matches!(decision, Decision::Preflight { verdict: Verdict::Allowed, .. });
            let expected = allowed && lists_cover;
            let judged = fetch.preflight_answered(&response);
            prop_assert_eq!(judged.is_ok(), expected, "{:?}", judged);
            if let Ok(allowed) = &judged {
                prop_assert!(!allowed.authorization_by_wildcard);
                prop_assert!(allowed.written_max_age.is_some());
            }
            if !expected {
                return Ok(());
            }
        }
        let outgoing = fetch.outgoing();
        let (response, _) = served(&policy, route, &outgoing.method, &outgoing.headers, status, &UPSTREAM);
        match fetch.answered(&response) {
            Ok(Progress::Done(readable)) => {
                prop_assert!(allowed);
                prop_assert_eq!(readable.status.map(|status| status.as_u16()), Some(status));
                prop_assert!(readable.headers.iter().any(|name| name == "x-request-id"), "the policy exposes it");
            }
            other => prop_assert!(!allowed, "{:?}", other),
        }
    }
}

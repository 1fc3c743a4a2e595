//! Checks response heads: caching, repeated headers, hidden headers, the HTTP version. Pure.

use std::collections::BTreeSet;

use http::{HeaderMap, Version};

use crate::report::{Finding, Severity};
use crate::steps::duration;
use browser::head::ResponseHead;
use browser::preflight::Allowed;
use browser::quirks::Browser;
use browser::response::Readable;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Response headers that pages need: to retry, to report errors, to show limits.
const USEFUL: [&str; 13] = [
    "x-request-id",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "ratelimit",
    "ratelimit-policy",
    "server-timing",
    "openai-processing-ms",
    "openai-model",
    "link",
    "location",
    "content-disposition",
];
/// The prefixes of more such headers.
const USEFUL_PREFIXES: [&str; 4] = ["ratelimit-", "x-ratelimit-", "anthropic-ratelimit-", "tokenway-"];

/// The response names an origin without `Vary: Origin`, so a cache can give one page's response to another (Fetch, "CORS
/// protocol and HTTP caches"). `other` is the response to the same request from another origin, if it was sent.
pub fn vary(own: &ResponseHead, other: Option<&ResponseHead>, is_cacheable: bool) -> Option<Finding> {
    let allowed = own.get(ALLOW_ORIGIN)?;
    // the same line for every origin: the response does not depend on it
    if allowed == b"*" || other.is_some_and(|other| other.get(ALLOW_ORIGIN).as_ref() == Some(&allowed)) {
        return None;
    }
    let mut without = Vec::new();
    if !varies(&own.headers) {
        without.push("the response to the page names its origin, and has no `vary: origin`".to_owned());
    }
    if other.is_some_and(|other| is_cacheable && !varies(&other.headers)) {
        without.push("the response to another origin has no `vary: origin`".to_owned());
    }
    (!without.is_empty()).then(|| Finding {
        id: "vary-origin-missing",
        severity: if is_cacheable { Severity::Warning } else { Severity::Note },
        title: "A cache may give one page's response to another page, which is then blocked.",
        seen: without,
        mend:
            "Send `Vary: Origin` with every response of this URL, also to refused origins and to requests without one."
                .into(),
    })
}

fn varies(headers: &HeaderMap) -> bool {
    let members = headers.get_all("vary").iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*" || member.eq_ignore_ascii_case(b"origin"))
}

/// A CORS header on several lines, or a list with a repeated member: two layers set the headers.
pub fn doubled<'a>(responses: impl IntoIterator<Item = &'a ResponseHead>) -> Option<Finding> {
    let mut seen = BTreeSet::new();
    for response in responses {
        for name in response.headers.keys().filter(|name| name.as_str().starts_with("access-control-")) {
            let lines = response.headers.get_all(name).iter().count();
            let mut members = BTreeSet::new();
            let all = response.headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
            let twice = all.map(|member| member.trim_ascii()).any(|member| !members.insert(member));
            if lines > 1 {
                seen.insert(format!("{name} appears {lines} times"));
            } else if twice {
                seen.insert(format!("{name} repeats a member"));
            }
        }
    }
    (!seen.is_empty()).then(|| Finding {
        id: "cors-headers-doubled",
        severity: Severity::Warning,
        title:
            "Two layers set CORS headers, such as a proxy and the application behind it: when they differ, pages break.",
        seen: seen.into_iter().collect(),
        mend: "Let only one layer set them; in nginx: proxy_hide_header Access-Control-Allow-Origin;".into(),
    })
}

/// How long browsers cache the preflight response.
pub fn max_age(allowed: &Allowed) -> Option<Finding> {
    let caps = || {
        let caps = [Browser::Chromium, Browser::Firefox, Browser::Safari];
        let caps = caps.iter().filter_map(|browser| Some((browser, browser.longest_max_age()?)));
        caps.map(|(browser, cap)| format!("{browser} caches it for at most {}", duration(cap))).collect::<Vec<_>>()
    };
    let finding = |severity, title, seen, mend: &'static str| {
        Some(Finding { id: "max-age", severity, title, seen, mend: mend.into() })
    };
    match allowed.written_max_age {
        None => finding(
            Severity::Warning,
            "Browsers cache the preflight response for 5 s only: most requests cost a second round trip.",
            vec!["no valid access-control-max-age".to_owned()],
            "access-control-max-age: 7200",
        ),
        Some(0) => finding(
            Severity::Warning,
            "Browsers do not cache the preflight response: every request costs a second round trip.",
            vec!["access-control-max-age: 0".to_owned()],
            "access-control-max-age: 7200",
        ),
        Some(seconds @ 1..600) => finding(
            Severity::Note,
            "Browsers cache the preflight response for a short time only.",
            vec![format!("access-control-max-age: {seconds}")],
            "access-control-max-age: 7200",
        ),
        Some(seconds) if seconds > 86_400 => finding(
            Severity::Note,
            "No browser caches the preflight response for so long.",
            [vec![format!("access-control-max-age: {seconds}")], caps()].concat(),
            "Rely on the limits: in Firefox, a corrected mistake lasts for up to a day. access-control-max-age: 7200",
        ),
        Some(_) => None,
    }
}

/// Useful headers of the response that the page cannot read.
pub fn hidden(readable: &Readable) -> Option<Finding> {
    let names = hidden_names(readable);
    (!names.is_empty()).then(|| Finding {
        id: "headers-hidden",
        severity: Severity::Warning,
        title: "The page cannot read headers that it needs for retries, error reports and limits.",
        seen: vec![names.join(", ")],
        mend: format!("access-control-expose-headers: {}", names.join(", ")).into(),
    })
}

/// The names of useful headers that the page cannot read.
fn hidden_names(readable: &Readable) -> Vec<String> {
    let names = readable.hidden.iter().map(|hidden| hidden.name.as_str()).filter(|name| is_useful(name));
    names.map(str::to_owned).collect()
}

/// Whether pages need this response header.
pub fn is_useful(name: &str) -> bool {
    USEFUL.contains(&name) || USEFUL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Over HTTP/1.1, browsers open six connections to a host: with six open streams, everything else waits.
pub fn protocol(version: Version, is_tls: bool, is_stream: bool) -> Option<Finding> {
    (version != Version::HTTP_2).then(|| Finding {
        id: "http1-only",
        severity: if is_stream { Severity::Warning } else { Severity::Note },
        title:
            "Over HTTP/1.1, a browser opens six connections to a host, for all tabs together: the seventh stream waits.",
        seen: vec![match is_tls {
            true => "the server chose http/1.1 in the TLS handshake (ALPN)".to_owned(),
            false => "plain http, over which browsers speak only HTTP/1.1".to_owned(),
        }],
        mend: match is_tls {
            true => "Offer h2; in nginx: listen 443 ssl http2;".into(),
            false => "Serve https, and offer h2 there.".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn response(lines: &[(&str, &str)]) -> ResponseHead {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        ResponseHead { status: StatusCode::OK, headers }
    }

    const OWN: (&str, &str) = (ALLOW_ORIGIN, "https://app.example");

    #[test]
    fn vary_is_missing_only_if_the_response_depends_on_the_origin() {
        let other = response(&[]);
        assert_eq!(vary(&response(&[OWN]), Some(&other), true).unwrap().seen.len(), 2);
        assert_eq!(vary(&response(&[OWN]), None, false).unwrap().severity, Severity::Note);
        assert!(vary(&response(&[(ALLOW_ORIGIN, "*")]), Some(&other), true).is_none());
        assert!(vary(&response(&[OWN]), Some(&response(&[OWN])), true).is_none(), "the same for every origin");
        let good = response(&[OWN, ("vary", "accept-encoding"), ("vary", "x, Origin")]);
        assert!(vary(&good, None, true).is_none());
        assert_eq!(
            vary(&good, Some(&other), true).unwrap().seen.len(),
            1,
            "the response to another origin is cached, too"
        );
        assert!(vary(&response(&[]), None, true).is_none());
    }

    #[test]
    fn two_layers_are_recognised_by_repeated_lines_and_members() {
        for (lines, seen) in [
            (
                &[("access-control-allow-credentials", "true"), ("access-control-allow-credentials", "true")][..],
                "2 times",
            ),
            (&[("access-control-allow-methods", "GET, POST, GET")], "repeats a member"),
        ] {
            assert!(doubled([&response(lines)]).unwrap().seen[0].contains(seen));
        }
        // frameworks add the safelisted headers in their own case
        assert!(doubled([&response(&[("access-control-allow-headers", "Content-Type, content-type")])]).is_none());
        assert!(
            doubled([&response(&[("access-control-allow-methods", "GET, POST"), ("x", "1"), ("x", "1")])]).is_none()
        );
    }

    #[test]
    fn headers_for_retries_and_reports_are_useful() {
        assert!(is_useful("x-request-id") && is_useful("x-ratelimit-remaining-tokens") && is_useful("tokenway-cost"));
        assert!(!is_useful("date") && !is_useful("server"));
    }

    proptest! {
        #[test]
        fn a_max_age_between_ten_minutes_and_a_day_is_no_finding(seconds in 600_u64..=86_400) {
            let allowed = Allowed {
                methods: Vec::new(),
                headers: Vec::new(),
                written_max_age: Some(seconds),
                max_age: seconds,
                authorization_by_wildcard: false,
            };
            prop_assert!(max_age(&allowed).is_none());
            for other in [None, Some(0), Some(599), Some(86_401 + seconds)] {
                let other = Allowed { written_max_age: other, ..allowed.clone() };
                prop_assert!(max_age(&other).is_some());
            }
        }
    }
}

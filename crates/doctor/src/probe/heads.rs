//! What the heads of the answers say of themselves: caching, doubled lines, hidden headers, the protocol. Pure.

use std::collections::BTreeSet;

use http::{HeaderMap, Version};

use crate::report::{Finding, Severity};
use crate::story::duration;
use browser::answer::Answer;
use browser::preflight::Allowed;
use browser::quirks::Browser;
use browser::response::Readable;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Response headers that a page comes to want: to retry, to report, to show progress.
const WANTED: [&str; 13] = [
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
/// Families of them.
const WANTED_FAMILIES: [&str; 4] = ["ratelimit-", "x-ratelimit-", "anthropic-ratelimit-", "tokenway-"];

/// A specific origin in the answer, and no `Vary: Origin`: a cache gives one page's answer to another (Fetch, "CORS protocol and HTTP
/// caches"). `stranger` is the answer to the same request of another origin, where it was asked.
pub fn vary(own: &Answer, stranger: Option<&Answer>, is_cacheable: bool) -> Option<Finding> {
    let allowed = own.get(ALLOW_ORIGIN)?;
    // the same line whoever asks: nothing depends on the origin
    if allowed == b"*" || stranger.is_some_and(|stranger| stranger.get(ALLOW_ORIGIN).as_ref() == Some(&allowed)) {
        return None;
    }
    let mut without = Vec::new();
    if !varies(&own.headers) {
        without.push("the answer to the page names its origin, and has no `vary: origin`".to_owned());
    }
    if stranger.is_some_and(|stranger| is_cacheable && !varies(&stranger.headers)) {
        without.push("the answer to another origin has no `vary: origin`".to_owned());
    }
    (!without.is_empty()).then(|| Finding {
        id: "vary-origin-missing",
        severity: if is_cacheable { Severity::Warning } else { Severity::Note },
        title: "A cache may give one page's answer to another page, which is then blocked.".to_owned(),
        seen: without,
        mend: "Send `Vary: Origin` with every answer of this URL, also to refused origins and to requests without one."
            .to_owned(),
    })
}

fn varies(headers: &HeaderMap) -> bool {
    let members = headers.get_all("vary").iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*" || member.eq_ignore_ascii_case(b"origin"))
}

/// A CORS header on more lines than one, or a list that says things twice: two layers answer.
pub fn doubled<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Option<Finding> {
    let mut seen = BTreeSet::new();
    for answer in answers {
        for name in answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")) {
            let lines = answer.headers.get_all(name).iter().count();
            let mut members = BTreeSet::new();
            let all = answer.headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
            let twice = all.map(|member| member.trim_ascii()).any(|member| !members.insert(member));
            if lines > 1 {
                seen.insert(format!("{name} stands there {lines} times"));
            } else if twice {
                seen.insert(format!("{name} names the same twice"));
            }
        }
    }
    (!seen.is_empty()).then(|| Finding {
        id: "cors-headers-doubled",
        severity: Severity::Warning,
        title:
            "Two layers answer CORS, such as a proxy and the application behind it: the day they differ, pages break."
                .to_owned(),
        seen: seen.into_iter().collect(),
        mend: "Let one layer answer alone; in nginx: proxy_hide_header Access-Control-Allow-Origin;".to_owned(),
    })
}

/// How long browsers keep the preflight's answer.
pub fn max_age(allowed: &Allowed) -> Option<Finding> {
    let caps = || {
        let caps = [Browser::Chromium, Browser::Firefox, Browser::Safari];
        let caps = caps.iter().filter_map(|browser| Some((browser, browser.longest_max_age()?)));
        caps.map(|(browser, cap)| format!("{browser} keeps it for at most {}", duration(cap))).collect::<Vec<_>>()
    };
    let finding = |severity, title: &str, seen, mend: &str| {
        Some(Finding { id: "max-age", severity, title: title.to_owned(), seen, mend: mend.to_owned() })
    };
    match allowed.written_max_age {
        None => finding(
            Severity::Warning,
            "Browsers keep the preflight's answer for 5 s: most requests cost a second round trip.",
            vec!["no access-control-max-age that can be read".to_owned()],
            "access-control-max-age: 7200",
        ),
        Some(0) => finding(
            Severity::Warning,
            "Each request is preflighted again: a second round trip each time.",
            vec!["access-control-max-age: 0".to_owned()],
            "access-control-max-age: 7200",
        ),
        Some(seconds @ 1..600) => finding(
            Severity::Note,
            "The preflight's answer is kept for a short time.",
            vec![format!("access-control-max-age: {seconds}")],
            "access-control-max-age: 7200",
        ),
        Some(seconds) if seconds > 86_400 => finding(
            Severity::Note,
            "No browser keeps the preflight's answer for so long.",
            [vec![format!("access-control-max-age: {seconds}")], caps()].concat(),
            "Count on the caps: a mistake that is mended stays with Firefox for a day. access-control-max-age: 7200",
        ),
        Some(_) => None,
    }
}

/// Headers that are there, and that the page will want but cannot read.
pub fn hidden(readable: &Readable) -> Option<Finding> {
    let names = hidden_names(readable);
    (!names.is_empty()).then(|| Finding {
        id: "headers-hidden",
        severity: Severity::Warning,
        title: "The page cannot read headers that it will want for retries, reports and limits.".to_owned(),
        seen: vec![names.join(", ")],
        mend: format!("access-control-expose-headers: {}", names.join(", ")),
    })
}

/// Their names.
pub fn hidden_names(readable: &Readable) -> Vec<String> {
    let names = readable.hidden.iter().map(|hidden| hidden.name.as_str()).filter(|name| is_wanted(name));
    names.map(str::to_owned).collect()
}

/// Whether pages come to want it.
pub fn is_wanted(name: &str) -> bool {
    WANTED.contains(&name) || WANTED_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// HTTP/1.1 allows a browser six connections to a host: six open streams, and everything else waits.
pub fn protocol(version: Version, is_tls: bool, is_stream: bool) -> Option<Finding> {
    (version != Version::HTTP_2).then(|| Finding {
        id: "http1-only",
        severity: if is_stream { Severity::Warning } else { Severity::Note },
        title: "Over HTTP/1.1 a browser opens six connections to a host, for all its tabs together: the seventh stream waits.".to_owned(),
        seen: vec![match is_tls {
            true => "the server chose http/1.1 in the TLS handshake (ALPN)".to_owned(),
            false => "plain http, over which browsers speak HTTP/1.1 alone".to_owned(),
        }],
        mend: match is_tls {
            true => "Offer h2; in nginx: listen 443 ssl http2;".to_owned(),
            false => "Serve https, and offer h2 there.".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[(&str, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        Answer { status: StatusCode::OK, headers }
    }

    const OWN: (&str, &str) = (ALLOW_ORIGIN, "https://app.example");

    #[test]
    fn vary_is_missed_only_where_the_answer_depends_on_the_origin() {
        let stranger = answer(&[]);
        assert_eq!(vary(&answer(&[OWN]), Some(&stranger), true).unwrap().seen.len(), 2);
        assert_eq!(vary(&answer(&[OWN]), None, false).unwrap().severity, Severity::Note);
        assert!(vary(&answer(&[(ALLOW_ORIGIN, "*")]), Some(&stranger), true).is_none());
        assert!(vary(&answer(&[OWN]), Some(&answer(&[OWN])), true).is_none(), "the same whoever asks");
        let good = answer(&[OWN, ("vary", "accept-encoding"), ("vary", "x, Origin")]);
        assert!(vary(&good, None, true).is_none());
        assert_eq!(vary(&good, Some(&stranger), true).unwrap().seen.len(), 1, "the stranger's answer is cached, too");
        assert!(vary(&answer(&[]), None, true).is_none());
    }

    #[test]
    fn two_layers_are_seen_by_doubled_lines_and_members() {
        for (lines, seen) in [
            (
                &[("access-control-allow-credentials", "true"), ("access-control-allow-credentials", "true")][..],
                "2 times",
            ),
            (&[("access-control-allow-methods", "GET, POST, GET")], "the same twice"),
        ] {
            assert!(doubled([&answer(lines)]).unwrap().seen[0].contains(seen));
        }
        // frameworks add the safelisted headers in their own spelling
        assert!(doubled([&answer(&[("access-control-allow-headers", "Content-Type, content-type")])]).is_none());
        assert!(doubled([&answer(&[("access-control-allow-methods", "GET, POST"), ("x", "1"), ("x", "1")])]).is_none());
    }

    #[test]
    fn a_page_wants_what_helps_it_to_retry_and_report() {
        assert!(is_wanted("x-request-id") && is_wanted("x-ratelimit-remaining-tokens") && is_wanted("tokenway-cost"));
        assert!(!is_wanted("date") && !is_wanted("server"));
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

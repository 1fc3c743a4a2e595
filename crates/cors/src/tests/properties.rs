//! Properties of every policy, request and response.

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{METHODS, actual, applied, policy};
use crate::decision::{Answer, decide};

/// A naive matcher that tries all expansions of the pattern, on strings only.
fn naively_matches(pattern: &str, origin: &str) -> bool {
    fn label_list(text: &str) -> bool {
        text.strip_suffix('.').is_some_and(|labels| {
            labels.split('.').all(|l| !l.is_empty() && l.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
        })
    }
    if let Some(stem) = pattern.strip_suffix(":*") {
        let with_port = origin
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok_and(|number| number.to_string() == *port));
        return naively_matches(stem, origin) || with_port.is_some_and(|(rest, _)| naively_matches(stem, rest));
    }
    match pattern.split_once("*.") {
        Some((scheme, base)) => (0..=origin.len()).any(|cut| {
            origin.is_char_boundary(cut)
                && origin[cut..] == *base
                && origin[..cut].strip_prefix(scheme).is_some_and(label_list)
        }),
        None => pattern == origin,
    }
}

fn patterns() -> impl Strategy<Value = String> {
    (
        "https?",
        prop::bool::ANY,
        "([ab]\\.)?example\\.com|b\\.example\\.com",
        prop::sample::select(vec!["", ":*", ":81", ":8443"]),
    )
        .prop_map(|(scheme, below, host, port)| format!("{scheme}://{}{host}{port}", if below { "*." } else { "" }))
}

fn origins() -> impl Strategy<Value = String> {
    let near = "(https?|ftp|HTTPS)://(evil|[ab]\\.|A\\.|\\.){0,3}example\\.com(\\.evil\\.com|evil\\.com|\\.|/)?(:(80|443|81|8443|0|081|70000|))?";
    prop_oneof![8 => near, 1 => Just("null".to_owned()), 1 => "[ -~]{0,24}"]
}

fn lines(name: HeaderName, values: impl IntoIterator<Item = String>) -> HeaderMap {
    values.into_iter().map(|value| (name.clone(), value.parse::<HeaderValue>().unwrap())).collect()
}

fn requests() -> impl Strategy<Value = (Method, HeaderMap)> {
    let method = prop::sample::select(vec![Method::GET, Method::POST, Method::OPTIONS, Method::DELETE]);
    let asked = prop::option::of("GET|POST|DELETE|patch|\\*|");
    let names = prop::collection::vec("[a-z, *-]{0,12}|authorization", 0..3);
    (method, prop::collection::vec(origins(), 0..3), asked, names).prop_map(|(method, origins, asked, names)| {
        let mut head = HeaderMap::new();
        head.extend(lines(header::ORIGIN, origins));
        head.extend(lines(header::ACCESS_CONTROL_REQUEST_METHOD, asked));
        head.extend(lines(header::ACCESS_CONTROL_REQUEST_HEADERS, names));
        (method, head)
    })
}

fn answers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "vary",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-anything",
        "timing-allow-origin",
        "content-type",
    ]);
    let value = "\\*|origin|Origin, accept|accept-encoding ,|https://evil\\.example|true|";
    prop::collection::vec((name, value), 0..6).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    })
}

fn members(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::VARY).iter().map(|line| line.to_str().unwrap().to_ascii_lowercase());
    lines
        .flat_map(|line| line.split(',').map(|m| m.trim().to_owned()).collect::<Vec<_>>())
        .filter(|m| !m.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn an_origin_is_allowed_exactly_if_a_pattern_matches(
        patterns in prop::collection::vec(patterns(), 0..4), origin in origins(),
    ) {
        let policy = policy(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let headers = applied(&actual(&policy, &origin));
        let expected = patterns.iter().any(|pattern| naively_matches(pattern, &origin));
        prop_assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), expected);
    }

    #[test]
    fn every_response_is_correct_for_any_request_and_upstream(
        patterns in prop::collection::vec(prop_oneof![patterns(), Just("*".to_owned())], 0..3),
        (method, head) in requests(),
        upstream in answers(),
    ) {
        let policy = policy(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let decision = decide(&policy, METHODS, &method, &head);
        let mut headers = upstream.clone();
        decision.apply(&mut headers);

        let allowed: Vec<_> = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
        prop_assert!(allowed.len() <= 1);
        for value in &allowed {
            prop_assert_eq!(Some(*value), head.get(header::ORIGIN));
        }
        for (name, value) in &headers {
            let ours = name.as_str().starts_with("access-control-") || name == "timing-allow-origin";
            prop_assert!(!ours || !allowed.is_empty(), "{}", name);
            prop_assert!(!ours || value != "*", "{}", name);
        }
        let refused = matches!(decision.answer(), Some(Answer::Refuse(_)));
        let origins = head.get_all(header::ORIGIN).iter().count();
        prop_assert_eq!(allowed.is_empty(), refused || origins == 0);
        prop_assert!(origins < 2 || refused);

        let (before, after) = (members(&upstream), members(&headers));
        let count = |name: &str| after.iter().filter(|m| *m == name).count();
        prop_assert!(count("*") > 0 || count("origin") == 1);
        prop_assert!(before.iter().all(|member| count(member) > 0));

        let mut again = headers.clone();
        decision.apply(&mut again);
        prop_assert_eq!(again, headers);
    }
}

//! Policy and decision together, as the gateway uses them.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::decision::{Answer, Decision, Labels, decide};
use super::names;
use super::policy::{Policy, PolicyError, Spec};
use crate::error::{Code, Reject};

const METHODS: &str = "GET, POST";
const APP: &str = "https://app.example.com";

fn spec(origins: &[&str]) -> Spec {
    Spec { origins: origins.iter().map(|&o| o.to_owned()).collect(), ..Spec::default() }
}

fn policy(origins: &[&str]) -> Policy {
    Policy::new(&spec(origins)).unwrap()
}

fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

fn preflight_head(origin: &str, method: &str, headers: &str) -> HeaderMap {
    let mut head = head(&[("origin", origin), ("access-control-request-method", method)]);
    if !headers.is_empty() {
        head.append("access-control-request-headers", headers.parse().unwrap());
    }
    head
}

fn preflight(policy: &Policy, origin: &str, method: &str, headers: &str) -> Decision {
    decide(policy, METHODS, &Method::OPTIONS, &preflight_head(origin, method, headers))
}

fn actual(policy: &Policy, origin: &str) -> Decision {
    decide(policy, METHODS, &Method::POST, &head(&[("origin", origin)]))
}

fn applied(decision: &Decision) -> HeaderMap {
    let mut headers = HeaderMap::new();
    decision.apply(&mut headers);
    headers
}

fn labels(decision: &Decision) -> (&'static str, &'static str) {
    decision.labels().map(|Labels { kind, verdict }| (kind, verdict)).unwrap()
}

fn reject(decision: &Decision) -> Reject {
    match decision.answer() {
        Some(Answer::Reject(reject)) => reject,
        other => panic!("{other:?}"),
    }
}

fn names_of(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

mod policies {
    use super::*;

    fn errors(spec: &Spec) -> Vec<PolicyError> {
        Policy::new(spec).expect_err("refused")
    }

    #[test]
    fn without_origins_it_is_closed() {
        assert!(policy(&[]).is_closed());
        assert!(!policy(&[APP]).is_closed());
        assert!(!policy(&["*"]).is_closed());
    }

    #[test]
    fn every_error_is_told_at_once_with_its_key_in_order() {
        let spec = Spec {
            origins: [APP, "null", "*", "http://app.example.com", "https://*.com"].map(String::from).to_vec(),
            credentials: true,
            allow_headers: ["x-ok", "*", "Cookie", "bad name", "Access-Control-Allow-Origin"]
                .map(String::from)
                .to_vec(),
            expose_headers: ["*", "Set-Cookie", "é"].map(String::from).to_vec(),
            max_age: Duration::from_secs(86_401),
        };
        let errors = errors(&spec);
        let keys: Vec<_> = errors.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "origins[1]",
                "origins[2]",
                "origins[3]",
                "origins[4]",
                "allow_headers[1]",
                "allow_headers[2]",
                "allow_headers[3]",
                "allow_headers[4]",
                "expose_headers[0]",
                "expose_headers[1]",
                "expose_headers[2]",
                "max_age",
            ]
        );
        assert!(errors.iter().all(|e| !e.reason.is_empty() && !e.mend.is_empty()));
    }

    #[test]
    fn credentials_ask_for_named_and_secure_origins() {
        for (origin, mend) in [
            ("*", "name the origins, or set credentials = false"),
            ("http://app.example.com:8080", "serve it over TLS and write `https://app.example.com:8080`"),
            ("http://*.example.com", "serve it over TLS and write `https://*.example.com`"),
        ] {
            assert!(Policy::new(&spec(&[origin])).is_ok(), "{origin}");
            let errors = errors(&Spec { credentials: true, ..spec(&[origin]) });
            assert_eq!(errors.len(), 1);
            assert!(errors[0].reason.contains("credentials = true"), "{}", errors[0].reason);
            assert!(errors[0].mend.contains(mend), "{}", errors[0].mend);
        }
        for origin in [APP, "http://localhost:*", "http://127.0.0.1:3000", "http://[::1]:3000"] {
            assert!(Policy::new(&Spec { credentials: true, ..spec(&[origin]) }).is_ok(), "{origin}");
        }
    }

    #[test]
    fn headers_that_no_page_can_send_or_read_are_refused() {
        for name in [
            "accept-charset",
            "Accept-Encoding",
            "access-control-request-headers",
            "access-control-request-method",
            "connection",
            "content-length",
            "cookie",
            "cookie2",
            "date",
            "dnt",
            "expect",
            "host",
            "keep-alive",
            "origin",
            "referer",
            "set-cookie",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "via",
            "Proxy-Authorization",
            "sec-fetch-mode",
            "access-control-allow-headers",
            "*",
            "",
            "x y",
            "x:",
        ] {
            let errors = errors(&Spec { allow_headers: vec![name.into()], ..spec(&[APP]) });
            assert_eq!((errors.len(), errors[0].key.as_str()), (1, "allow_headers[0]"), "{name}");
        }
        for name in ["set-cookie", "Set-Cookie2", "", "x y"] {
            let errors = errors(&Spec { expose_headers: vec![name.into()], ..spec(&[APP]) });
            assert_eq!((errors.len(), errors[0].key.as_str()), (1, "expose_headers[0]"), "{name}");
        }
        let star = Spec { expose_headers: vec!["*".into()], ..spec(&[APP]) };
        assert!(Policy::new(&star).is_ok());
        assert_eq!(errors(&Spec { credentials: true, ..star })[0].key, "expose_headers[0]");
    }

    #[test]
    fn max_age_is_whole_seconds_up_to_a_day() {
        for (age, ok) in [
            (Duration::ZERO, true),
            (Duration::from_secs(86_400), true),
            (Duration::from_millis(86_400_001), false),
            (Duration::from_millis(1500), false),
        ] {
            assert_eq!(Policy::new(&Spec { max_age: age, ..spec(&[APP]) }).is_ok(), ok, "{age:?}");
        }
    }

    #[test]
    fn duplicates_are_harmless() {
        let spec = Spec {
            allow_headers: ["X-Team", "x-team", "Authorization"].map(String::from).to_vec(),
            ..spec(&[APP, APP, "*", "*"])
        };
        let headers = applied(&preflight(&Policy::new(&spec).unwrap(), APP, "POST", ""));
        let allowed = headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert_eq!(allowed, format!("{}, x-team", names::ALLOWED.join(", ")));
    }
}

mod decisions {
    use super::*;

    #[test]
    fn an_allowed_page_gets_its_own_origin_and_the_exposed_headers() {
        let decision = actual(&policy(&[APP]), APP);
        assert_eq!(labels(&decision), ("actual", "allowed"));
        assert_eq!(decision.answer(), None);
        let headers = applied(&decision);
        assert_eq!(
            names_of(&headers),
            ["access-control-allow-origin", "access-control-expose-headers", "timing-allow-origin", "vary"]
        );
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], APP);
        assert_eq!(headers["timing-allow-origin"], APP);
        assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], names::EXPOSED.join(", "));
        assert_eq!(headers[header::VARY], "Origin");
    }

    #[test]
    fn a_preflight_gets_the_whole_lists_and_204() {
        let spec = Spec { max_age: Duration::from_secs(600), ..spec(&[APP]) };
        let decision = preflight(&Policy::new(&spec).unwrap(), APP, "POST", "authorization,content-type");
        assert_eq!(labels(&decision), ("preflight", "allowed"));
        assert_eq!(decision.answer(), Some(Answer::Empty(StatusCode::NO_CONTENT)));
        let headers = applied(&decision);
        assert_eq!(
            names_of(&headers),
            [
                "access-control-allow-headers",
                "access-control-allow-methods",
                "access-control-allow-origin",
                "access-control-max-age",
                "vary",
            ]
        );
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], APP);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], names::ALLOWED.join(", "));
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "600");
        assert_eq!(headers[header::VARY], "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    }

    #[test]
    fn a_preflight_is_told_the_same_whatever_it_asks_and_the_verdict_says_what_the_browser_will_do() {
        let policy = policy(&[APP]);
        let expected = applied(&preflight(&policy, APP, "POST", ""));
        for (method, headers, verdict) in [
            ("POST", "", "allowed"),
            ("POST", "Authorization, X-STAINLESS-OS ,,content-type", "allowed"),
            ("HEAD", "", "allowed"), // safelisted: browsers let it pass unlisted
            ("DELETE", "", "method_not_allowed"),
            ("post", "", "method_not_allowed"),
            ("", "", "method_not_allowed"),
            ("POST, GET", "", "method_not_allowed"),
            ("*", "", "method_not_allowed"),
            ("POST", "x-team", "header_not_allowed"),
            ("POST", "authorization,x-team", "header_not_allowed"),
            ("POST", "*", "header_not_allowed"),
            ("DELETE", "x-team", "method_not_allowed"),
        ] {
            let decision = preflight(&policy, APP, method, headers);
            assert_eq!(labels(&decision), ("preflight", verdict), "{method} {headers}");
            assert_eq!(decision.answer(), Some(Answer::Empty(StatusCode::NO_CONTENT)));
            assert_eq!(applied(&decision), expected);
        }
    }

    #[test]
    fn requested_headers_split_over_lines_are_all_read() {
        let mut head = preflight_head(APP, "POST", "authorization");
        head.append("access-control-request-headers", "x-team".parse().unwrap());
        let decide = |policy: &Policy| labels(&decide(policy, METHODS, &Method::OPTIONS, &head));
        assert_eq!(decide(&policy(&[APP])), ("preflight", "header_not_allowed"));
        let spec = Spec { allow_headers: vec!["X-Team".into()], ..spec(&[APP]) };
        assert_eq!(decide(&Policy::new(&spec).unwrap()), ("preflight", "allowed"));
    }

    #[test]
    fn a_request_for_private_network_access_is_not_granted() {
        let mut head = preflight_head(APP, "POST", "");
        head.insert("access-control-request-private-network", HeaderValue::from_static("true"));
        head.insert("access-control-request-local-network", HeaderValue::from_static("true"));
        let headers = applied(&decide(&policy(&[APP]), METHODS, &Method::OPTIONS, &head));
        assert!(!names_of(&headers).iter().any(|name| name.contains("network")));
    }

    #[test]
    fn with_credentials_both_answers_say_so() {
        let spec = Spec { credentials: true, ..spec(&[APP]) };
        let policy = Policy::new(&spec).unwrap();
        for decision in [actual(&policy, APP), preflight(&policy, APP, "POST", "")] {
            assert_eq!(applied(&decision)[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        }
        let refused = applied(&actual(&policy, "https://evil.example"));
        assert_eq!(names_of(&refused), ["vary"]);
    }

    #[test]
    fn a_refused_origin_is_answered_403_without_any_cors_header() {
        for origin in ["https://evil.example", "http://app.example.com", "null", "chrome-extension://abc", "file://"] {
            for policy in [policy(&[APP]), policy(&[])] {
                for (decision, kind) in
                    [(actual(&policy, origin), "actual"), (preflight(&policy, origin, "POST", ""), "preflight")]
                {
                    assert_eq!(labels(&decision), (kind, "origin_not_allowed"), "{origin}");
                    let reject = reject(&decision);
                    assert_eq!(reject.code, Code::OriginNotAllowed);
                    assert!(reject.message.contains(&format!("`{origin}`")), "{}", reject.message);
                    assert_eq!(names_of(&applied(&decision)), ["vary"]);
                }
            }
        }
    }

    #[test]
    fn every_web_page_but_nothing_else_is_allowed_by_a_star_and_still_gets_its_own_origin() {
        let policy = policy(&["*"]);
        for origin in [APP, "http://localhost:3000", "http://[::1]"] {
            assert_eq!(applied(&actual(&policy, origin))[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        }
        for origin in ["null", "chrome-extension://abc"] {
            assert_eq!(labels(&actual(&policy, origin)), ("actual", "origin_not_allowed"));
        }
    }

    #[test]
    fn a_malformed_or_repeated_origin_is_400_for_a_preflight_too() {
        let policy = policy(&["*"]);
        let twice = head(&[("origin", APP), ("origin", APP), ("access-control-request-method", "POST")]);
        for (method, kind) in [(Method::OPTIONS, "preflight"), (Method::POST, "actual")] {
            let repeated = decide(&policy, METHODS, &method, &twice);
            assert_eq!(labels(&repeated), (kind, "origin_repeated"));
            let malformed = decide(&policy, METHODS, &method, &preflight_head("https://app.example.com/", "POST", ""));
            assert_eq!(labels(&malformed), (kind, "origin_malformed"));
            for decision in [repeated, malformed] {
                assert_eq!(reject(&decision).code, Code::InvalidRequest);
                assert_eq!(names_of(&applied(&decision)), ["vary"]);
            }
        }
    }

    #[test]
    fn a_hostile_origin_is_shown_short_and_plain() {
        let mut hostile = b"https://`\xff\t<script>".to_vec();
        hostile.extend([b'a'; 5000]);
        let mut head = HeaderMap::new();
        head.insert(header::ORIGIN, HeaderValue::from_bytes(&hostile).unwrap());
        let reject = reject(&decide(&policy(&[APP]), METHODS, &Method::POST, &head));
        assert!(reject.message.len() < 400);
        assert_eq!(reject.message.matches('`').count(), 4, "{}", reject.message);
        assert!(!reject.message.contains(|c: char| c.is_control()));
    }

    #[test]
    fn without_origin_it_is_no_cors_request_and_varies_by_origin_all_the_same() {
        let preflight_like = head(&[("access-control-request-method", "POST")]);
        for (method, head) in [(Method::GET, HeaderMap::new()), (Method::OPTIONS, preflight_like)] {
            let decision = decide(&policy(&[APP]), METHODS, &method, &head);
            assert_eq!((decision.labels(), decision.answer()), (None, None));
            assert_eq!(names_of(&applied(&decision)), ["vary"]);
        }
    }

    #[test]
    fn options_without_a_requested_method_is_no_preflight() {
        let decision = decide(&policy(&[APP]), METHODS, &Method::OPTIONS, &head(&[("origin", APP)]));
        assert!(matches!(decision, Decision::Actual(_)));
        assert_eq!(decision.answer(), None);
    }

    #[test]
    fn what_the_upstream_says_of_cors_is_replaced_and_its_vary_kept() {
        let upstream = head(&[
            ("access-control-allow-origin", ""),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-private-network", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("timing-allow-origin", "*"),
            ("vary", "Accept-Encoding, origin"),
            ("content-type", "text/event-stream"),
        ]);
        let policy = policy(&[APP]);
        for (decision, origin) in [(actual(&policy, APP), Some(APP)), (actual(&policy, "https://evil.example"), None)] {
            let mut headers = upstream.clone();
            decision.apply(&mut headers);
            let all: Vec<_> = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
            assert_eq!(all, origin.as_slice());
            assert_eq!(headers.get("timing-allow-origin").map(|v| v.to_str().unwrap()), origin);
            assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
            assert!(!headers.contains_key("access-control-allow-private-network"));
            assert_eq!(headers[header::VARY], "Accept-Encoding, origin");
            assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
        }
    }

    #[test]
    fn a_route_without_methods_sends_no_empty_list() {
        let decision = decide(&policy(&[APP]), "", &Method::OPTIONS, &preflight_head(APP, "DELETE", ""));
        assert_eq!(labels(&decision), ("preflight", "method_not_allowed"));
        assert!(!applied(&decision).contains_key(header::ACCESS_CONTROL_ALLOW_METHODS));
    }
}

mod properties {
    use super::*;

    /// Matches by trying every way in which the pattern can be filled in, on strings alone.
    fn naively_matches(pattern: &str, origin: &str) -> bool {
        fn label_list(text: &str) -> bool {
            text.strip_suffix('.').is_some_and(|labels| {
                labels
                    .split('.')
                    .all(|l| !l.is_empty() && l.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
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
        fn an_origin_is_allowed_exactly_where_a_pattern_says_so(
            patterns in prop::collection::vec(patterns(), 0..4), origin in origins(),
        ) {
            let policy = policy(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
            let headers = applied(&actual(&policy, &origin));
            let expected = patterns.iter().any(|pattern| naively_matches(pattern, &origin));
            prop_assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), expected);
        }

        #[test]
        fn whatever_is_asked_and_answered_the_answer_is_sound(
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
            let refused = matches!(decision.answer(), Some(Answer::Reject(_)));
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
}

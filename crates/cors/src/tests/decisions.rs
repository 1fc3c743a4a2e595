//! The decisions, case by case.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::{APP, METHODS, actual, applied, head, labels, names_of, policy, preflight, preflight_head, reject, spec};
use crate::decision::{Answer, Decision, decide};
use crate::names;
use crate::policy::{Policy, Spec};

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
fn a_request_is_counted_by_the_entry_that_allows_it() {
    let policy = policy(&[APP, "https://*.example.com:*"]);
    let entry = |decision: Decision| decision.entry().map(|entry| entry.to_string());
    assert_eq!(entry(actual(&policy, APP)).as_deref(), Some(APP));
    assert_eq!(entry(actual(&policy, "https://a.b.example.com:8443")).as_deref(), Some("https://*.example.com:*"));
    assert_eq!(entry(actual(&super::policy(&["*"]), "https://any.example")).as_deref(), Some("*"));
    assert_eq!(entry(actual(&policy, "https://evil.example")), None);
    assert_eq!(entry(decide(&policy, METHODS, &Method::POST, &HeaderMap::new())), None);
}

#[test]
fn a_preflight_gets_the_complete_lists_and_204() {
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
fn every_preflight_gets_the_same_response_and_the_verdict_is_that_of_the_browser() {
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
fn requested_headers_on_several_lines_are_all_checked() {
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
fn with_credentials_both_responses_allow_them() {
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
                assert_eq!(reject.status(), StatusCode::FORBIDDEN);
                assert!(reject.message.contains(&format!("`{origin}`")), "{}", reject.message);
                let headers = applied(&decision);
                assert_eq!(names_of(&headers), ["vary"]);
                let all = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
                assert_eq!(headers[header::VARY], if kind == "preflight" { all } else { "Origin" });
            }
        }
    }
}

#[test]
fn the_origin_of_an_app_is_echoed_if_it_is_listed() {
    for credentials in [false, true] {
        let spec = Spec { credentials, ..spec(&["tauri://localhost"]) };
        let policy = Policy::new(&spec).unwrap();
        let allowed = applied(&actual(&policy, "tauri://localhost"));
        assert_eq!(allowed[header::ACCESS_CONTROL_ALLOW_ORIGIN], "tauri://localhost");
        for other in ["tauri://localhost2", "tauri://tauri.localhost", "https://localhost", "null"] {
            assert_eq!(labels(&actual(&policy, other)), ("actual", "origin_not_allowed"), "{other}");
        }
    }
    let both = policy(&["*", "app://obsidian.md"]);
    assert_eq!(applied(&actual(&both, "app://obsidian.md"))[header::ACCESS_CONTROL_ALLOW_ORIGIN], "app://obsidian.md");
    assert_eq!(both.origins(), ["*", "app://obsidian.md"]);
}

#[test]
fn a_star_allows_every_web_page_by_its_own_origin_and_nothing_else() {
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
            assert_eq!(reject(&decision).status(), StatusCode::BAD_REQUEST);
            assert_eq!(names_of(&applied(&decision)), ["vary"]);
        }
    }
}

#[test]
fn a_hostile_origin_is_shown_shortened_and_printable() {
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
fn a_request_without_origin_is_no_cors_request_and_varies_by_origin() {
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
fn cors_headers_of_an_upstream_are_replaced_and_its_vary_is_merged() {
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

//! The checks of a specification.

use std::time::Duration;

use http::header;

use super::{APP, applied, policy, preflight, spec};
use crate::names;
use crate::policy::{Policy, PolicyError, Spec};

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
fn all_errors_are_reported_at_once_with_their_keys_in_order() {
    let spec = Spec {
        origins: [APP, "null", "*", "http://app.example.com", "https://*.com"].map(String::from).to_vec(),
        credentials: true,
        allow_headers: ["x-ok", "*", "Cookie", "bad name", "Access-Control-Allow-Origin"].map(String::from).to_vec(),
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
fn credentials_need_named_and_secure_origins() {
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

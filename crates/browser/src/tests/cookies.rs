//! Which cookies are stored.

use proptest::prelude::*;
use url::Url;

use super::*;
use crate::cookie::{Context, CookieOutcome, Rejection, SameSite, SetCookie, is_same_site};

struct Case {
    url: &'static str,
    page: &'static str,
    browser: Browser,
    credentials: bool,
    blocked: bool,
}

/// A page and an API of one site.
const SAME_SITE: Case = Case {
    url: "https://api.example.com/v1/chat",
    page: "https://app.example.com",
    browser: Browser::Chromium,
    credentials: true,
    blocked: false,
};
const CROSS_SITE: Case = Case { url: "https://api.example.net/v1/chat", ..SAME_SITE };

fn outcome(line: &str, case: &Case) -> CookieOutcome {
    let url: Url = case.url.parse().unwrap();
    let page = PageOrigin::parse(case.page).unwrap();
    let context = Context {
        url: &url,
        page: &page,
        credentials: case.credentials,
        browser: case.browser,
        third_parties_blocked: case.blocked,
    };
    SetCookie::parse(line.as_bytes())
        .map_or(CookieOutcome::Rejected(Rejection::Malformed), |cookie| cookie.outcome(&context))
}

#[test]
fn between_hosts_of_one_site_any_cookie_works() {
    for line in [
        "a=b",
        "a=b; SameSite=Lax; Secure",
        "a=b; samesite=STRICT",
        "__Host-a=b; Secure; Path=/",
        "a=b; Domain=example.com",
        "a=b; domain=.Example.com",
    ] {
        assert_eq!(outcome(line, &SAME_SITE), CookieOutcome::Stored, "{line}");
    }
}

#[test]
fn across_sites_only_none_and_secure_works() {
    for line in ["a=b", "a=b; SameSite=Lax; Secure", "a=b; SameSite=Strict", "a=b; SameSite=Other; Secure"] {
        assert_eq!(outcome(line, &CROSS_SITE), CookieOutcome::Rejected(Rejection::SameSite), "{line}");
    }
    assert_eq!(outcome("a=b; SameSite=None", &CROSS_SITE), CookieOutcome::Rejected(Rejection::NoneWithoutSecure));
    assert_eq!(outcome("a=b; SameSite=None; Secure", &CROSS_SITE), CookieOutcome::Stored);
    assert_eq!(outcome("a=b; SameSite=None; Secure; Partitioned", &CROSS_SITE), CookieOutcome::Partitioned);
    assert_eq!(
        outcome("a=b; SameSite=None; Partitioned", &SAME_SITE),
        CookieOutcome::Rejected(Rejection::NoneWithoutSecure)
    );
    assert_eq!(outcome("a=b; Partitioned", &SAME_SITE), CookieOutcome::Rejected(Rejection::PartitionedWithoutSecure));
}

#[test]
fn partitioned_cookies_are_stored_if_third_party_cookies_are_blocked() {
    let blocked = Case { blocked: true, ..CROSS_SITE };
    assert_eq!(outcome("a=b; SameSite=None; Secure", &blocked), CookieOutcome::Rejected(Rejection::ThirdParty));
    assert_eq!(outcome("a=b; SameSite=None; Secure; Partitioned", &blocked), CookieOutcome::Partitioned);
    assert_eq!(outcome("a=b; Secure", &Case { blocked: true, ..SAME_SITE }), CookieOutcome::Stored);
    let safari = Case { browser: Browser::Safari, ..CROSS_SITE };
    assert_eq!(outcome("a=b; SameSite=None; Secure", &safari), CookieOutcome::Rejected(Rejection::ThirdParty));
    let firefox = Case { browser: Browser::Firefox, ..CROSS_SITE };
    assert_eq!(outcome("a=b", &firefox), CookieOutcome::Partitioned);
}

#[test]
fn without_credentials_no_cookie_is_stored() {
    assert_eq!(
        outcome("a=b", &Case { credentials: false, ..SAME_SITE }),
        CookieOutcome::Rejected(Rejection::WithoutCredentials)
    );
}

#[test]
fn domains_must_cover_the_host_and_be_no_public_suffix() {
    for (line, rejection) in [
        ("a=b; Domain=example.net", Rejection::ForeignDomain),
        ("a=b; Domain=v.api.example.com", Rejection::ForeignDomain),
        ("a=b; Domain=ple.com", Rejection::ForeignDomain),
        ("a=b; Domain=com", Rejection::PublicSuffix),
    ] {
        assert_eq!(outcome(line, &SAME_SITE), CookieOutcome::Rejected(rejection), "{line}");
    }
    let address = Case { url: "https://127.0.0.1/", page: "https://127.0.0.1:444", ..SAME_SITE };
    assert_eq!(outcome("a=b; Domain=127.0.0.1", &address), CookieOutcome::Stored);
    assert_eq!(outcome("a=b; Domain=0.0.1", &address), CookieOutcome::Rejected(Rejection::ForeignDomain));
}

#[test]
fn name_prefixes_have_conditions() {
    for line in [
        "__Secure-a=b",
        "__host-a=b; Secure",
        "__Host-a=b; Path=/",
        "__Host-a=b; Secure; Path=/; Domain=example.com",
        "__Host-a=b; Secure; Path=/v1",
    ] {
        assert_eq!(outcome(line, &SAME_SITE), CookieOutcome::Rejected(Rejection::Prefix), "{line}");
    }
    assert_eq!(outcome("__Secure-a=b; Secure", &SAME_SITE), CookieOutcome::Stored);
}

#[test]
fn secure_needs_tls_or_a_loopback_address() {
    let at = |url, browser| outcome("a=b; Secure", &Case { url, page: "http://app.example.com", browser, ..SAME_SITE });
    assert_eq!(at("http://api.example.com/", Browser::Chromium), CookieOutcome::Rejected(Rejection::SecureOverHttp));
    let local = |browser| {
        outcome("a=b; Secure", &Case { url: "http://localhost:1/", page: "http://localhost:2", browser, ..SAME_SITE })
    };
    assert_eq!(local(Browser::Chromium), CookieOutcome::Stored);
    assert_eq!(local(Browser::Safari), CookieOutcome::Rejected(Rejection::SecureOverHttp));
}

#[test]
fn paths_must_cover_the_url() {
    for (path, covers) in [
        ("/", true),
        ("/v1", true),
        ("/v1/", true),
        ("/v1/chat", true),
        ("/v1/c", false),
        ("/v2", false),
        ("relative", true),
    ] {
        let outcome = outcome(&format!("a=b; Path={path}"), &SAME_SITE);
        assert_eq!(
            outcome,
            if covers { CookieOutcome::Stored } else { CookieOutcome::Rejected(Rejection::Path) },
            "{path}"
        );
    }
}

#[test]
fn a_cookie_can_be_removed() {
    for line in ["a=; Max-Age=0", "a=; max-age=-5", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"] {
        assert_eq!(outcome(line, &SAME_SITE), CookieOutcome::Removed, "{line}");
    }
    assert_eq!(outcome("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=5", &SAME_SITE), CookieOutcome::Stored);
    assert_eq!(outcome("a=; Max-Age=x; Expires=Thu, 01 Jan 2099 00:00:00 GMT", &SAME_SITE), CookieOutcome::Stored);
}

#[test]
fn the_last_of_several_attributes_counts_and_lines_without_content_are_ignored() {
    let cookie = SetCookie::parse(b" a = b ; SameSite=None; samesite=Lax; HttpOnly").unwrap();
    assert_eq!((cookie.name.as_str(), cookie.same_site, cookie.http_only), ("a", SameSite::Lax, true));
    assert_eq!(SetCookie::parse(b"lone").map(|cookie| cookie.name), Some(String::new()));
    for line in [&b""[..], b"=", b" ; Secure", b"a=b\x01"] {
        assert_eq!(SetCookie::parse(line), None);
    }
    assert_eq!(SetCookie::parse(format!("a={}", "b".repeat(4096)).as_bytes()), None);
}

#[test]
fn sites_are_registrable_domains_with_their_scheme() {
    for (page, url, same) in [
        ("https://app.example.com", "https://api.example.com:8443/", true),
        ("https://example.com", "https://a.b.example.com/", true),
        ("http://app.example.com", "https://api.example.com/", false),
        ("https://a.github.io", "https://b.github.io/", false),
        ("https://example.co.uk", "https://other.co.uk/", false),
        ("http://localhost:1", "http://localhost:2/", true),
        ("http://localhost", "http://127.0.0.1/", false),
        ("http://127.0.0.1", "http://127.0.0.1:1/", true),
        ("http://1.0.0.1", "http://2.0.0.1/", false),
        ("null", "https://a.example/", false),
    ] {
        assert_eq!(is_same_site(&PageOrigin::parse(page).unwrap(), &url.parse().unwrap()), same, "{page} {url}");
    }
}

proptest! {
    #[test]
    fn any_line_is_parsed_without_panic_and_its_value_is_not_stored(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        SetCookie::parse(&line);
        let secret = b"n=hunter2hunter2; a=".iter().copied().chain(line).collect::<Vec<_>>();
        let shown = format!("{:?}", SetCookie::parse(&secret));
        prop_assert!(!shown.contains("hunter2hunter2"));
    }

    #[test]
    fn without_none_no_cookie_crosses_sites_in_chromium(attributes in proptest::collection::vec("Secure|Partitioned|SameSite=Lax|Path=/|HttpOnly|Domain=example\\.net", 0..5)) {
        let line = format!("a=b; {}", attributes.join("; "));
        prop_assert!(matches!(outcome(&line, &CROSS_SITE), CookieOutcome::Rejected(_)));
    }
}

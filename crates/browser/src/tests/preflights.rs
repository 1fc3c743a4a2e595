//! What a preflight response must contain.

use proptest::prelude::*;

use super::*;
use crate::block::{Block, Stage};
use crate::code::Code;
use crate::preflight::{Allowed, check};

const ORIGIN: (&str, &str) = ("access-control-allow-origin", PAGE);
const CREDENTIALS: (&str, &str) = ("access-control-allow-credentials", "true");

fn judged(page: &PageRequest, status: u16, lines: &[(&str, &str)]) -> Result<Allowed, Block> {
    check(&request(page), &response(status, &[&[ORIGIN, CREDENTIALS], lines].concat()))
}

fn code(page: &PageRequest, lines: &[(&str, &str)]) -> Option<(Code, &'static str)> {
    judged(page, 204, lines).err().map(|block| (block.code.unwrap(), block.step.step))
}

fn put() -> PageRequest {
    PageRequest { method: "PUT".into(), ..page() }
}

#[test]
fn failures_of_the_cors_check_have_their_own_names_here() {
    let block = check(&request(&put()), &response(204, &[])).unwrap_err();
    assert_eq!((block.code, block.stage), (Some(Code::PreflightMissingAllowOriginHeader), Stage::Preflight));
    let names = Code::ALL.iter().filter(|code| code.in_preflight() != **code);
    assert!(names.clone().all(|code| code.in_preflight().as_str() == format!("Preflight{code}")));
    assert_eq!(names.count(), 6);
}

#[test]
fn the_status_must_be_200_to_299() {
    for (status, passes) in
        [(200, true), (204, true), (299, true), (300, false), (304, false), (401, false), (403, false), (500, false)]
    {
        let judged = judged(&page(), status, &[]);
        assert_eq!(judged.is_ok(), passes, "{status}");
        if let Err(block) = judged {
            assert_eq!(block.code, Some(Code::PreflightInvalidStatus), "{status}");
        }
    }
}

#[test]
fn a_redirect_fails_before_anything_else() {
    let block = check(&request(&page()), &response(302, &[("location", "/x")])).unwrap_err();
    assert_eq!(block.code, Some(Code::PreflightDisallowedRedirect));
    let block = check(&request(&page()), &response(302, &[ORIGIN])).unwrap_err();
    assert_eq!(block.code, Some(Code::PreflightInvalidStatus));
}

#[test]
fn the_cors_check_comes_before_the_status_and_the_lists_before_their_members() {
    let judged = |lines: &[(&str, &str)]| check(&request(&put()), &response(500, lines)).unwrap_err().code;
    assert_eq!(judged(&[]), Some(Code::PreflightMissingAllowOriginHeader));
    assert_eq!(judged(&[ORIGIN]), Some(Code::PreflightInvalidStatus));
    let lines = [("access-control-allow-methods", "DELETE"), ("access-control-allow-headers", "a b")];
    assert_eq!(code(&put(), &lines), Some((Code::InvalidAllowHeadersPreflightResponse, "7.3")));
}

#[test]
fn methods_are_compared_byte_for_byte() {
    const NAME: &str = "access-control-allow-methods";
    let disallowed = Some((Code::MethodDisallowedByPreflightResponse, "7.5"));
    assert_eq!(code(&put(), &[(NAME, "GET, PUT")]), None);
    assert_eq!(code(&put(), &[(NAME, "GET"), (NAME, "PUT")]), None);
    assert_eq!(code(&put(), &[(NAME, "put")]), disallowed);
    assert_eq!(code(&put(), &[]), disallowed);
    let patch = PageRequest { method: "patch".into(), ..page() };
    assert_eq!(code(&patch, &[(NAME, "PATCH")]), disallowed);
    assert_eq!(code(&patch, &[(NAME, "patch")]), None);
    assert_eq!(code(&put(), &[(NAME, "PUT DELETE")]), Some((Code::InvalidAllowMethodsPreflightResponse, "7.3")));
    for safelisted in ["get", "HEAD", "POST"] {
        assert_eq!(code(&PageRequest { method: safelisted.into(), ..page() }, &[(NAME, "PUT")]), None);
    }
}

#[test]
fn a_star_is_no_wildcard_with_credentials() {
    let lines = [("access-control-allow-methods", "*"), ("access-control-allow-headers", "*")];
    let page = |credentials| PageRequest { credentials, method: "PUT".into(), ..with_headers(&[("x-a", "1")]) };
    assert_eq!(code(&page(Credentials::SameOrigin), &lines), None);
    assert_eq!(code(&page(Credentials::Include), &lines), Some((Code::MethodDisallowedByPreflightResponse, "7.5")));
    let get = PageRequest { method: "GET".into(), ..page(Credentials::Include) };
    assert_eq!(code(&get, &lines), Some((Code::HeaderDisallowedByPreflightResponse, "7.7")));
    let named = PageRequest { credentials: Credentials::Include, ..with_headers(&[("*", "1")]) };
    assert_eq!(code(&named, &lines), None, "a header of that name");
}

#[test]
fn a_star_covers_authorization_in_browsers_and_not_in_the_standard() {
    let lines = [("access-control-allow-headers", "*")];
    for browser in Browser::ALL {
        let page = PageRequest { browser, ..with_headers(&[("authorization", "k"), ("x-a", "1")]) };
        match browser {
            Browser::Standard => {
                assert_eq!(code(&page, &lines), Some((Code::HeaderDisallowedByPreflightResponse, "7.6")))
            }
            _ => assert!(judged(&page, 204, &lines).unwrap().authorization_by_wildcard),
        }
        let named = [("access-control-allow-headers", "*, Authorization")];
        assert!(!judged(&page, 204, &named).unwrap().authorization_by_wildcard);
    }
}

#[test]
fn every_missing_header_is_named() {
    let page = with_headers(&[("x-b", "1"), ("X-A", "1"), ("x-c", "1")]);
    let block = judged(&page, 204, &[("access-control-allow-headers", "X-C")]).unwrap_err();
    assert_eq!(block.needed, "access-control-allow-headers: x-a, x-b");
    assert_eq!(block.received, ["access-control-allow-headers: X-C"]);
}

#[test]
fn max_age_is_seconds_capped_by_each_browser() {
    let ages = |browser, lines: &[(&str, &str)]| {
        let allowed = judged(&PageRequest { browser, ..page() }, 204, lines).unwrap();
        (allowed.written_max_age, allowed.max_age)
    };
    let day = [("access-control-max-age", "100000")];
    assert_eq!(ages(Browser::Standard, &day), (Some(100_000), 100_000));
    assert_eq!(ages(Browser::Chromium, &day), (Some(100_000), 7_200));
    assert_eq!(ages(Browser::Firefox, &day), (Some(100_000), 86_400));
    assert_eq!(ages(Browser::Safari, &day), (Some(100_000), 600));
    for unreadable in ["", "x", "-1", "1.5", "5 s"] {
        assert_eq!(ages(Browser::Chromium, &[("access-control-max-age", unreadable)]), (None, 5), "{unreadable}");
    }
    assert_eq!(ages(Browser::Chromium, &[]), (None, 5));
    assert_eq!(ages(Browser::Standard, &[("access-control-max-age", "99999999999999999999")]).0, Some(u64::MAX));
}

#[test]
fn quirks_are_named_once_and_belong_to_browsers() {
    let mut ids: Vec<_> = crate::quirks::QUIRKS.iter().map(|quirk| quirk.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), crate::quirks::QUIRKS.len());
    assert_eq!(Browser::Standard.quirks().count(), 0);
    assert!(Browser::ALL[1..].iter().all(|browser| browser.quirks().count() > 2));
}

proptest! {
    #[test]
    fn a_header_passes_where_it_is_listed_in_any_case(
        asked in proptest::collection::btree_set("x-[a-e]", 1..4), listed in proptest::collection::vec("[xX]-[a-eA-E]", 0..5), credentials: bool,
    ) {
        let lines: Vec<_> = asked.iter().map(|name| (name.as_str(), "1")).collect();
        let mode = if credentials { Credentials::Include } else { Credentials::Omit };
        let page = PageRequest { credentials: mode, ..with_headers(&lines) };
        let passes = code(&page, &[("access-control-allow-headers", &listed.join(", "))]).is_none();
        let expected = asked.iter().all(|name| listed.iter().any(|listed| listed.to_lowercase() == *name));
        prop_assert_eq!(passes, expected);
    }
}

//! The CORS check, the readable headers, and the responses that EventSource accepts.

use proptest::prelude::*;

use super::*;
use crate::check::cors_check;
use crate::code::Code;
use crate::event_source::{self, Verdict};
use crate::fetch::{Fetch, Progress};
use crate::request::Mode;
use crate::response::{HiddenReason, Readable};

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

fn checked(page: &PageRequest, lines: &[(&str, &str)]) -> Option<(Code, &'static str)> {
    let block = cors_check(&request(page), &response(200, lines)).err()?;
    Some((block.code.unwrap(), block.step.step))
}

#[test]
fn the_origin_itself_or_a_star_passes_without_credentials() {
    for value in [PAGE, "*", " * ", "\thttps://app.example.com"] {
        assert_eq!(checked(&page(), &[(ORIGIN, value)]), None, "{value}");
    }
}

#[test]
fn each_failure_of_the_cors_check_has_its_name() {
    for (value, code) in [
        ("null", Code::AllowOriginMismatch),
        ("https://app.example.com/", Code::AllowOriginMismatch),
        ("https://App.Example.com", Code::AllowOriginMismatch),
        ("http://app.example.com", Code::AllowOriginMismatch),
        ("", Code::InvalidAllowOriginValue),
        ("NULL", Code::InvalidAllowOriginValue),
        ("app.example.com", Code::InvalidAllowOriginValue),
        ("https://app.example.com, https://b.example", Code::MultipleAllowOriginValues),
        ("https://app.example.com *", Code::MultipleAllowOriginValues),
    ] {
        assert_eq!(checked(&page(), &[(ORIGIN, value)]), Some((code, "4")), "{value}");
    }
    assert_eq!(checked(&page(), &[]), Some((Code::MissingAllowOriginHeader, "2")));
    assert_eq!(checked(&page(), &[(ORIGIN, PAGE), (ORIGIN, PAGE)]), Some((Code::MultipleAllowOriginValues, "4")));
    assert_eq!(
        checked(&with_credentials(), &[(ORIGIN, "*"), (CREDENTIALS, "true")]),
        Some((Code::WildcardOriginNotAllowed, "4"))
    );
}

#[test]
fn credentials_need_true_in_lower_case_and_once() {
    assert_eq!(checked(&with_credentials(), &[(ORIGIN, PAGE), (CREDENTIALS, " true ")]), None);
    for value in ["TRUE", "false", "", "1", "true, true"] {
        let failed = Some((Code::InvalidAllowCredentials, "8"));
        assert_eq!(checked(&with_credentials(), &[(ORIGIN, PAGE), (CREDENTIALS, value)]), failed, "{value}");
        assert_eq!(checked(&page(), &[(ORIGIN, PAGE), (CREDENTIALS, value)]), None, "{value}");
    }
    let twice = [(ORIGIN, PAGE), (CREDENTIALS, "true"), (CREDENTIALS, "true")];
    assert!(checked(&with_credentials(), &twice).is_some());
}

#[test]
fn a_block_shows_the_raw_lines_and_what_was_needed() {
    let block =
        cors_check(&request(&page()), &response(200, &[(ORIGIN, "https://b.example"), (ORIGIN, "*")])).unwrap_err();
    assert_eq!(block.received, ["access-control-allow-origin: https://b.example", "access-control-allow-origin: *"]);
    assert_eq!(block.needed, "access-control-allow-origin: https://app.example.com");
    assert_eq!(block.step.to_string(), "Fetch §4.10, “CORS check”, step 4");
    assert_eq!(block.step.url(), "https://fetch.spec.whatwg.org/#cors-check");
    assert!(block.reason.contains("2 times"), "{}", block.reason);
}

fn seen(page: &PageRequest, lines: &[(&str, &str)]) -> Readable {
    let lines = [&[(ORIGIN, PAGE), (CREDENTIALS, "true")], lines].concat();
    match Fetch::new(page).unwrap().answered(&response(418, &lines)).unwrap() {
        Progress::Done(readable) => readable,
        other => panic!("{other:?}"),
    }
}

fn read(page: &PageRequest, lines: &[(&str, &str)]) -> Vec<String> {
    let names = seen(page, lines).headers;
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn seven_headers_and_the_exposed_ones_can_be_read() {
    const EXPOSE: &str = "access-control-expose-headers";
    let lines = [("content-type", "a/b"), ("x-a", "1"), ("x-b", "1"), ("set-cookie", "a=b")];
    let with = |value| [&lines[..], &[(EXPOSE, value)]].concat();
    assert_eq!(read(&page(), &lines), ["content-type"]);
    assert_eq!(read(&page(), &with("X-A, set-cookie")), ["content-type", "x-a"]);
    assert_eq!(read(&page(), &with("x-a;x-b")), ["content-type"]);
    assert_eq!(read(&with_credentials(), &with("*, x-b")), ["content-type", "x-b"]);
    let all = read(&page(), &with("*"));
    assert!(
        all.contains(&"x-a".to_owned()) && all.contains(&ORIGIN.to_owned()) && !all.contains(&"set-cookie".to_owned())
    );
    let why = |page: &PageRequest, value, name: &str| {
        seen(page, &with(value)).hidden.into_iter().find(|hidden| hidden.name == name).unwrap().why
    };
    assert_eq!(why(&page(), "x-a", "x-b"), HiddenReason::NotExposed);
    assert_eq!(why(&page(), "*", "set-cookie"), HiddenReason::Forbidden);
    assert_eq!(why(&with_credentials(), "*", "x-a"), HiddenReason::WildcardWithCredentials);
    assert_eq!(why(&page(), "x a", "x-a"), HiddenReason::InvalidList);
}

#[test]
fn the_own_origin_reads_all_but_cookies_and_no_cors_reads_nothing() {
    let own = PageRequest { url: PAGE.parse().unwrap(), ..page() };
    let lines = [("x-a", "1"), ("set-cookie", "a=b")];
    assert!(read(&own, &lines).contains(&"x-a".to_owned()));
    assert!(!read(&own, &lines).contains(&"set-cookie".to_owned()));
    let opaque = seen(&PageRequest { mode: Mode::NoCors, ..page() }, &lines);
    assert_eq!((opaque.status, opaque.headers.len()), (None, 0));
}

#[test]
fn event_source_needs_200_and_its_content_type() {
    let open = |status, content_type, browser| {
        event_source::judge(&response(status, &[("content-type", content_type)]), browser) == Verdict::Open
    };
    for browser in Browser::ALL {
        assert!(open(200, "text/event-stream", browser));
        assert!(open(200, "Text/Event-Stream; charset=UTF-8", browser));
        for status in [204, 201, 206, 404, 429, 500] {
            assert!(!open(status, "text/event-stream", browser));
        }
        for content_type in ["", "text/plain", "application/json", "text/event-stream, text/plain"] {
            assert!(!open(200, content_type, browser));
        }
        assert_eq!(
            event_source::judge(&response(200, &[]), browser),
            Verdict::Closed(event_source::ClosedReason::ContentType(None))
        );
        assert_eq!(open(200, "text/event-stream;charset=latin1", browser), browser != Browser::Chromium);
    }
}

#[test]
fn lists_are_of_tokens_over_all_lines() {
    let tokens = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|value| ("x", *value)).collect();
        response(200, &lines).tokens("x").map(|list| list.map(|list| list.join("|")))
    };
    assert_eq!(tokens(&[]), Ok(None));
    assert_eq!(tokens(&[""]), Ok(Some(String::new())));
    assert_eq!(tokens(&["a,,b\t, ", "*"]), Ok(Some("a|b|*".into())));
    for bad in ["a b", "\"a\"", "a;b", "(", "\u{e9}"] {
        assert!(tokens(&["x", bad]).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn only_the_own_origin_and_a_star_ever_pass(value in "\\*|null|https://app\\.example\\.com|[ -~]{0,30}", credentials: bool) {
        let page = if credentials { with_credentials() } else { page() };
        let passes = checked(&page, &[(ORIGIN, &value), (CREDENTIALS, "true")]).is_none();
        prop_assert_eq!(passes, value.trim() == PAGE || !credentials && value.trim() == "*");
    }

    #[test]
    fn any_answer_is_judged_without_panic(
        status in 100u16..1000, values in proptest::collection::vec((0usize..8, proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
    ) {
        let mut headers = HeaderMap::new();
        const NAMES: [&str; 8] = [
            ORIGIN, CREDENTIALS, "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
            "access-control-expose-headers", "location", "content-type",
        ];
        for (name, value) in &values {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(NAMES[*name]), value);
            }
        }
        let response = ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers };
        for browser in Browser::ALL {
            let fetch = Fetch::new(&PageRequest { browser, method: "PUT".into(), ..with_credentials() }).unwrap();
            let _ = fetch.preflight_answered(&response);
            let _ = fetch.answered(&response);
            event_source::judge(&response, browser);
        }
    }
}

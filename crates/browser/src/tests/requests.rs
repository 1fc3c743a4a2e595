//! The requests that a page can make, and those that need a preflight.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::fetch::Fetch;
use crate::mime;
use crate::preflight::{Preflight, Reason, needed};
use crate::request::{Body, Kind, Mode, normalized_method};
use crate::safelist::{Unsafe, flaw, unsafe_names};

fn names(lines: &[(&str, &str)], browser: Browser) -> Vec<(String, Unsafe)> {
    let response = response(200, lines);
    unsafe_names(&response.headers, browser).into_iter().collect()
}

#[test]
fn six_methods_are_normalised_and_no_other() {
    for (written, method) in [
        ("get", "GET"),
        ("pOsT", "POST"),
        ("delete", "DELETE"),
        ("patch", "patch"),
        ("PATCH", "PATCH"),
        ("query", "query"),
    ] {
        assert_eq!(normalized_method(written), method);
        assert_eq!(request(&PageRequest { method: written.into(), ..page() }).method().as_str(), method);
    }
}

#[test]
fn forbidden_methods_and_what_is_no_method_throw() {
    for method in ["CONNECT", "trace", "Track", "", "BAD METHOD", "P\u{dc}T", "a,b"] {
        let block = Request::new(&PageRequest { method: method.into(), ..page() }).unwrap_err();
        assert_eq!((block.code, block.step.step), (None, "25.2"), "{method}");
    }
}

#[test]
fn each_refusal_of_fetch_names_its_step() {
    let at = |page: PageRequest| Request::new(&page).unwrap_err().step.step;
    assert_eq!(at(PageRequest { body: Body::Text, ..page() }), "35");
    assert_eq!(at(PageRequest { method: "PUT".into(), mode: Mode::NoCors, ..page() }), "32.1");
    assert_eq!(at(PageRequest { method: "POST".into(), mode: Mode::NoCors, body: Body::Stream, ..page() }), "39.2");
    assert_eq!(at(PageRequest { url: "https://me:x@api.example.net/".parse().unwrap(), ..page() }), "5.3");
    assert_eq!(at(with_headers(&[("bad name", "1")])), "1");
    assert_eq!(at(with_headers(&[("x", "a\nb")])), "1");
}

#[test]
fn a_url_with_a_password_is_refused_without_repeating_it() {
    let block =
        Request::new(&PageRequest { url: "https://me:hunter2@a.example/".parse().unwrap(), ..page() }).unwrap_err();
    assert!(!format!("{block:?}").contains("hunter2"));
}

#[test]
fn forbidden_headers_are_dropped_silently() {
    let forbidden = [
        ("Cookie", "a=b"),
        ("Host", "x"),
        ("Sec-Anything", "1"),
        ("proxy-x", "1"),
        ("Origin", "null"),
        ("DNT", "1"),
        ("x-http-method-override", "GET, track"),
        ("X-Method-Override", "connect"),
    ];
    let checked = request(&with_headers(&forbidden));
    assert_eq!((checked.headers().len(), checked.ignored().len()), (0, forbidden.len()));
    let checked = request(&with_headers(&[("x-http-method-override", "PUT, trac"), ("user-agent", "me")]));
    assert_eq!((checked.headers().len(), checked.ignored().len()), (2, 0));
    let chromium = PageRequest { browser: Browser::Chromium, ..with_headers(&[("user-agent", "me")]) };
    assert_eq!(request(&chromium).ignored().len(), 1);
}

#[test]
fn values_are_trimmed_and_text_has_its_content_type() {
    let text = PageRequest { method: "POST".into(), body: Body::Text, ..with_headers(&[("x", "\t a \r\n")]) };
    let checked = request(&text);
    assert_eq!(checked.headers()["x"], "a");
    assert_eq!(checked.headers()["content-type"], "text/plain;charset=UTF-8");
    assert_eq!(needed(&checked), [Reason::Header("x".into(), Unsafe::Name)]);
}

#[test]
fn no_cors_drops_what_is_not_safe_also_by_its_sum() {
    let long = "7".repeat(70);
    let lines = [
        ("accept", "a/b"),
        ("x", "1"),
        ("content-type", "application/json"),
        ("accept-language", &long),
        ("accept-language", &long),
    ];
    let checked = request(&PageRequest { mode: Mode::NoCors, ..with_headers(&lines) });
    assert_eq!(checked.headers().len(), 2);
    assert_eq!(checked.ignored().len(), 3);
}

#[test]
fn each_safelisted_header_has_its_own_bounds() {
    let b = Browser::Standard;
    for (name, value) in [
        ("accept", "text/event-stream, */*;q=0.1"),
        ("accept", "a\tb"),
        ("accept-language", "de-DE, *;q=0.5"),
        ("content-language", ""),
        ("content-type", "text/plain"),
        ("content-type", " MULTIPART/form-data ; boundary=x"),
        ("content-type", "application/x-www-form-urlencoded;x"),
        ("range", "bytes=0-"),
        ("range", "bytes=1-1"),
        ("range", "bytes=2-0000000000000000000000000000003"),
    ] {
        assert_eq!(flaw(name, value.as_bytes(), b), None, "{name}: {value}");
    }
    for (name, value, why) in [
        ("accept", "a;b=\"c\"", Unsafe::Byte(b'"')),
        ("accept", "\u{7f}", Unsafe::Byte(0x7f)),
        ("accept-language", "de_DE", Unsafe::Byte(b'_')),
        ("content-type", "text/plain; a=\"b\"", Unsafe::Byte(b'"')),
        ("content-type", "application/json", Unsafe::ContentType(Some("application/json".into()))),
        ("content-type", "text/plain, text/plain", Unsafe::ContentType(None)),
        ("content-type", "", Unsafe::ContentType(None)),
        ("range", "bytes=-5", Unsafe::Range),
        ("range", "bytes=5-4", Unsafe::Range),
        ("range", "bytes=100-99", Unsafe::Range),
        ("range", "bytes = 0-1", Unsafe::Range),
        ("range", "bytes=0-1,2-3", Unsafe::Range),
        ("range", "bytes=0", Unsafe::Range),
        ("range", "items=0-1", Unsafe::Range),
        ("authorization", "Bearer x", Unsafe::Name),
        ("last-event-id", "7", Unsafe::Name),
        ("dpr", "1.5", Unsafe::Name),
    ] {
        assert_eq!(flaw(name, value.as_bytes(), b), Some(why), "{name}: {value}");
    }
    assert_eq!(flaw("dpr", b"1.5", Browser::Chromium), None);
    assert_eq!(flaw("dpr", b"1.", Browser::Chromium), Some(Unsafe::Name));
}

#[test]
fn a_value_of_129_bytes_and_1025_bytes_in_all_are_unsafe() {
    let (most, more) = ("7".repeat(128), "7".repeat(129));
    assert_eq!(names(&[("accept", &most)], Browser::Standard), []);
    assert_eq!(names(&[("accept", &more)], Browser::Standard), [("accept".into(), Unsafe::Long(129))]);
    let mut lines = vec![("accept", most.as_str()); 8];
    assert_eq!(names(&lines, Browser::Standard), []);
    lines.push(("content-language", "x"));
    let all = [("accept".into(), Unsafe::Total(1025)), ("content-language".into(), Unsafe::Total(1025))];
    assert_eq!(names(&lines, Browser::Standard), all);
    // as one line
    assert_eq!(names(&[("accept", &most), ("accept", "a")], Browser::Chromium), [("accept".into(), Unsafe::Long(131))]);
}

#[test]
fn a_preflight_names_headers_sorted_in_lower_case_and_once() {
    let page = PageRequest {
        method: "patch".into(),
        ..with_headers(&[("X-B", "1"), ("authorization", "k"), ("x-a", "1"), ("x-b", "2"), ("accept", "*/*")])
    };
    let fetch = Fetch::new(&page).unwrap();
    let preflight = fetch.preflight().unwrap();
    let lines: Vec<_> =
        preflight.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(lines.len(), 4);
    for line in [
        ("accept", "*/*"),
        ("access-control-request-method", "patch"),
        ("access-control-request-headers", "authorization,x-a,x-b"),
        ("origin", PAGE),
    ] {
        assert!(lines.contains(&line), "{line:?}");
    }
    assert_eq!(fetch.preflight_reasons().len(), 4);
    assert_eq!(preflight, Preflight::of(fetch.request()));
}

#[test]
fn a_preflight_without_unsafe_headers_asks_for_none() {
    let fetch = Fetch::new(&PageRequest { method: "DELETE".into(), ..page() }).unwrap();
    assert!(!fetch.preflight().unwrap().headers.contains_key("access-control-request-headers"));
}

#[test]
fn the_own_origin_event_source_and_no_cors_are_never_preflighted() {
    let wild = PageRequest { method: "PUT".into(), ..with_headers(&[("x", "1")]) };
    assert!(Fetch::new(&wild).unwrap().preflight().is_some());
    let own = PageRequest { url: format!("{PAGE}/x").parse().unwrap(), ..wild.clone() };
    assert!(Fetch::new(&own).unwrap().preflight().is_none());
    let events = PageRequest { kind: Kind::EventSource, ..wild.clone() };
    let fetch = Fetch::new(&events).unwrap();
    assert!(fetch.preflight().is_none());
    assert_eq!(fetch.outgoing().headers["accept"], "text/event-stream");
    assert!(!fetch.outgoing().headers.contains_key("x"));
    let opaque = PageRequest { method: "POST".into(), mode: Mode::NoCors, ..wild };
    assert!(Fetch::new(&opaque).unwrap().preflight().is_none());
}

#[test]
fn listening_to_an_upload_and_streaming_it_need_a_preflight() {
    let post = PageRequest { method: "POST".into(), body: Body::Bytes, upload_listener: true, ..page() };
    assert_eq!(Fetch::new(&post).unwrap().preflight_reasons(), []);
    let xhr = PageRequest { kind: Kind::Xhr, ..post.clone() };
    assert_eq!(Fetch::new(&xhr).unwrap().preflight_reasons(), [Reason::UploadListener]);
    let stream = PageRequest { body: Body::Stream, ..post };
    assert_eq!(Fetch::new(&stream).unwrap().preflight_reasons(), [Reason::StreamingBody]);
}

#[test]
fn bad_ports_and_mixed_content_are_blocked() {
    let to = |url: &str| {
        Fetch::new(&PageRequest { url: url.parse().unwrap(), ..page() }).err().map(|block| block.step.section.number)
    };
    assert_eq!(to("https://api.example.net:6667/"), Some("2.9"));
    assert_eq!(to("http://api.example.net/"), Some("4.1"));
    for fine in ["http://localhost:8080/", "http://127.0.0.1/", "http://[::1]/", "http://api.localhost/"] {
        assert_eq!(to(fine), None, "{fine}");
    }
}

#[test]
fn origins_are_parsed_as_browsers_serialise_them() {
    for (text, origin) in [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com:443/chat?x#y", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ("null", "null"),
        ("file:///home/x.html", "null"),
        ("chrome-extension://abc", "chrome-extension://abc"),
    ] {
        assert_eq!(PageOrigin::parse(text).map(|origin| origin.to_string()).as_deref(), Ok(origin), "{text}");
    }
    for text in ["", "app.example.com", "https://", "*", "mailto:x"] {
        assert!(PageOrigin::parse(text).is_err(), "{text}");
    }
    let null = PageOrigin::null();
    assert!(!null.is_same_origin(&"data:x".parse().unwrap()));
}

#[test]
fn essences_and_charsets_follow_mime_sniffing() {
    for (value, essence) in [
        ("text/html", Some("text/html")),
        (" \tText/HTML \t; charset=x", Some("text/html")),
        ("text/html;", Some("text/html")),
        ("text/html ; ;;", Some("text/html")),
        ("text", None),
        ("/html", None),
        ("text/", None),
        ("text /html", None),
        ("text/h tml", None),
        ("text/html,a/b", None),
        ("text/html\u{e9}", None),
    ] {
        assert_eq!(mime::essence(value.as_bytes()).as_deref(), essence, "{value}");
    }
    assert_eq!(mime::charset(b"a/b; x=y; Charset=\"UTF-8\"; charset=z").as_deref(), Some("utf-8"));
    assert_eq!(mime::charset(b"a/b; charset=; charset=z").as_deref(), Some("z"));
    assert_eq!(mime::charset(b"a/b; x=charset"), None);
}

proptest! {
    #[test]
    fn any_page_is_checked_without_panic(
        method in ".{0,8}", headers in proptest::collection::vec((".{0,12}", proptest::collection::vec(any::<u8>(), 0..20)), 0..6), at in 0usize..4,
    ) {
        let page = PageRequest { method, headers, browser: Browser::ALL[at], ..page() };
        if let Ok(fetch) = Fetch::new(&page) {
            fetch.preflight();
            fetch.outgoing();
        }
    }

    #[test]
    fn any_bytes_are_no_content_type_or_one_of_tokens(value in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Some(essence) = mime::essence(&value) {
            let (kind, subtype) = essence.split_once('/').unwrap();
            prop_assert!(!kind.is_empty() && !subtype.is_empty() && essence.is_ascii());
            prop_assert_eq!(essence.to_ascii_lowercase(), essence);
        }
        mime::charset(&value);
    }

    #[test]
    fn ranges_are_simple_where_both_numbers_are_in_order(from in any::<u64>(), to in any::<u64>(), zeros in 0usize..3) {
        let value = format!("bytes={}{from}-{to}", "0".repeat(zeros));
        prop_assert_eq!(flaw("range", value.as_bytes(), Browser::Standard).is_none(), from <= to);
    }

    #[test]
    fn unsafe_names_do_not_depend_on_order(lines in proptest::collection::vec(("accept|x-a|x-b|range|content-type", "[a-z/=0-9-]{0,140}"), 0..10)) {
        let collect = |lines: &mut dyn Iterator<Item = &(String, String)>| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            unsafe_names(&headers, Browser::Standard).into_keys().collect::<Vec<_>>()
        };
        let names = collect(&mut lines.iter());
        prop_assert!(names.is_sorted());
        prop_assert_eq!(names, collect(&mut lines.iter().rev()));
    }
}

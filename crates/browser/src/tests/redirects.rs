//! Redirects, request modes, and credentials.

use proptest::prelude::*;

use super::*;
use crate::block::{Block, Stage};
use crate::code::Code;
use crate::fetch::{Fetch, Progress};
use crate::preflight::Reason;
use crate::redirect::{Change, MOST_REDIRECTS};
use crate::request::{Body, Kind, Mode, RedirectMode, Tainting};

const ALLOWED: [(&str, &str); 2] =
    [("access-control-allow-origin", PAGE), ("access-control-allow-credentials", "true")];

fn redirected(fetch: &Fetch, status: u16, location: &str, origin: &str) -> Result<Progress, Block> {
    fetch.answered(&response(status, &[("access-control-allow-origin", origin), ALLOWED[1], ("location", location)]))
}

fn followed(fetch: &Fetch, status: u16, location: &str) -> (Fetch, Vec<Change>) {
    let origin = fetch.request().serialized_origin().to_owned();
    match redirected(fetch, status, location, &origin) {
        Ok(Progress::Redirected(next, changes)) => (*next, changes),
        other => panic!("{other:?}"),
    }
}

fn start(page: &PageRequest) -> Fetch {
    Fetch::new(page).unwrap()
}

fn post() -> PageRequest {
    PageRequest {
        method: "POST".into(),
        body: Body::Text,
        ..with_headers(&[("authorization", "k"), ("content-language", "en")])
    }
}

#[test]
fn post_becomes_get_on_301_302_303_and_loses_its_body() {
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let (next, _) = followed(&start(&post()), status, "/elsewhere");
        let outgoing = next.outgoing();
        assert_eq!((outgoing.method.as_str(), outgoing.body), (method, method == "POST"), "{status}");
        assert_eq!(outgoing.headers.contains_key("content-type"), method == "POST", "{status}");
        assert_eq!(outgoing.url.as_str(), "https://api.example.net/elsewhere");
        assert!(outgoing.headers.contains_key("authorization"));
    }
    for (status, method) in [(301, "PUT"), (302, "PUT"), (303, "GET"), (307, "PUT")] {
        let put = PageRequest { method: "PUT".into(), ..post() };
        assert_eq!(followed(&start(&put), status, "/").0.outgoing().method.as_str(), method, "{status}");
    }
    let head = PageRequest { method: "HEAD".into(), ..page() };
    assert_eq!(followed(&start(&head), 303, "/").0.outgoing().method.as_str(), "HEAD");
}

#[test]
fn a_redirect_that_removes_the_body_does_not_remove_the_preflight_of_its_listener() {
    let xhr = PageRequest { kind: Kind::Xhr, upload_listener: true, headers: Vec::new(), ..post() };
    let (next, _) = followed(&start(&xhr), 303, "/");
    assert_eq!(next.preflight_reasons(), [Reason::UploadListener]);
}

#[test]
fn authorization_is_not_sent_to_another_origin() {
    let (next, changes) = followed(&start(&post()), 307, "https://b.example/");
    assert!(changes.contains(&Change::AuthorizationDropped));
    assert!(!next.outgoing().headers.contains_key("authorization"));
}

#[test]
fn an_origin_is_null_once_another_than_the_pages_redirects_away() {
    let (second, changes) = followed(&start(&page()), 302, "https://api.example.net:444/");
    assert_eq!(changes, [Change::OriginTainted]);
    assert_eq!(second.outgoing().headers["origin"], "null");
    assert_eq!(redirected(&second, 302, "/", PAGE).unwrap_err().code, Some(Code::AllowOriginMismatch));
    let (third, changes) = followed(&second, 302, "https://app.example.com/");
    assert_eq!(changes, []);
    assert_eq!(third.outgoing().headers["origin"], "null", "back at its own origin, it stays null");
    assert_eq!(third.request().tainting(), Tainting::Cors);
}

#[test]
fn a_redirect_from_the_own_origin_taints_nothing_and_preflights_anew() {
    let own = PageRequest { method: "PUT".into(), url: PAGE.parse().unwrap(), ..page() };
    let fetch = start(&own);
    assert!(fetch.preflight().is_none());
    let (next, changes) = followed(&fetch, 307, "https://api.example.net/");
    assert_eq!(changes, []);
    assert_eq!(next.preflight().unwrap().headers["origin"], PAGE);
    assert_eq!(next.preflight().unwrap().url.as_str(), "https://api.example.net/");
}

#[test]
fn each_failure_of_a_redirect_has_its_step() {
    let failed = |page: &PageRequest, location: &str| {
        let block = redirected(&start(page), 307, location, PAGE).unwrap_err();
        assert_eq!(block.stage, Stage::Redirect);
        (block.code, block.step.step)
    };
    assert_eq!(failed(&page(), "https://["), (None, "5"));
    assert_eq!(failed(&page(), "data:text/plain,x"), (None, "6"));
    assert_eq!(failed(&page(), "ftp://x/"), (None, "6"));
    assert_eq!(failed(&page(), "https://me@b.example/"), (Some(Code::RedirectContainsCredentials), "9"));
    assert_eq!(failed(&page(), "https://me:x@app.example.com/"), (Some(Code::RedirectContainsCredentials), "10"));
    let stream = PageRequest { body: Body::Stream, ..post() };
    assert_eq!(failed(&stream, "/"), (None, "11"));
    assert_eq!(failed(&PageRequest { redirect: RedirectMode::Error, ..page() }, "/"), (None, "6.3"));
}

#[test]
fn a_password_in_a_location_is_never_shown() {
    let block = redirected(&start(&page()), 307, "https://me:hunter2@b.example/", PAGE).unwrap_err();
    assert!(!format!("{block:?}").contains("hunter2"));
    assert_eq!(block.received[1], "location: https://b.example/");
}

#[test]
fn the_twenty_first_redirect_fails() {
    let mut fetch = start(&page());
    for _ in 0..MOST_REDIRECTS {
        fetch = followed(&fetch, 302, "/").0;
    }
    let block = redirected(&fetch, 302, "/", PAGE).unwrap_err();
    assert_eq!((block.code, block.step.step), (None, "7"));
}

#[test]
fn a_redirect_itself_must_pass_the_cors_check() {
    let block = start(&page()).answered(&response(302, &[("location", "/")])).unwrap_err();
    assert_eq!(block.code, Some(Code::MissingAllowOriginHeader));
}

#[test]
fn without_location_a_redirect_is_an_answer() {
    for browser in Browser::ALL {
        let page = PageRequest { browser, ..page() };
        assert!(matches!(start(&page).answered(&response(302, &ALLOWED)), Ok(Progress::Done(_))));
        let error = PageRequest { redirect: RedirectMode::Error, ..page };
        assert_eq!(start(&error).answered(&response(302, &ALLOWED)).is_ok(), browser == Browser::Chromium);
    }
    let manual = PageRequest { redirect: RedirectMode::Manual, ..page() };
    assert!(matches!(start(&manual).answered(&response(302, &ALLOWED)), Ok(Progress::OpaqueRedirect)));
}

#[test]
fn modes_without_cors_refuse_or_hide_other_origins() {
    let code = |page: &PageRequest| Fetch::new(page).unwrap_err().code;
    assert_eq!(code(&PageRequest { mode: Mode::SameOrigin, ..page() }), Some(Code::DisallowedByMode));
    let manual = PageRequest { mode: Mode::NoCors, redirect: RedirectMode::Manual, ..page() };
    assert_eq!(code(&manual), Some(Code::NoCorsRedirectModeNotFollow));
    assert_eq!(code(&PageRequest { url: "ftp://x/".parse().unwrap(), ..page() }), Some(Code::CorsDisabledScheme));
    let opaque = PageRequest { mode: Mode::NoCors, ..page() };
    assert!(matches!(start(&opaque).answered(&response(200, &[])), Ok(Progress::Done(_))));
    assert!(!start(&opaque).outgoing().headers.contains_key("origin"));
}

#[test]
fn credentials_are_sent_as_their_mode_says() {
    let goes = |credentials, url: &str| {
        start(&PageRequest { credentials, url: url.parse().unwrap(), ..page() }).outgoing().credentials
    };
    assert!(!goes(Credentials::Omit, PAGE) && goes(Credentials::SameOrigin, PAGE) && goes(Credentials::Include, PAGE));
    assert!(!goes(Credentials::Omit, URL) && !goes(Credentials::SameOrigin, URL) && goes(Credentials::Include, URL));
}

proptest! {
    #[test]
    fn no_chain_of_redirects_shows_authorization_to_a_second_origin(
        hops in proptest::collection::vec(("https://(api\\.example\\.net|app\\.example\\.com|b\\.example)(:444)?", prop_oneof![Just(301u16), Just(302), Just(303), Just(307), Just(308)]), 0..6),
    ) {
        let mut fetch = start(&post());
        let mut left = false;
        for (url, status) in hops {
            left |= fetch.request().url().origin() != url.parse::<url::Url>().unwrap().origin();
            fetch = followed(&fetch, status, &url).0;
            let outgoing = fetch.outgoing();
            prop_assert_eq!(outgoing.headers.contains_key("authorization"), !left);
            prop_assert!(fetch.request().serialized_origin() == PAGE || outgoing.headers["origin"] == "null");
        }
    }
}

//! Each way to fail, under Chromium's name for it.

use browser::request::Credentials;
use serde_json::{Value, json};

use super::server::{Heard, Server, reply};
use super::{PAGE, input, post, report};

const OWN: &str = "access-control-allow-origin: https://app.example.com";
const TRUE: &str = "access-control-allow-credentials: true";
const HEADERS: &str = "access-control-allow-headers: content-type";

/// What a server answers to preflights and to everything else.
struct Case {
    code: &'static str,
    credentials: bool,
    preflight: (&'static str, &'static [&'static str]),
    response: (&'static str, &'static [&'static str]),
}

const GOOD_PREFLIGHT: (&str, &[&str]) = ("204 No Content", &[OWN, TRUE, HEADERS]);
const GOOD: (&str, &[&str]) = ("200 OK", &[OWN, TRUE]);

const fn preflight(code: &'static str, status: &'static str, lines: &'static [&'static str]) -> Case {
    Case { code, credentials: false, preflight: (status, lines), response: GOOD }
}

const fn response(code: &'static str, lines: &'static [&'static str]) -> Case {
    Case { code, credentials: false, preflight: GOOD_PREFLIGHT, response: ("200 OK", lines) }
}

const fn with_credentials(case: Case) -> Case {
    Case { credentials: true, ..case }
}

const CASES: [Case; 18] = [
    preflight("PreflightMissingAllowOriginHeader", "204 No Content", &[HEADERS]),
    preflight("PreflightMissingAllowOriginHeader", "401 Unauthorized", &[]),
    preflight("PreflightInvalidStatus", "405 Method Not Allowed", &[OWN, HEADERS]),
    preflight("PreflightDisallowedRedirect", "307 Temporary Redirect", &[OWN, HEADERS, "location: /v1/chat/"]),
    preflight(
        "PreflightAllowOriginMismatch",
        "204 No Content",
        &["access-control-allow-origin: https://b.example", HEADERS],
    ),
    preflight("PreflightMultipleAllowOriginValues", "204 No Content", &[OWN, OWN, HEADERS]),
    preflight(
        "PreflightInvalidAllowOriginValue",
        "204 No Content",
        &["access-control-allow-origin: app.example.com", HEADERS],
    ),
    preflight("HeaderDisallowedByPreflightResponse", "204 No Content", &[OWN]),
    preflight(
        "InvalidAllowHeadersPreflightResponse",
        "204 No Content",
        &[OWN, "access-control-allow-headers: [content-type]"],
    ),
    preflight(
        "InvalidAllowMethodsPreflightResponse",
        "204 No Content",
        &[OWN, HEADERS, "access-control-allow-methods: 'POST'@"],
    ),
    with_credentials(preflight(
        "PreflightWildcardOriginNotAllowed",
        "204 No Content",
        &["access-control-allow-origin: *", HEADERS],
    )),
    with_credentials(preflight("PreflightInvalidAllowCredentials", "204 No Content", &[OWN, HEADERS])),
    response("MissingAllowOriginHeader", &[]),
    response("AllowOriginMismatch", &["access-control-allow-origin: https://b.example"]),
    response("MultipleAllowOriginValues", &["access-control-allow-origin: https://app.example.com, *"]),
    response("InvalidAllowOriginValue", &["access-control-allow-origin: app"]),
    with_credentials(response("WildcardOriginNotAllowed", &["access-control-allow-origin: *"])),
    with_credentials(response("InvalidAllowCredentials", &[OWN])),
];

#[tokio::test]
async fn each_failure_has_chromiums_name_a_place_in_the_standard_and_a_mend() {
    for Case { code, credentials, preflight, response } in CASES {
        let server = Server::start(move |heard: &Heard| {
            let (status, lines) = if heard.is_preflight() { preflight } else { response };
            reply(status, lines, "")
        })
        .await;
        let mut input = post(&server.url);
        input.credentials = credentials.then_some(Credentials::Include);
        let report = report(input, false).await;
        assert_eq!((&report["verdict"], &report["code"]), (&json!("blocked"), &json!(code)), "{report:#}");
        let block = &report["block"];
        assert!(block["standard"].as_str().unwrap().starts_with("Fetch §"), "{block}");
        assert!(block["standard_url"].as_str().unwrap().starts_with("https://fetch.spec.whatwg.org/#"), "{block}");
        assert!(!block["needed"].as_str().unwrap().is_empty() && !block["advice"].as_str().unwrap().is_empty());
        let last = report["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(last["outcome"], "failed", "{code}");
        let sent = server.heard().iter().filter(|heard| !heard.is_preflight()).count();
        assert_eq!(sent, usize::from(!code.contains("reflight")), "{code}: a failed preflight is the end");
        if code != "PreflightDisallowedRedirect" {
            assert_eq!(block["mends"].as_array().unwrap().len(), 6, "{code}");
        }
    }
}

#[tokio::test]
async fn a_method_in_lower_case_is_another_method() {
    let server =
        Server::start(|_: &Heard| reply("204 No Content", &[OWN, HEADERS, "access-control-allow-methods: PATCH"], ""))
            .await;
    let report = report(doctor::plan::Input { method: Some("patch".into()), ..post(&server.url) }, false).await;
    assert_eq!(report["code"], "MethodDisallowedByPreflightResponse");
    assert!(report["block"]["reason"].as_str().unwrap().contains("upper and lower case differ"));
}

#[tokio::test]
async fn a_preflight_is_sent_as_a_browser_sends_it() {
    let server = Server::start(|_: &Heard| {
        reply("204 No Content", &[OWN, "access-control-allow-headers: authorization, content-type, x-b"], "")
    })
    .await;
    let mut input = post(&server.url);
    input.headers.extend(["x-b: 1".into(), "authorization: Bearer canary".into(), "cookie: session=canary".into()]);
    input.credentials = Some(Credentials::Omit);
    let report = report(input, false).await;
    assert_eq!(report["verdict"], "allowed", "{report:#}");
    let [preflight, request] = &server.heard()[..] else { panic!("{:?}", server.heard()) };
    assert_eq!(preflight.header("access-control-request-headers"), "authorization,content-type,x-b");
    assert_eq!((preflight.header("access-control-request-method"), preflight.header("origin")), ("POST", PAGE));
    assert!(!preflight.headers.values().any(|value| value.contains("canary")), "{preflight:?}");
    assert_eq!((request.header("authorization"), request.header("cookie")), ("Bearer canary", ""));
    assert!(!report.to_string().contains("canary"));
}

#[tokio::test]
async fn redirects_are_followed_with_the_standards_tainting() {
    let far = Server::start(|_: &Heard| reply("200 OK", &["access-control-allow-origin: null"], "")).await;
    let (to, near_to) = (format!("location: {}", far.url), far.url.clone());
    let near = Server::start(move |_: &Heard| reply("302 Found", &["access-control-allow-origin: *", &to], "")).await;
    let mut input = input(&near.url);
    // a second origin that is not the page's makes the origin `null`
    input.origin = Some("http://localhost:3000".into());
    let report = report(input, false).await;
    assert_eq!(report["verdict"], "allowed", "{report:#}");
    assert_eq!(far.heard()[0].header("origin"), "null");
    let redirect: Vec<&Value> =
        report["steps"].as_array().unwrap().iter().filter(|step| step["id"] == "redirect").collect();
    assert!(
        redirect[0]["title"].as_str().unwrap().contains(&near_to)
            && redirect[0]["lines"].to_string().contains("`null`")
    );
}

#[tokio::test]
async fn a_redirect_to_a_url_with_a_password_is_blocked_and_the_password_not_shown() {
    let server = Server::start(|_: &Heard| {
        reply("302 Found", &["access-control-allow-origin: *", "location: http://user:canary@127.0.0.1/"], "")
    })
    .await;
    let report = report(input(&server.url), false).await;
    assert_eq!(report["code"], "RedirectContainsCredentials", "{report:#}");
    assert_eq!(report["block"]["mends"], json!([]));
    assert!(!report.to_string().contains("canary"), "{report:#}");
}

#[tokio::test]
async fn what_fails_before_anything_is_sent_has_no_code() {
    let report = report(input("http://api.example.com/"), true).await;
    assert_eq!((&report["verdict"], &report["code"]), (&json!("blocked"), &Value::Null));
    assert!(report["block"]["reason"].as_str().unwrap().contains("mixed content"), "{report:#}");
}

#[tokio::test]
async fn where_browsers_differ_it_is_said() {
    let wildcard = "access-control-allow-headers: *";
    let server = Server::start(move |_: &Heard| reply("200 OK", &[OWN, wildcard], "")).await;
    let mut input = post(&server.url);
    input.headers.push("authorization: Bearer x".into());
    let report = report(input, false).await;
    assert_eq!(report["verdict"], "allowed", "{report:#}");
    let other = &report["elsewhere"][0];
    assert_eq!(
        (&other["browser"], &other["code"]),
        (&json!("standard"), &json!("HeaderDisallowedByPreflightResponse"))
    );
}

#[tokio::test]
async fn another_browsers_preflight_is_sent_where_it_asks_for_more() {
    // a server that echoes what is asked for: only asking tells
    let server = Server::start(|heard: &Heard| {
        let asked = format!("access-control-allow-headers: {}", heard.header("access-control-request-headers"));
        reply("204 No Content", &[OWN, &asked], "")
    })
    .await;
    let mut input = post(&server.url);
    input.headers.push("user-agent: own".into());
    let report = report(input, false).await;
    assert_eq!((&report["verdict"], &report["elsewhere"]), (&json!("allowed"), &json!([])), "{report:#}");
    let asked =
        server.heard().iter().any(|heard| heard.header("access-control-request-headers").contains("user-agent"));
    assert!(asked, "{:?}", server.heard());
}

#[tokio::test]
async fn cookies_and_readable_headers_are_told() {
    let lines: &[&str] = &[
        OWN,
        TRUE,
        "access-control-expose-headers: x-one",
        "x-one: 1",
        "x-two: 2",
        "set-cookie: a=canary; SameSite=Lax",
        "set-cookie: b=canary; SameSite=None; Secure; Partitioned",
    ];
    let server = Server::start(move |_: &Heard| reply("200 OK", lines, "")).await;
    let report =
        report(doctor::plan::Input { credentials: Some(Credentials::Include), ..input(&server.url) }, false).await;
    let step = |id: &str| report["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap().clone();
    let readable = step("readable-headers");
    assert!(readable["title"].as_str().unwrap().contains("x-one") && readable["lines"].to_string().contains("x-two"));
    let cookies = step("cookies")["lines"].to_string();
    assert!(cookies.contains("a: lost: the page is of another site"), "{cookies}");
    assert!(cookies.contains("b: stored separately for each top-level site"), "{cookies}");
    assert!(!report.to_string().contains("canary"));
}

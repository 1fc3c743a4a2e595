//! What goes where after a redirect: cookies by host, and no secret of the user to another origin.

use browser::request::Credentials;
use doctor::plan::Input;
use serde_json::Value;

use super::server::{Heard, Server, reply};
use super::{input, report};

const ALLOWED: [&str; 3] = [
    "access-control-allow-origin: null",
    "access-control-allow-credentials: true",
    "access-control-allow-headers: x-api-key, x-plain, authorization",
];
const NEAR: [&str; 3] = ["access-control-allow-origin: https://app.example.com", ALLOWED[1], ALLOWED[2]];

/// A request with a cookie, credentials in two headers, and a header that is none.
fn with_secrets(url: &str) -> Input {
    Input {
        headers: [
            "cookie: session=canary-cookie",
            "x-api-key: canary-key",
            "authorization: Bearer canary-token",
            "x-plain: text",
        ]
        .map(str::to_owned)
        .into(),
        credentials: Some(Credentials::Include),
        ..input(url)
    }
}

fn requests(server: &Server) -> Vec<Heard> {
    server.heard().into_iter().filter(|heard| !heard.is_preflight()).collect()
}

fn redirect_lines(report: &Value) -> String {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["id"] == "redirect").unwrap()["lines"].to_string()
}

#[tokio::test]
async fn another_host_gets_no_cookie_and_no_secret_and_the_report_says_what_a_browser_sends() {
    let far = Server::start(|_: &Heard| reply("200 OK", &ALLOWED, "")).await;
    // the same machine under another name: another host, and not only another port
    let to = format!("location: {}", far.url.replace("127.0.0.1", "localhost"));
    let near = Server::start(move |heard: &Heard| match heard.is_preflight() {
        true => reply("204 No Content", &NEAR, ""),
        false => reply("307 Temporary Redirect", &[&NEAR[..], &[&to]].concat(), ""),
    })
    .await;
    let report = report(with_secrets(&near.url), false).await;
    assert_eq!(report["verdict"], "allowed", "{report:#}");
    let sent = &requests(&near)[0];
    assert_eq!((sent.header("cookie"), sent.header("x-api-key")), ("session=canary-cookie", "canary-key"));
    let [preflight, request] = &far.heard()[..] else { panic!("{:?}", far.heard()) };
    for heard in [preflight, request] {
        assert!(!heard.headers.values().any(|value| value.contains("canary")), "{heard:?}");
    }
    // as a browser: the preflight names the header, which is sent, and what is no secret is sent as it is
    assert!(preflight.header("access-control-request-headers").contains("x-api-key"), "{preflight:?}");
    assert_eq!(request.header("x-plain"), "text");
    assert_eq!(
        (request.header("cookie"), request.header("authorization"), request.header("x-api-key")),
        ("", "", "withheld-by-tokenway-doctor")
    );
    let lines = redirect_lines(&report);
    for said in ["a browser sends x-api-key to localhost", "cookies that are not sent to this URL: session"] {
        assert!(lines.contains(said), "{said}: {lines}");
    }
    assert!(!report.to_string().contains("canary"));
}

#[tokio::test]
async fn the_same_host_gets_its_cookies_also_those_that_it_set_on_the_way() {
    let near = Server::start(|heard: &Heard| match (heard.is_preflight(), heard.path.as_str()) {
        (true, _) => reply("204 No Content", &NEAR, ""),
        (false, "/v1/chat") => {
            let set = ["set-cookie: hop=1; SameSite=None; Secure; Path=/", "location: /v2/chat"];
            reply("307 Temporary Redirect", &[&NEAR[..], &set].concat(), "")
        }
        _ => reply("200 OK", &NEAR, ""),
    })
    .await;
    let report = report(with_secrets(&near.url), false).await;
    assert_eq!(report["verdict"], "allowed", "{report:#}");
    let second = &requests(&near)[1];
    assert_eq!(second.path, "/v2/chat");
    assert_eq!(second.header("cookie"), "session=canary-cookie; hop=1");
    assert_eq!((second.header("x-api-key"), second.header("authorization")), ("canary-key", "Bearer canary-token"));
    assert_eq!(redirect_lines(&report), "[]", "nothing is removed and nothing withheld");
}

//! Token → cookie → fetch and `EventSource` in a real Chromium, cross-site, with third-party cookies blocked.

use serde_json::{Value, json};

use super::token;
use crate::support::gateway::{Gateway, Setup, Upstream};
use crate::support::process::node;

#[tokio::test]
async fn a_page_of_another_site_logs_in_streams_and_logs_out_where_third_party_cookies_are_blocked() {
    let upstream = Upstream::start().await;
    let setup = Setup {
        cors: "origins = [\"http://localhost:*\", \"http://127.0.0.1:*\"]\ncredentials = true",
        more: "[access]\naccept = [\"session\"]",
        ..Setup::default()
    };
    let gateway = Gateway::start(&upstream, setup).await;
    let completion = json!({
        "model": "demo", "stream": true, "messages": [{ "role": "user", "content": "Hello" }],
        "demo": { "tokens": 5, "first_token_ms": 0, "tokens_per_second": 0 },
    });
    let arguments = json!({
        "gateway": gateway.url, "certificate": gateway.certificate, "token": token(json!({})), "completion": completion,
        "preferences": { "profile": { "cookie_controls_mode": 1 } },
    });
    let seen = node("browser/run.mjs", &["session", &arguments.to_string()], &[]).await;

    assert_eq!(
        seen["control"]["json"]["cookie"],
        Value::Null,
        "third-party cookies are not blocked: {}",
        seen["control"]
    );
    let code = |step: &str| seen[step]["json"]["error"]["code"].clone();
    let status = |step: &str| seen[step]["status"].clone();
    assert_eq!((status("before"), code("before")), (json!(401), json!("missing_credentials")), "{}", seen["before"]);
    assert_eq!((status("bad_token"), code("bad_token")), (json!(401), json!("invalid_credentials")));
    assert_eq!(status("login"), 204, "{}", seen["login"]);
    assert_eq!(seen["models"]["json"]["data"][0]["id"], "demo", "{}", seen["models"]);
    assert_eq!(status("without_credentials"), 401);
    assert_eq!(status("stream"), 200);
    assert!(seen["stream"]["text"].as_str().unwrap().ends_with("data: [DONE]\n\n"), "{}", seen["stream"]);
    assert_eq!((status("form"), code("form")), (json!(415), json!("unsupported_media_type")));
    assert_eq!(seen["document_cookie"], "", "a script can read the cookie");
    assert_eq!(seen["event_source"], json!({ "status": 200, "preflighted": false }));
    assert_eq!(seen["event_source_without"]["status"], 401);
    assert_eq!(status("other_site"), 401, "the cookie is not partitioned");
    assert_eq!(status("back"), 200);
    assert_eq!(status("logout"), 204);
    assert_eq!(status("after"), 401);
}

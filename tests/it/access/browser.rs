//! Token → cookie → fetch and `EventSource` in a real Chromium, cross-site, with third-party cookies blocked.

use serde_json::{Value, json};

use demo_upstream::{Demo, Knobs};
use tokio::net::TcpListener;

use super::token;
use crate::support::edge::{expected, streaming};
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

#[tokio::test]
async fn an_event_source_of_another_site_reads_its_stream_by_the_cookie_and_survives_cuts() {
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let setup = Setup {
        cors: "origins = [\"http://127.0.0.1:*\"]\ncredentials = true",
        more: "[access]\naccept = [\"session\"]",
        ..Setup::default()
    };
    let gateway = Gateway::before(&format!("http://{}/v1", demo.addr), setup).await;
    let request = streaming("demo", json!({ "first_token_ms": 20, "tokens_per_second": 50, "tokens": 300 }));
    let arguments = json!({
        "gateway": gateway.url, "certificate": gateway.certificate, "token": token(json!({})), "request": request,
        // more than a TLS record holds, within the handshake, and at once
        "cuts": [20_000, 700, 20_000, 1, 20_000],
        "preferences": { "profile": { "cookie_controls_mode": 1 } },
    });
    let seen = node("browser/run.mjs", &["sessionEventSource", &arguments.to_string()], &[]).await;

    assert_eq!(seen["cookies"], json!({ "own": "session=1", "third_party": null }), "third-party cookies pass");
    assert_eq!((&seen["log"]["in"], &seen["made"]["status"]), (&json!(204), &json!(201)), "{seen}");
    let events = expected(&request);
    let data: Vec<&str> =
        events.iter().map(|event| std::str::from_utf8(event).unwrap().trim().strip_prefix("data: ").unwrap()).collect();
    assert_eq!(seen["data"], json!(data));
    assert_eq!(seen["ids"], (1..=data.len()).collect::<Value>());
    assert!(seen["cuts"].as_u64().unwrap() >= 5, "{seen}");
    assert_eq!((&seen["preflights"], demo.counts().requests), (&json!(0), 1));

    let reads: Vec<&Value> = seen["requests"].as_array().unwrap().iter().filter(|r| r["method"] == "GET").collect();
    let (without, with, after) = (reads[0], &reads[1..reads.len() - 1], reads[reads.len() - 1]);
    // of some requests the browser never tells what was on the wire: those were answered, or not, like their neighbours
    let told = |read: &&Value| read["cookie"] != "not told";
    assert_eq!(without["status"], 401);
    assert!([without, after].into_iter().filter(told).all(|read| read["cookie"].is_null()), "{without} {after}");
    assert_eq!(seen["without"]["data"], json!([]));
    let cookies: Vec<&Value> = with
        .iter()
        .copied()
        .filter(|read| !read["status"].is_null())
        .filter(told)
        .map(|read| &read["cookie"])
        .collect();
    assert!(!cookies.is_empty() && cookies.iter().all(|cookie| *cookie == "__Host-tokenway"), "{with:?}");
    // it went on behind what it had, and was told the end
    assert!(with.iter().filter(|read| read["status"] == 200).count() >= 3, "{with:?}");
    assert_eq!((&with[0]["status"], &with[0]["last_event_id"]), (&json!(200), &Value::Null));
    let last = with.last().unwrap();
    assert_eq!((&last["status"], &last["last_event_id"]), (&json!(204), &json!(data.len().to_string())));
    // after the logout the stream is nobody's
    assert_eq!((&seen["log"]["out"], &after["status"]), (&json!(204), &json!(401)));
    assert_eq!(seen["after"]["data"], json!([]));
}

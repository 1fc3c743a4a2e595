//! The doctor finds nothing wrong with Tokenway; and what it says of a refused page is so.

use serde_json::{Value, json};

use super::command::doctor;
use super::finding;
use crate::support::child::{ALLOWED, Child, Plan, REFUSED};

const BODY: &str = r#"{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hello"}],"demo":{"tokens":20,"tokens_per_second":200}}"#;

async fn examined(gateway: &Child, origin: &str, more: &[&str]) -> (i32, Value) {
    let url = format!("https://localhost:{}/v1/chat/completions", gateway.target.address.port());
    let ca = gateway.path("ca.pem");
    let mut args = vec![&url[..], "--origin", origin, "--ca", ca.to_str().unwrap(), "--json"];
    args.extend(more);
    let done = doctor(&args, "").await;
    (done.status, serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {} {}", done.out, done.err)))
}

const REQUEST: [&str; 6] =
    ["--header", "content-type: application/json", "--header", "authorization: Bearer canary", "--data", BODY];

#[tokio::test]
async fn an_allowed_page_streams_and_no_probe_finds_anything() {
    let gateway = Child::start(Plan::default()).await;
    let (status, report) = examined(&gateway, ALLOWED, &REQUEST).await;
    assert_eq!((status, &report["verdict"], &report["code"]), (0, &json!("allowed"), &Value::Null), "{report:#}");
    assert_eq!(report["findings"], json!([]), "{:#}", report["findings"]);
    assert!(report["probed"].as_array().unwrap().len() >= 14);
    assert_eq!(report["elsewhere"], json!([]));
    assert!(!report.to_string().contains("canary"));
}

#[tokio::test]
async fn a_refused_page_is_blocked_at_the_preflight_and_the_mend_lets_it_through() {
    let gateway = Child::start(Plan::default()).await;
    let (status, report) = examined(&gateway, REFUSED, &REQUEST).await;
    assert_eq!((status, &report["code"]), (1, &json!("PreflightMissingAllowOriginHeader")), "{report:#}");
    assert!(finding(&report, "origin-reflected").is_null());
    let mend = report["block"]["mends"][0]["text"].as_str().unwrap();
    let cors = mend.strip_prefix("[cors]\n").unwrap().to_owned();

    let mended = Child::start(Plan { cors: &cors, ..Plan::default() }).await;
    let (status, report) = examined(&mended, REFUSED, &REQUEST).await;
    assert_eq!(status, 0, "{report:#}");
}

#[tokio::test]
async fn openais_client_is_allowed_in_every_browser() {
    let gateway = Child::start(Plan::default()).await;
    let url = format!("https://localhost:{}/v1", gateway.target.address.port());
    let ca = gateway.path("ca.pem");
    for browser in ["chromium", "firefox", "safari", "standard"] {
        let args =
            [&url[..], "--origin", ALLOWED, "--ca", ca.to_str().unwrap(), "--as", "openai-js", "--no-probes", "--json"];
        let done = doctor(&[&args[..], &["--browser", browser]].concat(), "").await;
        assert_eq!(done.status, 0, "{browser}: {}", done.out);
    }
}

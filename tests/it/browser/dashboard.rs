//! The dashboard of the admin listener, after requests of a page: the cache, `auto`, a fallback, and what they cost.

use std::path::Path;

use serde_json::json;

use super::{completion, run, start};
use crate::support::gateway::{AUTO, Setup};

#[tokio::test]
async fn the_dashboard_says_what_was_spent_saved_decided_and_asked_instead() {
    let more = format!("{AUTO}fallback = [\"cheap\"]\n[cost]\nbaseline = \"dear\"\n");
    let (_upstream, gateway) = start(Setup { more: &more, ..Setup::default() }).await;
    let quick = json!({ "first_token_ms": 0, "tokens_per_second": 0 });
    let falls = json!({ "models": { "dear": { "fault": "status_500" }, "cheap": quick } });
    for (model, demo) in [("auto", &quick), ("auto", &quick), ("dear", &falls)] {
        let mut request = completion(demo.clone());
        request["model"] = model.into();
        let seen = run("stream", &gateway, json!({ "request": request })).await;
        assert_eq!(seen["headers"]["tokenway-model"], "cheap");
    }
    gateway.until_metric(r#"tokenway_requests_total{model="cheap",outcome="ok""#, 3.0).await;

    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    let url = format!("http://{}/", gateway.admin);
    let seen = run("dashboard", &gateway, json!({ "url": url, "pictures": pictures })).await;
    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["width"], 360, "the page is wider than the phone");
    assert_eq!(seen["state"], "ready");
    assert_eq!(
        (&seen["figures"]["requests"], &seen["figures"]["cache-share"]),
        (&json!("6"), &json!("0 %")),
        "preflights are requests; each page here is another origin, so another caller of the cache"
    );
    let tables = &seen["tables"];
    assert_eq!(tables["fallbacks"], json!([["dear", "cheap", "other", "1"]]));
    assert_eq!(tables["routes"], json!([["easy, by rules", "2"]]));
    assert_eq!(tables["cache"], json!([["miss", "3"]]));
    assert_eq!(tables["models"][1].as_array().unwrap()[..3], [json!("cheap"), json!("good"), json!("3")]);
    for id in ["cost", "saved"] {
        assert!(seen["figures"][id].as_str().is_some_and(|amount| amount.starts_with("$0.00")), "{seen}");
    }
    assert_eq!(tables["spenders"][1][0], "page http://localhost:*", "{seen}");
}

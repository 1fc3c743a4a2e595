//! `tokenway doctor` over real sockets: against the gateway, against servers that do each thing wrong, and against real nginx that was mended
//! as it says.

mod codes;
mod command;
mod gateway;
mod mends;
mod probes;
mod server;
mod tokenway_mend;

use std::time::Duration;

use dial::{Trust, Versions};
use doctor::examine;
use doctor::exchange::Client;
use doctor::plan::{Plan, Wanted};
use serde_json::Value;

use crate::support::PATIENCE;

/// The page that calls.
const PAGE: &str = "https://app.example.com";

/// What is asked, with a page of [`PAGE`].
fn wanted(url: &str) -> Wanted {
    Wanted { url: Some(url.to_owned()), origin: Some(PAGE.to_owned()), ..Wanted::default() }
}

/// POST of JSON, which needs a preflight.
fn post(url: &str) -> Wanted {
    Wanted { headers: vec!["content-type: application/json".into()], data: Some("{}".into()), ..wanted(url) }
}

/// The report, as `--json` writes it.
async fn report(wanted: Wanted, probes: bool) -> Value {
    let plan = Plan::new(wanted).unwrap();
    let client = Client::new(Versions::Any, Trust::PublicRoots, Duration::from_secs(10));
    let report = tokio::time::timeout(PATIENCE, examine(&plan, client, probes)).await.unwrap();
    serde_json::to_value(report.unwrap()).unwrap()
}

/// The finding of this id; null where there is none.
fn finding(report: &Value, id: &str) -> Value {
    report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id).cloned().unwrap_or_default()
}

//! `tokenway doctor` over real sockets: against the gateway, against servers that do each thing wrong, and against real nginx that was mended
//! as it says.

mod codes;
mod command;
mod event_source;
mod gateway;
mod mends;
mod probes;
mod redirects;
mod server;
mod tokenway_mend;

use std::time::Duration;

use dial::{Trust, Versions};
use doctor::client::Client;
use doctor::examine;
use doctor::plan::{Input, Plan};
use serde_json::Value;

use crate::support::PATIENCE;

/// The page that calls.
const PAGE: &str = "https://app.example.com";

/// What is asked, with a page of [`PAGE`].
fn input(url: &str) -> Input {
    Input { url: Some(url.to_owned()), origin: Some(PAGE.to_owned()), ..Input::default() }
}

/// POST of JSON, which needs a preflight.
fn post(url: &str) -> Input {
    Input { headers: vec!["content-type: application/json".into()], data: Some("{}".into()), ..input(url) }
}

/// The report, as `--json` writes it.
async fn report(input: Input, probes: bool) -> Value {
    let plan = Plan::new(input).unwrap();
    let client = Client::new(Versions::Any, Trust::PublicRoots, Duration::from_secs(10));
    let report = tokio::time::timeout(PATIENCE, examine(&plan, client, probes)).await.unwrap();
    serde_json::to_value(report.unwrap()).unwrap()
}

/// The finding of this id; null where there is none.
fn finding(report: &Value, id: &str) -> Value {
    report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id).cloned().unwrap_or_default()
}

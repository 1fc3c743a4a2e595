//! A real Chromium that does what cases say: tests/browser/differential.mjs.

use std::collections::HashMap;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::case::{Case, Interface};
use super::predicted::Outcome;
use super::stage::Sites;
use crate::support::process::root;

pub struct Chromium {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

#[derive(serde::Deserialize)]
struct Answered {
    outcomes: HashMap<u64, Value>,
    messages: Vec<Message>,
}

#[derive(serde::Deserialize)]
struct Message {
    id: u64,
    text: String,
}

/// Whether the user has cookies of other sites blocked. Distributions differ in what is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThirdParties {
    Allowed,
    Blocked,
}

impl Chromium {
    /// Opens a page of this origin.
    pub fn start(origin: &str, third_parties: ThirdParties) -> Self {
        let mut process = Command::new("node")
            .arg(root().join("tests/browser/differential.mjs"))
            .arg(origin)
            .arg(if third_parties == ThirdParties::Allowed { "allowed" } else { "blocked" })
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; run scripts/setup"));
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output).lines() }
    }

    /// What the page gets in each case, and the network's own name for a failure; and the messages in the console, each with
    /// the number of the case whose URL it names, or 0.
    pub async fn run(
        &mut self,
        cases: &[(u64, &Case)],
        sites: &Sites,
    ) -> (HashMap<u64, (Outcome, Option<String>)>, Vec<(u64, String)>) {
        let calls: Vec<Value> = cases.iter().map(|(id, case)| call(*id, case, sites)).collect();
        self.input.write_all(format!("{}\n", json!(calls)).as_bytes()).await.unwrap();
        let line = self.output.next_line().await.unwrap().expect("the browser has ended");
        let Answered { outcomes, messages } = serde_json::from_str(&line).unwrap();
        let messages = messages.into_iter().map(|message| (message.id, message.text));
        (outcomes.into_iter().map(|(id, seen)| (id, outcome(&seen))).collect(), messages.collect())
    }

    pub async fn close(self) {
        let Self { mut process, input, .. } = self;
        drop(input);
        assert!(process.wait().await.unwrap().success());
    }
}

fn call(id: u64, case: &Case, sites: &Sites) -> Value {
    let headers: Vec<Value> = case.headers.iter().map(|(name, value)| json!([name, value])).collect();
    json!({
        "id": id,
        "interface": match case.interface {
            Interface::Fetch => "fetch",
            Interface::Xhr(true) => "xhr and listener",
            Interface::Xhr(false) => "xhr",
            Interface::EventSource => "event source",
        },
        "url": sites.url(case, id, 0),
        "init": {
            "method": case.method, "headers": headers, "credentials": case.credentials, "mode": case.mode,
            "redirect": case.redirect, "body": case.body.then_some("x"),
        },
    })
}

fn outcome(seen: &Value) -> (Outcome, Option<String>) {
    let text = |name: &str| seen[name].as_str().map(str::to_owned);
    if seen["raised"].is_string() {
        return (Outcome::Blocked { code: text("cors") }, text("failed"));
    }
    let kinds = ["basic", "cors", "opaque", "opaqueredirect", "xhr", "open"];
    let kind = kinds.into_iter().find(|kind| seen["type"] == **kind).unwrap();
    let headers = seen["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let status = u16::try_from(seen["status"].as_u64().unwrap()).unwrap();
    (Outcome::Shown { kind, status, headers: headers.collect() }, text("failed"))
}

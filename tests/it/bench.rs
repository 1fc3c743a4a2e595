//! `tokenway bench` as a command: exit statuses, documents, words.

use std::process::Stdio;
use std::time::Duration;

use demo_upstream::{Demo, Knobs};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::edge::{Edge, ORIGIN, Setup};
use crate::support::gateway::Directory;
use crate::support::ports::Nobody;
use crate::support::soon;

/// How the command ended.
struct Ended {
    status: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    command.arg("bench").args(args).env("BENCH_KEY", "sk-canary").stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn bench(args: &[&str]) -> Ended {
    let output = soon(command(args).output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains("canary") && !err.contains("canary"), "{out}{err}");
    Ended { status: output.status.code().unwrap(), out, err }
}

async fn demo(knobs: Knobs) -> (Demo, String) {
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), knobs).unwrap();
    let url = format!("http://{}", demo.addr);
    (demo, url)
}

#[tokio::test]
async fn a_good_run_is_a_table_and_status_0() {
    let (demo, url) = demo(Knobs { tokens: Some(5), ..Knobs::default() }).await;
    let ended = bench(&[&url, "-n", "7", "--key-env", "BENCH_KEY", "-m", "some-model"]).await;
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{}", ended.out);
    assert!(ended.out.contains("p99") && ended.out.contains("first token"), "{}", ended.out);
    let requests = demo.requests();
    assert_eq!((requests.len(), requests[0].path.as_str()), (7, "/v1/chat/completions"));
    assert_eq!(requests[0].headers["authorization"], "Bearer sk-canary");
    assert_eq!(serde_json::from_slice::<Value>(&requests[0].body).unwrap()["model"], "some-model");
}

#[tokio::test]
async fn the_json_document_says_what_was_measured() {
    let (_demo, url) =
        demo(Knobs { tokens: Some(5), first_token: Duration::from_millis(20), ..Knobs::default() }).await;
    let ended = bench(&[&url, "-n", "6", "-c", "2", "--json", "-", "--body", r#"{"seed":3}"#]).await;
    let document = ended.json();
    assert_eq!((ended.status, &document["schema"], &document["comparison"]), (0, &json!(1), &Value::Null));
    let target = &document["targets"][0];
    assert_eq!(target["streams"], json!({ "whole": 6, "truncated": 0, "failed": 0 }));
    assert_eq!((&target["output_tokens"], &target["tokens_counted_by"]), (&json!(30), &json!("server")));
    let first = &target["first_token_ms"];
    assert!(first["count"] == 6 && first["min"].as_f64().unwrap() >= 20.0, "{first}");
    assert_eq!(document["run"]["load"], json!({ "kind": "closed", "users": 2 }));
}

#[tokio::test]
async fn two_targets_are_compared_pair_by_pair() {
    let (_fast, fast) = demo(Knobs { tokens: Some(2), ..Knobs::default() }).await;
    let (_slow, slow) =
        demo(Knobs { tokens: Some(2), first_token: Duration::from_millis(500), ..Knobs::default() }).await;
    let document = bench(&[&slow, "--compare", &fast, "-n", "8", "--json", "-"]).await.json();
    let comparison = &document["comparison"];
    assert_eq!((&comparison["pairs"], &comparison["broken_pairs"]), (&json!(8), &json!(0)));
    let median = comparison["first_token_ms"]["median"].as_f64().unwrap();
    assert!(median >= 250.0, "{comparison}");
}

#[tokio::test]
async fn an_open_loop_and_a_page_of_results_go_together() {
    let (_demo, url) = demo(Knobs::default()).await;
    let dir = Directory::new();
    let (html, json) = (dir.0.join("bench.html"), dir.0.join("bench.json"));
    let (html, json) = (html.to_str().unwrap(), json.to_str().unwrap());
    let ended = bench(&[&url, "--rate", "100", "-n", "10", "--html", html, "--json", json]).await;
    assert_eq!(ended.status, 0, "{}", ended.err);
    assert!(std::fs::read_to_string(html).unwrap().starts_with("<!doctype html>"));
    let document: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(document["run"]["load"]["streams_per_second"], 100.0);
    assert_eq!(document["targets"][0]["streams"]["whole"], 10);
}

#[tokio::test]
async fn a_run_of_which_a_part_fails_is_status_0_and_names_the_failures() {
    let (_demo, url) = demo(Knobs::default()).await;
    let dir = Directory::new();
    let prompts = dir.0.join("prompts.jsonl");
    let lines = [r#""hello""#, r#"{"prompt":"x","demo":{"fault":"status_429"}}"#].join("\n");
    std::fs::write(&prompts, lines).unwrap();
    let ended = bench(&[&url, "-n", "4", "-c", "1", "--prompts", prompts.to_str().unwrap(), "--json", "-"]).await;
    let target = &ended.json()["targets"][0];
    assert_eq!((ended.status, &target["streams"]["whole"], &target["streams"]["failed"]), (0, &json!(2), &json!(2)));
    assert_eq!((&target["failures"][0]["kind"], &target["failures"][0]["count"]), (&json!("status_429"), &json!(2)));
}

#[tokio::test]
async fn a_run_of_which_nothing_comes_whole_is_status_1_with_the_reason_in_one_line() {
    let nobody = Nobody::new();
    let (_demo, url) = demo(Knobs::default()).await;
    for (url, body, part) in [
        (format!("http://{}", nobody.address), "{}", "connection refused"),
        (url.clone(), r#"{"demo":{"fault":"html"}}"#, "an HTML page"),
        (url.clone(), r#"{"demo":{"fault":"status_401"}}"#, "--key-env"),
        (format!("{url}/nowhere"), "{}", "404 Not Found"),
        (url, r#"{"demo":{"fault":"reset_after_events"}}"#, "broke off"),
    ] {
        let ended = bench(&[&url, "-n", "2", "--body", body]).await;
        let lines: Vec<_> = ended.err.lines().collect();
        assert_eq!((ended.status, lines.len()), (1, 1), "{}", ended.err);
        assert!(lines[0].starts_with("tokenway bench: ") && lines[0].contains(part), "{}", ended.err);
    }
}

#[tokio::test]
async fn wrong_usage_is_status_64_and_nothing_is_asked() {
    let (demo, url) = demo(Knobs::default()).await;
    for (args, part) in [
        (vec!["nowhere"], "the URL is no URL"),
        (vec![&url, "--prompts", "/nowhere/p"], "--prompts /nowhere/p"),
        (vec![&url, "--json", "/nowhere/x.json"], "--json /nowhere/x.json"),
        (vec![&url, "--html", "/nowhere/x.html"], "--html /nowhere/x.html"),
        (vec![&url, "--key-env", "NO_SUCH_VARIABLE"], "no such variable"),
        (vec![&url, "--rate", "0"], "expected a number"),
        (vec![], "required"),
    ] {
        let ended = bench(&args).await;
        assert_eq!((ended.status, ended.out.as_str()), (64, ""), "{args:?}");
        assert!(ended.err.contains(part), "{}", ended.err);
    }
    assert_eq!(demo.counts().connections, 0);
}

#[tokio::test]
async fn a_page_s_refusals_are_counted() {
    let edge = Edge::start(Setup::default()).await;
    let url = format!("https://localhost:{}/v1", edge.target.address.port());
    for (origin, status, allowed) in [(ORIGIN, 0, 3), ("https://evil.example", 1, 0)] {
        // the edge's certificate lives in memory alone
        let args = [&url, "--insecure", "-n", "3", "-m", "demo", "--origin", origin, "--json", "-"];
        let ended = bench(&args).await;
        let cors = &ended.json()["targets"][0]["cors"];
        assert_eq!((ended.status, &cors["allowed"]), (status, &json!(allowed)), "{cors}");
        assert_eq!(cors["refused"].as_array().unwrap().len(), usize::from(allowed == 0));
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_run_and_tells_what_there_is() {
    let (demo, url) = demo(Knobs::default()).await;
    let dir = Directory::new();
    let prompts = dir.0.join("prompts.jsonl");
    std::fs::write(&prompts, "\"a\"\n\"b\"\n{\"prompt\":\"c\",\"demo\":{\"hold\":1}}\n").unwrap();
    let args = [&url, "-n", "9", "-c", "1", "--prompts", prompts.to_str().unwrap(), "--json", "-"];
    let child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    soon(demo.until(|counts| counts.held == 1)).await;
    let sent = std::process::Command::new("kill").args(["-s", "INT", &child.id().unwrap().to_string()]).status();
    assert!(sent.unwrap().success());
    let output = soon(child.wait_with_output()).await.unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["run"]["interrupted"]), (Some(0), &json!(true)));
    assert_eq!((&document["targets"][0]["streams"]["whole"], &document["run"]["cut_streams"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn help_has_examples() {
    let ended = bench(&["--help"]).await;
    assert_eq!(ended.status, 0);
    for example in ["--compare http://127.0.0.1:9000", "--rate 20 --duration 60s", "tokenway bench --self-test"] {
        assert!(ended.out.contains(example), "{example}");
    }
}

//! The command: exit status, input in every form, one clear line for what cannot be.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::PAGE;
use super::server::{Heard, Server, reply};
use crate::support::child::{Child, Plan};
use crate::support::gateway::Directory;
use crate::support::ports::Nobody;
use crate::support::soon;

/// How a run ended.
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs `tokenway doctor` with these arguments and this on stdin.
pub async fn doctor(args: &[&str], stdin: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    command
        .arg("doctor")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.as_bytes()).await.unwrap();
    drop(input);
    let done = soon(child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { status: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

/// Allows everyone, with every header of these tests.
fn open(_: &Heard) -> String {
    reply(
        "200 OK",
        &["access-control-allow-origin: *", "access-control-allow-headers: content-type, authorization"],
        "{}",
    )
}

#[tokio::test]
async fn allowed_is_0_blocked_is_1() {
    let server = Server::start(open).await;
    let done = doctor(&[&server.url, "--origin", PAGE], "").await;
    assert_eq!(done.status, 0, "{}{}", done.out, done.err);
    assert!(done.out.contains("ALLOWED") && done.err.is_empty(), "{}", done.out);
    let done = doctor(&[&server.url, "--origin", PAGE, "--credentials", "include"], "").await;
    assert_eq!(done.status, 1);
    assert!(done.out.contains("BLOCKED  WildcardOriginNotAllowed"), "{}", done.out);
}

#[tokio::test]
async fn wrong_usage_is_64_with_one_clear_line() {
    for (args, said) in [
        (&["api.example.com/v1"][..], "begin it with https://"),
        (&["https://"], "is no URL"),
        (&["ftp://a.example"], "neither an http nor an https URL"),
        (&[], "no URL"),
        (&["https://a.example", "--header", "canary"], "has no colon"),
        (&["https://a.example", "--header", "a b: canary"], "no header name"),
        (&["https://a.example", "--origin", "app"], "is no origin"),
        (&["--from-curl", "wget x"], "--from-curl: it does not begin with `curl`"),
        (&["--from-har", "/nonexistent.har"], "--from-har /nonexistent.har: No such file"),
        (&["https://a.example", "--ca", "/nonexistent.pem"], "--ca /nonexistent.pem"),
        (&["https://a.example", "--as", "page"], "give --from-curl or --from-har"),
    ] {
        let done = doctor(args, "").await;
        assert_eq!((done.status, done.out.as_str()), (64, ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(said) && done.err.lines().count() == 1, "{args:?}: {}", done.err);
        assert!(!done.err.contains("canary"), "{}", done.err);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_69_with_one_clear_line() {
    let nobody = Nobody::new();
    let gateway = Child::start(Plan::default()).await;
    let untrusted = format!("https://localhost:{}/healthz", gateway.target.address.port());
    for (url, said) in [
        (format!("http://{}/", nobody.address), "connection refused"),
        ("https://tokenway.invalid/".to_owned(), "no such host"),
        (untrusted.clone(), "--ca FILE"),
        (format!("https://{}/", gateway.admin), "does not speak TLS"),
        // TLS where HTTP is asked for
        (untrusted.replace("https://", "http://"), "localhost:"),
    ] {
        let done = doctor(&[&url, "--origin", "http://localhost:3000"], "").await;
        assert_eq!((done.status, done.out.as_str()), (69, ""), "{url}: {}", done.err);
        assert!(done.err.contains(said) && done.err.lines().count() == 1, "{url}: {}", done.err);
    }
    let done = doctor(&[&untrusted, "--origin", "https://app.example", "--insecure", "--no-probes"], "").await;
    assert_eq!(done.status, 0, "{}{}", done.out, done.err);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let done = doctor(&[&url, "--origin", PAGE, "--timeout", "1s"], "").await;
    assert_eq!(done.status, 69);
    assert!(done.err.contains("no answer within 1s; allow it more with --timeout"), "{}", done.err);
}

#[tokio::test]
async fn a_curl_line_is_read_from_the_command_line_and_from_stdin() {
    let server = Server::start(open).await;
    let line = format!(
        "curl '{}' -H 'origin: {PAGE}' -H 'authorization: Bearer canary' -H 'sec-fetch-mode: cors' --json '{{\"a\":1}}'",
        server.url
    );
    for (args, stdin) in [(["--from-curl", &line], ""), (["--from-curl", "-"], &line[..])] {
        let done = doctor(&[&args[..], &["--json", "--no-probes"]].concat(), stdin).await;
        let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {}", done.err));
        assert_eq!((done.status, &report["request"]["origin"]), (0, &PAGE.into()));
        assert!(!done.out.contains("canary"));
    }
    let heard = server.heard();
    assert_eq!(heard.last().unwrap().header("authorization"), "Bearer canary");
    assert_eq!(heard.last().unwrap().body, b"{\"a\":1}");
}

#[tokio::test]
async fn a_har_file_is_read() {
    let server = Server::start(open).await;
    let directory = Directory::new();
    let file = directory.0.join("page.har");
    let har = serde_json::json!({ "log": { "entries": [{
        "request": { "method": "GET", "url": server.url, "headers": [{ "name": "Origin", "value": PAGE }], "cookies": [] },
        "response": { "status": 0 },
    }] } });
    std::fs::write(&file, har.to_string()).unwrap();
    let done = doctor(&["--from-har", file.to_str().unwrap(), "--json", "--no-probes"], "").await;
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {}", done.err));
    assert_eq!((done.status, &report["request"]["url"]), (0, &server.url.clone().into()));
}

#[tokio::test]
async fn colours_are_there_when_wanted_and_never_in_json() {
    let server = Server::start(open).await;
    for (more, coloured) in [(&["--color", "always"][..], true), (&["--color", "never"], false), (&[], false)] {
        let done = doctor(&[&[&server.url[..], "--no-probes"], more].concat(), "").await;
        assert_eq!(done.out.contains('\u{1b}'), coloured, "{more:?}");
    }
    let done = doctor(&[&server.url, "--no-probes", "--json", "--color", "always"], "").await;
    assert!(!done.out.contains('\u{1b}'));
}

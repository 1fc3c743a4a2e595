//! `--json` of every command that has it: stdout is one document at every exit, with an `error` where there is no result.

use std::fs;
use std::process::Stdio;

use demo_upstream::{Demo, Knobs};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::gateway::Directory;
use crate::support::ports::Nobody;
use crate::support::soon;

/// Runs this line, of which no word has a blank: the exit status, the one document on stdout, and stderr.
async fn tokenway(line: &str) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    command.args(line.split(' ')).env("CANARY", "canary of two words").stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(command.output()).await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!out.contains("canary") && !err.contains("canary"), "{out}{err}");
    let document = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}{err}"));
    (output.status.code().unwrap(), document, err)
}

/// Asserts that this line fails with this status, and tells the same on stderr and in the document.
#[track_caller]
fn assert_failed(line: &str, (status, document, err): &(i32, Value, String), expected: i32, words: &str) {
    let code = match expected {
        64 => "usage",
        69 => "unreachable",
        _ => "failed",
    };
    assert_eq!((*status, &document["error"]["code"]), (expected, &json!(code)), "{line}: {document}{err}");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(words) && !message.contains('\n'), "{line}: {message}");
    assert!(err.contains(words), "{line}: {err}");
}

async fn demo() -> (Demo, String) {
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let address = demo.addr.to_string();
    (demo, address)
}

/// A configuration of two models, one at each of these addresses; `auto` asks the second.
fn configured(first: &str, second: &str) -> (Directory, String) {
    let directory = Directory::new();
    let model = |name: &str, address: &str| {
        format!(
            "[[upstreams]]\nname = \"{name}\"\nbase_url = \"http://{address}/v1\"\n\
             [[models]]\nname = \"{name}\"\nupstream = \"{name}\"\n"
        )
    };
    let auto = "[routing.auto]\neasy = \"one\"\nhard = \"two\"\nclassifier = \"two\"\n";
    let text = format!("[server]\nplaintext = true\n{}{}{auto}", model("one", first), model("two", second));
    let file = directory.0.join("tokenway.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (directory, file)
}

#[tokio::test]
async fn what_cannot_be_read_as_arguments_is_an_error_too() {
    for (line, words) in [
        ("doctor https://a.example --json --http 3", "invalid value '3'"),
        ("check --json", "--config"),
        ("bench --json - -c 0 http://a.example", "invalid value '0'"),
        ("cost --json", "--input"),
        ("key --json", "subcommand"),
        ("route eval --json --wrng", "'--wrng'"),
    ] {
        assert_failed(line, &tokenway(line).await, 64, words);
    }
}

#[tokio::test]
async fn of_the_doctor() {
    let (_demo, address) = demo().await;
    let taken = Nobody::new();
    let nobody = taken.address.to_string();
    for (line, status, words) in [
        ("doctor ftp://a.example --json".to_owned(), 64, "neither an http nor an https URL"),
        ("doctor --json".to_owned(), 64, "no URL"),
        ("doctor https://a.example --json --header canary".to_owned(), 64, "has no colon"),
        (format!("doctor http://{nobody}/ --json --origin https://app.example"), 69, "connection refused"),
    ] {
        assert_failed(&line, &tokenway(&line).await, status, words);
    }
    // a page that is blocked is a result
    let blocked = format!("doctor http://{address}/ --json --no-probes --origin https://app.example");
    let (status, report, err) = tokenway(&blocked).await;
    assert_eq!((status, &report["verdict"], &report["error"]), (1, &json!("blocked"), &Value::Null), "{err}");
    let own = format!("doctor http://{address}/ --json --no-probes --origin http://{address}");
    let (status, report, err) = tokenway(&own).await;
    assert_eq!((status, &report["verdict"], &report["error"]), (0, &json!("allowed"), &Value::Null), "{err}");
}

#[tokio::test]
async fn of_the_load_tester() {
    let (_demo, address) = demo().await;
    let taken = Nobody::new();
    let nobody = taken.address.to_string();
    for (line, status, words) in [
        ("bench nowhere --json -", 64, "the URL is no URL"),
        ("bench http://a.example --json - --html /nowhere/x", 64, "--html /nowhere/x"),
        ("bench http://a.example --json - --html -", 64, "stdout is taken"),
        ("bench http://a.example --json - --key-env CANARY", 64, "--key-env CANARY"),
        ("bench --self-test --json -", 64, "--self-test"),
        (&format!("bench http://{nobody} -n 2 --json -"), 1, "connection refused"),
    ] {
        assert_failed(line, &tokenway(line).await, status, words);
    }
    let (_, document, _) = tokenway(&format!("bench http://{nobody} -n 2 --json -")).await;
    assert_eq!((&document["schema"], &document["targets"][0]["streams"]["failed"]), (&json!(1), &json!(2)));
    let (status, document, _) = tokenway(&format!("bench http://{address} -n 2 --json -")).await;
    assert_eq!((status, &document["error"]), (0, &Value::Null));
    // all that can be written is, and the document says what could not
    let line = format!("bench http://{address} -n 2 --json - --html /dev/full");
    let full = tokenway(&line).await;
    assert_failed(&line, &full, 1, "/dev/full: ");
    assert_eq!(full.1["targets"][0]["streams"]["whole"], 2);
}

#[tokio::test]
async fn of_the_check() {
    let (_demo, address) = demo().await;
    let taken = Nobody::new();
    let nobody = taken.address.to_string();
    let (_good, good) = configured(&address, &address);
    let (_half, half) = configured(&address, &nobody);
    let line = "check --json --config /nowhere/tokenway.toml";
    let wrong = tokenway(line).await;
    // stderr has each problem, the document has them in a list
    assert_failed(line, &wrong, 64, "/nowhere/tokenway.toml: ");
    assert_eq!((&wrong.1["ok"], wrong.1["problems"].as_array().unwrap().len()), (&json!(false), 1));

    let (status, document, err) = tokenway(&format!("check --json --live --config {good}")).await;
    assert_eq!((status, &document["ok"], &document["error"]), (0, &json!(true), &Value::Null), "{err}");
    let live = document["live"].as_array().unwrap();
    assert!(live.len() == 2 && live.iter().all(|answer| answer["ok"] == true), "{document}");

    let line = format!("check --json --live --config {half}");
    let failed = tokenway(&line).await;
    assert_failed(&line, &failed, 1, "1 of 2 models gave no complete stream: two");
    assert_eq!(
        (&failed.1["ok"], &failed.1["live"][0]["ok"], &failed.1["live"][1]["ok"]),
        (&false.into(), &true.into(), &false.into())
    );
}

#[tokio::test]
async fn of_costs_keys_and_routes() {
    let directory = Directory::new();
    let keys = directory.0.join("keys.toml");
    let keys = keys.to_str().unwrap();
    let taken = Nobody::new();
    let nobody = taken.address.to_string();
    let (_silent, silent) = configured(&nobody, &nobody);
    for (line, status, words) in [
        ("cost --json --input 1 --output 1 --strong nobody", 64, "--strong: no priced model"),
        ("cost --json --log /nowhere/log", 1, "/nowhere/log cannot be read"),
        (&format!("key list --json --keys-file {keys}"), 1, "No such file"),
        (&format!("key new a/b --json --keys-file {keys}"), 64, "letters, digits"),
        ("route explain x --json --config /nowhere/tokenway.toml", 64, "cannot be read"),
        (&format!("route eval --json --config {silent}"), 1, "gave no verdict at all"),
    ] {
        assert_failed(line, &tokenway(line).await, status, words);
    }
    let (status, _, _) = tokenway(&format!("key new bot --json --keys-file {keys}")).await;
    assert_eq!(status, 0);
    let (status, revoked, _) = tokenway(&format!("key revoke bot --json --keys-file {keys}")).await;
    assert_eq!((status, &revoked["name"]), (0, &json!("bot")));
}

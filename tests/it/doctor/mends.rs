//! The mends are right: each language's own reader takes them, and real nginx that is so mended lets the page through.

use std::fs;
use std::process::Stdio;

use browser::request::Credentials;
use doctor::mend::{Needs, Target};
use doctor::plan::Input;
use serde_json::Value;
use tokio::process::Command;

use super::{PAGE, finding, post, report};
use crate::support::gateway::Directory;
use crate::support::nginx::Nginx;
use crate::support::soon;

/// With what is hardest to quote.
fn needs() -> Needs {
    Needs {
        origin: "http://[::1]:3000".into(),
        method: "PA'T`CH".into(),
        headers: vec!["authorization".into(), "x-o'clock".into(), "x-`tick`".into(), "x-100%".into()],
        expose: vec!["x-request-id".into(), "x-#1".into()],
        credentials: true,
        preflight: true,
    }
}

/// Whether this program takes the file.
async fn takes(program: &str, args: &[&str], name: &str, text: &str) {
    let directory = Directory::new();
    let file = directory.0.join(name);
    fs::write(&file, text).unwrap();
    let command = Command::new(program).args(args).arg(&file).stdin(Stdio::null()).output();
    let done = soon(command).await.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}\n{text}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn javascript_and_python_take_their_mends() {
    takes("node", &["--check"], "mend.js", &Target::Express.mend(&needs()).unwrap()).await;
    for target in [Target::Fastapi, Target::Flask] {
        let check = ["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"];
        takes("python3", &check, "mend.py", &target.mend(&needs()).unwrap()).await;
    }
}

#[tokio::test]
async fn nginx_takes_its_mend_whatever_is_in_it() {
    let mut nginx = Nginx::new();
    nginx.configure_mended(&Target::Nginx.mend(&needs()).unwrap(), "return 200");
    nginx.check().await;
}

#[tokio::test]
async fn nginx_so_mended_lets_the_page_through_and_no_other() {
    let mut nginx = Nginx::new();
    let input = |url: &str| {
        let mut input = post(url);
        input.headers.push("authorization: Bearer x".into());
        Input { credentials: Some(Credentials::Include), ..input }
    };
    // behind it stands what refuses everyone without a key, as applications do
    nginx.configure("", "return 401");
    let url = format!("{}/v1/chat", nginx.start().await);
    let before = report(input(&url), false).await;
    assert_eq!(before["code"], "PreflightMissingAllowOriginHeader", "{before:#}");
    assert_eq!(before["block"]["server"], "nginx");
    let mend = |report: &Value| {
        let mends = report["block"]["mends"].as_array().unwrap().clone();
        mends.iter().find(|mend| mend["target"] == "nginx").unwrap()["text"].as_str().unwrap().to_owned()
    };

    let mut mended = Nginx::new();
    mended.configure_mended(&mend(&before), "return 401");
    let url = format!("{}/v1/chat", mended.start().await);
    let after = report(input(&url), true).await;
    assert_eq!(after["verdict"], "allowed", "{after:#}");
    for id in [
        "origin-reflected",
        "vary-origin-missing",
        "errors-without-cors",
        "preflight-rate-limited",
        "cors-headers-doubled",
    ] {
        assert!(finding(&after, id).is_null(), "{:#}", after["findings"]);
    }
    let stranger = Input { origin: Some("https://evil.example".into()), ..input(&url) };
    assert_eq!(report(stranger, false).await["verdict"], "blocked", "only {PAGE} is allowed");
}

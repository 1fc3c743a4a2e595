//! `tokenway cost --log`, on lines that the program itself has written.

use std::fs;
use std::process::Stdio;

use http::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::child::{Child, Plan, chat, post, roots, with};
use crate::support::client::{Target, text};
use crate::support::process::Server;
use crate::support::soon;

async fn asked(target: &Target, body: &Value, id: &str) -> Response<Incoming> {
    soon(soon(target.h2()).await.send_request(with(post(body), "x-request-id", id))).await.unwrap()
}

/// The lines of a server, once it has written one for each of these requests.
async fn lines(server: &Server, ids: &[&str]) -> Vec<String> {
    soon(async {
        loop {
            let lines = server.output();
            // the line of the request itself: `attempt failed` holds an id, too
            let is_there =
                |id: &&str| lines.iter().any(|line| line.contains("tokenway::request") && line.contains(*id));
            if ids.iter().all(is_there) {
                return lines;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}

/// What the command says of a file of these lines.
async fn told(child: &Child, lines: &[String]) -> Value {
    let file = child.path("tokenway.log");
    fs::write(&file, lines.join("\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    command.args(["cost", "--json", "--strong", "demo", "--config"]).arg(child.path("tokenway.toml"));
    command.arg("--log").arg(&file).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The sum of amounts in dollars, in pico-dollars.
fn pico(dollars: &str) -> u64 {
    let (whole, fraction) = dollars.split_once('.').unwrap();
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

#[tokio::test]
async fn both_formats_of_the_log_add_up_to_what_each_answer_told() {
    let child = Child::start(Plan::default()).await;
    let config = fs::read_to_string(child.path("tokenway.toml")).unwrap();
    fs::write(child.path("text.toml"), config.replace("format = \"json\"", "format = \"text\"")).unwrap();
    let file = child.path("text.toml");
    let mut other = Server::tokenway(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
    let address = other.said("listening on https://").await.parse().unwrap();
    let as_text = Target { address, roots: roots(&child.path("ca.pem")) };

    for (target, server) in [(&child.target, &child.server), (&as_text, &other)] {
        let mut expected = 0;
        for (id, tokens) in [("whole-1", 3), ("whole-2", 40)] {
            let answer = asked(target, &chat(false, json!({ "tokens": tokens })), id).await;
            expected += pico(answer.headers()["tokenway-cost"].to_str().unwrap());
            text(answer).await;
        }
        let refused = asked(target, &json!({ "model": "demo" }), "refused").await;
        assert_eq!(refused.status(), 400);
        let failed = asked(target, &chat(false, json!({ "fault": "status_500" })), "failed").await;
        assert_eq!(failed.status(), 502);
        let mut lines = lines(server, &["whole-1", "whole-2", "refused", "failed"]).await;
        let own = lines.iter().filter(|line| line.contains("tokenway::request")).count();
        assert_eq!(own, 4, "{lines:#?}");
        let foreign = lines.iter().filter(|line| !line.trim().is_empty()).count() - own;
        lines.push("GET / HTTP/1.1 200 model=\"demo\" cost=\"5.0\"".to_owned());
        lines.push("{ \"broken\": ".to_owned());
        let told = told(&child, &lines).await;
        let dollars = told["dollars"].as_str().unwrap();
        assert_eq!(pico(dollars), expected, "{told}");
        // every answer was the strong model's own
        assert_eq!(told["naive"]["dollars"], told["dollars"]);
        let counts = ["requests", "others", "skipped_lines", "without_cost"].map(|count| told[count].as_u64().unwrap());
        assert_eq!(counts, [3, 1, foreign as u64 + 2, 1], "{told}");
        assert_eq!((&told["models"][0]["answers"], &told["models"][0]["output_tokens"]), (&json!(2), &json!(43)));
    }
}

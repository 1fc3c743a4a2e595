//! Keys as an operator handles them: made and revoked by command, learned at SIGHUP; and those that verify tokens.

use http::StatusCode;
use serde_json::json;
use tokio::process::Command;

use super::{bearer, token, token_by};
use crate::support::child::{Child, Plan, with};
use crate::support::client::get;
use crate::support::process::SECRETS;
use crate::support::soon;

const TAKES_KEYS: &str = "[access]\naccept = [\"key\"]\n";

async fn tokenway_key(child: &Child, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    command.arg("key").args(words).arg("--keys-file").arg(child.path("keys.toml")).kill_on_drop(true);
    let output = soon(command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

async fn reload(child: &Child, result: &str) {
    let count = async || child.metrics().await.sum("tokenway_config_reloads_total", &[("result", result)]);
    let before = count().await;
    child.server.signal("HUP");
    child.until(|now| now.sum("tokenway_config_reloads_total", &[("result", result)]) > before).await;
}

async fn status(child: &Child, key: &str) -> StatusCode {
    let request = with(get("/v1/models"), "authorization", &bearer(key));
    soon(soon(child.target.h2()).await.send_request(request)).await.unwrap().status()
}

#[tokio::test]
async fn the_keys_file_is_read_again_at_sighup_and_a_bad_one_changes_nothing() {
    let child = Child::start(Plan::default()).await;
    let said = child.server.output().join("\n");
    assert_eq!(said.matches("access.accept is empty").count(), 1, "an open gateway says so once: {said}");
    let line = said.lines().find(|line| line.contains("access.accept is empty")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["level"], "WARN", "{line}");

    let first = tokenway_key(&child, &["new", "first"]).await;
    child.configure(Plan { more: TAKES_KEYS, ..Plan::default() });
    reload(&child, "ok").await;
    assert_eq!(status(&child, &first).await, StatusCode::OK);

    let second = tokenway_key(&child, &["new", "second"]).await;
    assert_eq!(status(&child, &second).await, StatusCode::UNAUTHORIZED, "before the signal");
    reload(&child, "ok").await;
    assert_eq!(status(&child, &second).await, StatusCode::OK);

    tokenway_key(&child, &["revoke", "first"]).await;
    reload(&child, "ok").await;
    assert_eq!(status(&child, &first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&child, &second).await, StatusCode::OK);

    std::fs::write(child.path("keys.toml"), "[[keys]]\nname = \"half\"").unwrap();
    reload(&child, "failed").await;
    assert_eq!(status(&child, &second).await, StatusCode::OK);
    assert_eq!(status(&child, &first).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_that_was_taken_is_refused_once_its_key_is_replaced() {
    const TAKES_TOKENS: &str = "[access]\naccept = [\"token\"]\n";
    let child = Child::start(Plan { more: TAKES_TOKENS, ..Plan::default() }).await;
    let (old, new) = (token(json!({})), token_by(SECRETS[2].1, json!({})));
    for _ in 0..2 {
        assert_eq!(status(&child, &old).await, StatusCode::OK);
    }
    assert_eq!(status(&child, &new).await, StatusCode::UNAUTHORIZED);

    let replaced = format!("{TAKES_TOKENS}token_secret_env = \"{}\"\n", SECRETS[2].0);
    child.configure(Plan { more: &replaced, ..Plan::default() });
    reload(&child, "ok").await;
    assert_eq!(status(&child, &old).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&child, &new).await, StatusCode::OK);
}

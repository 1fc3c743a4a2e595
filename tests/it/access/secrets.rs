//! Canaries: no credential, secret or subject comes out anywhere.

use http::StatusCode;
use serde_json::json;

use super::{bearer, key, token, token_by};
use crate::support::child::{ALLOWED, Child, Plan, chat, post, with};
use crate::support::client::{empty, get, request, text};
use crate::support::gateway::exchange;
use crate::support::process::SECRETS;
use crate::support::soon;

#[tokio::test]
async fn no_credential_comes_out_in_logs_metrics_errors_or_upstream() {
    let plan = Plan {
        cors: "credentials = true",
        more: "[access]\naccept = [\"key\", \"token\", \"session\"]\n",
        key: "",
        ..Plan::default()
    };
    let bot = key(1);
    // the file that the configuration names must be there at the start
    let child = Child::start(Plan { more: "", ..plan }).await;
    let keys = format!("[[keys]]\nname = \"bot\"\nsha256 = \"{}\"\n", bot.hash());
    std::fs::write(child.path("keys.toml"), keys).unwrap();
    child.configure(plan);
    child.server.signal("HUP");
    child.until(|now| now.sum("tokenway_config_reloads_total", &[("result", "ok")]) == 1.0).await;

    let (good, forged) = (token(json!({})), token_by("canary-forger-0123456789abcdef0123456789", json!({})));
    let mut client = soon(child.target.h2()).await;
    let login = with(request("POST", "/v1/session", empty()), "authorization", &bearer(&good));
    let login = soon(client.send_request(with(login, "origin", ALLOWED))).await.unwrap();
    assert_eq!(login.status(), StatusCode::NO_CONTENT);
    let cookie = login.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();

    let mut bodies = String::new();
    for (name, value) in [
        ("authorization", bearer(bot.expose())),
        ("authorization", bearer(&good)),
        ("authorization", bearer(&forged)),
        ("authorization", bearer("tw_canary")),
        ("authorization", "Basic canary".to_owned()),
        ("cookie", cookie.clone()),
        ("cookie", "__Host-tokenway=canary".to_owned()),
    ] {
        for body in [chat(true, json!({ "tokens": 3 })), chat(false, json!({ "fault": "status_401" }))] {
            let ask = with(with(post(&body), name, &value), "origin", ALLOWED);
            bodies += &text(soon(client.send_request(ask)).await.unwrap()).await;
        }
        let list = with(with(get("/v1/models"), name, &value), "origin", ALLOWED);
        let list = with(list, "x-request-id", &format!("list-{name}-{}", bodies.len()));
        let answer = soon(client.send_request(list)).await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        bodies += &text(answer).await;
        child.logged(&id).await;
    }
    let metrics = exchange(&child.admin, "GET /metrics", "").await;
    let log = child.server.output().join("\n");
    assert!(
        log.contains("\"caller\":\"key:bot\"") && log.contains("\"caller\":\"sub:"),
        "callers are not logged: {log}"
    );
    let seen_upstream = format!("{:?}", child.demo.requests());
    let secrets = [bot.expose(), &good, &forged, cookie.split_once('=').unwrap().1, "canary"];
    let secrets: Vec<&str> = secrets.into_iter().chain(SECRETS.map(|(_, value)| value)).collect();
    for (place, said) in [("errors", &bodies), ("metrics", &metrics), ("log", &log), ("upstream", &seen_upstream)] {
        for secret in &secrets {
            assert!(!said.contains(secret), "{place} shows {secret}");
        }
    }
}

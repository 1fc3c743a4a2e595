//! Canaries: no credential, secret or subject comes out anywhere.

use http::StatusCode;
use serde_json::json;

use super::sessions::{cookie_of, log_in, log_out};
use super::{BOT, Guarded, bearer, from_page, key, token, token_by, with_all};
use crate::support::child::{ALLOWED, Child, Plan, chat, post, with};
use crate::support::client::{empty, get, request, text};
use crate::support::edge::{self, Version, completion, streaming};
use crate::support::gateway::exchange;
use crate::support::process::SECRETS;
use crate::support::redis::Redis;
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

/// Every key with its value, as Redis would send them.
async fn all_that_stands_in(redis: &Redis) -> String {
    let mut all = String::new();
    for key in redis.command::<Vec<String>>(&["KEYS", "*"]).await {
        let value: ::redis::Value = match redis.command::<String>(&["TYPE", &key]).await.as_str() {
            "string" => redis.command(&["GET", &key]).await,
            "zset" => redis.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            other => panic!("{key} is a {other}"),
        };
        all += &format!(
            "{key} {}\n",
            ::redis::from_redis_value::<Vec<String>>(value.clone())
                .map_or(format!("{value:?}"), |words| words.join(" "))
        );
    }
    all
}

#[tokio::test]
async fn no_credential_and_no_subject_stands_in_redis() {
    let redis = Redis::start().await;
    let section = format!("url = \"{}\"\ntimeout = \"5s\"", redis.url());
    let limits = "tokens_per_minute = 100_000\nconcurrent_streams = 5";
    let guarded = Guarded::set_up("", edge::Setup { redis: &section, limits, ..edge::Setup::default() }).await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let token = token(json!({}));
    let logged_out = cookie_of(&client.send(log_in(&token)).await);
    let cookie = cookie_of(&client.send(log_in(&token)).await);
    let held = || completion(&streaming("demo", json!({ "hold": 3 })));
    let mut open = Vec::new();
    for credential in [bearer(key(BOT).expose()), bearer(&token)] {
        open.push(client.send(with_all(held(), &[("authorization", &credential)])).await);
    }
    open.push(client.send(from_page(held(), &[("cookie", &cookie)])).await);
    assert_eq!(client.send(log_out(&logged_out)).await.status(), 204);

    let all = all_that_stands_in(&redis).await;
    // of each of two callers the requests, the tokens and the streams; and the logout
    assert_eq!((all.lines().count(), open.iter().filter(|answer| answer.status() == 200).count()), (7, 3), "{all}");
    let values = [&cookie, &logged_out].map(|cookie| cookie.split_once('=').unwrap().1);
    for secret in [key(BOT).expose(), &token, "canary", "ann-c", values[0], values[1]] {
        assert!(!all.contains(secret), "Redis holds {secret}: {all}");
    }
}

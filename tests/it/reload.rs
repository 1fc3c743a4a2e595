//! SIGHUP: a good file is swapped in whole, a bad one changes nothing, and no open stream notices either.

use std::fs;

use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::certs;
use crate::support::child::{ALLOWED, Child, Plan, chat, post, roots, with};
use crate::support::client::{Target, get, text};
use crate::support::soon;
use crate::support::sse::Events;

const OTHER: &str = "https://other.example";
const RELOADS: &str = "tokenway_config_reloads_total";

async fn allows(target: &Target, origin: &str) -> bool {
    let request = with(get("/v1/models"), "origin", origin);
    let response = soon(soon(target.h2()).await.send_request(request)).await.unwrap();
    let allowed = response.headers().get("access-control-allow-origin").cloned();
    assert_eq!(allowed, (response.status() == StatusCode::OK).then(|| HeaderValue::from_str(origin).unwrap()));
    allowed.is_some()
}

/// After the signal, once the gateway has counted it, and said so.
async fn reload(child: &Child, result: &str) {
    let count = async || child.metrics().await.sum(RELOADS, &[("result", result)]);
    let said = || child.server.output().iter().filter(|line| line.contains("reloaded")).count();
    let (counted, told) = (count().await, said());
    child.server.signal("HUP");
    child.until(|now| now.sum(RELOADS, &[("result", result)]) > counted && said() > told).await;
    assert_eq!((count().await, said()), (counted + 1.0, told + 1));
}

#[tokio::test]
async fn upstreams_that_did_not_change_keep_their_connections_and_others_close_them() {
    let child = Child::start(Plan::default()).await;
    let ask = async || {
        let mut client = soon(child.target.h2()).await;
        let response = soon(client.send_request(post(&chat(true, json!({ "tokens": 2 }))))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        text(response).await
    };
    ask().await;
    // the connection is back in the pool: the next request uses it
    soon(child.demo.until(|counts| counts.open == 0)).await;
    let more = "[[models]]\nname = \"second\"\nupstream = \"demo\"\n";
    child.configure(Plan { more, ..Plan::default() });
    reload(&child, "ok").await;
    ask().await;
    let connections: Vec<u64> = child.demo.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0], "the upstream is the same");

    child.configure(Plan { upstream: "keep_alive = \"20s\"", ..Plan::default() });
    reload(&child, "ok").await;
    // nobody uses the old connection any more
    soon(child.demo.until(|counts| counts.connections_open == 0)).await;
    ask().await;
    assert_eq!(child.demo.requests().last().unwrap().connection, 1);
}

#[tokio::test]
async fn a_good_file_is_swapped_in_and_open_streams_go_on_byte_for_byte() {
    let child = Child::start(Plan::default()).await;
    let mut completion = chat(true, json!({ "tokens": 30, "hold": 10 }));
    completion["stream_options"] = json!({ "include_usage": true });
    let (mut h1, mut h2) = (soon(child.target.h1()).await, soon(child.target.h2()).await);
    let mut streams = [
        Events::of(soon(h1.send_request(post(&completion))).await.unwrap()),
        Events::of(soon(h2.send_request(post(&completion))).await.unwrap()),
    ];
    let mut seen = [String::new(), String::new()];
    for (events, seen) in streams.iter_mut().zip(&mut seen) {
        for _ in 0..10 {
            seen.push_str(&events.next().await.unwrap().text);
        }
    }
    assert!(allows(&child.target, ALLOWED).await && !allows(&child.target, OTHER).await);

    // another origin, another certificate of another authority, another model
    let old = child.target.clone();
    certs::write(child.path("leaf.pem").parent().unwrap());
    let new = Target { roots: roots(&child.path("ca.pem")), ..old.clone() };
    let more = "[[models]]\nname = \"second\"\nupstream = \"demo\"\n";
    child.configure(Plan { cors: &format!("origins = [\"{OTHER}\"]"), more, ..Plan::default() });
    assert!(soon(new.try_tls(&["h2"])).await.is_err());
    reload(&child, "ok").await;
    assert!(soon(old.try_tls(&["h2"])).await.is_err(), "the old certificate is still served");
    assert!(allows(&new, OTHER).await && !allows(&new, ALLOWED).await);
    let mut second = chat(true, json!({ "tokens": 3 }));
    second["model"] = "second".into();
    let answer = soon(soon(new.h2()).await.send_request(post(&second))).await.unwrap();
    assert_eq!(answer.headers()["tokenway-model"], "second");
    assert_eq!(child.metrics().await.sum("tokenway_config_stale", &[]), 0.0);

    // a connection from before takes the new configuration for its next request
    let request = with(get("/v1/models"), "origin", OTHER);
    assert_eq!(soon(h2.send_request(request)).await.unwrap().status(), StatusCode::OK);

    child.demo.release(2);
    for (events, seen) in streams.iter_mut().zip(&mut seen) {
        events.rest().await.iter().for_each(|event| seen.push_str(&event.text));
        assert_eq!(events.ended_well, Some(true));
    }
    let mut unheld = completion.clone();
    unheld["demo"] = json!({ "tokens": 30 });
    let direct = child.directly(post(&unheld)).await.into_body().collect().await.unwrap().to_bytes();
    for seen in seen {
        assert_eq!(seen, String::from_utf8(direct.to_vec()).unwrap());
    }
}

#[tokio::test]
async fn a_bad_file_or_certificate_changes_nothing_is_told_of_and_can_be_mended() {
    let child = Child::start(Plan::default()).await;
    let good = fs::read_to_string(child.path("leaf.pem")).unwrap();
    let mut failed = 0.0;
    let break_file = || {
        let cors = format!("origins = [\"{OTHER}/path\"]\ncredentals = true");
        child.configure(Plan { cors: &cors, server: "max_body = \"-1\"", ..Plan::default() });
    };
    let break_certificate = || {
        child.configure(Plan { cors: &format!("origins = [\"{OTHER}\"]"), ..Plan::default() });
        fs::write(child.path("leaf.pem"), "no certificate").unwrap();
    };
    let delete = || fs::remove_file(child.path("tokenway.toml")).unwrap();
    for (breaks, places) in [
        (&break_file as &dyn Fn(), &["cors.origins", "cors.credentals", "server.max_body"][..]),
        (&break_certificate, &["server.certificate"]),
        (&delete, &["cannot be read"]),
    ] {
        breaks();
        failed += 1.0;
        reload(&child, "failed").await;
        let metrics = child.metrics().await;
        assert_eq!(metrics.sum("tokenway_config_stale", &[]), 1.0);
        assert_eq!(metrics.sum(RELOADS, &[("result", "failed")]), failed);
        assert!(allows(&child.target, ALLOWED).await && !allows(&child.target, OTHER).await);
        // still in service
        child.until_ready_is(StatusCode::OK).await;
        let log = child.server.output().join("\n");
        for place in places {
            assert!(log.contains(place), "{place} is not in the log: {log}");
        }
    }
    fs::write(child.path("leaf.pem"), good).unwrap();
    child.configure(Plan { cors: &format!("origins = [\"{OTHER}\"]"), ..Plan::default() });
    reload(&child, "ok").await;
    assert_eq!(child.metrics().await.sum("tokenway_config_stale", &[]), 0.0);
    assert!(allows(&child.target, OTHER).await && !allows(&child.target, ALLOWED).await);
}

#[tokio::test]
async fn what_a_reload_cannot_change_is_said_until_it_is_changed_back() {
    let child = Child::start(Plan::default()).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let said = |times: usize| {
        let log = child.server.output();
        for key in ["server.listen", "server.workers", "log.format"] {
            let lines = log.iter().filter(|line| line.contains(&format!("{key} is not what it was"))).count();
            assert_eq!(lines, times, "{key} in {log:?}");
        }
        assert!(!log.iter().any(|line| line.contains("server.admin is not")));
    };
    let same = fs::read_to_string(child.path("tokenway.toml")).unwrap();
    let moved = same
        .replacen("127.0.0.1:0", &elsewhere.to_string(), 1)
        .replacen("[cors]", "workers = 3\n[cors]", 1)
        .replacen("\"json\"", "\"text\"", 1);
    fs::write(child.path("tokenway.toml"), &moved).unwrap();
    reload(&child, "ok").await;
    said(1);
    // the second time it is as true as the first
    reload(&child, "ok").await;
    said(2);
    fs::write(child.path("tokenway.toml"), same).unwrap();
    reload(&child, "ok").await;
    said(2);
    let mut client = soon(child.target.h2()).await;
    assert!(text(soon(client.send_request(get("/healthz"))).await.unwrap()).await.contains("ok"));
}

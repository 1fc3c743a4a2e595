//! Every way in which a credential is not good has one answer, which a page can read.

use serde_json::json;

use super::{BOT, GONE, Guarded, OLD, UNKNOWN, bearer, from_page, key, now, token, token_by, with_all};
use crate::support::client::{get, request};
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, post, whole};

#[tokio::test]
async fn every_bad_credential_is_401_with_one_answer_that_a_page_can_read() {
    let guarded = Guarded::start().await;
    let damaged = key(BOT).expose()[..50].to_owned();
    let stranger = token_by("another secret of thirty-two bytes and more", json!({}));
    let cases: Vec<(&str, Vec<(&'static str, String)>)> = vec![
        ("unknown key", vec![("authorization", bearer(key(UNKNOWN).expose()))]),
        ("expired key", vec![("authorization", bearer(key(OLD).expose()))]),
        ("revoked key", vec![("authorization", bearer(key(GONE).expose()))]),
        ("damaged key", vec![("authorization", bearer(&damaged))]),
        ("another scheme", vec![("authorization", "Basic dTpw".into())]),
        ("a key without its scheme", vec![("authorization", key(BOT).expose().into())]),
        ("no token at all", vec![("authorization", "Bearer nonsense".into())]),
        ("another's token", vec![("authorization", bearer(&stranger))]),
        ("an expired token", vec![("authorization", bearer(&token(json!({ "exp": now() - 60 }))))]),
        ("a token that lives too long", vec![("authorization", bearer(&token(json!({ "exp": now() + 86_400 }))))]),
        ("a token for later", vec![("authorization", bearer(&token(json!({ "nbf": now() + 100 }))))]),
        ("a token for another page", vec![("authorization", bearer(&token(json!({ "origin": "https://b.example" }))))]),
        ("a token for another service", vec![("authorization", bearer(&token(json!({ "aud": "shop" }))))]),
        (
            "two headers",
            vec![("authorization", bearer(key(BOT).expose())), ("authorization", bearer(key(BOT).expose()))],
        ),
        ("a cookie that is none of ours", vec![("cookie", "__Host-tokenway=AAAA".into())]),
        ("an empty cookie", vec![("cookie", "__Host-tokenway=".into())]),
        ("two cookies", vec![("cookie", "__Host-tokenway=AAAA; __Host-tokenway=BBBB".into())]),
        (
            "a bad header beside a cookie",
            vec![("authorization", "Bearer x".into()), ("cookie", "__Host-tokenway=AAAA".into())],
        ),
    ];
    let mut messages = Vec::new();
    for version in Version::BOTH {
        let mut client = guarded.edge.client(version).await;
        for (name, headers) in &cases {
            let headers: Vec<(&'static str, &str)> = headers.iter().map(|(n, value)| (*n, value.as_str())).collect();
            let answer = client.send(from_page(get("/v1/models"), &headers)).await;
            assert_eq!(answer.status(), 401, "{name}");
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{name}");
            assert_eq!(answer.header("access-control-allow-credentials"), "true", "{name}");
            assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{name}");
            let body = answer.json().await;
            assert_eq!(body["error"]["code"], "invalid_credentials", "{name}");
            assert_eq!(body["error"]["type"], "authentication_error", "{name}");
            messages.push(body["error"]["message"].clone());
        }
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "the answers tell the cases apart: {messages:?}");
    // the operator is told
    for (credential, reason, count) in [
        ("key", "expired", 2),
        ("key", "revoked", 2),
        ("key", "unknown", 2),
        ("key", "malformed", 2),
        ("token", "bad_signature", 2),
        ("token", "lives_too_long", 2),
        ("token", "wrong_origin", 2),
        ("token", "wrong_audience", 2),
        ("session", "malformed", 4),
        ("none", "repeated", 4),
        ("none", "malformed", 4),
    ] {
        let series = format!("tokenway_credentials_refused_total{{credential=\"{credential}\",reason=\"{reason}\"}}");
        assert_eq!(guarded.edge.metric(&series), f64::from(count), "{series}");
    }
}

#[tokio::test]
async fn without_credentials_only_health_and_preflights_are_answered_and_no_upstream_is_asked() {
    let guarded = Guarded::start().await;
    let ask = whole("demo", json!({}));
    for version in Version::BOTH {
        let requests = [get("/v1/models"), completion(&ask), post("/v1/chat", ask.to_string())];
        for request in requests {
            let path = request.uri().path().to_owned();
            let answer = guarded.edge.client(version).await.send(from_page(request, &[])).await;
            assert_eq!((answer.status(), answer.header("www-authenticate")), (401, "Bearer"), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
            assert_eq!(answer.error_code().await, "missing_credentials", "{path}");
        }
        let mut client = guarded.edge.client(version).await;
        assert_eq!(client.send(from_page(get("/healthz"), &[])).await.status(), 200);
        assert_eq!(client.send(get("/nowhere")).await.status(), 404);
        for path in ["/v1/models", "/v1/chat/completions", "/v1/session"] {
            let preflight = [
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type"),
                // what no browser sends there, and nobody looks at
                ("authorization", "Basic broken"),
            ];
            let answer =
                client.send(from_page(request("OPTIONS", path, crate::support::client::empty()), &preflight)).await;
            assert_eq!((answer.status(), answer.header("access-control-allow-credentials")), (204, "true"), "{path}");
        }
    }
    assert!(guarded.edge.first.requests().is_empty(), "an upstream was asked");
}

#[tokio::test]
async fn a_key_and_a_token_are_good_also_without_an_origin() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    for credential in [key(BOT).expose().to_owned(), token(json!({}))] {
        let request =
            with_all(completion(&whole("demo", json!({ "tokens": 3 }))), &[("authorization", &bearer(&credential))]);
        let answer = client.send(request).await;
        assert_eq!(answer.status(), 200);
        answer.json().await;
    }
    // the caller's own credentials stay here
    for seen in guarded.edge.first.requests() {
        assert_eq!(seen.headers["authorization"], format!("Bearer {}", crate::support::edge::FIRST_KEY));
        assert!(!format!("{seen:?}").contains(key(BOT).expose()));
    }
    let request = get("/v1/models");
    let answer =
        client.send(from_page(request, &[("authorization", &bearer(&token(json!({ "origin": ORIGIN }))))])).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn where_nothing_is_asked_for_any_credential_is_passed_over() {
    // the OpenAI SDKs send a key whether there is one or not
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http2).await;
    let headers = [("authorization", "Bearer none"), ("cookie", "__Host-tokenway=x")];
    assert_eq!(client.send(with_all(get("/v1/models"), &headers)).await.status(), 200);
    // and there are no sessions
    let answer = client.send(with_all(post("/v1/session", ""), &headers)).await;
    assert_eq!(answer.error_code().await, "not_found");
}

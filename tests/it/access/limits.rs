//! Whose limits are counted: those of the key, the subject or the session, whatever the address.

use http::Request;
use serde_json::json;

use super::{BOT, Guarded, SLOW, bearer, from_page, key, token, with_all};
use crate::support::client::{RequestBody, empty, request};
use crate::support::edge::{Setup, Version, completion, whole};

fn quick() -> Request<RequestBody> {
    completion(&whole("demo", json!({ "tokens": 3 })))
}

/// How many requests pass, one after another, of at most ten.
async fn passed(guarded: &Guarded, ask: impl Fn() -> Request<RequestBody>) -> usize {
    let mut client = guarded.edge.client(Version::Http2).await;
    for passed in 0..10 {
        let answer = client.send(ask()).await;
        match answer.status() {
            200 => drop(answer.rest().await),
            429 => return passed,
            status => panic!("{status}: {}", answer.error_code().await),
        }
    }
    10
}

#[tokio::test]
async fn a_key_or_a_token_may_have_limits_of_its_own() {
    let limits = "requests_per_minute = 4";
    let guarded = Guarded::set_up("", Setup { limits, ..Setup::default() }).await;
    let by = |credential: String| move || with_all(quick(), &[("authorization", &bearer(&credential))]);
    assert_eq!(passed(&guarded, by(key(BOT).expose().to_owned())).await, 4);
    assert_eq!(passed(&guarded, by(key(SLOW).expose().to_owned())).await, 2);
    assert_eq!(passed(&guarded, by(token(json!({ "sub": "ann" })))).await, 4);
    assert_eq!(passed(&guarded, by(token(json!({ "sub": "ben", "rpm": 3 })))).await, 3);
    assert_eq!(passed(&guarded, by(token(json!({ "sub": "dan", "rpm": 0 })))).await, 10);
}

#[tokio::test]
async fn a_subject_is_one_caller_with_every_token_and_session() {
    let limits = "requests_per_minute = 5";
    let guarded = Guarded::set_up("", Setup { limits, ..Setup::default() }).await;
    let first = token(json!({ "sub": "ann" }));
    let mut client = guarded.edge.client(Version::Http2).await;
    let log_in = from_page(request("POST", "/v1/session", empty()), &[("authorization", &bearer(&first))]);
    let answer = client.send(log_in).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(client.send(with_all(quick(), &[("authorization", &bearer(&first))])).await.status(), 200);
        assert_eq!(client.send(from_page(quick(), &[("cookie", &cookie)])).await.status(), 200);
    }
    let second = token(json!({ "sub": "ann", "jti": "another" }));
    assert_eq!(passed(&guarded, || with_all(quick(), &[("authorization", &bearer(&second))])).await, 1);
}

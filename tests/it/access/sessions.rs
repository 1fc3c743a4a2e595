//! Sessions: a token for a cookie, what the cookie is good for, and how it ends.

use http::Request;
use serde_json::json;

use super::{BOT, Guarded, bearer, from_page, key, token, with_all};
use crate::support::answer::Answer;
use crate::support::client::{RequestBody, empty, get, request};
use crate::support::edge::{ORIGIN, Version, completion, post, whole};

pub(super) fn log_in(token: &str) -> Request<RequestBody> {
    from_page(request("POST", "/v1/session", empty()), &[("authorization", &bearer(token))])
}

pub(super) fn log_out(cookie: &str) -> Request<RequestBody> {
    from_page(request("DELETE", "/v1/session", empty()), &[("cookie", cookie)])
}

/// `name=value` of the one cookie that an answer sets.
pub(super) fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

pub(super) async fn models(guarded: &Guarded, cookie: &str) -> Answer {
    let mut client = guarded.edge.client(Version::Http2).await;
    client.send(from_page(get("/v1/models"), &[("cookie", cookie)])).await
}

#[tokio::test]
async fn a_token_is_exchanged_for_a_cookie_that_is_a_credential_by_itself() {
    for version in Version::BOTH {
        let guarded = Guarded::start().await;
        let mut client = guarded.edge.client(version).await;
        let answer = client.send(log_in(&token(json!({ "models": ["demo"] })))).await;
        assert_eq!((answer.status(), answer.header("cache-control")), (204, "no-store"));
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        let (name, attributes) = answer.header("set-cookie").split_once('=').unwrap();
        assert_eq!(name, "__Host-tokenway");
        let attributes = attributes.split_once("; ").unwrap().1;
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=3600");
        let cookie = cookie_of(&answer);
        // the beginning of its subject; three letters of it stand in a sealed cookie by chance, once in some thousand runs
        assert!(!cookie.contains("ann-c"));

        let list = client.send(from_page(get("/v1/models"), &[("cookie", &format!("other=1; {cookie}"))])).await;
        assert_eq!(list.json().await["data"].as_array().unwrap().len(), 1);
        let ask = completion(&whole("demo", json!({ "tokens": 3 })));
        assert_eq!(client.send(from_page(ask, &[("cookie", &cookie)])).await.status(), 200);
        let seen = &guarded.edge.first.requests()[0];
        assert!(!seen.headers.contains_key("cookie"), "the cookie went up");
    }
}

#[tokio::test]
async fn a_session_is_begun_with_a_good_token_and_nothing_else() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let cookie = cookie_of(&client.send(log_in(&token(json!({})))).await);
    let bare = request("POST", "/v1/session", empty());
    assert_eq!(client.send(from_page(bare, &[])).await.error_code().await, "missing_credentials");
    // neither does one session beget another
    let bare = request("POST", "/v1/session", empty());
    let by_cookie = from_page(bare, &[("cookie", &cookie)]);
    assert_eq!(client.send(by_cookie).await.error_code().await, "missing_credentials");
    for bad in [key(BOT).expose(), "nonsense", &token(json!({ "origin": "https://b.example" }))] {
        let answer = client.send(log_in(bad)).await;
        assert_eq!(answer.header("set-cookie"), "");
        assert_eq!(answer.error_code().await, "invalid_credentials");
    }
    let long = token(json!({ "models": vec!["m".repeat(60); 60] }));
    assert_eq!(client.send(log_in(&long)).await.error_code().await, "invalid_request");
    let answer = client.send(from_page(get("/v1/session"), &[])).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, "POST, DELETE, OPTIONS"));
}

#[tokio::test]
async fn each_login_makes_a_new_value_so_that_none_can_be_planted() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let token = token(json!({}));
    let first = cookie_of(&client.send(log_in(&token)).await);
    // a browser that holds a cookie already, planted or its own, gets another
    let again = with_all(log_in(&token), &[("cookie", &first)]);
    let second = cookie_of(&client.send(again).await);
    assert_ne!(first, second);
    // a planted value that we did not seal is not taken up
    let planted = with_all(log_in(&token), &[("cookie", "__Host-tokenway=planted")]);
    assert!(!cookie_of(&client.send(planted).await).contains("planted"));
    assert_eq!(models(&guarded, "__Host-tokenway=planted").await.status(), 401);
}

#[tokio::test]
async fn a_cookie_is_no_use_after_its_logout() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let cookie = cookie_of(&client.send(log_in(&token(json!({})))).await);
    let other = cookie_of(&client.send(log_in(&token(json!({})))).await);
    assert_eq!(models(&guarded, &cookie).await.status(), 200);

    let answer = client.send(log_out(&cookie)).await;
    assert_eq!(answer.status(), 204);
    let cleared: Vec<_> = answer.head.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(
        cleared,
        [
            "__Host-tokenway=; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=0",
            "__Host-tokenway=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
        ]
    );
    // replayed by whoever has kept it
    assert_eq!(models(&guarded, &cookie).await.error_code().await, "invalid_credentials");
    let revoked = "tokenway_credentials_refused_total{credential=\"session\",reason=\"revoked\"}";
    assert_eq!(guarded.edge.metric(revoked), 1.0);
    // another session of the same subject goes on
    assert_eq!(models(&guarded, &other).await.status(), 200);
    // a logout without a session, or with one that is over, is a logout
    for cookie in [&cookie, "__Host-tokenway=nonsense", "a=b"] {
        assert_eq!(client.send(log_out(cookie)).await.status(), 204, "{cookie}");
    }
}

#[tokio::test]
async fn a_cookie_works_for_pages_of_allowed_origins_and_for_json_alone() {
    let guarded = Guarded::start().await;
    let mut client = guarded.edge.client(Version::Http2).await;
    let cookie = cookie_of(&client.send(log_in(&token(json!({})))).await);
    let ask = whole("demo", json!({ "tokens": 3 }));
    let cookie_header = [("cookie", cookie.as_str())];

    // an image or a link of another site sends no Origin
    assert_eq!(client.send(with_all(get("/v1/models"), &cookie_header)).await.error_code().await, "origin_not_allowed");
    assert_eq!(client.send(with_all(completion(&ask), &cookie_header)).await.error_code().await, "origin_not_allowed");
    let logout = request("DELETE", "/v1/session", empty());
    assert_eq!(client.send(with_all(logout, &cookie_header)).await.error_code().await, "origin_not_allowed");
    // a page of another site, and a sandboxed one
    for origin in ["https://evil.example", "null"] {
        let request = with_all(completion(&ask), &[("cookie", &cookie), ("origin", origin)]);
        assert_eq!(client.send(request).await.error_code().await, "origin_not_allowed");
    }
    // a form of an allowed page
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut form = from_page(post("/v1/chat/completions", ask.to_string()), &cookie_header);
        form.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(client.send(form).await.error_code().await, "unsupported_media_type", "{kind}");
    }
    assert!(guarded.edge.first.requests().is_empty());
    // a key beside it speaks alone, and needs no Origin
    let with_key = with_all(get("/v1/models"), &[("cookie", &cookie), ("authorization", &bearer(key(BOT).expose()))]);
    assert_eq!(client.send(with_key).await.status(), 200);
}

#[tokio::test]
async fn a_rotated_secret_still_opens_the_sessions_of_the_one_before() {
    let old = Guarded::start().await;
    let cookie = cookie_of(&old.edge.client(Version::Http2).await.send(log_in(&token(json!({})))).await);
    let next = "session_secret_env = \"NEXT_SESSION_SECRET\"";
    let rotated = Guarded::with(&format!("{next}\nsession_secret_previous_env = \"TOKENWAY_SESSION_SECRET\"")).await;
    assert_eq!(models(&rotated, &cookie).await.status(), 200);
    let new = cookie_of(&rotated.edge.client(Version::Http2).await.send(log_in(&token(json!({})))).await);
    let done = Guarded::with(next).await;
    assert_eq!(models(&done, &new).await.status(), 200);
    assert_eq!(models(&done, &cookie).await.status(), 401);
}

#[tokio::test]
async fn a_session_of_sibling_subdomains_is_lax() {
    let guarded = Guarded::with("same_site = \"lax\"\nsession_ttl = \"2m\"").await;
    let answer = guarded.edge.client(Version::Http2).await.send(log_in(&token(json!({ "origin": ORIGIN })))).await;
    let set = answer.header("set-cookie");
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=120"), "{set}");
    assert_eq!(models(&guarded, &cookie_of(&answer)).await.status(), 200);
}

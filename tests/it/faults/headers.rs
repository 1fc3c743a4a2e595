//! Headers pass by allow-list, in both directions.

use demo_upstream::{Demo, Fault, Knobs};
use serde_json::json;
use tokio::net::TcpListener;

use super::assert_nothing_leaks;
use crate::support::edge::{Edge, FIRST_KEY, ORIGIN, SECOND_KEY, Setup, Version, completion, streaming, whole};

/// Everything that may be said to an upstream.
const UPWARDS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "user-agent",
    "x-request-id",
];

const SECRET: &str = "the-client-s-own-secret";

#[tokio::test]
async fn what_a_client_says_of_itself_does_not_go_up() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        for body in [streaming("demo", json!({})), whole("demo", json!({}))] {
            let mut request = completion(&body);
            for name in [
                "authorization",
                "cookie",
                "x-api-key",
                "api-key",
                "openai-organization",
                "openai-project",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-real-ip",
                "forwarded",
                "via",
                "referer",
                "user-agent",
                "proxy-authorization",
                "x-stainless-os",
                "accept-language",
                "sec-fetch-site",
                "x-anything",
            ] {
                request.headers_mut().insert(name, SECRET.parse().unwrap());
            }
            request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
            request.headers_mut().insert("accept-encoding", "gzip, br".parse().unwrap());
            request.headers_mut().insert("idempotency-key", "once-7".parse().unwrap());
            let answer = edge.client(version).await.send(request).await;
            assert_eq!(answer.status(), 200);
            let id = answer.header("x-request-id").to_owned();
            answer.rest().await;
            let asked = edge.first.requests().pop().unwrap();
            for (name, value) in &asked.headers {
                assert!(UPWARDS.contains(&name.as_str()), "{name} went up over {version:?}");
                assert!(!value.to_str().unwrap().contains(SECRET), "{name}");
            }
            assert_eq!(asked.headers["authorization"], format!("Bearer {FIRST_KEY}"));
            assert_eq!(asked.headers["accept-encoding"], "identity");
            assert_eq!(asked.headers["idempotency-key"].len(), 64, "derived: callers share the provider's key");
            assert_eq!(asked.headers["x-request-id"], id);
            assert_eq!(asked.headers["host"], edge.first.addr.to_string());
        }
    }
}

#[tokio::test]
async fn what_an_upstream_says_of_itself_does_not_come_down_and_vary_is_merged() {
    let first = Knobs { fault: Some(Fault::CorsHeaders), ..Knobs::default() };
    let edge = Edge::start(Setup { first, ..Setup::default() }).await;
    for version in Version::BOTH {
        for body in [streaming("demo", json!({})), whole("demo", json!({}))] {
            for origin in [Some(ORIGIN), None] {
                let mut request = completion(&body);
                origin.map(|origin| request.headers_mut().insert("origin", origin.parse().unwrap()));
                let answer = edge.client(version).await.send(request).await;
                assert_eq!(answer.header("access-control-allow-origin"), origin.unwrap_or_default());
                let vary: Vec<_> =
                    answer.head.headers.get_all("vary").iter().map(|line| line.to_str().unwrap()).collect();
                let vary = vary.join(", ").to_ascii_lowercase();
                assert!(vary.contains("accept-language") && vary.contains("origin"), "{vary}");
                let head = answer.head.clone();
                assert_nothing_leaks(&head, &answer.rest().await);
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_key_goes_with_it() {
    let trap = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let first = Knobs { fault: Some(Fault::Redirect), redirect_to: trap.addr, ..Knobs::default() };
    let edge = Edge::start(Setup { first, ..Setup::default() }).await;
    for version in Version::BOTH {
        for body in [streaming("demo", json!({})), whole("demo", json!({}))] {
            let answer = edge.client(version).await.ask(&body).await;
            assert_eq!(answer.header("location"), "");
            assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
        }
    }
    assert_eq!((edge.first.counts().requests, trap.counts().connections), (4, 0));
}

#[tokio::test]
async fn each_upstream_sees_its_own_key_and_no_other() {
    let first = Knobs { fault: Some(Fault::Status401), ..Knobs::default() };
    let edge = Edge::start(Setup { first, ..Setup::default() }).await;
    for body in [streaming("careful", json!({})), whole("careful", json!({}))] {
        edge.client(Version::Http2).await.ask(&body).await.rest().await;
    }
    for (upstream, key) in [(&edge.first, FIRST_KEY), (&edge.second, SECOND_KEY)] {
        let requests = upstream.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.headers["authorization"], format!("Bearer {key}"));
        }
    }
}

//! An offer to change the protocol is no demand: it is ignored on every route.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::edge::{Edge, ORIGIN, Setup, expected, streaming};
use crate::support::nginx::Nginx;
use crate::support::soon;

/// Runs curl with these arguments, and returns the status and what came.
async fn curl(arguments: &[&str]) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-w", "\n%{http_code}"]).args(arguments);
    let output = soon(curl.stdout(Stdio::piped()).kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// A preflight and a stream are answered as ever.
async fn is_served(origin_of_gateway: &str, offer: &[&str]) {
    let url = format!("{origin_of_gateway}/v1/chat/completions");
    let page = format!("origin: {ORIGIN}");
    let preflight =
        ["-X", "OPTIONS", "-H", &page, "-H", "access-control-request-method: POST", "-H", "host: localhost", &url];
    assert_eq!(curl(&[offer, &preflight].concat()).await, ("204".to_owned(), String::new()), "{offer:?}");
    let request = streaming("demo", json!({}));
    let body = request.to_string();
    let post = ["-H", &page, "-H", "host: localhost", "-H", "content-type: application/json", "-d", &body, &url];
    let (status, stream) = curl(&[offer, &post].concat()).await;
    assert_eq!(status, "200", "{offer:?}: {stream}");
    assert_eq!(stream.as_bytes(), expected(&request).concat(), "{offer:?}");
}

#[tokio::test]
async fn offers_of_clients_are_ignored() {
    let edge = Edge::start(Setup { plaintext: true, ..Setup::default() }).await;
    let gateway = format!("http://{}", edge.target.address);
    for offer in [
        // curl's own, with HTTP2-Settings
        &["--http2"][..],
        // Java's HttpClient
        &[
            "--http1.1",
            "-H",
            "connection: Upgrade, HTTP2-Settings",
            "-H",
            "upgrade: h2c",
            "-H",
            "http2-settings: AAEAAEAAAAIAAAAA",
        ],
        &["--http1.1", "-H", "connection: upgrade"],
        &["--http1.1", "-H", "connection: upgrade", "-H", "upgrade: websocket"],
    ] {
        is_served(&gateway, offer).await;
    }
}

#[tokio::test]
async fn behind_nginx_that_offers_an_upgrade_with_every_request_all_is_served() {
    let edge = Edge::start(Setup { plaintext: true, ..Setup::default() }).await;
    let mut nginx = Nginx::new();
    let location = format!(
        "proxy_pass http://{};\nproxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection \"upgrade\";\nproxy_set_header Host localhost;\nproxy_buffering off",
        edge.target.address
    );
    nginx.configure("", &location);
    let url = nginx.start().await;
    is_served(&url, &["--http1.1"]).await;
    is_served(&url, &["--http1.1", "-H", "connection: upgrade", "-H", "upgrade: h2c"]).await;
}

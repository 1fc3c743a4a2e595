//! The whole gateway between real TLS clients and an upstream that does everything wrong.

mod bodies;
mod commit;
mod deadlines;
mod drain;
mod good;
mod headers;
mod leaving;
mod many;
mod odd;
mod pool;
mod pressure;
mod provider_settings;
pub mod providers;
mod proxy;
pub mod table;
mod tls;

use demo_upstream::{CANARY, FAKE_KEY};
use http::response::Parts;

use crate::support::edge::{FIRST_KEY, SECOND_KEY};

/// What no byte that leaves the gateway may hold, but for the keys in requests to their own upstreams.
const SECRETS: [&str; 4] = [CANARY, FAKE_KEY, FIRST_KEY, SECOND_KEY];

/// Every header that an answer may have; `date` and `content-length` are hyper's.
const HEADERS: [&str; 20] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "server-timing",
    "timing-allow-origin",
    "tokenway-attempts",
    "tokenway-cache",
    "tokenway-model",
    "tokenway-route",
    "tokenway-stream-id",
    "tokenway-upstream",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-request-id",
    "connection",
];

/// Fails where an answer holds what must stay inside.
pub fn assert_nothing_leaks(head: &Parts, body: &[u8]) {
    let seen = format!("{head:?}\n{}", String::from_utf8_lossy(body));
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{secret} has left the gateway: {seen}");
    }
    for name in head.headers.keys() {
        assert!(HEADERS.contains(&name.as_str()), "the upstream's own header {name}: {head:?}");
    }
}

/// Fails where a text of the gateway's own, a log or metrics, holds what must stay inside.
pub fn assert_holds_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret}");
    }
}

//! Who may call: keys, tokens and sessions over real sockets.

mod browser;
mod examples;
mod keys;
mod logouts;
mod limits;
mod models;
mod refusals;
mod secrets;
mod sessions;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use serde_json::{Value, json};
use tokenway::auth::key::Key;
use tokenway::auth::token_key::SigningKey;

use crate::support::client::RequestBody;
use crate::support::edge::{Edge, ORIGIN, Setup};
use crate::support::gateway::Directory;
use crate::support::process::SECRETS;

/// A gateway that takes all three kinds. Its keys file holds `bot`, which may do all, `old`, which has expired, `gone`, which
/// is revoked, `narrow`, which may use the model `spare` alone, and `slow`, which may ask twice a minute.
struct Guarded {
    edge: Edge,
    _directory: Directory,
}

impl Guarded {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With further lines in `[access]`.
    async fn with(access: &str) -> Self {
        Self::set_up(access, Setup::default()).await
    }

    /// The same, with what else is set there.
    async fn set_up(access: &str, setup: Setup<'_>) -> Self {
        let directory = Directory::new();
        let file = directory.0.join("keys.toml");
        fs::write(&file, keys_file()).unwrap();
        let more = format!("[access]\naccept = [\"key\", \"token\", \"session\"]\nkeys_file = {file:?}\n{access}");
        let setup = Setup { cors: "credentials = true", more: &more, ..setup };
        Self { edge: Edge::start(setup).await, _directory: directory }
    }
}

fn key(number: u8) -> Key {
    Key::from_random([number; 32])
}

const BOT: u8 = 1;
const OLD: u8 = 2;
const GONE: u8 = 3;
const NARROW: u8 = 4;
const UNKNOWN: u8 = 5;
const SLOW: u8 = 6;

fn keys_file() -> String {
    let entry = |name: &str, number, more: &str| {
        format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}\n", key(number).hash())
    };
    [
        entry("bot", BOT, ""),
        entry("old", OLD, "expires = 2020-01-01"),
        entry("gone", GONE, "revoked = 2020-01-01"),
        entry("narrow", NARROW, "models = [\"spare\"]"),
        entry("slow", SLOW, "requests_per_minute = 2"),
    ]
    .concat()
}

pub fn bearer(credential: &str) -> String {
    format!("Bearer {credential}")
}

/// Seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token with these claims beside `sub` and `exp`, signed with the secret of [`SECRETS`].
pub fn token(more: Value) -> String {
    token_by(SECRETS[0].1, more)
}

fn token_by(secret: &str, more: Value) -> String {
    let mut claims = json!({ "sub": "ann-canary", "exp": now() + 300 });
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    SigningKey::from_secret(secret.as_bytes()).unwrap().sign(&serde_json::from_value(claims).unwrap()).unwrap()
}

/// The request with these headers; an `origin` beside them is the allowed one.
fn from_page(mut request: Request<RequestBody>, headers: &[(&'static str, &str)]) -> Request<RequestBody> {
    request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    with_all(request, headers)
}

pub fn with_all(mut request: Request<RequestBody>, headers: &[(&'static str, &str)]) -> Request<RequestBody> {
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

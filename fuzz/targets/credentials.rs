//! No cookie and no token is accepted that no secret has signed, and none makes a check panic.

#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use tokenway::auth::cookie::{self, SameSite};
use tokenway::auth::session::Sessions;
use tokenway::auth::token::Tokens;
use tokenway::auth::token_key::TokenKey;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or a few more of them";
const TTL: Duration = Duration::from_secs(3600);

fuzz_target!(|value: &[u8]| {
    let tokens = Tokens::new(vec![TokenKey::from_secret(SECRET).expect("long enough")], TTL, None);
    if let Ok(text) = std::str::from_utf8(value) {
        assert!(tokens.check(text, None, 1_760_000_000).is_err());
    }
    let Ok(line) = HeaderValue::from_bytes(value) else { return };
    let sessions = Sessions::new(SECRET, None, TTL, SameSite::Lax).expect("long enough");
    let headers = HeaderMap::from_iter([(header::COOKIE, line)]);
    for cookie in cookie::values(&headers) {
        assert!(sessions.open(cookie, None, 1_760_000_000).is_err());
    }
});

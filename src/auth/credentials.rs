//! Finds the credential of a request. Pure.
//!
//! `authorization` has priority over a cookie: a browser adds cookies by itself, a header is written by a program. A request with an
//! invalid header and a valid cookie is refused, and so is a request with two credentials of one kind.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::refusal::Refusal;
use super::{cookie, key};

/// `access.accept`: the accepted kinds of credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accept {
    /// Gateway keys.
    pub key: bool,
    /// Tokens.
    pub token: bool,
    /// Cookies.
    pub session: bool,
}

impl Accept {
    /// No credentials are required.
    pub fn is_open(self) -> bool {
        self == Self::default()
    }
}

/// A credential of a request, not checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'h> {
    /// A text with the prefix of a gateway key.
    Key(&'h str),
    /// Any other bearer token.
    Token(&'h str),
    /// The cookie's value.
    Session(&'h str),
}

impl Presented<'_> {
    /// The label `credential` of the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Presented::Key(_) => "key",
            Presented::Token(_) => "token",
            Presented::Session(_) => "session",
        }
    }
}

/// Returns the credential of the request.
///
/// # Errors
/// There is none, or there is more than one.
pub fn presented(headers: &HeaderMap, accept: Accept) -> Result<Presented<'_>, Refusal> {
    if let Some(bearer) = bearer(headers)? {
        let (presented, accepted) = match bearer.starts_with(key::PREFIX) {
            true => (Presented::Key(bearer), accept.key),
            false => (Presented::Token(bearer), accept.token),
        };
        return if accepted { Ok(presented) } else { Err(Refusal::NotAccepted) };
    }
    let mut sessions = cookie::values(headers).filter(|_| accept.session);
    match (sessions.next(), sessions.next()) {
        (None, _) => Err(Refusal::Missing),
        (Some(value), None) => Ok(Presented::Session(value)),
        // a partitioned cookie and an older one that is not partitioned: a logout deletes both
        (Some(_), Some(_)) => Err(Refusal::Repeated),
    }
}

/// Returns the text after `Bearer` in `authorization` (RFC 6750 §2.1), or `None` without the header.
///
/// # Errors
/// Another scheme, more than one header, or a text that is not a `token68` (RFC 9110 §11.2).
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return Ok(None),
        (Some(line), None) => line.to_str().map_err(|_| Refusal::Malformed)?,
        (Some(_), Some(_)) => return Err(Refusal::Repeated),
    };
    let (scheme, rest) = line.split_once(' ').ok_or(Refusal::Malformed)?;
    let token = rest.trim_matches(' ');
    let token68 = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    // RFC 9110 §11.1: the scheme's name is case-insensitive
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(token68) {
        true => Ok(Some(token)),
        false => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Accept = Accept { key: true, token: true, session: true };

    fn of(headers: &[(&'static str, &str)], accept: Accept) -> Result<String, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        presented(&map, accept).map(|presented| format!("{presented:?}"))
    }

    #[test]
    fn each_kind_is_known_by_its_place_and_beginning() {
        assert_eq!(of(&[("authorization", "Bearer tw_x")], ALL), Ok("Key(\"tw_x\")".into()));
        assert_eq!(of(&[("authorization", "bearer  a.b.c")], ALL), Ok("Token(\"a.b.c\")".into()));
        assert_eq!(of(&[("cookie", "x=y; __Host-tokenway=v")], ALL), Ok("Session(\"v\")".into()));
        assert_eq!(of(&[("cookie", "x=y")], ALL), Err(Refusal::Missing));
        assert_eq!(of(&[], ALL), Err(Refusal::Missing));
    }

    #[test]
    fn a_header_speaks_alone_also_where_it_is_bad() {
        let cookie = ("cookie", "__Host-tokenway=v");
        assert_eq!(of(&[cookie, ("authorization", "Bearer tw_x")], ALL), Ok("Key(\"tw_x\")".into()));
        for bad in ["Basic dTpw", "Bearer", "Bearer ", "tw_x", "", "Bearer a b", "Bearer a,b", "Bearer \u{e9}"] {
            assert_eq!(of(&[cookie, ("authorization", bad)], ALL), Err(Refusal::Malformed), "{bad}");
        }
    }

    #[test]
    fn two_of_a_kind_are_refused() {
        let twice = [("authorization", "Bearer tw_x"), ("authorization", "Bearer tw_x")];
        assert_eq!(of(&twice, ALL), Err(Refusal::Repeated));
        let twice = [("cookie", "__Host-tokenway=v"), ("cookie", "__Host-tokenway=w")];
        assert_eq!(of(&twice, ALL), Err(Refusal::Repeated));
    }

    #[test]
    fn a_kind_that_is_not_accepted_is_refused_and_its_cookie_is_not_ours() {
        let only = |key, token, session| Accept { key, token, session };
        assert_eq!(of(&[("authorization", "Bearer tw_x")], only(false, true, true)), Err(Refusal::NotAccepted));
        assert_eq!(of(&[("authorization", "Bearer a.b.c")], only(true, false, true)), Err(Refusal::NotAccepted));
        assert_eq!(of(&[("cookie", "__Host-tokenway=v")], only(true, true, false)), Err(Refusal::Missing));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in "[ -~]{0,60}") {
            let read = of(&[("authorization", &value)], ALL);
            prop_assert!(read.is_ok() || read == Err(Refusal::Malformed));
        }
    }
}

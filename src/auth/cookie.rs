//! The session cookie: read from a request, written into a response. Pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;

/// The cookie's name. RFC 6265bis §4.1.3.2: with `__Host-` a browser takes the cookie only from a secure origin, with
/// `Path=/` and without `Domain`, so that no sibling subdomain can set or shadow it.
pub const NAME: &str = "__Host-tokenway";

/// `access.same_site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// The page is on another site: `SameSite=None; Partitioned`. Partitioned cookies (CHIPS) are stored separately for
    /// each top-level site, and are sent where third-party cookies are blocked.
    None,
    /// Page and gateway are subdomains of one site: `SameSite=Lax`.
    Lax,
}

/// Returns every value of the cookie in a request. HTTP/2 may send one line for each pair (RFC 9113 §8.2.3).
pub fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.trim() == NAME).map(|(_, value)| value.trim())
}

/// Returns the `set-cookie` of a login. `value` is base64url, which needs no quoting (RFC 6265 §4.1.1).
pub fn set(value: &str, same_site: SameSite, max_age: Duration) -> String {
    format!("{NAME}={value}; {}; Max-Age={}", attributes(same_site), max_age.as_secs())
}

/// Returns the `set-cookie` lines of a logout: one for each form in which the cookie may have been set, because a
/// partitioned cookie and one that is not partitioned are two cookies.
pub fn clear() -> [String; 2] {
    [SameSite::None, SameSite::Lax].map(|same_site| format!("{NAME}=; {}; Max-Age=0", attributes(same_site)))
}

fn attributes(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::None => "Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        SameSite::Lax => "Path=/; Secure; HttpOnly; SameSite=Lax",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_cookie_is_found_among_others_and_on_lines_of_its_own() {
        let found = |lines: &[&str]| values(&headers(lines)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found(&["a=b; __Host-tokenway=x; c=d"]), ["x"]);
        assert_eq!(found(&["a=b", "__Host-tokenway=x"]), ["x"]);
        assert_eq!(found(&["__Host-tokenway=x; __Host-tokenway=y"]), ["x", "y"]);
        assert_eq!(found(&["__Host-tokenway="]), [""]);
        for other in ["__host-tokenway=x", "__Host-tokenway2=x", "a=__Host-tokenway", "__Host-tokenway", "", ";;="] {
            assert!(found(&[other]).is_empty(), "{other}");
        }
    }

    #[test]
    fn the_cookie_is_written_as_browsers_need_it() {
        assert_eq!(
            set("v", SameSite::None, Duration::from_secs(3600)),
            "__Host-tokenway=v; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=3600"
        );
        assert_eq!(
            set("v", SameSite::Lax, Duration::from_secs(60)),
            "__Host-tokenway=v; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert!(clear().iter().all(|line| line.starts_with("__Host-tokenway=; ") && line.ends_with("Max-Age=0")));
    }

    proptest! {
        #[test]
        fn any_cookie_line_is_read(line in "[ -~]{0,80}", value in "[A-Za-z0-9_-]{0,40}") {
            let _no_panic = values(&headers(&[&line])).count();
            let own = format!("{NAME}={value}");
            let headers = headers(&["a=b", &own]);
            prop_assert_eq!(values(&headers).collect::<Vec<_>>(), vec![value]);
        }
    }
}

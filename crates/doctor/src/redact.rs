//! Removes secrets from headers and URLs before they are shown. Pure.

use url::Url;

/// The value of a header without secrets: of a credential, only its scheme is shown.
pub fn header(name: &str, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    match kind(name) {
        Kind::Open => printable(&text),
        Kind::Scheme => match text.split_once(' ') {
            Some((scheme, _)) if is_scheme(scheme) => format!("{scheme} …"),
            _ => "…".to_owned(),
        },
        Kind::Pairs => match text.split_once('=') {
            // the name and the attributes of a cookie are no secrets
            Some((name, rest)) => {
                let attributes = rest.split_once(';').map_or(String::new(), |(_, attributes)| format!(";{attributes}"));
                printable(&format!("{name}=…{attributes}"))
            }
            None => "…".to_owned(),
        },
        Kind::Address => match Url::parse(&text) {
            Ok(url) => self::url(&url),
            // a relative URL can contain a user name, too
            Err(_) if text.contains('@') => "…".to_owned(),
            Err(_) => match text.split_once('?') {
                Some((path, written)) => printable(&format!("{path}?{}", query(written))),
                None => printable(&text),
            },
        },
        Kind::Secret => "…".to_owned(),
    }
}

/// The URL without user name, password and the values of parameters that are named like keys.
pub fn url(url: &Url) -> String {
    let mut url = url.clone();
    // these fail for a URL without a host, which has neither
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let Some(written) = url.query().map(str::to_owned) else { return printable(url.as_str()) };
    url.set_query(None);
    printable(&format!("{url}?{}", query(&written)))
}

fn query(text: &str) -> String {
    let is_secret = |name: &str| !matches!(kind(name), Kind::Open) || name.eq_ignore_ascii_case("sig");
    let pairs = text.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=…"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether a header of this name carries a secret: a credential, or a value that is named like one.
pub fn is_secret(name: &str) -> bool {
    matches!(kind(name), Kind::Scheme | Kind::Secret)
}

enum Kind {
    Open,
    /// `Bearer …`
    Scheme,
    /// `name=…; attributes`
    Pairs,
    /// A URL, absolute or relative.
    Address,
    Secret,
}

fn kind(name: &str) -> Kind {
    match name.to_ascii_lowercase().as_str() {
        "authorization" | "proxy-authorization" => Kind::Scheme,
        "set-cookie" => Kind::Pairs,
        "cookie" => Kind::Secret,
        "location" | "content-location" | "referer" => Kind::Address,
        name if ["key", "token", "secret", "password", "signature", "credential", "session", "auth"]
            .iter()
            .any(|part| name.contains(part)) =>
        {
            // `access-control-*` and `www-authenticate` contain no credentials
            if name.starts_with("access-control-") || name == "www-authenticate" { Kind::Open } else { Kind::Secret }
        }
        _ => Kind::Open,
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
}

/// The text without characters that control a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character changes the direction of the text beside it.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_kind_of_a_secret_is_shown() {
        for (name, value, seen) in [
            ("authorization", "Bearer sk-canary", "Bearer …"),
            ("Authorization", "canary", "…"),
            ("authorization", "canary-of-one-word and more", "…"),
            ("cookie", "session=canary", "…"),
            ("set-cookie", "session=canary; Path=/; Secure", "session=…; Path=/; Secure"),
            ("x-api-key", "canary", "…"),
            ("api-key", "canary", "…"),
            ("x-goog-api-key", "canary", "…"),
            ("x-auth-token", "canary", "…"),
            ("content-type", "text/plain", "text/plain"),
            ("location", "https://u:canary@a.example/?token=canary", "https://a.example/?token=…"),
            ("location", "//u:canary@a.example/", "…"),
            ("location", "/login?key=canary&next=x", "/login?key=…&next=x"),
            ("www-authenticate", "Bearer realm=\"x\"", "Bearer realm=\"x\""),
            ("access-control-allow-headers", "authorization", "authorization"),
            ("server", "x\u{1b}[31m", "x\u{fffd}[31m"),
        ] {
            assert_eq!(header(name, value.as_bytes()), seen, "{name}: {value}");
        }
    }

    #[test]
    fn the_user_name_and_the_keys_of_a_url_are_not_shown() {
        let url = Url::parse("https://u:canary@a.example/p?model=x&api_key=canary&X-Goog-Signature=canary&sig=canary")
            .unwrap();
        assert_eq!(super::url(&url), "https://a.example/p?model=x&api_key=…&X-Goog-Signature=…&sig=…");
    }

    proptest! {
        #[test]
        fn no_secret_is_ever_shown(value in "[a-zA-Z0-9+/=; ,-]{0,12}canary[a-zA-Z0-9+/=]{0,12}") {
            for name in ["authorization", "cookie", "x-api-key"] {
                // a secret that looks like a scheme's name cannot be distinguished from one
                prop_assume!(!value.split(' ').next().unwrap_or_default().contains("canary") || !value.contains(' '));
                prop_assert!(!header(name, value.as_bytes()).contains("canary"), "{name}");
            }
        }

        #[test]
        fn no_shown_text_controls_the_terminal(value in any::<Vec<u8>>()) {
            prop_assert!(!header("server", &value).chars().any(char::is_control));
        }
    }
}

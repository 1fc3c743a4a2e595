//! The address of an upstream: `https://host:port/prefix`. Pure.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use serde_json::json;
use settings::{Json, Mistake, Toml, Value};

/// `https://host:port/prefix`, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseUrl {
    /// `https`, or `http` for a server on this machine or a trusted network.
    pub tls: bool,
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port in the URL, or 443 or 80.
    pub port: u16,
    /// The path, without a trailing slash: `/v1`, or empty.
    pub prefix: String,
}

const MEND: &str = "write scheme, host and path, such as \"https://global-apis.com/v1\"";

impl BaseUrl {
    /// Parses the address of an upstream (RFC 3986 §3). No message repeats it, because it may contain credentials.
    ///
    /// # Errors
    /// Describes what is wrong, and the fix.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        // `http::Uri` drops a fragment silently.
        if text.contains('#') {
            return Err(Mistake::new("has a fragment", "remove everything from the `#` on"));
        }
        let uri: Uri = text.parse().map_err(|_| Mistake::new("is no URL", MEND))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(Mistake::new("is neither https nor http", MEND)),
            None => return Err(Mistake::new("has no scheme", MEND)),
        };
        let authority = uri.authority().ok_or_else(|| Mistake::new("has no host", MEND))?;
        if authority.as_str().contains('@') {
            let mend = "remove everything before the `@`; a key goes into api_key_env or api_key_file";
            return Err(Mistake::new("holds credentials", mend));
        }
        if uri.query().is_some() {
            let mend =
                "write its parameters as query = { name = \"value\" }; a key goes into api_key_env or api_key_file";
            return Err(Mistake::new("has a query", mend));
        }
        let prefix = uri.path().trim_end_matches('/');
        if prefix.ends_with("/chat/completions") {
            return Err(Mistake::new(
                "names one route",
                "remove `/chat/completions`: every request adds its own route",
            ));
        }
        Ok(Self { tls, host: host(authority.host())?, port: port(authority, tls)?, prefix: prefix.to_owned() })
    }

    /// Whether the host is this machine, so that other machines cannot read the traffic.
    pub fn is_loopback(&self) -> bool {
        // RFC 6761 §6.3: `localhost` is always the loopback interface.
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    }
}

fn host(written: &str) -> Result<String, Mistake> {
    let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let host = bare.to_ascii_lowercase();
    if is_dns_name(&host) { Ok(host) } else { Err(Mistake::new("has no usable host name", MEND)) }
}

fn port(authority: &http::uri::Authority, tls: bool) -> Result<u16, Mistake> {
    let written = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    match written {
        None => Ok(if tls { 443 } else { 80 }),
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Mistake::new("has no usable port", "write a port from 1 to 65535, or none")),
    }
}

/// Whether the name is a DNS name: lower-case letters, digits, hyphens and underscores in labels of 1 to 63, 253 in all (RFC
/// 1035 §2.3.4), and not an IPv4 address (the last label is not a number).
pub fn is_dns_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(letter) && !label.starts_with('-') && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number)
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.tls { ("https", 443) } else { ("http", 80) };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.prefix)
    }
}

impl Value for BaseUrl {
    const TYPE: &'static str = "URL";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        Self::parse(value.as_str().ok_or_else(|| Mistake::new("must be a string", MEND))?)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_spellings_are_read() {
        for (written, shown) in [
            ("https://global-apis.com/v1", "https://global-apis.com/v1"),
            ("https://global-apis.com/v1/", "https://global-apis.com/v1"),
            ("HTTPS://Global-APIs.com:443", "https://global-apis.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
            ("http://[::1]", "http://[::1]"),
            ("http://vllm_1:8000/v1", "http://vllm_1:8000/v1"),
        ] {
            assert_eq!(BaseUrl::parse(written).map(|url| url.to_string()), Ok(shown.to_owned()), "{written}");
        }
    }

    #[test]
    fn what_no_request_can_be_built_from_is_refused_and_never_repeated() {
        for bad in [
            "",
            "global-apis.com/v1",
            "/v1",
            "ftp://host/",
            "https:///v1",
            "https://host/v1#canary",
            "https://host/v1?key=canary",
            "https://user:canary@host/v1",
            "https://canary@host/v1",
            "https://host:0/",
            "https://host:99999/",
            "https://ho st/",
            "https://-canary-/",
            "https://1.2.3.999/",
            "https://host/v1/chat/completions",
            "https://host:/v1",
        ] {
            let mistake = BaseUrl::parse(bad).expect_err(bad);
            assert!(!format!("{mistake:?}").contains("canary"), "{mistake:?}");
        }
    }

    #[test]
    fn loopback_is_distinguished_from_other_hosts() {
        let is_loopback = |url: &str| BaseUrl::parse(url).unwrap().is_loopback();
        assert!(["http://localhost", "http://127.9.9.9:1", "http://[::1]"].into_iter().all(is_loopback));
        assert!(
            ["http://10.0.0.1", "http://localhost.example.com", "http://[::2]"].into_iter().all(|u| !is_loopback(u))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_survives_its_own_spelling(text in "\\PC{0,40}|https?://[a-z0-9.:/@?\\[\\]-]{0,30}") {
            if let Ok(url) = BaseUrl::parse(&text) {
                prop_assert_eq!(BaseUrl::parse(&url.to_string()), Ok(url));
            }
        }
    }
}

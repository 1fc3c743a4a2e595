//! Parses origins as browsers send them: Fetch §3.2, `serialized-origin` and `null` (which replaces RFC 6454 §6.2). Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest origin: `https://`, a host of 253 bytes with a trailing dot, `:65535`.
const MAX_LEN: usize = 8 + 254 + 6;

/// The value of one well-formed `Origin` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// `null`: a sandboxed frame, a `file:` or `data:` page, or a request that was redirected between origins.
    Null,
    /// A scheme other than `http` and `https`, such as `chrome-extension://…` or `capacitor://localhost`.
    Foreign(&'a str),
    /// The origin of an `http` or `https` page.
    Web(WebOrigin<'a>),
}

/// The origin of a page. It has exactly one spelling, so printing gives the parsed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebOrigin<'a> {
    /// The scheme.
    pub(super) scheme: Scheme,
    /// A domain in lower case without empty labels, an IPv4 address, or an IPv6 address in brackets and in canonical form.
    pub(super) host: &'a str,
    /// The port as written. Browsers omit the scheme's default port.
    pub(super) port: Option<u16>,
}

/// The schemes of origins that can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// The value is no serialised origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Origin<'a> {
    /// Parses the value of an `Origin` header.
    ///
    /// # Errors
    /// [`Malformed`] if no browser can have written the value: a path, upper case, white space, two origins, an invalid host
    /// or port. An origin that is not allowed is no error.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
        if text == "null" {
            return Ok(Origin::Null);
        }
        if text.len() > MAX_LEN {
            return Err(Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Malformed)?;
        match Scheme::parse(scheme) {
            Some(scheme) => WebOrigin::parse(scheme, rest).map(Origin::Web),
            None if is_scheme(scheme) && rest.bytes().all(is_foreign_host_byte) => Ok(Origin::Foreign(text)),
            None => Err(Malformed),
        }
    }
}

impl<'a> WebOrigin<'a> {
    fn parse(scheme: Scheme, rest: &'a str) -> Result<Self, Malformed> {
        let (host, port) = split_port(rest);
        let port = port.map(parse_port).map(|port| port.ok_or(Malformed)).transpose()?;
        if !is_host(host) {
            return Err(Malformed);
        }
        Ok(Self { scheme, host, port })
    }
}

impl Scheme {
    /// The scheme with this name in lower case.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        }
    }

    /// The default port, which origins omit.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Splits `host[:port]`. The colons of an IPv6 address are in brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let host_end = authority.rfind(']').unwrap_or(0);
    match authority[host_end..].find(':') {
        Some(colon) => (&authority[..host_end + colon], Some(&authority[host_end + colon + 1..])),
        None => (authority, None),
    }
}

/// Parses a decimal port without leading zeros, as the URL standard serialises it.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let shortest = text == "0" || !text.starts_with('0');
    // `u16::from_str` alone would accept a leading `+`
    (shortest && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Whether a browser could have serialised this host.
pub(super) fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(is_canonical_ipv6),
        None if ends_in_a_number(host) => host.parse::<Ipv4Addr>().is_ok(),
        None => is_domain(host),
    }
}

/// `serialized-domain`, and what the URL standard's host parser accepts besides, because browsers send it: `_` anywhere, `-`
/// at the ends of a label, and one trailing dot.
fn is_domain(host: &str) -> bool {
    let relative = host.strip_suffix('.').unwrap_or(host);
    relative.len() <= 253
        && relative.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        })
}

/// URL standard, "ends-in-a-number checker": such a host is an IPv4 address or invalid.
pub(super) fn ends_in_a_number(host: &str) -> bool {
    let relative = host.strip_suffix('.').unwrap_or(host);
    let last = relative.rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_canonical_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok_and(|address| canonical_ipv6(address) == text)
}

/// URL standard, "IPv6 serializer": RFC 5952, but an IPv4-mapped address keeps its last 32 bits in hexadecimal.
pub(super) fn canonical_ipv6(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = address.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        None => address.to_string(),
    }
}

/// `serialized-scheme`
fn is_scheme(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
}

/// More than `serialized-host`: identifiers of `safari-web-extension:` contain capitals, and `file://` has no host.
fn is_foreign_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'[' | b']' | b':')
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Null => f.write_str("null"),
            Origin::Foreign(text) => f.write_str(text),
            Origin::Web(web) => web.fmt(f),
        }
    }
}

impl fmt::Display for WebOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Origin<'_>, Malformed> {
        Origin::parse(text.as_bytes())
    }

    #[test]
    fn origins_of_browsers_are_parsed_and_printed_unchanged() {
        for text in [
            "null",
            "https://app.example.com",
            "https://app.example.com.",
            "http://localhost:3000",
            "http://localhost:0",
            "https://my_app.example.com",
            "https://r3---sn-.example.com",
            "https://xn--bcher-kva.example",
            "https://a.0xyz",
            "https://127.0.0.1:8443",
            "http://[::1]:5173",
            "http://[2001:db8::1:0:0:1]",
            "http://[::ffff:102:304]",
            "http://[::102:304]",
            "http://[::]",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "safari-web-extension://5E0D9A6C-0F0B-4E0A-9C1B-3B8F0D1A2B3C",
            "capacitor://localhost",
            "file://",
        ] {
            assert_eq!(parse(text).map(|o| o.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn values_that_no_browser_sends_are_malformed() {
        let long = format!("https://{}example.com", "a.".repeat(130));
        let label = format!("https://{}.example.com", "a".repeat(64));
        for text in [
            "",
            "garbage",
            "NULL",
            " null",
            "https://",
            "https:app.example.com",
            "://app.example.com",
            "https://app.example.com/",
            "https://app.example.com?",
            "https://app.example.com#x",
            "https://user@app.example.com",
            "https://app.example.com:",
            "https://app.example.com:08443",
            "https://app.example.com:+1",
            "https://app.example.com:65536",
            "https://app.example.com:8443:1",
            "https://app.example.com https://b.example.com",
            "https://app.example.com, https://app.example.com",
            "https://app.example.com\t",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://bücher.example",
            "https://app..example.com",
            "https://.example.com",
            "https://*.example.com",
            "https://1.2.3",
            "https://1.2.3.256",
            "https://01.2.3.4",
            "https://1.2.3.4.",
            "https://a.0x7f",
            "https://[::1",
            "https://::1",
            "https://[::1]]",
            "https://[::1]a:80",
            "https://[0:0:0:0:0:0:0:1]",
            "https://[::FFFF:102:304]",
            "https://[::ffff:1.2.3.4]",
            "https://[fe80::1%25eth0]",
            "Chrome-extension://abc",
            "chrome-extension://abc/popup.html",
            long.as_str(),
            label.as_str(),
        ] {
            assert_eq!(parse(text), Err(Malformed), "{text}");
        }
        assert_eq!(Origin::parse(b"https://\xff.example.com"), Err(Malformed));
    }

    #[test]
    fn a_host_has_at_most_253_bytes_and_a_dot() {
        let host = |len: usize| format!("https://{}", "a.".repeat(len / 2) + "b");
        assert!(parse(&host(253)).is_ok());
        assert!(parse(&(host(253) + ".:65535")).is_ok());
        assert_eq!(parse(&host(255)), Err(Malformed));
        assert!(parse(&format!("app://{}", "a".repeat(MAX_LEN - 6))).is_ok());
        assert_eq!(parse(&format!("app://{}", "a".repeat(MAX_LEN - 5))), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic_and_printed_unchanged(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(origin) = Origin::parse(&bytes) {
                prop_assert_eq!(origin.to_string().into_bytes(), bytes);
            }
        }

        #[test]
        fn near_origins_are_parsed_without_panic_and_printed_unchanged(
            text in r"(https?|[a-zA-Z-]{1,5})://[a-zA-Z0-9.:_*@/\[\]-]{0,20}(:[0-9+]{0,6})?",
        ) {
            if let Ok(origin) = parse(&text) {
                prop_assert_eq!(origin.to_string(), text);
            }
        }

        #[test]
        fn every_address_has_one_spelling(bits in any::<u128>(), prefix in 0u32..=128, v4 in any::<u32>(), port in any::<u16>()) {
            let six = Ipv6Addr::from(bits.checked_shr(prefix).unwrap_or(0));
            for host in [format!("[{}]", canonical_ipv6(six)), Ipv4Addr::from(v4).to_string()] {
                let text = format!("https://{host}:{port}");
                let web = WebOrigin { scheme: Scheme::Https, host: &host, port: Some(port) };
                prop_assert_eq!(parse(&text), Ok(Origin::Web(web)));
            }
        }
    }
}

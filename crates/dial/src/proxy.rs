//! A tunnel through an HTTP proxy (`CONNECT`, RFC 9110 §9.3.6).

use std::fmt;
use std::io;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::connect_error::Cause;

/// Most bytes of the proxy's response head.
const MAX_HEAD: usize = 16 * 1024;

/// An HTTP proxy that makes tunnels. `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: Host<String>,
    port: u16,
    /// The value of `proxy-authorization`.
    authorization: Option<String>,
}

impl Proxy {
    /// Parses the URL of a proxy: `http://host:port`, also with a user name and a password, or `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).ok().filter(|url| url.scheme() == "http")?;
        let is_plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = (!url.username().is_empty()).then(|| {
            let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            format!("Basic {}", STANDARD.encode(pair))
        });
        let host = url.host()?.to_owned();
        is_plain.then_some(Self { host, port: url.port_or_known_default()?, authorization })
    }

    /// Whether the URL has held credentials.
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn uri(&self) -> Result<Uri, Cause> {
        self.to_string().parse().map_err(|_| Cause::Proxy("its address cannot be used".to_owned()))
    }

    /// Asks the proxy for a tunnel to `authority`: host and port. Nothing behind the head of its answer is read.
    pub(crate) async fn tunnel(&self, socket: &mut TcpStream, authority: &str) -> Result<(), Cause> {
        let authorization = self.authorization.as_ref().map(|value| format!("proxy-authorization: {value}\r\n"));
        let authorization = authorization.unwrap_or_default();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{authorization}\r\n");
        let broken = |error: io::Error| Cause::Proxy(error.to_string());
        socket.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD {
                return Err(Cause::Proxy("its answer is too long".to_owned()));
            }
            // byte by byte: what follows belongs to the tunnel
            head.push(socket.read_u8().await.map_err(|_| Cause::Proxy("it closed the connection".to_owned()))?);
        }
        match status(&head) {
            Some(200..300) => Ok(()),
            Some(status) => Err(Cause::Proxy(format!("it answered {status}"))),
            None => Err(Cause::Proxy("it does not speak HTTP".to_owned())),
        }
    }
}

/// Returns the status of a response head (RFC 9112 §4).
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Whether `NO_PROXY` excludes this host: `*`, a name and all names below it (with or without a leading dot), or an address.
pub fn is_excluded(no_proxy: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    no_proxy.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            // a port is ignored, as by curl
            let entry = match entry.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => &entry,
            };
            let name = entry.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
            let is_below = || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
            entry == "*" || host == name || host.parse::<IpAddr>().is_err() && is_below()
        },
    )
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_its_credentials_are_not_shown() {
        for (text, shown) in [
            ("http://proxy.internal:3128", "http://proxy.internal:3128"),
            ("proxy.internal:3128", "http://proxy.internal:3128"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://user:p%40ss@proxy", "http://proxy:80"),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), (shown.to_owned(), shown.to_owned()));
        }
        let authorization = Proxy::parse("http://user:p%40ss@proxy").unwrap().authorization;
        assert_eq!(authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        for other in ["", "https://proxy:3128", "socks5://proxy", "http://proxy/path", "http://proxy?x", "http://"] {
            assert_eq!(Proxy::parse(other), None, "{other}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_and_everything_below_them() {
        for (list, host, expected) in [
            ("*", "api.example", true),
            ("example.com", "example.com", true),
            ("example.com", "api.example.com", true),
            (".example.com", "api.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("example.com:443", "Example.com", true),
            ("a, example.com", "example.com", true),
            ("example.com", "badexample.com", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("2.1", "192.0.2.1", false),
            ("::1", "[::1]", true),
            ("", "example.com", false),
            (" , ", "example.com", false),
        ] {
            assert_eq!(is_excluded(list, host), expected, "{list} {host}");
        }
    }

    #[test]
    fn the_status_of_a_proxy_s_answer_is_read() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status(b"HTTP/2 200\r\n\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 2x0\r\n\r\n"), None);
    }
}

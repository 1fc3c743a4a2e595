//! The URL to connect to, parsed. Pure.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use url::{Host, Url};

use crate::error::Error;

/// An `http` or `https` URL without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host<String>,
    port: u16,
    uri: Uri,
}

/// The HTTP versions that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Versions {
    /// HTTP/2 and HTTP/1.1 over TLS, where the server chooses; HTTP/1.1 without TLS.
    #[default]
    Any,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS with prior knowledge (RFC 9113 §3.3).
    Http2,
}

impl Target {
    /// Parses a URL (WHATWG URL) and drops its fragment, which is never sent.
    ///
    /// # Errors
    /// It is no URL, its scheme is neither `http` nor `https`, or it contains credentials, which no message repeats.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &'static str, fix: &'static str| Error::Url { reason, fix };
        let mut url = Url::parse(text).map_err(|_| {
            wrong("is no URL", "write scheme, host and path, such as https://api.example.com/v1/models")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("is neither an http nor an https URL", "begin it with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("holds credentials", "remove everything from after // to the @, and send a header"));
        }
        url.set_fragment(None);
        let no_host = || wrong("has no host", "write scheme, host and path, such as https://api.example.com/v1/models");
        let host = url.host().ok_or_else(no_host)?.to_owned();
        // the two schemes have default ports
        let port = url.port_or_known_default().ok_or_else(no_host)?;
        let uri = url.as_str().parse().map_err(|_| wrong("is no URL that HTTP can carry", "shorten it"))?;
        Ok(Self { url, host, port, uri })
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same URL with this path and no query.
    ///
    /// # Errors
    /// The result is no URL.
    pub fn with_path(&self, path: &str) -> Result<Self, Error> {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_path(path);
        Self::parse(url.as_str())
    }

    /// The URL in absolute form, for HTTP/2.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Path and query, for HTTP/1.1 (origin form, RFC 9112 §3.2.1).
    pub fn path_and_query(&self) -> PathAndQuery {
        self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }

    /// The value of `host`: a default port is left out.
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// Whether the scheme is `https`.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host: a name in ASCII, or an IP address.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port of the URL, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_parsed_into_its_parts() {
        let target = Target::parse("HTTPS://API.Example.com:443/v1/x?q=1#part").unwrap();
        assert_eq!((target.authority().as_str(), target.port(), target.is_tls()), ("api.example.com", 443, true));
        assert_eq!(target.path_and_query(), "/v1/x?q=1");
        assert_eq!(target.to_string(), "https://api.example.com/v1/x?q=1");
        let target = Target::parse("http://[::1]:8080").unwrap();
        assert_eq!((target.authority().as_str(), target.path_and_query().as_str()), ("[::1]:8080", "/"));
        assert_eq!(target.with_path("/a").unwrap().to_string(), "http://[::1]:8080/a");
    }

    #[test]
    fn a_url_that_cannot_be_connected_to_is_refused_with_the_fix() {
        for (text, part) in [
            ("", "is no URL"),
            ("localhost", "is no URL"),
            ("localhost:8080", "begin it with https:// or http://"),
            ("ftp://a", "begin it with"),
            ("https://", "is no URL"),
            ("https://a:99999", "is no URL"),
            ("https://user:canary@host/", "holds credentials"),
            ("https://canary@host/", "holds credentials"),
        ] {
            let message = Target::parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("canary"), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_a_parsed_url_parses_to_itself(
            text in "\\PC{0,40}|https?://[a-zA-Z0-9.:/@?#%\\[\\]-]{0,30}",
        ) {
            if let Ok(target) = Target::parse(&text) {
                prop_assert_eq!(Target::parse(&target.to_string()).unwrap(), target);
            }
        }
    }
}

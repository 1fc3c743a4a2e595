//! What is to be connected to: a URL, taken apart. Pure.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use url::{Host, Url};

use super::error::Error;

/// An `http` or `https` URL without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host<String>,
    port: u16,
    uri: Uri,
}

/// Which versions of HTTP are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Versions {
    /// Over TLS what the server prefers of HTTP/2 and HTTP/1.1; without TLS HTTP/1.1.
    #[default]
    Any,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone; without TLS with prior knowledge (RFC 9113 §3.3).
    Http2,
}

impl Target {
    /// Reads a URL (WHATWG URL). A fragment is dropped, as browsers do: it is never sent.
    ///
    /// # Errors
    /// It is no URL, its scheme is neither `http` nor `https`, or it holds credentials. No message repeats those.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &'static str, mend: &'static str| Error::Url { reason, mend };
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

    /// The URL as it was understood.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same with this path: another resource of the same server.
    ///
    /// # Errors
    /// The path makes no URL.
    pub fn with_path(&self, path: &str) -> Result<Self, Error> {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_path(path);
        Self::parse(url.as_str())
    }

    /// The URL in absolute form, as HTTP/2 wants it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Path and query, as HTTP/1.1 wants it (origin form, RFC 9112 §3.2.1).
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

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host: a name in ASCII, or an address.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The written port, or the scheme's.
    pub fn port(&self) -> u16 {
        self.port
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
    fn a_url_is_taken_apart() {
        let target = Target::parse("HTTPS://API.Example.com:443/v1/x?q=1#part").unwrap();
        assert_eq!((target.authority().as_str(), target.port(), target.is_tls()), ("api.example.com", 443, true));
        assert_eq!(target.path_and_query(), "/v1/x?q=1");
        assert_eq!(target.to_string(), "https://api.example.com/v1/x?q=1");
        let target = Target::parse("http://[::1]:8080").unwrap();
        assert_eq!((target.authority().as_str(), target.path_and_query().as_str()), ("[::1]:8080", "/"));
        assert_eq!(target.with_path("/a").unwrap().to_string(), "http://[::1]:8080/a");
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused_with_the_mend() {
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
        fn any_text_is_read_or_refused_and_what_is_read_survives_its_own_spelling(
            text in "\\PC{0,40}|https?://[a-zA-Z0-9.:/@?#%\\[\\]-]{0,30}",
        ) {
            if let Ok(target) = Target::parse(&text) {
                prop_assert_eq!(Target::parse(&target.to_string()).unwrap(), target);
            }
        }
    }
}

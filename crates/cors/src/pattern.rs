//! Patterns of allowed origins: exact, or with a leading `*.`, or with a final `:*`; origins of apps only exact. Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::flaw::Flaw;
use super::origin::{Origin, Scheme, WebOrigin, canonical_ipv6, ends_in_a_number, is_host, parse_port, split_port};

/// A checked entry of `Spec::origins`.
///
/// Invariant: it matches only origins that its author can have intended. Its host is spelled as browsers spell it, and its
/// wildcard is below one registrable domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Web(WebPattern),
    /// The origin of a browser extension or of an app with a web view. No standard says how its host is spelled, so it is
    /// compared byte for byte.
    App(Box<str>),
}

/// A pattern of `http` or `https` origins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WebPattern {
    scheme: Scheme,
    host: Host,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Exactly(Box<str>),
    /// A suffix with its leading dot, so that a suffix of bytes is a suffix of labels.
    Below(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Exactly(Option<u16>),
    Any,
}

/// Why an entry is refused, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong with the entry.
    pub reason: String,
    /// What to do.
    pub mend: String,
}

impl Pattern {
    /// Parses one entry of `Spec::origins`. The policy handles a single `*` itself.
    ///
    /// # Errors
    /// [`Refused`] for an entry that can never match an `Origin` of a browser, or that would match pages of unrelated owners.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        read(text).map_err(|flaw| Refused {
            reason: format!("`{}` {}", without_userinfo(text), flaw.reason()),
            mend: respelled(text)
                .filter(|_| flaw.is_spelling())
                .map_or_else(|| flaw.mend().to_owned(), |meant| format!("write `{meant}`")),
        })
    }

    /// Whether the pattern matches an origin. `null` matches none.
    pub fn matches(&self, origin: &Origin<'_>) -> bool {
        match (&self.0, origin) {
            (Kind::Web(pattern), Origin::Web(origin)) => pattern.matches(origin),
            (Kind::App(exact), Origin::Foreign(origin)) => **exact == **origin,
            _ => false,
        }
    }

    /// Whether an attacker on the network can imitate a page of this origin: `http`, and no loopback host.
    pub fn is_insecure(&self) -> bool {
        matches!(&self.0, Kind::Web(pattern) if pattern.is_insecure())
    }
}

impl WebPattern {
    /// Both sides have one spelling, so bytes are compared.
    fn matches(&self, origin: &WebOrigin<'_>) -> bool {
        let host = match &self.host {
            Host::Exactly(host) => **host == *origin.host,
            // a parsed host has no empty label, so at least one label precedes the dot of the suffix
            Host::Below(suffix) => origin.host.ends_with(&**suffix),
        };
        let port = match self.port {
            Port::Exactly(port) => port == origin.port,
            Port::Any => true,
        };
        self.scheme == origin.scheme && host && port
    }

    fn is_insecure(&self) -> bool {
        let loopback = match &self.host {
            Host::Below(suffix) => is_localhost(&suffix[1..]),
            Host::Exactly(host) => {
                is_localhost(host) || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()) || **host == *"[::1]"
            }
        };
        self.scheme == Scheme::Http && !loopback
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Web(pattern) => pattern.fmt(f),
            Kind::App(exact) => f.write_str(exact),
        }
    }
}

impl fmt::Display for WebPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match &self.host {
            Host::Exactly(host) => f.write_str(host)?,
            Host::Below(suffix) => write!(f, "*{suffix}")?,
        }
        match self.port {
            Port::Exactly(None) => Ok(()),
            Port::Exactly(Some(port)) => write!(f, ":{port}"),
            Port::Any => f.write_str(":*"),
        }
    }
}

fn read(text: &str) -> Result<Pattern, Flaw> {
    if text == "null" {
        return Err(Flaw::Null);
    }
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Err(Flaw::File);
    }
    if !text.is_ascii() {
        return Err(Flaw::Unicode);
    }
    if text.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err(Flaw::Space);
    }
    let (scheme, rest) = text.split_once("://").ok_or(Flaw::NoScheme)?;
    let scheme = match Scheme::parse(&scheme.to_ascii_lowercase()) {
        Some(known) if known.to_string() == scheme => known,
        Some(_) => return Err(Flaw::UpperCase),
        None if scheme.contains('*') => return Err(Flaw::SchemeWildcard),
        None => return read_app(text, scheme, rest),
    };
    let authority = authority(rest);
    if authority.contains('@') {
        return Err(Flaw::Userinfo);
    }
    if authority.len() < rest.len() {
        return Err(Flaw::Path);
    }
    if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Flaw::UpperCase);
    }
    let (host, port) = split_port(authority);
    Ok(Pattern(Kind::Web(WebPattern { scheme, host: read_host(host)?, port: read_port(port, scheme)? })))
}

/// Schemes whose documents have the origin `null`, or that load no page at all.
const WITHOUT_PAGES: [&str; 8] = ["about", "blob", "data", "filesystem", "ftp", "javascript", "ws", "wss"];

fn read_app(text: &str, scheme: &str, rest: &str) -> Result<Pattern, Flaw> {
    if scheme.starts_with("ht") {
        return Err(Flaw::MisspeltScheme);
    }
    if WITHOUT_PAGES.iter().any(|other| other.eq_ignore_ascii_case(scheme)) {
        return Err(Flaw::Scheme);
    }
    if rest.contains('@') {
        return Err(Flaw::Userinfo);
    }
    if rest.contains('*') {
        return Err(Flaw::AppWildcard);
    }
    if authority(rest).len() < rest.len() {
        return Err(Flaw::Path);
    }
    match Origin::parse(text.as_bytes()) {
        Ok(Origin::Foreign(_)) if !rest.is_empty() => Ok(Pattern(Kind::App(text.into()))),
        _ if scheme.bytes().any(|b| b.is_ascii_uppercase()) => Err(Flaw::UpperCase),
        _ => Err(Flaw::AppHost),
    }
}

fn read_host(host: &str) -> Result<Host, Flaw> {
    let base = host.strip_prefix("*.");
    let name = base.unwrap_or(host);
    if name.contains('*') {
        return Err(Flaw::Wildcard);
    }
    let address = name.starts_with('[') || ends_in_a_number(name);
    if address && base.is_some() {
        return Err(Flaw::AddressWildcard);
    }
    if !is_host(name) {
        return Err(if address { Flaw::Address } else { Flaw::Host });
    }
    match base {
        None => Ok(Host::Exactly(name.into())),
        Some(base) if spans_a_public_suffix(base) => Err(Flaw::PublicSuffix),
        Some(base) => Ok(Host::Below(format!(".{base}").into())),
    }
}

fn read_port(port: Option<&str>, scheme: Scheme) -> Result<Port, Flaw> {
    match port {
        None => Ok(Port::Exactly(None)),
        Some("*") => Ok(Port::Any),
        Some(text) => match parse_port(text) {
            None | Some(0) => Err(Flaw::Port),
            Some(port) if port == scheme.default_port() => Err(Flaw::DefaultPort),
            port => Ok(Port::Exactly(port)),
        },
    }
}

/// Whether anyone can register names below `base`: it is a public suffix (`com`, `github.io`), or each name below it is one
/// (`ck`, by the list's rule `*.ck`). An unknown top-level domain is one by the list's default rule `*`.
fn spans_a_public_suffix(base: &str) -> bool {
    let base = base.strip_suffix('.').unwrap_or(base);
    let is_suffix = |name: &str| psl::suffix_str(name) == Some(name);
    // RFC 6761 §6.3: localhost names are loopback
    !is_localhost(base) && (is_suffix(base) || is_suffix(&format!("x.{base}")))
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

fn authority(rest: &str) -> &str {
    rest.find(['/', '?', '#', '\\']).map_or(rest, |end| &rest[..end])
}

/// The entry for a message: the text before an `@` can contain a password.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

/// The probably intended entry, if it differs only in its spelling and [`read`] accepts it.
fn respelled(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").unwrap_or(("", &lower));
    let authority = authority(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = split_port(authority);
    let scheme = match scheme {
        "" if is_localhost(host) => "http",
        "" => "https",
        written => written,
    };
    let host = match host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        Ok(address) => format!("[{}]", canonical_ipv6(address)),
        Err(_) => host.to_owned(),
    };
    let default = Scheme::parse(scheme).map(|scheme| scheme.default_port().to_string());
    let port = port.filter(|port| !port.is_empty() && Some(*port) != default.as_deref());
    let candidate = format!("{scheme}://{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default());
    read(&candidate).ok().map(|_| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, origin: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap();
        Origin::parse(origin.as_bytes()).is_ok_and(|origin| pattern.matches(&origin))
    }

    #[test]
    fn the_origin_of_an_extension_or_an_app_matches_its_own_bytes_only() {
        for app in [
            "tauri://localhost",
            "capacitor://localhost",
            "ionic://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://6b0bd4c1-3c4f-4a8e-9c55-21e6f2c8a111",
            "safari-web-extension://6B0BD4C1-3C4F-4A8E-9C55-21E6F2C8A111",
            "app://obsidian.md",
            "vscode-webview://1abcdefghij2klmnopqrstuvwxyz",
        ] {
            assert!(matches(app, app), "{app}");
            assert_eq!(Pattern::parse(app).unwrap().to_string(), app);
            assert!(!Pattern::parse(app).unwrap().is_insecure());
            for other in [&app[..app.len() - 1], &format!("{app}x"), &format!("x{app}"), "https://localhost", "null"] {
                assert!(!matches(app, other), "{app} {other}");
            }
            assert!(!matches("http://localhost", app) && !matches("https://*.localhost", app), "{app}");
        }
    }

    #[test]
    fn an_exact_pattern_matches_its_own_bytes_only() {
        let pattern = "https://app.example.com";
        assert!(matches(pattern, "https://app.example.com"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://app.example.com.",
            "https://example.com",
            "https://x.app.example.com",
            "https://xapp.example.com",
            "https://app.example.com.evil.com",
            "https://app.example.comevil.com",
            "https://app-example.com",
        ] {
            assert!(!matches(pattern, other), "{other}");
        }
    }

    #[test]
    fn a_subdomain_wildcard_matches_any_depth_but_neither_the_bare_domain_nor_lookalikes() {
        let pattern = "https://*.example.com";
        assert!(matches(pattern, "https://a.example.com"));
        assert!(matches(pattern, "https://a.b.c.example.com"));
        for other in [
            "https://example.com",
            "https://evilexample.com",
            "https://a.evilexample.com",
            "https://example.com.evil.com",
            "https://a.example.com.evil.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://.example.com",
        ] {
            assert!(!matches(pattern, other), "{other}");
        }
    }

    #[test]
    fn a_port_wildcard_matches_every_port_and_none() {
        for origin in ["http://localhost", "http://localhost:1", "http://localhost:3000", "http://localhost:65535"] {
            assert!(matches("http://localhost:*", origin), "{origin}");
        }
        for other in ["https://localhost:3000", "http://localhost.evil.com:3000", "http://a.localhost:3000"] {
            assert!(!matches("http://localhost:*", other), "{other}");
        }
        assert!(matches("http://[::1]:*", "http://[::1]:5173"));
    }

    #[test]
    fn both_wildcards_combine() {
        let pattern = "https://*.example.com:*";
        assert!(matches(pattern, "https://a.b.example.com"));
        assert!(matches(pattern, "https://a.example.com:8443"));
        assert!(!matches(pattern, "https://example.com:8443"));
    }

    #[test]
    fn each_flaw_is_refused_with_its_reason_and_fix() {
        for (entry, reason, mend) in [
            ("null", "every sandboxed frame", "serve the page over http or https"),
            ("file:", "no origin of its own", "serve the page over http or https"),
            ("file:///home/me/page.html", "no origin of its own", "serve the page over http or https"),
            ("File://", "no origin of its own", "serve the page over http or https"),
            ("", "has no scheme", "write scheme, host"),
            ("app.example.com", "has no scheme", "write `https://app.example.com`"),
            ("localhost:3000", "has no scheme", "write `http://localhost:3000`"),
            ("*.example.com", "has no scheme", "write `https://*.example.com`"),
            ("*://app.example.com", "wildcard as its scheme", "one entry for https"),
            ("http*://app.example.com", "wildcard as its scheme", "one entry for https"),
            ("ws://app.example.com", "no origin of their own", "remove it"),
            ("data://x", "no origin of their own", "remove it"),
            ("htps://app.example.com", "misspelt", "write https://"),
            ("chrome-extension://*", "compared byte for byte", "one entry for each"),
            ("tauri://", "no origin that an extension or an app", "tauri://localhost"),
            ("tauri://localhost/", "trailing slash", "write `tauri://localhost`"),
            ("Tauri://localhost", "upper-case", "write `tauri://localhost`"),
            ("tauri://a:b@localhost", "holds a user name", "write `tauri://localhost`"),
            (" https://app.example.com", "white space", "write `https://app.example.com`"),
            ("https://bücher.example", "outside ASCII", "punycode"),
            ("https://a:b@app.example.com", "`…@app.example.com` holds a user name", "write `https://app.example.com`"),
            ("https://app.example.com/", "trailing slash", "write `https://app.example.com`"),
            ("https://App.example.com:443/x", "path", "write `https://app.example.com`"),
            ("https://app.example.com?x", "path", "write `https://app.example.com`"),
            ("https://App.example.com", "upper-case", "write `https://app.example.com`"),
            ("HTTPS://app.example.com", "upper-case", "write `https://app.example.com`"),
            ("https://*", "wildcard in the midst", "`*` alone for every origin"),
            ("https://*example.com", "wildcard in the midst", "whole first label"),
            ("https://app-*.example.com", "wildcard in the midst", "whole first label"),
            ("https://*.*.example.com", "wildcard in the midst", "whole first label"),
            ("https://a.*.example.com", "wildcard in the midst", "whole first label"),
            ("https://*.1.2.3.4", "wildcard before an IP", "name each address"),
            ("http://*.[::1]", "wildcard before an IP", "name each address"),
            ("https://1.2.3", "IP address in a form", "four decimal numbers"),
            ("https://[0:0:0:0:0:0:0:1]:8080", "IP address in a form", "write `https://[::1]:8080`"),
            ("https://[::1", "IP address in a form", "in brackets"),
            ("https://", "no valid host", "write scheme, host"),
            ("https://*.", "no valid host", "write scheme, host"),
            ("https://a..example.com", "no valid host", "write scheme, host"),
            ("https://a b.example.com", "white space", "write scheme, host"),
            ("https://app.example.com:443", "default port", "write `https://app.example.com`"),
            ("http://app.example.com:80", "default port", "write `http://app.example.com`"),
            ("https://app.example.com:", "no valid port", "write `https://app.example.com`"),
            ("https://app.example.com:0", "no valid port", "from 1 to 65535"),
            ("https://app.example.com:08443", "no valid port", "from 1 to 65535"),
            ("https://app.example.com:65536", "no valid port", "from 1 to 65535"),
            ("https://app.example.com:8*", "no valid port", "from 1 to 65535"),
        ] {
            let refused = Pattern::parse(entry).expect_err(entry);
            assert!(refused.reason.contains(reason), "{entry}: {}", refused.reason);
            assert!(refused.mend.contains(mend), "{entry}: {}", refused.mend);
        }
    }

    #[test]
    fn a_wildcard_over_a_public_suffix_is_refused() {
        for base in [
            "com",
            "co.uk",
            "github.io",
            "vercel.app",
            "pages.dev",
            "ck",
            "kawasaki.jp",
            "xn--p1ai",
            "xn--55qx5d.cn",
            "internal",
            "com.",
        ] {
            for entry in [format!("https://*.{base}"), format!("https://*.{base}:*")] {
                let refused = Pattern::parse(&entry).expect_err(&entry);
                assert!(refused.reason.contains("public suffix"), "{entry}: {}", refused.reason);
            }
        }
        for entry in ["https://*.example.com", "https://*.me.github.io", "http://*.localhost:*", "https://*.a.internal"]
        {
            assert!(Pattern::parse(entry).is_ok(), "{entry}");
        }
    }

    #[test]
    fn http_is_secure_on_loopback_hosts_only() {
        for entry in ["http://app.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]:*"] {
            assert!(Pattern::parse(entry).unwrap().is_insecure(), "{entry}");
        }
        for entry in [
            "https://app.example.com",
            "http://localhost:*",
            "http://app.localhost",
            "http://*.localhost",
            "http://127.0.0.1:3000",
            "http://127.9.9.9",
            "http://[::1]:*",
        ] {
            assert!(!Pattern::parse(entry).unwrap().is_insecure(), "{entry}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic_and_printed_unchanged(
            text in r"\PC{0,24}|(https?|[a-zA-Z*-]{1,5})://(\*\.)?[a-zA-Z0-9.*:_@/\[\]-]{0,20}(:[0-9*]{0,6})?",
        ) {
            match Pattern::parse(&text) {
                Ok(pattern) => prop_assert_eq!(pattern.to_string(), text),
                Err(refused) => prop_assert!(!refused.reason.is_empty() && !refused.mend.is_empty()),
            }
        }

        #[test]
        fn a_proposed_spelling_is_always_accepted(text in r" ?(HTTPS?://|https?://)?(a:b@)?[a-zA-Z*.]{1,12}(:[0-9*]{0,5})?/?") {
            if let Err(refused) = Pattern::parse(&text)
                && let Some(meant) = refused.mend.strip_prefix("write `http").and_then(|rest| rest.strip_suffix('`'))
            {
                prop_assert!(Pattern::parse(&format!("http{meant}")).is_ok(), "{}", meant);
            }
        }
    }
}

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
mod tests;

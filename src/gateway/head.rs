//! What the head of a request says about where it goes and who sent it. Pure.
//!
//! hyper accepts more than a gateway may: `CONNECT`, a missing or doubled `Host`, an authority with a password in it.
//! [`check`] refuses these before any other work; [`client_address`] says which address a request came from.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use ipnet::IpNet;

use crate::error::{Code, Reject};
use crate::gateway::routes::Route;
use crate::server::handler::{MAX_HEADERS, MAX_TARGET_BYTES};
use crate::server::hosts::Hosts;

/// Refuses a head that this server must not serve, whatever the route.
///
/// An offer to upgrade the connection is no reason: RFC 9110 §7.8 lets a server ignore it, and proxies add it to each request.
///
/// # Errors
/// - 414 `uri_too_long`: a target of more than 8 KiB.
/// - 431 `headers_too_large`: more than [`MAX_HEADERS`] header lines.
/// - 405 `method_not_allowed`: `CONNECT`, `TRACE`, or a method with lower-case letters.
/// - 400 `invalid_request`: a transfer coding that is not `chunked` alone; a missing, doubled or malformed `Host`; user information in the authority; a
///   target whose authority is not that of `Host`; an authority-form target.
/// - 421 `misdirected_request`: a host that is none of `hosts`, or the scheme `http` on a TLS connection.
pub fn check(parts: &Parts, route: Route, hosts: &Hosts, tls: bool) -> Result<(), Reject> {
    let target_bytes = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > MAX_TARGET_BYTES {
        let message = format!("the request target has more than {MAX_TARGET_BYTES} bytes: shorten its query");
        return Err(Reject::new(Code::UriTooLong, message));
    }
    if parts.headers.len() > MAX_HEADERS {
        let message = format!("the request has more than {MAX_HEADERS} headers: send fewer");
        return Err(Reject::new(Code::HeadersTooLarge, message));
    }
    check_method(parts, route)?;
    check_transfer_coding(&parts.headers)?;
    let target = target(parts)?;
    // RFC 9110 §7.4: a request for an `http` resource on a connection that is secured for `https` is misdirected. Without
    // TLS of our own the scheme is the affair of the proxy in front.
    if tls && parts.uri.scheme().is_some_and(|scheme| *scheme != http::uri::Scheme::HTTPS) {
        return Err(Reject::new(
            Code::MisdirectedRequest,
            "the target's scheme is not https, but this connection is TLS",
        ));
    }
    // RFC 9110 §7.4 asks whether the name is one that this server's certificate is valid for. The port is not compared:
    // behind a port mapping the client's port is not the one that we listen on, and no certificate names one.
    if hosts.any || serves(hosts, &target.name) {
        Ok(())
    } else {
        let message =
            "this server does not answer for that host: use a name of its certificate, or add it to server.hosts";
        Err(Reject::new(Code::MisdirectedRequest, message))
    }
}

/// The address to hold a request against: the peer's, or what trusted proxies say of it in `x-forwarded-for`.
///
/// The list is walked right to left, since each proxy appends the address that it saw: the first address that is not
/// one of `trusted` was seen by a trusted proxy, and everything left of it is hearsay. An entry that is no address ends
/// the walk at the proxy that sent it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(|line| line.as_bytes()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        if !trusted.iter().any(|network| network.contains(&client)) {
            break;
        }
        let Some(address) = std::str::from_utf8(hop).ok().and_then(forwarded_address) else { break };
        client = address;
    }
    client
}

/// RFC 9110 §9.3.6 and §9.3.8: this is neither a tunnel nor a loopback. §9.1: methods are case-sensitive, so `get` is
/// some other method than `GET`.
fn check_method(parts: &Parts, route: Route) -> Result<(), Reject> {
    let message = match parts.method {
        Method::CONNECT => "CONNECT is refused: this server is no tunnel",
        Method::TRACE => "TRACE is refused: it would show a request's headers",
        _ if parts.method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) => {
            "methods are case-sensitive: write the method in upper case"
        }
        _ => return Ok(()),
    };
    let mut reject = Reject::new(Code::MethodNotAllowed, message);
    reject.allow = Some(route.methods());
    Err(reject)
}

/// RFC 9112 §6.1: `chunked` is applied once and last, and a server need not know another coding. hyper reads by the last coding alone.
/// A proxy in front may read it differently, so that it sees other requests on the connection than this server.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Reject> {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(invalid(
            "the header `transfer-encoding` may be `chunked` alone, once: send the body without another coding",
        )),
    }
}

/// The authority that the request is for: the one of its target, else `Host`, which must not contradict it.
fn target(parts: &Parts) -> Result<Authority<'_>, Reject> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => return Err(invalid("the header `host` is sent more than once")),
        (line, _) => line,
    };
    let host = match host {
        Some(line) => Some(Authority::parse(line.as_bytes()).map_err(|wrong| wrong.reject("the header `host`"))?),
        None => None,
    };
    let Some(authority) = parts.uri.authority() else {
        // RFC 9112 §3.2: HTTP/1.1 without Host is answered 400. HTTP/1.0 may omit it, but then names no server.
        return host.ok_or_else(|| match parts.version {
            Version::HTTP_2 => invalid("the request has neither `:authority` nor `host`"),
            _ => invalid("the header `host` is missing"),
        });
    };
    // RFC 9112 §3.2.3: authority-form is for CONNECT alone.
    if parts.uri.scheme().is_none() {
        return Err(invalid("the request target must begin with `/` or be an absolute URL"));
    }
    let authority = Authority::parse(authority.as_str().as_bytes()).map_err(|wrong| wrong.reject("the target"))?;
    // RFC 9112 §3.2.2 has a server overrule Host by an absolute-form target, and RFC 9113 §8.3.1 has `:authority` and
    // Host be the same. A pair that differs means that a proxy on the way has seen another host.
    let default = if parts.uri.scheme() == Some(&http::uri::Scheme::HTTPS) { 443 } else { 80 };
    match host {
        Some(host) if !host.same_as(&authority, default) => {
            Err(invalid("the header `host` and the request's target name different hosts"))
        }
        _ => Ok(authority),
    }
}

/// Whether a certificate or `server.hosts` covers the name.
fn serves(hosts: &Hosts, name: &Name<'_>) -> bool {
    match name {
        Name::Address(address) => hosts.addresses.iter().any(|served| served.to_canonical() == *address),
        Name::Domain(domain) => hosts.names.iter().any(|served| match served.strip_prefix("*.") {
            // RFC 6125 §6.4.3: the wildcard is the whole left-most label
            Some(parent) => domain.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => **served == **domain,
        }),
    }
}

/// `host [":" port]` (RFC 9110 §7.2), without user information.
#[derive(Debug, PartialEq, Eq)]
struct Authority<'a> {
    name: Name<'a>,
    /// `None` where none is written, or an empty one.
    port: Option<u16>,
}

/// A host: lower-case and without the trailing dot of an absolute name, or an address in canonical form.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    Domain(Cow<'a, str>),
    Address(IpAddr),
}

/// Why an authority cannot be used.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    UserInfo,
    Malformed,
}

impl Wrong {
    fn reject(self, place: &str) -> Reject {
        invalid(match self {
            // RFC 9110 §4.2.4: user information in an authority is an error, since it is there to obscure the host
            Wrong::UserInfo => format!("{place} holds user information: send credentials in `authorization`"),
            Wrong::Malformed => format!("{place} is no host name with an optional port"),
        })
    }
}

impl<'a> Authority<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Wrong> {
        if bytes.contains(&b'@') {
            return Err(Wrong::UserInfo);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Malformed)?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(Wrong::Malformed)?;
                let address: Ipv6Addr = address.parse().map_err(|_| Wrong::Malformed)?;
                (Name::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let colon = text.find(':').unwrap_or(text.len());
                (Name::parse(&text[..colon])?, &text[colon..])
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            // `parse` alone would take a sign
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| Wrong::Malformed)?)
            }
            _ => return Err(Wrong::Malformed),
        };
        Ok(Self { name: host, port })
    }

    fn same_as(&self, other: &Self, default: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

impl<'a> Name<'a> {
    fn parse(host: &'a str) -> Result<Self, Wrong> {
        if let Ok(address) = host.parse() {
            return Ok(Name::Address(IpAddr::V4(address)));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let label = |label: &str| {
            matches!(label.len(), 1..=63) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        // RFC 1035 §2.3.4
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(Wrong::Malformed);
        }
        Ok(Name::Domain(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }))
    }
}

/// One entry of `x-forwarded-for`: an address, which some proxies write with a port or in brackets.
fn forwarded_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let address = hop.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Reject {
    Reject::new(Code::InvalidRequest, message)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

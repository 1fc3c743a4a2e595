//! The headers that a page may send to another origin without a preflight: Fetch §2.2.2. Pure.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{self, HeaderMap, HeaderName};

use super::block::Step;
use super::mime;
use super::quirks::Browser;

/// The most bytes of a safelisted header's value.
pub const LONGEST_VALUE: usize = 128;
/// The most bytes of the values of all safelisted headers together.
pub const LONGEST_TOTAL: usize = 1024;

/// Why a header needs a preflight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsafe {
    /// Its name is not on the list.
    Name,
    /// Its value has this number of bytes, over [`LONGEST_VALUE`].
    Long(usize),
    /// Its value contains this byte.
    Byte(u8),
    /// A `content-type` that no form can send: its essence, or `None` if it is no MIME type.
    ContentType(Option<String>),
    /// A `range` other than `bytes=from-` and `bytes=from-to`.
    Range,
    /// The values of all safelisted headers together have this number of bytes, over [`LONGEST_TOTAL`].
    Total(usize),
}

impl Unsafe {
    /// The part of the standard.
    pub fn step(&self) -> Step {
        match self {
            Unsafe::Total(_) => Step::UNSAFE_NAMES,
            _ => Step::SAFELISTED_HEADER,
        }
    }
}

impl fmt::Display for Unsafe {
    /// The clause after the header's name in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsafe::Name => f.write_str("is not one of the safelisted headers"),
            Unsafe::Long(bytes) => write!(f, "has a value of {bytes} bytes, over {LONGEST_VALUE}"),
            Unsafe::Byte(b @ b'!'..=b'~') => write!(f, "has `{}` in its value", char::from(*b)),
            Unsafe::Byte(b) => write!(f, "has the byte 0x{b:02x} in its value"),
            Unsafe::ContentType(Some(essence)) => write!(f, "is {essence}, which no form can send"),
            Unsafe::ContentType(None) => f.write_str("is no MIME type"),
            Unsafe::Range => f.write_str("is not of the form `bytes=from-to`"),
            Unsafe::Total(bytes) => {
                write!(f, "is one of safelisted headers of {bytes} bytes together, over {LONGEST_TOTAL}")
            }
        }
    }
}

/// "CORS-safelisted request-header": `None`, or why a header is not one. The name is in lower case.
pub fn flaw(name: &str, value: &[u8], browser: Browser) -> Option<Unsafe> {
    if value.len() > LONGEST_VALUE && is_listed(name) {
        return Some(Unsafe::Long(value.len()));
    }
    let first = |bad: fn(u8) -> bool| value.iter().copied().find(|b| bad(*b)).map(Unsafe::Byte);
    match name {
        "accept" => first(is_unsafe_byte),
        "accept-language" | "content-language" => first(|b| !is_language_byte(b)),
        "content-type" => first(is_unsafe_byte).or_else(|| match mime::essence(value) {
            Some(essence) if is_form_type(&essence) => None,
            essence => Some(Unsafe::ContentType(essence)),
        }),
        "range" => (!is_simple_range(value)).then_some(Unsafe::Range),
        _ if browser.safelists_client_hints() && is_client_hint(name, value) => None,
        _ => Some(Unsafe::Name),
    }
}

/// "CORS-unsafe request-header names" with their reasons: sorted, in lower case, each once.
pub fn unsafe_names(headers: &HeaderMap, browser: Browser) -> BTreeMap<String, Unsafe> {
    let mut found = BTreeMap::new();
    let mut safe = Vec::new();
    let mut total = 0;
    for name in headers.keys() {
        for value in values(headers, name, browser) {
            match flaw(name.as_str(), &value, browser) {
                Some(why) => drop(found.entry(name.as_str().to_owned()).or_insert(why)),
                None => {
                    total += value.len();
                    safe.push(name.as_str());
                }
            }
        }
    }
    if total > LONGEST_TOTAL {
        for name in safe {
            found.entry(name.to_owned()).or_insert(Unsafe::Total(total));
        }
    }
    found
}

/// "no-CORS-safelisted request-header".
pub(super) fn is_no_cors_safelisted(name: &HeaderName, value: &[u8]) -> bool {
    let listed = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_LANGUAGE, header::CONTENT_TYPE];
    listed.contains(name) && flaw(name.as_str(), value, Browser::Standard).is_none()
}

/// The values to check: each line, or all lines of a name joined.
fn values(headers: &HeaderMap, name: &HeaderName, browser: Browser) -> Vec<Vec<u8>> {
    let lines = headers.get_all(name).iter().map(|value| value.as_bytes());
    if browser.joins_lines() {
        vec![lines.collect::<Vec<_>>().join(&b", "[..])]
    } else {
        lines.map(<[u8]>::to_vec).collect()
    }
}

fn is_listed(name: &str) -> bool {
    matches!(name, "accept" | "accept-language" | "content-language" | "content-type" | "range")
}

/// "CORS-unsafe request-header byte".
fn is_unsafe_byte(b: u8) -> bool {
    b < 0x20 && b != b'\t' || b"\"():<>?@[\\]{}\x7f".contains(&b)
}

fn is_language_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" *,-.;=".contains(&b)
}

fn is_form_type(essence: &str) -> bool {
    matches!(essence, "application/x-www-form-urlencoded" | "multipart/form-data" | "text/plain")
}

/// "parse a single range header value" without white space and with a start.
fn is_simple_range(value: &[u8]) -> bool {
    let Some(rest) = value.strip_prefix(b"bytes=") else { return false };
    let mut parts = rest.split(|b| *b == b'-');
    let (Some(from), Some(to), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    !from.is_empty() && is_number(from) && is_number(to) && (to.is_empty() || !is_greater(from, to))
}

/// Whether `a` is greater than `b`, as decimal numbers of any length.
fn is_greater(a: &[u8], b: &[u8]) -> bool {
    let significant =
        |digits: &[u8]| digits.iter().position(|d| *d != b'0').map_or(Vec::new(), |at| digits[at..].to_vec());
    let (a, b) = (significant(a), significant(b));
    (a.len(), a) > (b.len(), b)
}

/// Chromium's additions (services/network/public/cpp/cors/cors.cc, `IsCorsSafelistedHeader`); names with `sec-` are
/// forbidden to pages anyway.
fn is_client_hint(name: &str, value: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    value.len() <= LONGEST_VALUE
        && match name {
            "intervention" => true,
            "device-memory" | "dpr" | "downlink" => {
                let dot = value.iter().position(|b| *b == b'.');
                dot.map_or_else(|| digits(value), |dot| digits(&value[..dot]) && digits(&value[dot + 1..]))
            }
            "width" | "viewport-width" | "rtt" => digits(value),
            "ect" => matches!(value, b"slow-2g" | b"2g" | b"3g" | b"4g"),
            "save-data" => value.eq_ignore_ascii_case(b"on"),
            _ => false,
        }
}

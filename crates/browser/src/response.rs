//! The part of a response that a page may read: Fetch §4.1, step 14, and §2.2.6, "filtered response". Pure.

use http::StatusCode;
use http::header::{HeaderName, SET_COOKIE};

use super::head::ResponseHead;
use super::request::{Request, Tainting};
use cors::names::is_forbidden_in_responses;

/// Fetch §2.2.2, "CORS-safelisted response-header name".
pub const SAFELISTED: [&str; 7] =
    ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

/// A response as the page sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// How much of the response the page may see.
    pub tainting: Tainting,
    /// The status; `None` if the page sees 0.
    pub status: Option<StatusCode>,
    /// The names of the headers that the page can read, in the response's order.
    pub headers: Vec<HeaderName>,
    /// The headers that the page cannot read.
    pub hidden: Vec<Hidden>,
}

/// A header that the page cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The name.
    pub name: HeaderName,
    /// The reason.
    pub why: HiddenReason,
}

/// Why a page cannot read a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenReason {
    /// `Set-Cookie` is for the browser only, whatever is exposed.
    Forbidden,
    /// `Access-Control-Expose-Headers` does not name it.
    NotExposed,
    /// `Access-Control-Expose-Headers: *` is no wildcard for a request with credentials.
    WildcardWithCredentials,
    /// `Access-Control-Expose-Headers` is no list of names and exposes nothing.
    InvalidList,
    /// The whole response is hidden: mode `no-cors`.
    Opaque,
}

/// Filters a response that has passed all checks.
pub fn readable(request: &Request, response: &ResponseHead) -> Readable {
    let tainting = request.tainting;
    let (mut headers, mut hidden) = (Vec::new(), Vec::new());
    let exposed = Exposed::of(request, response);
    for name in response.headers.keys() {
        let why = match tainting {
            _ if is_forbidden_in_responses(name.as_str()) => Some(HiddenReason::Forbidden),
            Tainting::Basic => None,
            Tainting::Opaque => Some(HiddenReason::Opaque),
            Tainting::Cors => exposed.why_not(name),
        };
        match why {
            None => headers.push(name.clone()),
            Some(why) => hidden.push(Hidden { name: name.clone(), why }),
        }
    }
    debug_assert!(!headers.contains(&SET_COOKIE));
    Readable { tainting, status: (tainting != Tainting::Opaque).then_some(response.status), headers, hidden }
}

/// `Access-Control-Expose-Headers`.
enum Exposed {
    All,
    Names(Vec<String>),
    /// With credentials, `*` is an ordinary name.
    WithCredentials(Vec<String>),
    Invalid,
}

impl Exposed {
    fn of(request: &Request, response: &ResponseHead) -> Self {
        match response.tokens("access-control-expose-headers").map(Option::unwrap_or_default) {
            Err(_) => Exposed::Invalid,
            Ok(names) if !names.iter().any(|name| name == "*") => Exposed::Names(names),
            Ok(names) if request.includes_credentials() => Exposed::WithCredentials(names),
            Ok(_) => Exposed::All,
        }
    }

    fn why_not(&self, name: &HeaderName) -> Option<HiddenReason> {
        if SAFELISTED.contains(&name.as_str()) {
            return None;
        }
        let has = |names: &[String]| names.iter().any(|listed| name.as_str().eq_ignore_ascii_case(listed));
        match self {
            Exposed::All => None,
            Exposed::Names(names) => (!has(names)).then_some(HiddenReason::NotExposed),
            Exposed::WithCredentials(names) => (!has(names)).then_some(HiddenReason::WildcardWithCredentials),
            Exposed::Invalid => Some(HiddenReason::InvalidList),
        }
    }
}

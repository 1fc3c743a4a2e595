//! What a page may read of an answer that it may see: Fetch §4.1, step 14, and §2.2.6, "filtered response".

use http::StatusCode;
use http::header::{HeaderName, SET_COOKIE};

use super::answer::Answer;
use super::request::{Request, Tainting};
use cors::names::is_forbidden_in_responses;

/// Fetch §2.2.2, "CORS-safelisted response-header name".
pub const SAFELISTED: [&str; 7] =
    ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

/// An answer through the page's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// How much of the answer the page may see.
    pub tainting: Tainting,
    /// The status; `None` where the page sees 0.
    pub status: Option<StatusCode>,
    /// Names of headers that the page can read, in the answer's order.
    pub headers: Vec<HeaderName>,
    /// Headers of the answer that the page cannot read.
    pub hidden: Vec<Hidden>,
}

/// A header that the page cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its name.
    pub name: HeaderName,
    /// Why.
    pub why: Why,
}

/// Why a page cannot read a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `Set-Cookie` is for the browser alone, whatever is exposed.
    Forbidden,
    /// `Access-Control-Expose-Headers` does not name it.
    NotExposed,
    /// `Access-Control-Expose-Headers: *` means nothing for a request with credentials.
    WildcardWithCredentials,
    /// `Access-Control-Expose-Headers` is no list of names, and exposes nothing.
    InvalidList,
    /// The whole answer is hidden: mode `no-cors`.
    Opaque,
}

/// Filters an answer that passed every check.
pub fn readable(request: &Request, answer: &Answer) -> Readable {
    let tainting = request.tainting;
    let (mut headers, mut hidden) = (Vec::new(), Vec::new());
    let exposed = Exposed::of(request, answer);
    for name in answer.headers.keys() {
        let why = match tainting {
            _ if is_forbidden_in_responses(name.as_str()) => Some(Why::Forbidden),
            Tainting::Basic => None,
            Tainting::Opaque => Some(Why::Opaque),
            Tainting::Cors => exposed.why_not(name),
        };
        match why {
            None => headers.push(name.clone()),
            Some(why) => hidden.push(Hidden { name: name.clone(), why }),
        }
    }
    debug_assert!(!headers.contains(&SET_COOKIE));
    Readable { tainting, status: (tainting != Tainting::Opaque).then_some(answer.status), headers, hidden }
}

/// `Access-Control-Expose-Headers`.
enum Exposed {
    All,
    Names(Vec<String>),
    /// A `*` among the names is a name.
    WithCredentials(Vec<String>),
    Invalid,
}

impl Exposed {
    fn of(request: &Request, answer: &Answer) -> Self {
        match answer.tokens("access-control-expose-headers").map(Option::unwrap_or_default) {
            Err(_) => Exposed::Invalid,
            Ok(names) if !names.iter().any(|name| name == "*") => Exposed::Names(names),
            Ok(names) if request.includes_credentials() => Exposed::WithCredentials(names),
            Ok(_) => Exposed::All,
        }
    }

    fn why_not(&self, name: &HeaderName) -> Option<Why> {
        if SAFELISTED.contains(&name.as_str()) {
            return None;
        }
        let has = |names: &[String]| names.iter().any(|listed| name.as_str().eq_ignore_ascii_case(listed));
        match self {
            Exposed::All => None,
            Exposed::Names(names) => (!has(names)).then_some(Why::NotExposed),
            Exposed::WithCredentials(names) => (!has(names)).then_some(Why::WildcardWithCredentials),
            Exposed::Invalid => Some(Why::InvalidList),
        }
    }
}

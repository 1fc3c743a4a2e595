//! The decision: made once from the request head, and applied last to the response, whatever it is. Pure.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::origin::Origin;
use super::policy::Policy;
use super::vary;

const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// The most characters of a malformed origin in a message.
const EXCERPT: usize = 80;

/// The role of a request in the CORS protocol, with its consequences.
#[derive(Debug, Clone)]
pub enum Decision {
    /// No `Origin`: curl, a server, a same-origin GET. The request is served.
    NotCors,
    /// The origin is not allowed, or `Origin` is malformed. The request is answered at once.
    Refused(Kind, Refusal),
    /// A preflight of an allowed origin. It is answered at once.
    Preflight {
        /// The allowed origin.
        grant: Grant,
        /// The route's methods: the value of `Access-Control-Allow-Methods`.
        methods: &'static str,
        /// What the browser will decide by the lists.
        verdict: Verdict,
    },
    /// A request of an allowed origin. The request is served.
    Actual(Grant),
}

/// The kind of a CORS request; the label `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    Preflight,
    /// Any other request with `Origin`.
    Actual,
}

/// `allowed`, or the reason why a browser will block the request; the label `verdict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The page may call.
    Allowed,
    /// No entry of `Spec::origins` matches the origin.
    OriginNotAllowed,
    /// The value of `Origin` is no serialised origin.
    OriginMalformed,
    /// More than one `Origin`.
    OriginRepeated,
    /// The preflight names a method that the route does not have.
    MethodNotAllowed,
    /// The preflight names a header that is not allowed.
    HeaderNotAllowed,
}

/// Why a request is refused, with a message for its developer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// [`Verdict::OriginNotAllowed`], [`Verdict::OriginMalformed`] or [`Verdict::OriginRepeated`].
    pub verdict: Verdict,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl Refusal {
    /// 403 for an origin that is not allowed, 400 for a malformed or repeated `Origin`.
    pub fn status(&self) -> StatusCode {
        match self.verdict {
            Verdict::OriginNotAllowed => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// An allowed origin. Only [`decide`] creates it.
#[derive(Debug, Clone)]
pub struct Grant {
    policy: Policy,
    /// The entry of `Spec::origins` that matches.
    entry: Arc<str>,
    /// The bytes of the request.
    origin: HeaderValue,
}

/// A response that is sent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a preflight: this status without a body.
    Empty(StatusCode),
    /// The refusal.
    Refuse(Refusal),
}

/// The labels for a counter of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels {
    /// `preflight` or `actual`.
    pub kind: &'static str,
    /// `allowed`, or the reason of refusal.
    pub verdict: &'static str,
}

/// Decides from the request head alone.
///
/// `route_methods` is the method list of the route, such as `GET, POST`: visible ASCII, never `*`. For an unknown path, it is
/// the list of methods whose 404 a page may read.
pub fn decide(policy: &Policy, route_methods: &'static str, method: &Method, headers: &HeaderMap) -> Decision {
    // Fetch §3.3.2: a CORS request is one with `Origin`. Same-origin requests other than GET and HEAD carry it too (§3.2,
    // "append a request `Origin` header", step 4) and cannot be distinguished. A server of APIs without pages need not
    // distinguish them.
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Decision::NotCors };

    // §3.3.2: a CORS-preflight request is a CORS request with the method `OPTIONS` and `Access-Control-Request-Method`.
    let asks_method = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let kind = if *method == Method::OPTIONS && asks_method { Kind::Preflight } else { Kind::Actual };

    // §3.2: `Origin = origin-or-null`, one value. RFC 9110 §5.3: such a field must not be repeated.
    if origins.next().is_some() {
        return Decision::Refused(kind, repeated());
    }
    let Ok(parsed) = Origin::parse(origin.as_bytes()) else {
        return Decision::Refused(kind, malformed(origin));
    };
    // §4.10, "CORS check", steps 2 and 4: the browser blocks a response without the page's origin. §3.3.3: status 403 without
    // CORS headers is the explicit refusal.
    let Some(entry) = policy.entry(&parsed) else {
        return Decision::Refused(kind, not_allowed(&parsed));
    };

    let grant = Grant { policy: policy.clone(), entry, origin: origin.clone() };
    match kind {
        Kind::Actual => Decision::Actual(grant),
        Kind::Preflight => Decision::Preflight {
            verdict: preflight_verdict(policy, route_methods, headers),
            grant,
            methods: route_methods,
        },
    }
}

/// What the browser will decide by the lists, which it gets completely, whatever the preflight names.
fn preflight_verdict(policy: &Policy, route_methods: &str, headers: &HeaderMap) -> Verdict {
    let mut methods = headers.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
    let mut names = headers
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty());
    // Fetch §4.8, "CORS-preflight fetch", step 7.5: byte for byte, so that `patch` is not `PATCH`.
    let in_list = |method: &[u8]| route_methods.split(',').any(|listed| listed.trim().as_bytes() == method);
    // §2.2.1, "CORS-safelisted method": these pass step 7.5 without being listed. The route answers them with 405, which the page
    // can read.
    let safelisted = |method: &[u8]| matches!(method, b"GET" | b"HEAD" | b"POST");
    if !methods.all(|method| in_list(method.as_bytes()) || safelisted(method.as_bytes())) {
        Verdict::MethodNotAllowed
    // Steps 7.6 and 7.7: each name is in the list, in any case; the list has no `*`.
    } else if !names.all(|name| policy.allows_header(name)) {
        Verdict::HeaderNotAllowed
    } else {
        Verdict::Allowed
    }
}

impl Decision {
    /// The entry of `Spec::origins` that allows a request, as written; for counters by origin.
    pub fn entry(&self) -> Option<&Arc<str>> {
        match self {
            Decision::Actual(grant) => Some(&grant.entry),
            Decision::NotCors | Decision::Refused(..) | Decision::Preflight { .. } => None,
        }
    }

    /// The response to send at once, before the request is processed; `None` if the request is served.
    pub fn answer(&self) -> Option<Answer> {
        match self {
            Decision::NotCors | Decision::Actual(_) => None,
            Decision::Refused(_, refusal) => Some(Answer::Refuse(refusal.clone())),
            // Fetch §4.8, step 7: an ok status. The browser refuses a method or header that is not in the lists, and names
            // it in its console, which it could not after a 403.
            Decision::Preflight { .. } => Some(Answer::Empty(StatusCode::NO_CONTENT)),
        }
    }

    /// The labels of the request; `None` without `Origin`.
    pub fn labels(&self) -> Option<Labels> {
        let (kind, verdict) = match self {
            Decision::NotCors => return None,
            Decision::Refused(kind, refusal) => (*kind, refusal.verdict),
            Decision::Preflight { verdict, .. } => (Kind::Preflight, *verdict),
            Decision::Actual(_) => (Kind::Actual, Verdict::Allowed),
        };
        Some(Labels { kind: kind.as_str(), verdict: verdict.as_str() })
    }

    /// Writes the decision to the head of a response, as the last change, whatever the response is.
    ///
    /// Existing CORS headers come from an upstream or a mistake, and are removed. Applying is idempotent.
    pub fn apply(&self, headers: &mut HeaderMap) {
        strip(headers);
        // RFC 9110 §12.5.5; Fetch, "CORS protocol and HTTP caches": without it, a cache serves a response for one origin to
        // another, or a response without CORS headers to a page. So refusals and requests without `Origin` have it, too.
        vary::add(headers, self.vary());
        match self {
            Decision::NotCors | Decision::Refused(..) => {}
            Decision::Preflight { grant, methods, .. } => {
                grant.identify(headers);
                // §3.3.4 allows an empty list, which means the same as none.
                if !methods.is_empty() {
                    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
                }
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, grant.policy.allow_headers());
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, grant.policy.max_age());
                // without an answer to `Access-Control-Request-Private-Network`, such access is not granted
            }
            Decision::Actual(grant) => {
                grant.identify(headers);
                // §3.3.3: `Access-Control-Expose-Headers` is for responses to requests other than preflights.
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, grant.policy.expose_headers());
                // §4.11, "TAO check", step 5.
                headers.insert(TIMING_ALLOW_ORIGIN, grant.origin.clone());
            }
        }
    }

    /// The value of `Vary`. Responses to `OPTIONS` are not cacheable (RFC 9110 §9.3.7), but some CDNs cache them, so a preflight
    /// response names all headers that it depends on.
    fn vary(&self) -> &'static str {
        match self {
            Decision::Preflight { .. } | Decision::Refused(Kind::Preflight, ..) => {
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
            }
            _ => "Origin",
        }
    }
}

impl Grant {
    /// Fetch §4.10, "CORS check", steps 4 to 7: the origin's own bytes, once, never `*`; and `true` for pages with credentials,
    /// in a preflight response, too (step 7 of "CORS-preflight fetch" checks for the real request's credentials mode).
    fn identify(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.policy.credentials() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    let is_ours = |name: &&HeaderName| name.as_str().starts_with("access-control-") || **name == TIMING_ALLOW_ORIGIN;
    let ours: Vec<HeaderName> = headers.keys().filter(is_ours).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

fn repeated() -> Refusal {
    let message = "The request has `Origin` more than once: send it once, or not at all.";
    Refusal { verdict: Verdict::OriginRepeated, message: message.to_owned() }
}

fn malformed(origin: &HeaderValue) -> Refusal {
    let message = format!(
        "`Origin: {}` is not an origin: send scheme, host and port as browsers write them, such as \
         https://app.example.com, or send no `Origin`.",
        excerpt(origin.as_bytes())
    );
    Refusal { verdict: Verdict::OriginMalformed, message }
}

fn not_allowed(origin: &Origin<'_>) -> Refusal {
    let message = match origin {
        Origin::Null => {
            "Pages of the origin `null` (local files, sandboxed frames, redirected requests) may never call this \
             server: serve the page over http or https and add its origin to `cors.origins`."
                .to_owned()
        }
        Origin::Foreign(_) => format!(
            "The origin `{origin}` may not call this server: if this extension or app should, the server's operator adds its \
             origin to `cors.origins`, byte for byte."
        ),
        Origin::Web(_) => format!(
            "The origin `{origin}` may not call this server: if its pages should, its operator adds it to `cors.origins`."
        ),
    };
    Refusal { verdict: Verdict::OriginNotAllowed, message }
}

/// The beginning of hostile bytes, as printable ASCII.
fn excerpt(bytes: &[u8]) -> String {
    let plain = |b: &u8| if matches!(b, b' '..=b'~' if *b != b'`') { char::from(*b) } else { '\u{fffd}' };
    let mut shown: String = bytes.iter().take(EXCERPT).map(plain).collect();
    if bytes.len() > EXCERPT {
        shown.push('…');
    }
    shown
}

impl Kind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Preflight => "preflight",
            Kind::Actual => "actual",
        }
    }
}

impl Verdict {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Allowed => "allowed",
            Verdict::OriginNotAllowed => "origin_not_allowed",
            Verdict::OriginMalformed => "origin_malformed",
            Verdict::OriginRepeated => "origin_repeated",
            Verdict::MethodNotAllowed => "method_not_allowed",
            Verdict::HeaderNotAllowed => "header_not_allowed",
        }
    }
}

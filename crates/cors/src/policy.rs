//! The policy: a checked specification, with its header values computed once. Pure.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::names;
use super::origin::Origin;
use super::pattern::Pattern;

/// Browsers limit preflight caching to 24 h (Firefox) or less.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The unchecked specification of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Exact origins, patterns with a leading `*.` or a final `:*`, or `*` alone.
    pub origins: Vec<String>,
    /// Whether pages may send cookies.
    pub credentials: bool,
    /// Allowed request headers, in addition to [`names::ALLOWED`].
    pub allow_headers: Vec<String>,
    /// Exposed response headers, in addition to [`names::EXPOSED`].
    pub expose_headers: Vec<String>,
    /// How long browsers may cache a preflight response: whole seconds, at most 24 h.
    pub max_age: Duration,
}

impl Default for Spec {
    /// No origin: every cross-origin request is refused.
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            credentials: false,
            allow_headers: Vec::new(),
            expose_headers: Vec::new(),
            max_age: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// One mistake in a [`Spec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The field: `origins[1]`, `max_age`.
    pub key: String,
    /// What is wrong, with the value.
    pub reason: String,
    /// What to write instead.
    pub mend: String,
}

/// A checked policy. Clones share one allocation.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    origins: Origins,
    credentials: bool,
    /// Without duplicates, `*`, and names that browsers forbid.
    allow_headers: Vec<HeaderName>,
    allow_headers_value: HeaderValue,
    expose_headers_value: HeaderValue,
    max_age_value: HeaderValue,
}

#[derive(Debug)]
struct Origins {
    /// `*`: every `http` and `https` page. Invariant: without credentials.
    any: Option<Arc<str>>,
    /// Each pattern with its text. Invariant: with credentials, none of them is insecure.
    listed: Vec<(Pattern, Arc<str>)>,
}

impl Policy {
    /// Checks a specification.
    ///
    /// # Errors
    /// All mistakes, in the order of the fields.
    pub fn new(spec: &Spec) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Vec::new();
        let origins = check_origins(spec, &mut errors);
        let allow_headers = check_names("allow_headers", &spec.allow_headers, &mut errors, allow_flaw);
        let expose_headers = check_names("expose_headers", &spec.expose_headers, &mut errors, |name| {
            expose_flaw(name, spec.credentials)
        });
        check_max_age(spec.max_age, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let allow_headers = joined_with(&names::ALLOWED, allow_headers);
        Ok(Self(Arc::new(Checked {
            origins,
            credentials: spec.credentials,
            allow_headers_value: list(&allow_headers),
            allow_headers,
            expose_headers_value: list(&joined_with(&names::EXPOSED, expose_headers)),
            max_age_value: HeaderValue::from(spec.max_age.as_secs()),
        })))
    }

    /// Whether no origin is allowed.
    pub fn is_closed(&self) -> bool {
        self.0.origins.any.is_none() && self.0.origins.listed.is_empty()
    }

    /// The origins and patterns as written, `*` first.
    pub fn origins(&self) -> Vec<String> {
        let Origins { any, listed } = &self.0.origins;
        any.iter().chain(listed.iter().map(|(_, written)| written)).map(|written| (**written).to_owned()).collect()
    }

    /// Whether this origin is allowed. `null` never is, and the origin of an extension or app only if it is listed.
    pub fn allows(&self, origin: &Origin<'_>) -> bool {
        self.entry(origin).is_some()
    }

    /// The entry of `Spec::origins` that matches this origin, as written.
    pub(super) fn entry(&self, origin: &Origin<'_>) -> Option<Arc<str>> {
        match (origin, &self.0.origins) {
            (Origin::Web(_), Origins { any: Some(written), .. }) => Some(Arc::clone(written)),
            (origin, Origins { listed, .. }) => {
                listed.iter().find(|(pattern, _)| pattern.matches(origin)).map(|(_, written)| Arc::clone(written))
            }
        }
    }

    /// Whether pages may send this request header; its name is in any case.
    pub(super) fn allows_header(&self, name: &[u8]) -> bool {
        self.0.allow_headers.iter().any(|allowed| allowed.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether pages may send cookies.
    pub fn credentials(&self) -> bool {
        self.0.credentials
    }

    pub(super) fn allow_headers(&self) -> HeaderValue {
        self.0.allow_headers_value.clone()
    }

    pub(super) fn expose_headers(&self) -> HeaderValue {
        self.0.expose_headers_value.clone()
    }

    pub(super) fn max_age(&self) -> HeaderValue {
        self.0.max_age_value.clone()
    }
}

fn check_origins(spec: &Spec, errors: &mut Vec<PolicyError>) -> Origins {
    let mut any = false;
    let mut patterns: Vec<(Pattern, Arc<str>)> = Vec::new();
    for (at, entry) in spec.origins.iter().enumerate() {
        let key = format!("origins[{at}]");
        if entry == "*" {
            any = true;
            if spec.credentials {
                errors.push(error(
                    key,
                    "`*` with `credentials = true` lets every page of the web act with a visitor's cookies",
                    "name the origins, or set credentials = false",
                ));
            }
            continue;
        }
        match Pattern::parse(entry) {
            Err(refused) => errors.push(error(key, refused.reason, refused.mend)),
            Ok(pattern) if spec.credentials && pattern.is_insecure() => errors.push(error(
                key,
                format!("`{entry}` with `credentials = true` lets anyone on the visitor's network imitate that page"),
                format!("serve it over TLS and write `https{}`, or set credentials = false", &entry["http".len()..]),
            )),
            Ok(pattern) if patterns.iter().any(|(known, _)| *known == pattern) => {}
            Ok(pattern) => {
                let written = pattern.to_string().into();
                patterns.push((pattern, written));
            }
        }
    }
    Origins { any: any.then(|| "*".into()), listed: patterns }
}

type Flaw = (&'static str, &'static str);

fn check_names(
    key: &str,
    written: &[String],
    errors: &mut Vec<PolicyError>,
    flaw: impl Fn(&str) -> Option<Flaw>,
) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for (at, entry) in written.iter().enumerate() {
        let flaw = match HeaderName::from_bytes(entry.as_bytes()) {
            Err(_) => Some(("is no header name", "write one name an entry, of letters, digits and hyphens")),
            Ok(name) => match flaw(name.as_str()) {
                None => {
                    names.push(name);
                    None
                }
                flaw => flaw,
            },
        };
        if let Some((reason, mend)) = flaw {
            errors.push(error(format!("{key}[{at}]"), format!("`{entry}` {reason}"), mend));
        }
    }
    names
}

fn allow_flaw(name: &str) -> Option<Flaw> {
    if name == "*" {
        // Fetch §2.2.2, "CORS non-wildcard request-header name": `authorization`
        Some((
            "does not cover `authorization`, and covers nothing at all once a page sends cookies",
            "name each header that your pages send",
        ))
    } else if names::is_forbidden_in_requests(name) {
        Some(("is set by the browser alone: no page can send it", "remove it"))
    } else if name.starts_with("access-control-") {
        Some(("is a response header: no page sends it", "remove it"))
    } else {
        None
    }
}

fn expose_flaw(name: &str, credentials: bool) -> Option<Flaw> {
    if name == "*" && credentials {
        // Fetch §3.3.5: with credentials, `*` is an ordinary header name
        Some(("is no wildcard with `credentials = true`", "name each header that your pages read"))
    } else if names::is_forbidden_in_responses(name) {
        // Fetch §2.2.2, "forbidden response-header name"
        Some(("can be read by no page, whatever is exposed", "remove it"))
    } else {
        None
    }
}

fn check_max_age(max_age: Duration, errors: &mut Vec<PolicyError>) {
    if max_age > LONGEST_MAX_AGE {
        let reason = format!(
            "{} s is over 24 h, the longest time for which a browser caches a preflight response",
            max_age.as_secs()
        );
        errors.push(error("max_age", reason, "write `24h` or less"));
    } else if max_age.subsec_nanos() != 0 {
        // Fetch §3.3.4: `Access-Control-Max-Age` is delta-seconds
        errors.push(error("max_age", "browsers count it in whole seconds", "write whole seconds, such as `2h`"));
    }
}

fn error(key: impl Into<String>, reason: impl Into<String>, mend: impl Into<String>) -> PolicyError {
    PolicyError { key: key.into(), reason: reason.into(), mend: mend.into() }
}

/// The built-in names, then the added ones, each once.
fn joined_with(built_in: &[&'static str], added: Vec<HeaderName>) -> Vec<HeaderName> {
    let mut seen = HashSet::new();
    let built_in = built_in.iter().copied().map(HeaderName::from_static);
    built_in.chain(added).filter(|name| seen.insert(name.clone())).collect()
}

fn list(names: &[HeaderName]) -> HeaderValue {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("header names are visible ASCII")
}

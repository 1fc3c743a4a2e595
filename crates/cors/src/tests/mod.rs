//! Policy and decision together.

mod decisions;
mod policies;
mod properties;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::decision::{Answer, Decision, Labels, decide};
use super::policy::{Policy, Spec};

const METHODS: &str = "GET, POST";
const APP: &str = "https://app.example.com";

fn spec(origins: &[&str]) -> Spec {
    Spec { origins: origins.iter().map(|&o| o.to_owned()).collect(), ..Spec::default() }
}

fn policy(origins: &[&str]) -> Policy {
    Policy::new(&spec(origins)).unwrap()
}

fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

fn preflight_head(origin: &str, method: &str, headers: &str) -> HeaderMap {
    let mut head = head(&[("origin", origin), ("access-control-request-method", method)]);
    if !headers.is_empty() {
        head.append("access-control-request-headers", headers.parse().unwrap());
    }
    head
}

fn preflight(policy: &Policy, origin: &str, method: &str, headers: &str) -> Decision {
    decide(policy, METHODS, &Method::OPTIONS, &preflight_head(origin, method, headers))
}

fn actual(policy: &Policy, origin: &str) -> Decision {
    decide(policy, METHODS, &Method::POST, &head(&[("origin", origin)]))
}

fn applied(decision: &Decision) -> HeaderMap {
    let mut headers = HeaderMap::new();
    decision.apply(&mut headers);
    headers
}

fn labels(decision: &Decision) -> (&'static str, &'static str) {
    decision.labels().map(|Labels { kind, verdict }| (kind, verdict)).unwrap()
}

fn reject(decision: &Decision) -> crate::decision::Refusal {
    match decision.answer() {
        Some(Answer::Refuse(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn names_of(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

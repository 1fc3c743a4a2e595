//! Places in the Fetch standard.

use std::fmt;

/// A step of an algorithm of the Fetch standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The section's number, such as `4.10`.
    pub section: &'static str,
    /// The section's name, such as `CORS check`.
    pub title: &'static str,
    /// The section's fragment, such as `cors-check`.
    pub anchor: &'static str,
    /// The step's number within the algorithm, such as `4` or `7.5`; empty where the section is a definition.
    pub step: &'static str,
}

impl Step {
    /// The address of the section.
    pub fn url(&self) -> String {
        format!("https://fetch.spec.whatwg.org/#{}", self.anchor)
    }

    const fn new(section: &'static str, title: &'static str, anchor: &'static str, step: &'static str) -> Self {
        Self { section, title, anchor, step }
    }

    pub(super) const fn main_fetch(step: &'static str) -> Self {
        Self::new("4.1", "main fetch", "main-fetch", step)
    }

    pub(super) const fn http_fetch(step: &'static str) -> Self {
        Self::new("4.4", "HTTP fetch", "http-fetch", step)
    }

    pub(super) const fn redirect(step: &'static str) -> Self {
        Self::new("4.5", "HTTP-redirect fetch", "http-redirect-fetch", step)
    }

    pub(super) const fn preflight(step: &'static str) -> Self {
        Self::new("4.8", "CORS-preflight fetch", "cors-preflight-fetch", step)
    }

    pub(super) const fn cors_check(step: &'static str) -> Self {
        Self::new("4.10", "CORS check", "cors-check", step)
    }

    pub(super) const fn request_constructor(step: &'static str) -> Self {
        Self::new("5.4", "new Request", "dom-request", step)
    }

    pub(super) const HEADERS_VALIDATE: Self = Self::new("5.1", "validate", "headers-validate", "1");
    pub(super) const SAFELISTED_METHOD: Self =
        Self::new("2.2.1", "CORS-safelisted method", "cors-safelisted-method", "");
    pub(super) const SAFELISTED_HEADER: Self =
        Self::new("2.2.2", "CORS-safelisted request-header", "cors-safelisted-request-header", "");
    pub(super) const UNSAFE_NAMES: Self =
        Self::new("2.2.2", "CORS-unsafe request-header names", "cors-unsafe-request-header-names", "5");
    pub(super) const PORT_BLOCKING: Self = Self::new("2.9", "port blocking", "port-blocking", "");
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetch §{}, “{}”", self.section, self.title)?;
        if self.step.is_empty() { Ok(()) } else { write!(f, ", step {}", self.step) }
    }
}

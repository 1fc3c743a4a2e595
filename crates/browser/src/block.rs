//! Why a browser blocks a response: the step of the Fetch or HTML standard that fails, and Chromium's name for it.

use std::fmt;

use super::code::Code;

/// A network error in the standard's terms: the page's `fetch()` is rejected with a `TypeError` without details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Chromium's name for a CORS failure; `None` for other failures, such as too many redirects.
    pub code: Option<Code>,
    /// The request at which it happens.
    pub stage: Stage,
    /// The step of the standard that fails.
    pub step: Step,
    /// The reason, as a sentence.
    pub reason: String,
    /// The relevant lines of the response, such as `access-control-allow-origin: *`; empty if they are missing or not the
    /// cause. Never a secret: CORS headers, the status, and `Location` without user name and password.
    pub received: Vec<String>,
    /// What would pass, such as `access-control-allow-origin: https://app.example.com`.
    pub needed: String,
}

/// The request at which a browser stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The page's call, before anything is sent.
    Page,
    /// The preflight.
    Preflight,
    /// The request itself, or the request after a redirect.
    Response,
    /// The redirect in the response.
    Redirect,
}

impl Stage {
    /// `page`, `preflight`, `response` or `redirect`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Page => "page",
            Stage::Preflight => "preflight",
            Stage::Response => "response",
            Stage::Redirect => "redirect",
        }
    }
}

/// A step of an algorithm of a standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The section of the algorithm.
    pub section: &'static Section,
    /// The number of the step within the algorithm, such as `4` or `7.5`; empty if the section is a definition.
    pub step: &'static str,
}

/// A standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spec {
    /// The Fetch standard.
    Fetch,
    /// The HTML standard.
    Html,
}

/// A section of a standard, or a definition in one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Section {
    /// The standard.
    pub spec: Spec,
    /// Its number, such as `4.10`.
    pub number: &'static str,
    /// Its name, such as `CORS check`.
    pub title: &'static str,
    /// Its fragment, such as `cors-check`.
    pub anchor: &'static str,
}

impl Step {
    /// The URL of the section.
    pub fn url(&self) -> String {
        let page = match self.section.spec {
            Spec::Fetch => "https://fetch.spec.whatwg.org/",
            Spec::Html => "https://html.spec.whatwg.org/multipage/server-sent-events.html",
        };
        format!("{page}#{}", self.section.anchor)
    }

    pub(super) const fn main_fetch(step: &'static str) -> Self {
        Self { section: &Section { spec: Spec::Fetch, number: "4.1", title: "main fetch", anchor: "main-fetch" }, step }
    }

    pub(super) const fn http_fetch(step: &'static str) -> Self {
        Self { section: &Section { spec: Spec::Fetch, number: "4.4", title: "HTTP fetch", anchor: "http-fetch" }, step }
    }

    pub(super) const fn redirect(step: &'static str) -> Self {
        Self {
            section: &Section {
                spec: Spec::Fetch,
                number: "4.5",
                title: "HTTP-redirect fetch",
                anchor: "http-redirect-fetch",
            },
            step,
        }
    }

    pub(super) const fn preflight(step: &'static str) -> Self {
        Self {
            section: &Section {
                spec: Spec::Fetch,
                number: "4.8",
                title: "CORS-preflight fetch",
                anchor: "cors-preflight-fetch",
            },
            step,
        }
    }

    pub(super) const fn cors_check(step: &'static str) -> Self {
        Self {
            section: &Section { spec: Spec::Fetch, number: "4.10", title: "CORS check", anchor: "cors-check" },
            step,
        }
    }

    pub(super) const fn request_constructor(step: &'static str) -> Self {
        Self {
            section: &Section { spec: Spec::Fetch, number: "5.4", title: "new Request()", anchor: "dom-request" },
            step,
        }
    }

    pub(super) const HEADERS_VALIDATE: Self = Self {
        section: &Section { spec: Spec::Fetch, number: "5.1", title: "validate", anchor: "headers-validate" },
        step: "1",
    };
    pub(super) const SAFELISTED_METHOD: Self = Self {
        section: &Section {
            spec: Spec::Fetch,
            number: "2.2.1",
            title: "CORS-safelisted method",
            anchor: "cors-safelisted-method",
        },
        step: "",
    };
    pub(super) const SAFELISTED_HEADER: Self = Self {
        section: &Section {
            spec: Spec::Fetch,
            number: "2.2.2",
            title: "CORS-safelisted request-header",
            anchor: "cors-safelisted-request-header",
        },
        step: "",
    };
    pub(super) const UNSAFE_NAMES: Self = Self {
        section: &Section {
            spec: Spec::Fetch,
            number: "2.2.2",
            title: "CORS-unsafe request-header names",
            anchor: "cors-unsafe-request-header-names",
        },
        step: "5",
    };
    /// The response that `EventSource` announces or fails.
    pub const EVENT_SOURCE: Self = Self {
        section: &Section {
            spec: Spec::Html,
            number: "9.2.3",
            title: "processing model of EventSource",
            anchor: "sse-processing-model",
        },
        step: "",
    };
    pub(super) const PORT_BLOCKING: Self = Self {
        section: &Section { spec: Spec::Fetch, number: "2.9", title: "port blocking", anchor: "port-blocking" },
        step: "",
    };
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = match self.section.spec {
            Spec::Fetch => "Fetch",
            Spec::Html => "HTML",
        };
        write!(f, "{spec} §{}, “{}”", self.section.number, self.section.title)?;
        if self.step.is_empty() { Ok(()) } else { write!(f, ", step {}", self.step) }
    }
}

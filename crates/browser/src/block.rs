//! Why a browser keeps an answer from the page.

use super::code::Code;
use super::step::Step;

/// A network error, as the standard calls it: the page's `fetch()` is rejected with a `TypeError` and learns nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Chromium's name, where it is a failure of CORS; `None` for others, such as too many redirects.
    pub code: Option<Code>,
    /// At which request it happened.
    pub stage: Stage,
    /// The step of the standard that fails.
    pub step: Step,
    /// What is wrong, as a sentence.
    pub reason: String,
    /// The answer's lines that matter, such as `access-control-allow-origin: *`; empty where they are missing or it is not
    /// the answer's fault. Never a secret: CORS headers, the status, and `Location` without user name and password.
    pub received: Vec<String>,
    /// What would have passed, such as `access-control-allow-origin: https://app.example.com`.
    pub needed: String,
}

/// The request during which a browser gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before anything is sent.
    Page,
    /// The preflight.
    Preflight,
    /// The request itself, or one that a redirect led to.
    Response,
    /// The redirect that the request's answer asks for.
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

//! The result of an examination: the verdict, the steps, the findings. Pure.
//!
//! `--json` writes a [`Report`] as it is; the names and values of its members are stable.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use browser::block::Block;
use browser::code::Code;

use super::mend::Target;

/// The result of an examination.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The request.
    pub request: Summary,
    /// Whether the page gets a response that it may read.
    pub verdict: Verdict,
    /// Chromium's name for the step that failed; `None` if none failed, or if it was no step of CORS.
    #[serde(serialize_with = "code_name")]
    pub code: Option<Code>,
    /// What failed; `None` if nothing failed.
    pub block: Option<Blocked>,
    /// The steps of the request, in order.
    pub steps: Vec<Step>,
    /// The browsers whose verdict differs.
    #[serde(rename = "elsewhere")]
    pub other_browsers: Vec<OtherBrowser>,
    /// Problems that did not cause the verdict, the most severe first.
    pub findings: Vec<Finding>,
    /// The ids of all findings that were looked for.
    pub probed: Vec<&'static str>,
    /// What was left out of the input or assumed, one sentence each.
    pub notes: Vec<String>,
}

/// The request, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The URL.
    pub url: String,
    /// The page's origin.
    pub origin: String,
    /// The normalised method.
    pub method: String,
    /// `omit`, `same-origin` or `include`.
    pub credentials: &'static str,
    /// `fetch` or `eventsource`.
    pub interface: &'static str,
    /// The browser whose rules decide.
    pub browser: &'static str,
}

/// Whether the page may read the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The page may read it.
    Allowed,
    /// The page gets a `TypeError` without details.
    Blocked,
}

/// Why a response is blocked, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// `page`, `preflight`, `response` or `redirect`.
    pub stage: &'static str,
    /// The reason, as a sentence.
    pub reason: String,
    /// The section and step of the standard.
    pub standard: String,
    /// The URL of the section.
    pub standard_url: String,
    /// The relevant lines of the response.
    pub received: Vec<String>,
    /// What would pass.
    pub needed: String,
    /// What to do, as a sentence.
    pub advice: String,
    /// The kind of server, by the headers of the response.
    pub server: Option<&'static str>,
    /// The fix for each kind of server; empty if no CORS policy helps.
    pub mends: Vec<Mend>,
}

/// A fix for one kind of server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// The kind of server.
    #[serde(serialize_with = "target_name")]
    pub target: Target,
    /// The configuration or code to paste; `None` if this server cannot express the policy.
    pub text: Option<String>,
    /// Why there is no text.
    pub reason: Option<String>,
}

/// One step of the request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The kind of step, such as `preflight-needed`; stable.
    pub id: &'static str,
    /// The step as a clause.
    pub title: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Details, one a line: reasons, header lines without secrets.
    pub lines: Vec<String>,
    /// The part of the standard, if there is one.
    pub standard: Option<String>,
    /// The duration, if something was sent.
    pub milliseconds: Option<f64>,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, and the browser stops.
    Failed,
    /// The step cannot fail.
    #[serde(rename = "told")]
    Info,
}

/// The verdict by the rules of another browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherBrowser {
    /// The browser.
    pub browser: &'static str,
    /// Its verdict.
    pub verdict: Verdict,
    /// Chromium's name for the failing step.
    #[serde(serialize_with = "code_name")]
    pub code: Option<Code>,
    /// The reason, as a sentence.
    pub reason: String,
}

/// A problem that a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of problem; stable.
    pub id: &'static str,
    /// The severity.
    pub severity: Severity,
    /// The problem and its effect, as a sentence.
    pub title: &'static str,
    /// The observations, one in each line.
    pub seen: Vec<String>,
    /// The fix: a sentence, or a line to paste.
    pub mend: Cow<'static, str>,
}

/// The severity of a finding, the most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A security problem, or something that breaks pages now.
    Error,
    /// Something that can break pages later, or costs them time now.
    Warning,
    /// Information.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

impl Step {
    /// A step that cannot fail.
    pub fn info(id: &'static str, title: impl Into<String>) -> Self {
        Self { id, title: title.into(), outcome: Outcome::Info, lines: Vec::new(), standard: None, milliseconds: None }
    }

    /// A step that passed.
    pub fn passed(id: &'static str, title: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, ..Self::info(id, title) }
    }

    /// A step that failed.
    pub fn failed(id: &'static str, block: &Block) -> Self {
        Self {
            outcome: Outcome::Failed,
            standard: Some(block.step.to_string()),
            ..Self::info(id, block.reason.trim_end_matches('.'))
        }
    }

    /// The step with these details.
    #[must_use]
    pub fn with_lines(self, lines: Vec<String>) -> Self {
        Self { lines, ..self }
    }
}

fn code_name<S: Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    code.map(Code::as_str).serialize(serializer)
}

fn target_name<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    target.as_str().serialize(serializer)
}

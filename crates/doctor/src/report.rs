//! What an examination found, as values: the story, the verdict, the findings. Pure.
//!
//! `--json` writes a [`Report`] as it stands here; `verdict`, `code`, `steps` and `findings` keep their names and shapes.

use serde::{Serialize, Serializer};

use browser::block::Block;
use browser::code::Code;

use super::mend::Target;

/// An examination's result.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was asked.
    pub request: Summary,
    /// Whether the page gets an answer that it may read.
    pub verdict: Verdict,
    /// Chromium's name for the step that failed; `None` where none did, or where it was no step of CORS.
    #[serde(serialize_with = "code_name")]
    pub code: Option<Code>,
    /// What failed; `None` where nothing did.
    pub block: Option<Blocked>,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The verdict by the rules of each other browser, where it is another one.
    pub elsewhere: Vec<Elsewhere>,
    /// What will go wrong one day, or is wrong already without being the verdict's cause; the worst first.
    pub findings: Vec<Finding>,
    /// What was probed, by the ids of the findings that there could have been.
    pub probed: Vec<&'static str>,
    /// What of the input was left out or guessed, one sentence each.
    pub notes: Vec<String>,
}

/// The request, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Where to.
    pub url: String,
    /// The page's origin.
    pub origin: String,
    /// Normalised.
    pub method: String,
    /// `omit`, `same-origin` or `include`.
    pub credentials: &'static str,
    /// `fetch` or `eventsource`.
    pub interface: &'static str,
    /// Whose rules decide.
    pub browser: &'static str,
}

/// Whether the page may read the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It learns nothing but `TypeError`.
    Blocked,
}

/// Why a page is kept from an answer, and what would let it through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// `page`, `preflight`, `response` or `redirect`.
    pub stage: &'static str,
    /// A sentence.
    pub reason: String,
    /// Section and step, in words.
    pub standard: String,
    /// Where they can be read.
    pub standard_url: String,
    /// The answer's own lines.
    pub received: Vec<String>,
    /// What would have passed.
    pub needed: String,
    /// What to do, one sentence.
    pub advice: String,
    /// The server by its own headers, if they say.
    pub server: Option<&'static str>,
    /// A policy to paste, for each kind of server; empty where no policy of the server's helps.
    pub mends: Vec<Paste>,
}

/// A mend for one kind of server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paste {
    /// For whom.
    #[serde(serialize_with = "target_name")]
    pub target: Target,
    /// Text to paste; `None` where this server cannot be told.
    pub text: Option<String>,
    /// Why there is no text.
    pub reason: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What kind of step, such as `preflight-needed`; stable.
    pub id: &'static str,
    /// A clause for people.
    pub title: String,
    /// How it went.
    pub outcome: Outcome,
    /// Details, one a line: reasons, header lines without secrets.
    pub lines: Vec<String>,
    /// The part of the standard, where there is one.
    pub standard: Option<String>,
    /// How long it took, where something was sent.
    pub milliseconds: Option<f64>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed: here the browser stops.
    Failed,
    /// Nothing was to pass.
    Told,
}

/// The verdict by another browser's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// Whose rules.
    pub browser: &'static str,
    /// What it would be there.
    pub verdict: Verdict,
    /// Chromium's name for the failing step.
    #[serde(serialize_with = "code_name")]
    pub code: Option<Code>,
    /// Why, a sentence.
    pub reason: String,
}

/// Something that a probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which one; stable.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong and what follows from it, a sentence.
    pub title: String,
    /// What was seen, one observation a line.
    pub seen: Vec<String>,
    /// What to do, a sentence or a line to paste.
    pub mend: String,
}

/// How bad a finding is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A hole, or something that breaks pages today.
    Error,
    /// Something that will break pages one day, or costs them time now.
    Warning,
    /// Something to know.
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
    /// A step at which nothing can fail.
    pub fn told(id: &'static str, title: impl Into<String>) -> Self {
        Self { id, title: title.into(), outcome: Outcome::Told, lines: Vec::new(), standard: None, milliseconds: None }
    }

    /// A step that passed.
    pub fn passed(id: &'static str, title: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, ..Self::told(id, title) }
    }

    /// A step that failed.
    pub fn failed(id: &'static str, block: &Block) -> Self {
        Self {
            outcome: Outcome::Failed,
            standard: Some(block.step.to_string()),
            ..Self::told(id, block.reason.trim_end_matches('.'))
        }
    }

    /// With these details.
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

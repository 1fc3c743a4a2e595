//! The output of the evaluation.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::labelled::Labelled;
use super::matrix::Matrix;
use crate::cli::failure::Failure;
use tokenway::routing::verdict::Verdict;

/// A judge of the prompts, and its verdicts.
pub(super) struct Judge {
    pub(super) name: String,
    /// In the order of the prompts; `None` where it gave no verdict.
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// Time and cost of asking; `None` for the rules.
    pub(super) effort: Option<Effort>,
}

/// Time and cost of asking.
pub(super) struct Effort {
    /// The median, and the 95th percentile.
    pub(super) median: Duration,
    pub(super) p95: Duration,
    /// Dollars for all of them, exact; `None` where a price is not known.
    pub(super) cost: Option<String>,
}

impl Judge {
    /// Makes a judge without effort.
    pub(super) fn new(name: impl Into<String>, verdicts: Vec<Option<Verdict>>) -> Self {
        Self { name: name.into(), verdicts, effort: None }
    }

    fn matrix(&self, prompts: &[Labelled], of: impl Fn(&Labelled) -> bool) -> Matrix {
        let pairs = prompts.iter().zip(&self.verdicts).filter(|(prompt, _)| of(prompt));
        Matrix::of(pairs.map(|(prompt, said)| (prompt.label, *said)))
    }
}

/// The two halves of the set, and their names.
const HALVES: [(bool, &str); 2] = [(true, "tuning"), (false, "held out")];

/// Returns the report as text.
pub(super) fn text(prompts: &[Labelled], judges: &[Judge], wrong: bool, out: &mut impl Write) -> io::Result<()> {
    for judge in judges {
        writeln!(out, "{}", judge.name)?;
        writeln!(out, "  {:<10}{:<8}{:>10}{:>10}{:>12}", "half", "is", "said easy", "said hard", "no verdict")?;
        for (tuning, half) in HALVES {
            let matrix = judge.matrix(prompts, |prompt| prompt.tuning == tuning);
            for label in Verdict::BOTH {
                let [easy, hard, none] =
                    [Some(Verdict::Easy), Some(Verdict::Hard), None].map(|said| matrix.count(label, said));
                writeln!(out, "  {half:<10}{label:<8}{easy:>10}{hard:>10}{none:>12}", label = label.as_str())?;
            }
            writeln!(
                out,
                "  {half:<10}right {} of {}: {:.1} %; of the easy {:.1} %, of the hard {:.1} %",
                matrix.right(),
                matrix.all(),
                100.0 * matrix.share_right(),
                100.0 * matrix.recall(Verdict::Easy),
                100.0 * matrix.recall(Verdict::Hard),
            )?;
        }
        if let Some(Effort { median, p95, cost }) = &judge.effort {
            let cost = cost.as_deref().map(|cost| format!(", cost ${cost}")).unwrap_or_default();
            writeln!(out, "  asked: median {} ms, 95 % below {} ms{cost}", median.as_millis(), p95.as_millis())?;
        }
        if wrong {
            for (prompt, said) in
                prompts.iter().zip(&judge.verdicts).filter(|(prompt, said)| **said != Some(prompt.label))
            {
                let said = said.map_or("nothing", Verdict::as_str);
                let half = if prompt.tuning { HALVES[0].1 } else { HALVES[1].1 };
                let text: String = prompt.prompt.text.head.chars().take(100).collect();
                writeln!(out, "  {} said {said} ({half}, {}): {}", prompt.label, prompt.kind, text.replace('\n', " "))?;
            }
        }
    }
    Ok(())
}

/// Returns the report as JSON, with the failure if there is one.
pub(super) fn json(prompts: &[Labelled], judges: &[Judge], failure: Option<&Failure>) -> Value {
    let halves = |judge: &Judge| {
        let half = |(tuning, name): (bool, &str)| {
            let matrix = judge.matrix(prompts, |prompt| prompt.tuning == tuning);
            let row = |label| {
                json!({
                    "easy": matrix.count(label, Some(Verdict::Easy)),
                    "hard": matrix.count(label, Some(Verdict::Hard)),
                    "none": matrix.count(label, None),
                })
            };
            json!({
                "half": name, "right": matrix.right(), "of": matrix.all(),
                "is_easy_said": row(Verdict::Easy), "is_hard_said": row(Verdict::Hard),
            })
        };
        HALVES.map(half)
    };
    let judge = |judge: &Judge| {
        let effort = judge.effort.as_ref();
        json!({
            "by": judge.name,
            "halves": halves(judge),
            "median_ms": effort.map(|effort| effort.median.as_secs_f64() * 1e3),
            "p95_ms": effort.map(|effort| effort.p95.as_secs_f64() * 1e3),
            "cost_dollars": effort.and_then(|effort| effort.cost.as_ref()),
        })
    };
    let mut document = json!({ "prompts": prompts.len(), "judges": judges.iter().map(judge).collect::<Vec<_>>() });
    if let Some(failure) = failure {
        document["error"] = failure.as_json();
    }
    document
}

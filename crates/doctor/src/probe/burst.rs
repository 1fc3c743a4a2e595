//! Do preflights survive a burst? A page that starts many requests preflights them all at once.

use super::Scene;
use crate::course::preflight_ask;
use crate::report::{Finding, Severity};
use crate::text::plural;
use browser::answer::Answer;
use browser::preflight::{self, Preflight};
use browser::request::Request;

/// As many as a page may well start.
const PREFLIGHTS: usize = 20;

/// Sends preflights one after another; stops at the first that does not pass.
pub(super) async fn run(scene: &mut Scene<'_>) -> Vec<Answer> {
    let ask = preflight_ask(&Preflight::of(&scene.request), &scene.request);
    let mut answers = Vec::new();
    for _ in 0..PREFLIGHTS {
        let Ok(answer) = scene.client.head(&ask).await else { break };
        let passed = preflight::check(&scene.request, &answer).is_ok();
        answers.push(answer);
        if !passed {
            break;
        }
    }
    answers
}

/// A preflight that failed after others had passed.
pub fn judge(request: &Request, answers: &[Answer]) -> Option<Finding> {
    let (last, before) = answers.split_last()?;
    let block = preflight::check(request, last).err().filter(|_| !before.is_empty())?;
    Some(Finding {
        id: "preflight-rate-limited",
        severity: Severity::Error,
        title:
            "Preflights are limited: under load the page's requests fail before they are sent, and it cannot learn why."
                .to_owned(),
        seen: vec![format!(
            "after {}: {}{}",
            plural(before.len() as u64, "preflight", "preflights"),
            last.status,
            block.code.map_or(String::new(), |code| format!(" ({code})"))
        )],
        mend: "Answer OPTIONS with Access-Control-Request-Method before limits are counted.".to_owned(),
    })
}

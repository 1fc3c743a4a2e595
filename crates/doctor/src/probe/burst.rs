//! Checks whether a rate limit rejects preflights: a page that starts many requests sends many preflights at once.

use super::Context;
use crate::report::{Finding, Severity};
use crate::text::plural;
use crate::transcript::preflight_request;
use browser::head::ResponseHead;
use browser::preflight::{self, Preflight};
use browser::request::Request;

/// The number of preflights that a page can plausibly start.
const PREFLIGHTS: usize = 20;

/// Sends preflights one after another, until one does not pass.
pub(super) async fn run(context: &mut Context<'_>) -> Vec<ResponseHead> {
    let request = preflight_request(&Preflight::of(&context.request), &context.request);
    let mut responses = Vec::new();
    for _ in 0..PREFLIGHTS {
        let Ok(response) = context.client.head(&request).await else { break };
        let passed = preflight::check(&context.request, &response).is_ok();
        responses.push(response);
        if !passed {
            break;
        }
    }
    responses
}

/// A preflight that failed after others had passed.
pub fn finding(request: &Request, responses: &[ResponseHead]) -> Option<Finding> {
    let (last, before) = responses.split_last()?;
    let block = preflight::check(request, last).err().filter(|_| !before.is_empty())?;
    Some(Finding {
        id: "preflight-rate-limited",
        severity: Severity::Error,
        title: "Preflights are rate-limited: under load, the page's requests fail before they are sent, without a reason.",
        seen: vec![format!(
            "after {}: {}{}",
            plural(before.len() as u64, "preflight", "preflights"),
            last.status,
            block.code.map_or(String::new(), |code| format!(" ({code})"))
        )],
        mend: "Answer OPTIONS with Access-Control-Request-Method before the rate limit.".into(),
    })
}

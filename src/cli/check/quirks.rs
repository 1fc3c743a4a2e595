//! What a model's answer to `check --live` shows of its upstream: where it counts tokens, and what it refuses. Pure.

use serde_json::{Value, json};

/// What an upstream does otherwise than OpenAI's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quirk {
    RefusesMaxTokens,
    RefusesAnyBound,
    IgnoresBound,
    RefusesStreamOptions,
    NoUsage,
    UsageInChoice,
    UsageInXGroq,
    Timings,
    ReasoningBesideCompletion,
}

impl Quirk {
    /// The id in `--json`.
    fn id(self) -> &'static str {
        match self {
            Quirk::RefusesMaxTokens => "refuses-max-tokens",
            Quirk::RefusesAnyBound => "refuses-any-bound",
            Quirk::IgnoresBound => "ignores-bound",
            Quirk::RefusesStreamOptions => "refuses-stream-options",
            Quirk::NoUsage => "no-usage",
            Quirk::UsageInChoice => "usage-in-choice",
            Quirk::UsageInXGroq => "usage-in-x-groq",
            Quirk::Timings => "timings",
            Quirk::ReasoningBesideCompletion => "reasoning-beside-completion",
        }
    }

    /// What it is, and what follows from it.
    pub(super) fn message(self) -> &'static str {
        match self {
            Quirk::RefusesMaxTokens => "it refuses max_tokens and accepts max_completion_tokens",
            Quirk::RefusesAnyBound => "it refuses max_tokens and max_completion_tokens",
            Quirk::IgnoresBound => "it sends more than the tokens that were asked for; check left",
            Quirk::RefusesStreamOptions => {
                "it refuses stream_options, so Tokenway asks without them; stream_usage = false saves the first refusal"
            }
            Quirk::NoUsage => "it sends no usage, so tokens are estimated",
            Quirk::UsageInChoice => "it sends usage in the choice; Tokenway reads it there",
            Quirk::UsageInXGroq => "it sends usage in x_groq; Tokenway reads it there",
            Quirk::Timings => "it sends timings instead of usage; Tokenway reads them",
            Quirk::ReasoningBesideCompletion => {
                "it counts reasoning beside the completion tokens; Tokenway counts both as output"
            }
        }
    }

    pub(super) fn as_json(self) -> Value {
        json!({ "id": self.id(), "message": self.message() })
    }
}

/// Where the events of one stream have counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    top: bool,
    in_choice: bool,
    in_x_groq: bool,
    timings: bool,
    beside: bool,
}

impl Counts {
    /// Looks at the data of one event. An event that is not JSON has no counts.
    pub(super) fn look(&mut self, data: &str) {
        // most events have none, and are not parsed
        if !data.contains("usage") && !data.contains("timings") {
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return };
        let choices = chunk["choices"].as_array().into_iter().flatten();
        let in_choice = choices.map(|choice| &choice["usage"]).find(|usage| usage.is_object());
        self.in_choice |= in_choice.is_some();
        self.top |= chunk["usage"].is_object();
        self.in_x_groq |= chunk["x_groq"]["usage"].is_object();
        self.timings |= chunk["timings"].is_object();
        let all = [Some(&chunk["usage"]), in_choice, Some(&chunk["x_groq"]["usage"])];
        self.beside |= all.into_iter().flatten().any(is_beside);
    }

    /// The quirks of a stream, which came to its end or was left before it.
    pub(super) fn quirks(self, is_whole: bool) -> Vec<Quirk> {
        let mut quirks = Vec::new();
        match self {
            Counts { top: true, .. } => {}
            Counts { in_choice: true, .. } => quirks.push(Quirk::UsageInChoice),
            Counts { in_x_groq: true, .. } => quirks.push(Quirk::UsageInXGroq),
            Counts { timings: true, .. } => quirks.push(Quirk::Timings),
            _ if is_whole => quirks.push(Quirk::NoUsage),
            _ => {}
        }
        if self.beside {
            quirks.push(Quirk::ReasoningBesideCompletion);
        }
        quirks
    }
}

/// Whether a usage has more tokens in its total than in prompt and completion, and reasoning that explains it.
fn is_beside(usage: &Value) -> bool {
    let of = |name: &str| usage[name].as_u64().unwrap_or_default();
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap_or_default();
    reasoning > 0 && of("total_tokens") >= of("prompt_tokens") + of("completion_tokens") + reasoning
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quirks(events: &[&str]) -> Vec<Quirk> {
        let mut counts = Counts::default();
        events.iter().for_each(|data| counts.look(data));
        counts.quirks(true)
    }

    #[test]
    fn each_place_of_the_counts_is_named() {
        let usage = r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}"#;
        for (data, expected) in [
            (format!(r#"{{"choices":[],"usage":{usage}}}"#), vec![]),
            (format!(r#"{{"choices":[{{"usage":{usage}}}]}}"#), vec![Quirk::UsageInChoice]),
            (format!(r#"{{"x_groq":{{"usage":{usage}}}}}"#), vec![Quirk::UsageInXGroq]),
            (r#"{"timings":{"prompt_n":3}}"#.to_owned(), vec![Quirk::Timings]),
            (r#"{"choices":[{"delta":{"content":"usage"}}],"usage":null}"#.to_owned(), vec![Quirk::NoUsage]),
            ("[DONE]".to_owned(), vec![Quirk::NoUsage]),
        ] {
            assert_eq!(quirks(&[&data]), expected, "{data}");
        }
        // also in the place of OpenAI
        assert_eq!(quirks(&[r#"{"x_groq":{"usage":{}}}"#, r#"{"usage":{"total_tokens":3}}"#]), []);
    }

    #[test]
    fn reasoning_beside_the_completion_is_named_and_inside_it_is_not() {
        let usage = |completion: u64, total: u64| {
            let details = r#"{"reasoning_tokens":2809}"#;
            format!(
                r#"{{"usage":{{"prompt_tokens":10120,"completion_tokens":{completion},"total_tokens":{total},"completion_tokens_details":{details}}}}}"#
            )
        };
        assert_eq!(quirks(&[&usage(1499, 14428)]), [Quirk::ReasoningBesideCompletion]);
        assert_eq!(quirks(&[&usage(4308, 14428)]), []);
    }

    #[test]
    fn a_stream_that_was_left_says_nothing_of_missing_usage() {
        assert_eq!(Counts::default().quirks(false), []);
    }

    proptest! {
        #[test]
        fn no_event_panics(data in "\\PC{0,40}", number in any::<u64>()) {
            quirks(&[&data, &format!(r#"{{"usage":{{"prompt_tokens":{number},"total_tokens":{number}}},"x":{data:?}}}"#)]);
        }
    }
}

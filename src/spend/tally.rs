//! Running totals of a completion, counted from its events. Pure.

use crate::price::Count;
use families::estimate;
use families::event::Meaning;
use families::request::Request;
use families::usage::Usage;

/// Running totals of one completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u64,
    /// Events that carried output.
    pub output_events: u64,
    /// Bytes of output text.
    pub output_bytes: u64,
    /// The upstream's own count, if it came.
    pub usage: Option<Usage>,
    /// A finish reason was seen.
    pub finished: bool,
    /// The event that proves a complete stream was seen, such as `[DONE]`.
    pub done: bool,
    /// The most tokens that the upstream can have used.
    pub most: Most,
    /// The upstream reported more than that.
    pub implausible: bool,
}

/// The most tokens that a completion can have used. A report of more is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer, in all its choices.
    pub output: u64,
}

/// No count above this is believed, whatever the request.
const MOST: u64 = 1 << 40;

/// What a provider may add to a prompt: its own instructions, the results of its own tools.
const ADDED_INPUT: u64 = 1 << 20;

/// The most tokens of one choice if neither the request nor the model's context bounds it.
const UNBOUNDED_OUTPUT: u64 = 1 << 20;

/// What an answer may have beyond `max_tokens`: some servers do not count the tokens around it.
const ADDED_OUTPUT: u64 = 4096;

impl Default for Most {
    fn default() -> Self {
        Self { input: MOST, output: MOST }
    }
}

impl Most {
    /// Returns the bound for this request at a model with this context. No tokenizer makes more tokens than bytes.
    pub fn of(request: &Request, context: Option<u64>) -> Self {
        let input = (request.body_len() as u64).saturating_add(request.media_tokens()).saturating_add(ADDED_INPUT);
        // some servers count reasoning apart from `max_tokens`
        let asked = request.max_tokens().map(|most| most.saturating_mul(2).saturating_add(ADDED_OUTPUT));
        let choice = asked.unwrap_or(u64::MAX).min(context.unwrap_or(u64::MAX));
        let choice = if choice == u64::MAX { UNBOUNDED_OUTPUT } else { choice };
        Self { input: input.min(MOST), output: choice.saturating_mul(request.choices()).min(MOST) }
    }

    fn allows(self, usage: &Usage) -> bool {
        usage.prompt.max(usage.cached).max(usage.cache_write) <= self.input
            && usage.completion.max(usage.reasoning) <= self.output
    }
}

/// Where token counts come from; the value of the label `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The upstream's `usage`.
    Usage,
    /// Counted here, by [`estimate`].
    Estimate,
}

/// Tokens of one completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// The numbers.
    pub count: Count,
    /// Their source.
    pub source: Source,
}

impl Source {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Usage => "usage",
            Source::Estimate => "estimate",
        }
    }
}

impl Tally {
    /// For a prompt of this many tokens, estimated.
    pub fn new(prompt_tokens: u64) -> Self {
        Self { prompt_tokens, ..Self::default() }
    }

    /// Adds one event.
    pub fn add(&mut self, event: &Meaning) {
        self.output_events += u64::from(event.output);
        self.output_bytes += event.text_bytes;
        self.finished |= event.finished;
        self.done |= event.terminal;
        // some servers send a running count with every event: the last one is the total
        if event.usage.is_some() {
            self.report(event.usage);
        }
    }

    /// Takes the upstream's own count, unless it is more than the completion can have used.
    pub fn report(&mut self, usage: Option<Usage>) {
        match usage {
            Some(usage) if !self.most.allows(&usage) => self.implausible = true,
            Some(usage) => self.usage = Some(usage),
            None => {}
        }
    }

    /// The tokens: the upstream's count, or an estimate.
    pub fn tokens(&self) -> Tokens {
        match self.usage {
            Some(usage) => Tokens {
                count: Count {
                    input: usage.prompt,
                    cached: usage.cached,
                    cache_write: usage.cache_write,
                    output: usage.completion,
                    reasoning: usage.reasoning,
                },
                source: Source::Usage,
            },
            None => Tokens {
                count: Count {
                    input: self.prompt_tokens,
                    output: estimate::output_tokens(self.output_bytes, self.output_events),
                    ..Count::default()
                },
                source: Source::Estimate,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use families::chat::Chat;
    use families::family::{Family, Form};

    use super::*;

    fn request(members: &str) -> Request {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{members}}}"#);
        Chat.parse(Bytes::from(body), Form::Full).unwrap()
    }

    fn usage(prompt: u64, completion: u64) -> Usage {
        Usage { prompt, completion, ..Usage::default() }
    }

    #[test]
    fn a_report_of_more_than_the_request_can_have_used_is_estimated() {
        let mut tally = Tally { most: Most::of(&request(r#","max_tokens":10"#), None), ..Tally::new(5) };
        let all = u64::MAX;
        for wrong in [
            usage(all, 1),
            usage(5, all),
            usage(5, 1 << 41),
            usage(5, 100_000),
            Usage { cached: all, ..usage(5, 1) },
            Usage { reasoning: all, ..usage(5, 1) },
        ] {
            tally.report(Some(wrong));
            assert_eq!((tally.usage, tally.implausible), (None, true), "{wrong:?}");
            assert_eq!(tally.tokens().source, Source::Estimate);
        }
        tally.report(Some(usage(5, 10)));
        tally.report(Some(usage(5, all)));
        assert_eq!(tally.usage, Some(usage(5, 10)), "what was believed before is the best that is known");
    }

    #[test]
    fn the_bound_of_an_answer_is_what_was_asked_for_or_the_context() {
        let output = |members: &str, context| Most::of(&request(members), context).output;
        assert_eq!(output(r#","max_tokens":10"#, None), 20 + ADDED_OUTPUT);
        assert_eq!(output(r#","max_tokens":10,"n":3"#, None), 3 * (20 + ADDED_OUTPUT));
        assert_eq!(output("", Some(8192)), 8192);
        assert_eq!(output(r#","max_tokens":18446744073709551615"#, Some(8192)), 8192);
        assert_eq!(output(r#","max_tokens":18446744073709551614,"n":9"#, None), 9 * UNBOUNDED_OUTPUT);
        assert_eq!(output("", None), UNBOUNDED_OUTPUT);
        let long = "x".repeat(4_000_000);
        assert!(Most::of(&request(&format!(r#","user":"{long}""#)), None).input > 4_000_000);
    }
}

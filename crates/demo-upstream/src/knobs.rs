//! The knobs: of the server, and of one request through its top-level JSON field `"demo"`. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::fault::Fault;

/// The longest time that a knob takes.
pub const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The most tokens that an answer can be asked for.
pub const MAX_TOKENS: u64 = 10_000_000;
/// The slowest rate, tokens per second, other than 0.
pub const MIN_RATE: f64 = 0.001;
/// The highest rate, tokens per second; beyond it there is 0, as fast as possible.
pub const MAX_RATE: f64 = 1_000_000.0;

/// What a demo upstream does. The default answers at once, whole and well.
#[derive(Debug, Clone, PartialEq)]
pub struct Knobs {
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// How many events go out before a fault that counts them.
    pub at: u64,
    /// From the end of the request to the first output event, or to the answer of a fault that is one. A stream's head goes out at once.
    pub first_token: Duration,
    /// Output events per second after the first; 0 = as fast as the client takes them.
    pub tokens_per_second: f64,
    /// Each output event comes up to this much later than the timetable says; the timetable itself does not drift.
    pub jitter: Duration,
    /// How many tokens an answer has; `None`: it depends on the prompt.
    pub tokens: Option<u64>,
    /// What kind of answer.
    pub script: Script,
    /// What an answer says, instead of some sentences about the prompt. `tokens` and `max_tokens` cut or repeat it.
    pub say: Option<String>,
    /// Chooses text, jitter and cuts. The same seed and request make the same bytes.
    pub seed: u64,
    /// Before the event with this number (from 0) wait for [`Demo::release`](super::Demo::release).
    pub hold: Option<u64>,
    /// The models that are served, others are 404; empty: a model named `demo` is listed and every name is served.
    pub models: Vec<String>,
    /// Where [`Fault::Redirect`] points.
    pub redirect_to: SocketAddr,
    /// How many of the latest requests are kept for [`Demo::requests`](super::Demo::requests).
    pub record: usize,
    /// Whether it is kept how late each first output event was, for [`Demo::lateness`](super::Demo::lateness).
    pub stamp: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            fault: None,
            at: 3,
            first_token: Duration::ZERO,
            tokens_per_second: 0.0,
            jitter: Duration::ZERO,
            tokens: None,
            script: Script::Text,
            say: None,
            seed: 0,
            hold: None,
            models: Vec::new(),
            // the discard port: nobody listens there
            redirect_to: SocketAddr::from(([127, 0, 0, 1], 9)),
            record: 1024,
            stamp: false,
        }
    }
}

/// What kind of answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// `delta.content`: a few sentences that repeat the prompt
    #[default]
    Text,
    /// `delta.reasoning_content` for the first third, then `delta.content`
    Reasoning,
    /// `delta.tool_calls`: one call, its arguments in pieces; `tokens` does not lengthen it
    ToolCall,
    /// `delta.refusal`
    Refusal,
}

/// The field `"demo"` of a request: what it names overrides the server's knobs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overrides {
    fault: Option<Fault>,
    at: Option<u64>,
    first_token_ms: Option<u64>,
    tokens_per_second: Option<f64>,
    jitter_ms: Option<u64>,
    tokens: Option<u64>,
    script: Option<Script>,
    say: Option<String>,
    seed: Option<u64>,
    hold: Option<u64>,
    /// The same for the model of that name alone, on top: so that one request tells each of several upstreams what to do.
    #[serde(default)]
    models: HashMap<String, Overrides>,
}

impl Overrides {
    /// What holds for this model alone.
    pub(super) fn of_model(&self, model: &str) -> Option<&Overrides> {
        self.models.get(model)
    }
}

impl Knobs {
    /// These knobs with a request's overrides.
    ///
    /// # Errors
    /// A value out of its range: its path in the request, and the range.
    pub(super) fn overridden(&self, by: &Overrides) -> Result<Knobs, String> {
        let tokens_per_second = by.tokens_per_second.unwrap_or(self.tokens_per_second);
        check_rate(tokens_per_second).map_err(|range| format!("demo.tokens_per_second: {range}"))?;
        if by.tokens.is_some_and(|tokens| tokens > MAX_TOKENS) {
            return Err(format!("demo.tokens: expected at most {MAX_TOKENS}"));
        }
        Ok(Knobs {
            fault: by.fault.or(self.fault),
            at: by.at.unwrap_or(self.at),
            first_token: delay("demo.first_token_ms", by.first_token_ms)?.unwrap_or(self.first_token),
            tokens_per_second,
            jitter: delay("demo.jitter_ms", by.jitter_ms)?.unwrap_or(self.jitter),
            tokens: by.tokens.or(self.tokens),
            script: by.script.unwrap_or(self.script),
            say: by.say.clone().or_else(|| self.say.clone()),
            seed: by.seed.unwrap_or(self.seed),
            hold: by.hold.or(self.hold),
            ..self.clone()
        })
    }
}

fn delay(path: &str, milliseconds: Option<u64>) -> Result<Option<Duration>, String> {
    let delay = milliseconds.map(Duration::from_millis);
    match delay {
        Some(delay) if delay > MAX_DELAY => Err(format!("{path}: expected at most {}", MAX_DELAY.as_millis())),
        delay => Ok(delay),
    }
}

/// Whether a number of tokens per second can be kept.
///
/// # Errors
/// The range, for a message.
pub fn check_rate(rate: f64) -> Result<f64, String> {
    if rate == 0.0 || (MIN_RATE..=MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("expected 0 (as fast as possible) or a number from {MIN_RATE} to {MAX_RATE}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(json: &str) -> Result<Knobs, String> {
        let overrides = serde_json::from_str::<Overrides>(json).map_err(|error| error.to_string())?;
        Knobs { at: 9, seed: 5, ..Knobs::default() }.overridden(&overrides)
    }

    #[test]
    fn a_request_overrides_what_it_names_and_nothing_else() {
        let knobs = overrides(r#"{"fault":"bom","first_token_ms":7,"tokens_per_second":2.5,"hold":1}"#).unwrap();
        assert_eq!(
            knobs,
            Knobs {
                fault: Some(Fault::Bom),
                first_token: Duration::from_millis(7),
                tokens_per_second: 2.5,
                hold: Some(1),
                at: 9,
                seed: 5,
                ..Knobs::default()
            }
        );
    }

    #[test]
    fn what_is_unknown_or_out_of_range_is_refused_by_name() {
        for (json, named) in [
            (r#"{"falt":"bom"}"#, "falt"),
            (r#"{"fault":"bomb"}"#, "unknown fault"),
            (r#"{"tokens_per_second":-1}"#, "demo.tokens_per_second"),
            (r#"{"tokens_per_second":1e-9}"#, "demo.tokens_per_second"),
            (r#"{"first_token_ms":86400001}"#, "demo.first_token_ms"),
            (r#"{"jitter_ms":18446744073709551615}"#, "demo.jitter_ms"),
            (r#"{"tokens":10000001}"#, "demo.tokens"),
        ] {
            let error = overrides(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
    }
}

//! The knobs: the settings of the server, which a request can override with its JSON member `"demo"`. Pure.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::fault::{Fault, FaultParser};
use flags::parse_duration;

/// The discard port of this machine, on which no process listens.
const NO_SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The most tokens of an answer.
pub(super) const MAX_TOKENS: u64 = 10_000_000;
/// The slowest rate, tokens per second, other than 0.
const MIN_RATE: f64 = 0.001;
/// The highest rate, tokens per second. 0 means as fast as possible.
const MAX_RATE: f64 = 1_000_000.0;

/// The settings of a demo upstream; `--help` shows the comments of those that are flags.
///
/// With [`Knobs::default`], it answers at once, completely and without a fault. The head of a stream is always sent at once.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Knobs {
    /// The delay from the request to the first token.
    #[arg(long, value_name = "DURATION", default_value = "150ms", value_parser = duration)]
    pub first_token: Duration,
    /// Tokens per second after the first; 0 = as fast as the client reads.
    #[arg(long, value_name = "RATE", default_value = "40", value_parser = rate)]
    pub tokens_per_second: f64,
    /// The largest random delay of each token; the rate does not drift.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration)]
    pub jitter: Duration,
    /// The tokens of an answer; without it, longer prompts get longer answers.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=MAX_TOKENS))]
    pub tokens: Option<u64>,
    /// The kind of answer.
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub script: Script,
    /// A served model, others get 404; may be repeated. Without it, every name is served.
    #[arg(long = "model", value_name = "NAME")]
    pub models: Vec<String>,
    /// The fault of every completion.
    #[arg(long, value_parser = FaultParser, value_name = "KIND")]
    pub fault: Option<Fault>,
    /// The number of events before a fault that counts them.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    pub at: u64,
    /// The text of every answer, instead of sentences about the prompt.
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
    /// The seed of text, jitter and cuts; the same seed and request give the same bytes.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Waits for [`Demo::release`](super::Demo::release) before the event with this number (from 0).
    #[arg(skip)]
    pub hold: Option<u64>,
    /// The target of [`Fault::Redirect`].
    #[arg(skip = NO_SERVER)]
    pub redirect_to: SocketAddr,
    /// The number of requests that [`Demo::requests`](super::Demo::requests) returns at most; 0 as a command.
    #[arg(skip)]
    pub record: usize,
    /// Whether the lateness of first output events is recorded, for [`Demo::lateness`](super::Demo::lateness).
    #[arg(skip)]
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
            redirect_to: NO_SERVER,
            record: 1024,
            stamp: false,
        }
    }
}

/// The kind of answer.
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

/// The member `"demo"` of a request, which overrides the server's knobs.
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
    /// More overrides for the model of that name, so that one request configures each of several upstreams.
    #[serde(default)]
    models: HashMap<String, Overrides>,
}

impl Overrides {
    /// The overrides for this model only.
    pub(super) fn of_model(&self, model: &str) -> Option<&Overrides> {
        self.models.get(model)
    }
}

impl Knobs {
    /// These knobs with a request's overrides.
    ///
    /// # Errors
    /// A value out of its range: its path in the request and the range.
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

/// Checks a rate in tokens per second; the error is the valid range.
fn check_rate(rate: f64) -> Result<f64, String> {
    if rate == 0.0 || (MIN_RATE..=MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("expected 0 (as fast as possible) or a number from {MIN_RATE} to {MAX_RATE}"))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 150ms, 2s or 1m, at most 24 hours".to_owned();
    parse_duration(text).ok().filter(|delay| *delay <= MAX_DELAY).ok_or_else(expected)
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number".to_owned()).and_then(check_rate)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        knobs: Knobs,
    }

    fn parse(words: &str) -> Result<Knobs, clap::Error> {
        Cli::try_parse_from(words.split(' ')).map(|cli| cli.knobs)
    }

    #[test]
    fn flags_set_the_knobs() {
        let knobs = parse("demo --first-token 2s --tokens-per-second 0 --jitter 5ms --tokens 9 --script reasoning --fault slow_drip --at 0 --model a --model b --seed 4").unwrap();
        assert_eq!(
            knobs,
            Knobs {
                first_token: Duration::from_secs(2),
                tokens_per_second: 0.0,
                jitter: Duration::from_millis(5),
                tokens: Some(9),
                script: Script::Reasoning,
                fault: Some(Fault::SlowDrip),
                at: 0,
                models: vec!["a".into(), "b".into()],
                seed: 4,
                record: 0,
                ..Knobs::default()
            }
        );
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            "--first-token 5",
            "--first-token ms",
            "--first-token 25h",
            "--jitter 86401s",
            "--first-token 99999999999999999999s",
            "--tokens-per-second -1",
            "--tokens-per-second NaN",
            "--tokens-per-second 1e-9",
            "--tokens 10000001",
            "--fault none_such",
        ] {
            assert!(parse(&format!("demo {wrong}")).is_err(), "{wrong}");
        }
    }

    fn overrides(json: &str) -> Result<Knobs, String> {
        let overrides = serde_json::from_str::<Overrides>(json).map_err(|error| error.to_string())?;
        Knobs { at: 9, seed: 5, ..Knobs::default() }.overridden(&overrides)
    }

    #[test]
    fn a_request_overrides_only_the_knobs_that_it_names() {
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
    fn unknown_knobs_and_values_out_of_range_are_refused_by_name() {
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

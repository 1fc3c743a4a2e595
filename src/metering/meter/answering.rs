//! The attempt that answers a request, and what the log line says of its answer.

use std::sync::Arc;

use tokio::time::Instant;

use super::publish::milliseconds;
use crate::metrics::{Cached, Metrics};
use crate::models::Target;
use crate::spend::tally::Tokens;

/// Who answers, as far as one can know, and when its output was taken.
pub(super) struct Answering {
    /// Which of the attempts it is.
    pub(super) number: u32,
    pub(super) who: Arc<Target>,
    pub(super) first_output: Option<Instant>,
    pub(super) last_output: Option<Instant>,
    /// The upstream's own id of the request.
    pub(super) upstream_request_id: Option<Box<str>>,
}

/// What the log line says of an answer; what is not known is left out.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) first_token_ms: Option<f64>,
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) source: Option<&'static str>,
    pub(super) cached: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
    pub(super) tokens_per_second: Option<f64>,
}

impl Answering {
    pub(super) fn new(number: u32, who: Arc<Target>) -> Self {
        Self { number, who, first_output: None, last_output: None, upstream_request_id: None }
    }

    pub(super) fn publish(&self, metrics: &Metrics, started: Instant, cached: Cached, tokens: Option<Tokens>) -> Facts {
        let first = self.first_output.map(|first| milliseconds(first.saturating_duration_since(started)));
        let Some(tokens) = tokens else { return Facts { first_token_ms: first, ..Facts::default() } };
        let span = match (self.first_output, self.last_output) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        // the first token has no time of its own: n tokens span n − 1 intervals
        let output = tokens.count.output;
        // the speed of a cached answer says nothing about the model
        let per_second = (output > 1 && span > 0.0 && cached != Cached::Hit).then(|| (output - 1) as f64 / span);
        if let Some(rate) = per_second {
            let model = self.who.model.name.as_str();
            metrics.output_tokens_per_second.with_label_values(&[model]).observe(rate);
            metrics.time_per_output_token.with_label_values(&[model]).observe(1.0 / rate);
        }
        Facts {
            first_token_ms: first,
            input: Some(tokens.count.input),
            output: Some(output),
            source: Some(tokens.source.as_str()),
            cached: Some(tokens.count.cached).filter(|tokens| *tokens > 0),
            cache_write: Some(tokens.count.cache_write).filter(|tokens| *tokens > 0),
            reasoning: Some(tokens.count.reasoning).filter(|tokens| *tokens > 0),
            tokens_per_second: per_second.map(|rate| (rate * 10.0).round() / 10.0),
        }
    }
}

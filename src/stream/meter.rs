//! Measures one request and settles it exactly once: at its end, at its failure, or when it is dropped. What was settled is
//! published when the last who works on the request lets go of its meter, so that no event waits for a log line.
//!
//! Dropping a meter unsettled means that the client has left: the connection was dropped with the response in it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use prometheus::Histogram;
use tokio::time::Instant;

use super::tally::{self, Tally};
use crate::caller::Caller;
use crate::limit::fields::Fields;
use crate::limiter::Grant;
use crate::metrics::{Metrics, Outcome};
use crate::route::table::Model;

/// nginx's status for "client closed request": for the log and the metrics, never sent.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};

/// The record of one request, shared by all who work on it. When the last of them is gone, it is settled.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<Record>>);

/// What is known of one request so far.
pub struct Record {
    metrics: Arc<Metrics>,
    event_forward: Histogram,
    started: Instant,
    request_id: Arc<str>,
    route: &'static str,
    origin: Option<Box<str>>,
    client: IpAddr,
    caller: Option<Caller>,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    /// What is measured goes on after the answer.
    outlives_answer: bool,
    answer: Option<Box<Answering>>,
    /// What its caller's limits have granted it, until it ends.
    grant: Option<Grant>,
    /// What its answer's head tells of those limits.
    limits: Option<Box<Fields>>,
    /// How it ended, and when.
    ending: Option<(Outcome, Instant)>,
}

/// Who answers, and how it went so far.
struct Answering {
    model: Model,
    upstream: String,
    attempts: u32,
    /// When the attempt that is under way began.
    asked: Option<Instant>,
    /// What the attempts before it took, successful or not.
    upstream_time: Duration,
    /// The upstream's first output has come in.
    began: bool,
    first_output: Option<Instant>,
    last_output: Option<Instant>,
    tally: Tally,
}

impl Meter {
    /// Begins when the request's head has been read.
    pub fn start(
        metrics: Arc<Metrics>,
        started: Instant,
        request_id: Arc<str>,
        route: &'static str,
        origin: Option<&HeaderValue>,
        client: IpAddr,
    ) -> Self {
        let event_forward = metrics.event_forward.clone();
        // as long as the longest host name, a scheme and a port are
        let origin = origin.and_then(|origin| origin.to_str().ok()).filter(|origin| origin.len() <= 270).map(Box::from);
        Self(Arc::new(Mutex::new(Record {
            metrics,
            event_forward,
            started,
            request_id,
            route,
            origin,
            client,
            caller: None,
            status: None,
            error: None,
            outlives_answer: false,
            answer: None,
            grant: None,
            limits: None,
            ending: None,
        })))
    }

    /// When the request's head had been read.
    pub fn started(&self) -> Instant {
        self.record().started
    }

    /// The record, to write to.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The metrics that this meter writes to.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// What the caller's limits have granted: it is given back, or charged, when the record ends.
    pub fn hold(&mut self, grant: Grant) {
        self.grant = Some(grant);
    }

    /// What the answer's head will tell of the caller's limits.
    pub fn limited(&mut self, fields: Option<Fields>) {
        self.limits = fields.map(Box::new);
    }

    /// What the answer's head is to tell of the caller's limits.
    pub fn limits(&self) -> Option<&Fields> {
        self.limits.as_deref()
    }

    /// Who calls, once that is known.
    pub fn caller(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    /// An attempt at a model begins; `prompt_tokens` feeds the estimate.
    pub fn attempt(&mut self, model: &Model, upstream: &str, prompt_tokens: u64) {
        let before = self.answer.as_ref();
        let attempts = before.map_or(0, |answer| answer.attempts) + 1;
        let upstream_time = before.map_or(Duration::ZERO, |answer| answer.upstream_time);
        self.answer = Some(Box::new(Answering {
            model: model.clone(),
            upstream: upstream.to_owned(),
            attempts,
            asked: Some(Instant::now()),
            upstream_time,
            began: false,
            first_output: None,
            last_output: None,
            tally: Tally::new(prompt_tokens),
        }));
    }

    /// The upstream's first output event has come in.
    pub fn first_output_came(&mut self) {
        let Some(answer) = &mut self.answer else { return };
        answer.began = true;
        let after = answer.asked.take().map(|asked| asked.elapsed()).unwrap_or_default();
        answer.upstream_time += after;
        let histogram = &self.metrics.upstream_time_to_first_token;
        histogram.with_label_values(&[answer.upstream.as_str()]).observe(after.as_secs_f64());
    }

    /// The attempt has answered, or failed: what comes from here on is the gateway's own time.
    pub fn attempt_ended(&mut self) {
        let Some(answer) = &mut self.answer else { return };
        answer.upstream_time = answer.upstream_time();
        answer.asked = None;
    }

    /// Who answers and at which attempt: model, upstream, attempts.
    pub fn answering(&self) -> Option<(&str, &str, u32)> {
        self.answer.as_ref().map(|answer| (answer.model.name.as_str(), answer.upstream.as_str(), answer.attempts))
    }

    /// How long upstreams have been waited for: all attempts, the one that is under way included.
    pub fn upstream_time(&self) -> Duration {
        self.answer.as_ref().map(|answer| answer.upstream_time()).unwrap_or_default()
    }

    /// The response head has gone out with this status.
    pub fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// What is measured is not the answer but what it began: [`Record::answered`] does not settle it.
    pub fn outlive_answer(&mut self) {
        self.outlives_answer = true;
    }

    /// The answer is whole, and with it all that is measured, unless that outlives it.
    pub fn answered(&mut self) {
        if !self.outlives_answer {
            self.settle(Outcome::Ok, None);
        }
    }

    /// What went wrong, for the log: a code or a reason from a closed set.
    pub fn error(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// Events that were complete at `complete`, some of them `output` or none, are taken by the client's connection at `now`.
    pub fn taken(&mut self, complete: Instant, now: Instant, output: bool) {
        self.event_forward.observe(now.saturating_duration_since(complete).as_secs_f64());
        let Some(answer) = &mut self.answer else { return };
        if !output {
            return;
        }
        answer.last_output = Some(now);
        if answer.first_output.is_some() {
            return;
        }
        answer.first_output = Some(now);
        let first = now.saturating_duration_since(self.started);
        let histogram = &self.metrics.time_to_first_token;
        histogram.with_label_values(&[answer.model.name.as_str()]).observe(first.as_secs_f64());
        let overhead = first.saturating_sub(answer.upstream_time());
        self.metrics.gateway_overhead.observe(overhead.as_secs_f64());
    }

    /// Ends the record. Whatever comes later changes nothing.
    pub fn settle(&mut self, outcome: Outcome, tally: Option<&Tally>) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((outcome, Instant::now()));
        if let (Some(answer), Some(tally)) = (&mut self.answer, tally) {
            answer.tally = tally.clone();
        }
        // here and not when it is published: before its client hears of the end, its place is free again
        if let Some(grant) = self.grant.take() {
            grant.settle(self.answer.as_ref().map_or(0, |answer| answer.used(outcome)));
        }
    }

    fn publish(&self, outcome: Outcome, ended: Instant) {
        let status = match outcome {
            Outcome::ClientGone => self.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            _ => self.status.unwrap_or(StatusCode::OK),
        };
        let model = self.answer.as_ref().map_or("other", |answer| answer.model.name.as_str());
        let labels = [self.route, model, status.as_str(), outcome.as_str()];
        self.metrics.requests.with_label_values(&labels).inc();
        let caller = self.caller.as_ref();
        if let Some(caller) = caller {
            self.metrics.caller_requests.with_label_values(&[caller.label(), outcome.as_str()]).inc();
        }
        let caller_id = caller.map(Caller::id);
        let duration_ms = milliseconds(ended.saturating_duration_since(self.started));
        let (request_id, origin, client) = (&*self.request_id, self.origin.as_deref(), self.client.to_string());
        let (route, error) = (self.route, self.error);
        let (status, outcome_name) = (status.as_u16(), outcome.as_str());
        let Some(answer) = &self.answer else {
            tracing::info!(
                target: "tokenway::request", request_id, client, caller = caller_id, origin, route, status, outcome = outcome_name, error, duration_ms,
            );
            return;
        };
        let facts = answer.publish(&self.metrics, self.started, outcome, caller);
        tracing::info!(
            target: "tokenway::request", request_id, client, caller = caller_id, origin, route, model = answer.model.name, upstream = answer.upstream,
            status, outcome = outcome_name, error, attempts = answer.attempts, ttft_ms = facts.first_token_ms,
            input_tokens = facts.input, output_tokens = facts.output, tokens_from = facts.source,
            tokens_per_second = facts.tokens_per_second, cost = facts.cost, duration_ms,
        );
    }
}

/// What the log line says of an answer.
struct Facts {
    first_token_ms: Option<f64>,
    input: u64,
    output: u64,
    source: &'static str,
    tokens_per_second: Option<f64>,
    cost: Option<String>,
}

impl Answering {
    fn upstream_time(&self) -> Duration {
        self.upstream_time + self.asked.map(|asked| asked.elapsed()).unwrap_or_default()
    }

    /// An answer that never began was not billed by anyone.
    fn is_billed(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Ok || self.began || self.tally.usage.is_some()
    }

    /// The tokens that its caller is charged for. An upstream that was still asked when the client left had read the
    /// prompt at least.
    fn used(&self, outcome: Outcome) -> u64 {
        let tokens = self.tally.tokens();
        match self.is_billed(outcome) || outcome == Outcome::ClientGone {
            true => tokens.input.saturating_add(tokens.output),
            false => 0,
        }
    }

    fn publish(&self, metrics: &Metrics, started: Instant, outcome: Outcome, caller: Option<&Caller>) -> Facts {
        let tokens = self.tally.tokens();
        let source = tokens.source.as_str();
        let model = self.model.name.as_str();
        let billed = self.is_billed(outcome);
        let cost = tally::cost(&self.model, tokens).filter(|_| billed);
        if billed {
            metrics.tokens.with_label_values(&[model, "input", source]).inc_by(tokens.input);
            metrics.tokens.with_label_values(&[model, "output", source]).inc_by(tokens.output);
            if let Some(caller) = caller.map(Caller::label) {
                metrics.caller_tokens.with_label_values(&[caller, "input"]).inc_by(tokens.input);
                metrics.caller_tokens.with_label_values(&[caller, "output"]).inc_by(tokens.output);
            }
        }
        if let Some(cost) = cost {
            metrics.cost_dollars.with_label_values(&[model, source]).inc_by(cost.dollars());
        }
        let span = match (self.first_output, self.last_output) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        // the first token has no time of its own: n tokens span n − 1 intervals
        let per_second = (tokens.output > 1 && span > 0.0).then(|| (tokens.output - 1) as f64 / span);
        if let Some(rate) = per_second {
            metrics.output_tokens_per_second.with_label_values(&[model]).observe(rate);
            metrics.time_per_output_token.with_label_values(&[model]).observe(1.0 / rate);
        }
        let first = self.first_output.map(|first| milliseconds(first.saturating_duration_since(started)));
        Facts {
            first_token_ms: first,
            input: tokens.input,
            output: tokens.output,
            source,
            tokens_per_second: per_second.map(|rate| (rate * 10.0).round() / 10.0),
            cost: cost.map(|cost| cost.to_string()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.settle(Outcome::ClientGone, None);
        if let Some((outcome, ended)) = self.ending {
            self.publish(outcome, ended);
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

//! The report of a request at its end: its counts go to the metrics, and one line goes to the log.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Record;
use crate::address;
use crate::auth::caller::Caller;
use crate::metrics::Outcome;
use crate::routing::verdict::Decision;
use crate::spend::savings::{self, Cause, Difference, Savings};
use crate::spend::tally::Tokens;

/// nginx's status for "client closed request": for the log and the metrics, never sent.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};

/// Bytes of `255.255.255.255`.
const LONGEST_IPV4: usize = 15;

impl Record {
    pub(super) fn publish(&self, outcome: Outcome, ended: Instant) {
        let status = match outcome {
            Outcome::ClientGone => self.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            _ => self.status.unwrap_or(StatusCode::OK),
        };
        let model = self.answering.as_ref().map_or("other", |answering| answering.who.model.name.as_str());
        let labels = [self.route, model, status.as_str(), outcome.as_str()];
        let tokens = self.answer_tokens();
        self.charge_to_metrics(outcome);
        let facts = self.answering.as_ref().map(|it| it.publish(&self.metrics, self.started, self.cached, tokens));
        // last: a reader that finds the request counted finds all of its other counts, too
        let caller = self.caller.as_ref();
        if let Some(caller) = caller {
            self.metrics.caller_requests.with_label_values(&[caller.label(), outcome.as_str()]).inc();
        }
        self.metrics.requests.with_label_values(&labels).inc();
        let caller_id = caller.map(Caller::id);
        let duration_ms = milliseconds(ended.saturating_duration_since(self.started));
        let (request_id, origin) = (&*self.request_id, self.origin.as_deref());
        let mut client = String::with_capacity(LONGEST_IPV4);
        address::push(&mut client, self.client);
        let (route, error, auto) = (self.route, self.error, self.routed.map(Decision::as_str));
        let (status, outcome_name) = (status.as_u16(), outcome.as_str());
        let cost = self.cost().map(|cost| cost.to_string());
        let Some((answering, facts)) = self.answering.as_ref().zip(facts) else {
            // no upstream was asked for an answer, but a classifier may have been asked, which costs money
            let also = self.bill.beside(0);
            tracing::info!(
                target: "tokenway::request", request_id, client, caller = caller_id, origin, route, status, outcome = outcome_name, error,
                cost, also, duration_ms,
            );
            return;
        };
        let (model, upstream) = (&answering.who.model.name, &answering.who.upstream);
        let also = self.bill.beside(answering.number);
        tracing::info!(
            target: "tokenway::request", request_id, client, caller = caller_id, origin, route, auto, model, upstream,
            upstream_request_id = answering.upstream_request_id.as_deref(),
            status, outcome = outcome_name, error, cache = self.cached.as_str(), attempts = self.attempts, ttft_ms = facts.first_token_ms,
            input_tokens = facts.input, output_tokens = facts.output, tokens_from = facts.source,
            cached_tokens = facts.cached, cache_write_tokens = facts.cache_write, reasoning_tokens = facts.reasoning,
            tokens_per_second = facts.tokens_per_second, cost, also, duration_ms,
        );
    }

    fn charge_to_metrics(&self, outcome: Outcome) {
        let metrics = &self.metrics;
        for charge in self.bill.charges() {
            let (model, source) = (charge.who.model.name.as_str(), charge.tokens.source.as_str());
            let count = charge.tokens.count;
            for (direction, tokens) in [("input", count.input), ("output", count.output)] {
                metrics.tokens.with_label_values(&[model, direction, source]).inc_by(tokens);
                if let Some(caller) = self.caller.as_ref().map(Caller::label) {
                    metrics.caller_tokens.with_label_values(&[caller, direction]).inc_by(tokens);
                }
            }
            let Some(cost) = charge.cost() else { continue };
            metrics.cost_dollars.add(&[model, source], cost);
            metrics.origin_cost_dollars.add(&[self.origin_entry.as_deref().unwrap_or("none")], cost);
            if let Some(caller) = self.caller.as_ref().map(Caller::label) {
                metrics.caller_cost_dollars.add(&[caller], cost);
            }
        }
        let Some(billed) = self.bill.total() else { return };
        let answer = self.answer_tokens().filter(|tokens| is_answer(outcome, tokens));
        let (reuse, baseline) = (self.reuse.as_deref(), self.baseline);
        let saved = Savings::of(savings::Request { billed, answer, reuse, baseline });
        if let Some((cause, cost)) = saved.reused {
            metrics.saved_dollars.add(&[cause.as_str()], cost);
        }
        match saved.routed {
            Some(Difference::Saved(cost)) => metrics.saved_dollars.add(&[Cause::Routing.as_str()], cost),
            Some(Difference::Lost(cost)) => metrics.lost_dollars.add(&[Cause::Routing.as_str()], cost),
            None => {}
        }
    }
}

/// Whether the client has got these tokens: an attempt that has only read the prompt is charged for, and is no answer.
fn is_answer(outcome: Outcome, tokens: &Tokens) -> bool {
    match outcome {
        Outcome::Ok => true,
        Outcome::ClientGone | Outcome::Truncated => tokens.count.output > 0,
        Outcome::UpstreamFailure | Outcome::Rejected => false,
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

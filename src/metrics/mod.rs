//! Counters, gauges and histograms, and their Prometheus text. Every label value comes from a closed set.

mod declare;
mod dollars;
mod labels;

pub use declare::Declaration;
pub use dollars::Dollars;
pub use labels::{Cached, Outcome};

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Counter, Encoder, Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use tokio::runtime::Handle;

use crate::descriptors;
use declare::metrics;

/// Seconds, from a tenth of a millisecond to five minutes.
const LATENCY: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0,
];
/// Seconds, for what happens inside the gateway.
const INSIDE: [f64; 14] =
    [0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];
/// Tokens per second.
const RATE: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 200.0, 500.0, 1000.0];

metrics! {
    time_to_first_token: HistogramVec = "tokenway_time_to_first_token_seconds" {model} [LATENCY],
        "Request head received to first output event taken by the client's connection";
    upstream_time_to_first_token: HistogramVec = "tokenway_upstream_time_to_first_token_seconds" {upstream} [LATENCY],
        "Upstream request sent to its first output event received";
    gateway_overhead: Histogram = "tokenway_gateway_overhead_seconds" [INSIDE],
        "What the gateway added to the first token";
    event_forward: Histogram = "tokenway_event_forward_seconds" [INSIDE],
        "Event complete to taken by the client's connection";
    time_per_output_token: HistogramVec = "tokenway_time_per_output_token_seconds" {model} [LATENCY],
        "Mean time per output token after the first, per stream";
    output_tokens_per_second: HistogramVec = "tokenway_output_tokens_per_second" {model} [RATE],
        "Output tokens per second, per stream";
    tokens: IntCounterVec = "tokenway_tokens_total" {model, direction, source},
        "Tokens, from usage or estimated";
    usage_implausible: IntCounterVec = "tokenway_usage_implausible_total" {model},
        "Completions whose upstream reported more tokens than the request can have used; they are estimated";
    cost_dollars: Dollars = "tokenway_cost_dollars_total" {model, source},
        "Cost in US dollars";
    caller_cost_dollars: Dollars = "tokenway_caller_cost_dollars_total" {caller},
        "Cost in US dollars by caller: the names of keys, token, session, anonymous";
    origin_cost_dollars: Dollars = "tokenway_origin_cost_dollars_total" {origin},
        "Cost in US dollars by the entry of cors.origins that let the page in; none without a page";
    saved_dollars: Dollars = "tokenway_saved_dollars_total" {by},
        "US dollars that were not spent, by cache, routing and joining; nothing is counted twice";
    lost_dollars: Dollars = "tokenway_lost_dollars_total" {by},
        "US dollars that routing cost more than the baseline model would have";
    requests: IntCounterVec = "tokenway_requests_total" {route, model, status, outcome},
        "Requests";
    cors: IntCounterVec = "tokenway_cors_total" {kind, verdict},
        "Cross-origin requests and preflights";
    caller_requests: IntCounterVec = "tokenway_caller_requests_total" {caller, outcome},
        "Requests by caller: the names of keys, token, session, anonymous";
    caller_tokens: IntCounterVec = "tokenway_caller_tokens_total" {caller, direction},
        "Tokens by caller, from usage or estimated";
    credentials_refused: IntCounterVec = "tokenway_credentials_refused_total" {credential, reason},
        "Credentials that were refused, and why; every refusal has the same response";
    body_memory: IntGauge = "tokenway_request_body_bytes",
        "Memory of all request bodies";
    streams_active: IntGauge = "tokenway_streams_active",
        "Open streams";
    streams_resumable: IntGauge = "tokenway_streams_resumable",
        "Resumable streams held, running or ended";
    resumable_bytes: IntGauge = "tokenway_streams_resumable_bytes",
        "Memory of the logs of resumable streams";
    stream_resumes: IntCounter = "tokenway_stream_resumes_total",
        "Readers that went on behind an event they had";
    stream_gaps: IntCounter = "tokenway_stream_gaps_total",
        "Gaps in resumable streams that were reported to their readers";
    connections_active: IntGauge = "tokenway_connections_active",
        "Open connections of the public listener";
    connections_refused: IntCounterVec = "tokenway_connections_refused_total" {reason},
        "Connections closed: max_connections, max_connections_per_ip, handshake, handshake_timeout, control_frames";
    routes: IntCounterVec = "tokenway_routes_total" {verdict, by},
        "Requests for the model auto: which model was decided on, and by whom";
    classifier_failures: IntCounterVec = "tokenway_classifier_failures_total" {reason},
        "Times that the classifier gave no verdict, so that the rules decided";
    fallbacks: IntCounterVec = "tokenway_fallbacks_total" {from, to, reason},
        "Attempts that went to another model";
    hedges: IntCounterVec = "tokenway_hedges_total" {from, to, result},
        "Second attempts beside a slow first one: won, where the second one answered";
    retry_budget_spent: IntCounterVec = "tokenway_retry_budget_exhausted_total" {budget},
        "Further attempts that were not made: fallback.retry_budget or fallback.hedge.budget was spent";
    model_health: IntGaugeVec = "tokenway_model_health" {model, upstream},
        "0 closed: requests pass. 1 probing: one request probes the model. 2 open: no request passes";
    upstream_health: IntGaugeVec = "tokenway_upstream_health" {upstream},
        "The same of the upstream as a whole: whether it can be reached";
    rate_limited: IntCounterVec = "tokenway_rate_limited_total" {limit},
        "Requests refused for a limit of their caller";
    budget_exceeded: IntCounterVec = "tokenway_budget_exceeded_total" {action},
        "Requests beyond their caller's budget of the day, and what was done: refused, cheap";
    cache: IntCounterVec = "tokenway_cache_total" {result},
        "Completions by what the cache had to do with them: hit, miss, joined, off";
    cache_unverified: IntCounter = "tokenway_cache_unverified_total",
        "Values in Redis that cache.redis_secret_env did not authenticate: each was a miss";
    redis_failures: IntCounterVec = "tokenway_redis_failures_total" {reason},
        "Times that Redis gave no answer that could be used, or no connection";
    reloads: IntCounterVec = "tokenway_config_reloads_total" {result},
        "Reloads of the configuration";
    config_stale: IntGauge = "tokenway_config_stale",
        "1 while the file holds a configuration that was refused";
    logouts_waiting: IntGauge = "tokenway_logouts_waiting",
        "Logouts that could not be written to Redis yet";
    certificate_expiry: IntGaugeVec = "tokenway_certificate_expiry_timestamp_seconds" {name},
        "When the certificate of this name expires, seconds since 1970-01-01 UTC";
    accepting: IntGauge = "tokenway_accepting",
        "1 while the public listener accepts connections";
    task_restarts: IntCounterVec = "tokenway_task_restarts_total" {task},
        "Restarts of tasks that live as long as the process: accept, admin, playground, sweep, certificates, redis, logouts, leases";
    tasks: IntGauge = "tokenway_tasks",
        "Running tasks, such as one for each connection";
    log_lines_dropped: IntCounter = "tokenway_log_lines_dropped_total",
        "Log lines that were discarded, because stderr took none or could not be written";
    panics: IntCounter = "tokenway_panics_total",
        "Panics caught in a handler";
    process_start: Counter = "process_start_time_seconds",
        "Start of the process, seconds since 1970-01-01 UTC";
    open_descriptors: IntGauge = "process_open_fds",
        "Open file descriptors of the process";
    max_descriptors: IntGauge = "process_max_fds",
        "The most file descriptors that the process may have open";
}

impl Metrics {
    /// A fresh set, all at zero.
    ///
    /// # Errors
    /// A metric's name or label is malformed or doubled: a defect of this file.
    pub fn new() -> Result<Self, Error> {
        let metrics = Self::declared()?;
        metrics.process_start.inc_by(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        Ok(metrics)
    }

    /// The exposition, `text/plain; version=0.0.4`.
    pub fn text(&self) -> String {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.max_descriptors.set(gauge(descriptors::limit()));
        self.open_descriptors.set(descriptors::open().map_or(0, gauge));
        let tasks = Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        self.tasks.set(gauge(tasks as u64));
        let mut out = Vec::new();
        // writing to a Vec cannot fail, and the names were checked at registration
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod exposition_tests;

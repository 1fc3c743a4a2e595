//! Counters, gauges and histograms, and their Prometheus text. Every label value comes from a closed set.

mod dollars;

pub use dollars::Dollars;

use prometheus::{
    Counter, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// How a request ended; the value of the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered whole.
    Ok,
    /// The client left, or took no byte for too long.
    ClientGone,
    /// The stream broke after its commit point; the client was told in-stream.
    Truncated,
    /// No upstream gave an answer.
    UpstreamFailure,
    /// Refused by the gateway.
    Rejected,
}

impl Outcome {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientGone => "client_gone",
            Outcome::Truncated => "truncated",
            Outcome::UpstreamFailure => "upstream_failure",
            Outcome::Rejected => "rejected",
        }
    }
}

/// What part the cache had in an answer; the value of the label `result`, and of the header `tokenway-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cached {
    /// None: it is off, or not wanted, or the request has no key.
    #[default]
    Off,
    /// Nothing was kept; the answer may be.
    Miss,
    /// The answer was kept.
    Hit,
    /// Another request was just getting it.
    Joined,
}

impl Cached {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Cached::Off => "off",
            Cached::Miss => "miss",
            Cached::Hit => "hit",
            Cached::Joined => "joined",
        }
    }
}

/// All metrics of the process. They live as long as it does: a reload keeps them.
pub struct Metrics {
    registry: Registry,
    /// Request head received → first output event taken by the client's connection; by model.
    pub time_to_first_token: HistogramVec,
    /// Upstream request sent → its first output event received; by upstream.
    pub upstream_time_to_first_token: HistogramVec,
    /// The first minus the second.
    pub gateway_overhead: Histogram,
    /// Event complete → taken by the client's connection.
    pub event_forward: Histogram,
    /// Mean time between output tokens after the first, one observation per stream; by model.
    pub time_per_output_token: HistogramVec,
    /// Output tokens over the time from the first to the last, per stream; by model.
    pub output_tokens_per_second: HistogramVec,
    /// By model, `direction` (`input`, `output`) and `source` (`usage`, `estimate`).
    pub tokens: IntCounterVec,
    /// By model and `source`.
    pub cost_dollars: Dollars,
    /// By `caller`, as in `caller_requests`.
    pub caller_cost_dollars: Dollars,
    /// By `origin`: an entry of `cors.origins`, or `none`.
    pub origin_cost_dollars: Dollars,
    /// By what it was saved: `cache`, `routing`, `joining`.
    pub saved_dollars: Dollars,
    /// By what it was lost: `routing`.
    pub lost_dollars: Dollars,
    /// By route, model, status and outcome.
    pub requests: IntCounterVec,
    /// By kind and verdict.
    pub cors: IntCounterVec,
    /// By `caller` (names of keys, `token`, `session`, `anonymous`) and outcome.
    pub caller_requests: IntCounterVec,
    /// By `caller` and `direction` (`input`, `output`).
    pub caller_tokens: IntCounterVec,
    /// By `credential` (`key`, `token`, `session`, `none`) and reason.
    pub credentials_refused: IntCounterVec,
    /// Streams whose response body is open.
    pub streams_active: IntGauge,
    /// Resumable streams that are held, running or ended.
    pub streams_resumable: IntGauge,
    /// Memory of their logs, bytes.
    pub resumable_bytes: IntGauge,
    /// Readers that went on behind an event that they had.
    pub stream_resumes: IntCounter,
    /// Gaps that readers were told of.
    pub stream_gaps: IntCounter,
    /// Accepted connections of the public listener.
    pub connections_active: IntGauge,
    /// Connections closed unanswered, by reason.
    pub connections_refused: IntCounterVec,
    /// Requests for `auto`, by verdict (`easy`, `hard`) and by who decided (`classifier`, `rules`).
    pub routes: IntCounterVec,
    /// Times that the classifier gave no verdict, by reason.
    pub classifier_failures: IntCounterVec,
    /// By from, to and reason.
    pub fallbacks: IntCounterVec,
    /// Second attempts beside a slow first one, by from, to and result (`won`, `lost`).
    pub hedges: IntCounterVec,
    /// Further attempts that were not made for want of budget, by budget (`retry`, `hedge`).
    pub retry_budget_spent: IntCounterVec,
    /// By model and upstream: 0 closed, 1 probing, 2 open.
    pub model_health: IntGaugeVec,
    /// By upstream: the same of its connections.
    pub upstream_health: IntGaugeVec,
    /// Requests refused for a limit of their caller, by limit.
    pub rate_limited: IntCounterVec,
    /// Requests beyond their caller's budget, by `action`: `refused`, `cheap`.
    pub budget_exceeded: IntCounterVec,
    /// Completions by what the cache had to do with them, while there is one.
    pub cache: IntCounterVec,
    /// What Redis did not answer, by reason.
    pub redis_failures: IntCounterVec,
    /// By result (`ok`, `failed`).
    pub reloads: IntCounterVec,
    /// 1 while the running configuration is older than the one in the file, because that one was refused.
    pub config_stale: IntGauge,
    /// Logouts that other instances do not know of yet.
    pub logouts_waiting: IntGauge,
    /// Panics caught in a handler.
    pub panics: IntCounter,
    /// Process start, seconds since the epoch.
    _start: Counter,
}

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

impl Metrics {
    /// A fresh set, all at zero.
    ///
    /// # Errors
    /// A metric's name or label is malformed or doubled: a defect of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let start = Counter::new("process_start_time_seconds", "Start of the process, seconds since 1970-01-01 UTC")?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        start.inc_by(now.as_secs_f64());
        r.register(Box::new(start.clone()))?;
        Ok(Self {
            time_to_first_token: histograms(
                r,
                "tokenway_time_to_first_token_seconds",
                "Request head received to first output event taken by the client's connection",
                &LATENCY,
                &["model"],
            )?,
            upstream_time_to_first_token: histograms(
                r,
                "tokenway_upstream_time_to_first_token_seconds",
                "Upstream request sent to its first output event received",
                &LATENCY,
                &["upstream"],
            )?,
            gateway_overhead: histogram(
                r,
                "tokenway_gateway_overhead_seconds",
                "What the gateway added to the first token",
                &INSIDE,
            )?,
            event_forward: histogram(
                r,
                "tokenway_event_forward_seconds",
                "Event complete to taken by the client's connection",
                &INSIDE,
            )?,
            time_per_output_token: histograms(
                r,
                "tokenway_time_per_output_token_seconds",
                "Mean time per output token after the first, per stream",
                &LATENCY,
                &["model"],
            )?,
            output_tokens_per_second: histograms(
                r,
                "tokenway_output_tokens_per_second",
                "Output tokens per second, per stream",
                &RATE,
                &["model"],
            )?,
            tokens: counters(
                r,
                "tokenway_tokens_total",
                "Tokens, from usage or estimated",
                &["model", "direction", "source"],
            )?,
            cost_dollars: dollars(r, "tokenway_cost_dollars_total", "Cost in US dollars", &["model", "source"])?,
            caller_cost_dollars: dollars(
                r,
                "tokenway_caller_cost_dollars_total",
                "Cost in US dollars by caller: the names of keys, token, session, anonymous",
                &["caller"],
            )?,
            origin_cost_dollars: dollars(
                r,
                "tokenway_origin_cost_dollars_total",
                "Cost in US dollars by the entry of cors.origins that let the page in; none without a page",
                &["origin"],
            )?,
            saved_dollars: dollars(
                r,
                "tokenway_saved_dollars_total",
                "US dollars that were not spent, by cache, routing and joining; nothing is counted twice",
                &["by"],
            )?,
            lost_dollars: dollars(
                r,
                "tokenway_lost_dollars_total",
                "US dollars that routing cost more than the baseline model would have",
                &["by"],
            )?,
            requests: counters(r, "tokenway_requests_total", "Requests", &["route", "model", "status", "outcome"])?,
            cors: counters(r, "tokenway_cors_total", "Cross-origin requests and preflights", &["kind", "verdict"])?,
            caller_requests: counters(
                r,
                "tokenway_caller_requests_total",
                "Requests by caller: the names of keys, token, session, anonymous",
                &["caller", "outcome"],
            )?,
            caller_tokens: counters(
                r,
                "tokenway_caller_tokens_total",
                "Tokens by caller, from usage or estimated",
                &["caller", "direction"],
            )?,
            credentials_refused: counters(
                r,
                "tokenway_credentials_refused_total",
                "Credentials that were refused, and why; the caller is told one answer",
                &["credential", "reason"],
            )?,
            streams_active: gauge(r, "tokenway_streams_active", "Open streams")?,
            streams_resumable: gauge(r, "tokenway_streams_resumable", "Resumable streams held, running or ended")?,
            resumable_bytes: gauge(r, "tokenway_streams_resumable_bytes", "Memory of the logs of resumable streams")?,
            stream_resumes: counter(
                r,
                "tokenway_stream_resumes_total",
                "Readers that went on behind an event they had",
            )?,
            stream_gaps: counter(
                r,
                "tokenway_stream_gaps_total",
                "Gaps that readers of resumable streams were told of",
            )?,
            connections_active: gauge(r, "tokenway_connections_active", "Open connections of the public listener")?,
            connections_refused: counters(
                r,
                "tokenway_connections_refused_total",
                "Connections closed: max_connections, max_connections_per_ip, handshake, handshake_timeout, control_frames",
                &["reason"],
            )?,
            routes: counters(
                r,
                "tokenway_routes_total",
                "Requests for the model auto: which model was decided on, and by whom",
                &["verdict", "by"],
            )?,
            classifier_failures: counters(
                r,
                "tokenway_classifier_failures_total",
                "Times that the classifier gave no verdict, so that the rules decided",
                &["reason"],
            )?,
            fallbacks: counters(
                r,
                "tokenway_fallbacks_total",
                "Attempts that went to another model",
                &["from", "to", "reason"],
            )?,
            hedges: counters(
                r,
                "tokenway_hedges_total",
                "Second attempts beside a slow first one: won, where the second one answered",
                &["from", "to", "result"],
            )?,
            retry_budget_spent: counters(
                r,
                "tokenway_retry_budget_exhausted_total",
                "Further attempts that were not made: fallback.retry_budget or fallback.hedge.budget was spent",
                &["budget"],
            )?,
            model_health: gauges(
                r,
                "tokenway_model_health",
                "0 closed: the model is asked. 1 probing: one request finds out. 2 open: it is left alone",
                &["model", "upstream"],
            )?,
            upstream_health: gauges(
                r,
                "tokenway_upstream_health",
                "The same of the upstream as a whole: whether it can be reached",
                &["upstream"],
            )?,
            rate_limited: counters(
                r,
                "tokenway_rate_limited_total",
                "Requests refused for a limit of their caller",
                &["limit"],
            )?,
            budget_exceeded: counters(
                r,
                "tokenway_budget_exceeded_total",
                "Requests beyond their caller's budget of the day, and what was done: refused, cheap",
                &["action"],
            )?,
            cache: counters(
                r,
                "tokenway_cache_total",
                "Completions by what the cache had to do with them: hit, miss, joined, off",
                &["result"],
            )?,
            redis_failures: counters(
                r,
                "tokenway_redis_failures_total",
                "Times that Redis gave no answer that could be used, or no connection",
                &["reason"],
            )?,
            reloads: counters(r, "tokenway_config_reloads_total", "Reloads of the configuration", &["result"])?,
            config_stale: gauge(r, "tokenway_config_stale", "1 while the file holds a configuration that was refused")?,
            logouts_waiting: gauge(r, "tokenway_logouts_waiting", "Logouts that could not be written to Redis yet")?,
            panics: counter(r, "tokenway_panics_total", "Panics caught in a handler")?,
            _start: start,
            registry,
        })
    }

    /// The exposition, `text/plain; version=0.0.4`.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // writing to a Vec cannot fail, and the names were checked at registration
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn histogram(r: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histograms(
    r: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn dollars(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Dollars, prometheus::Error> {
    let metric = Dollars::new(name, help, labels)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(r: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(r: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

//! Compares all metrics with what scrapers read and with what docs/OPERATIONS.md says.

use std::collections::BTreeSet;

use super::*;
use crate::price::Price;

/// The exposition of [`populated`], without the lines that differ at each start.
const EXPOSITION: &str = include_str!("exposition.txt");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// A set in which each metric has a value.
fn populated() -> Metrics {
    let metrics = Metrics::new().unwrap();
    for (place, histogram) in [
        &metrics.time_to_first_token,
        &metrics.upstream_time_to_first_token,
        &metrics.time_per_output_token,
        &metrics.output_tokens_per_second,
    ]
    .into_iter()
    .enumerate()
    {
        histogram.with_label_values(&["b"]).observe(0.25);
        histogram.with_label_values(&["a"]).observe(place as f64);
    }
    metrics.gateway_overhead.observe(0.000_03);
    metrics.event_forward.observe(2.0);
    let mut by = 0;
    let mut count = |counter: &IntCounterVec, values: &[&str]| {
        by += 1;
        counter.with_label_values(values).inc_by(by);
    };
    count(&metrics.tokens, &["a", "input", "usage"]);
    count(&metrics.tokens, &["a", "input", "estimate"]);
    count(&metrics.requests, &["chat", "a", "200", "ok"]);
    count(&metrics.requests, &["chat", "a\"\\\n", "499", "client_gone"]);
    count(&metrics.cors, &["preflight", "allowed"]);
    count(&metrics.caller_requests, &["anonymous", "ok"]);
    count(&metrics.caller_tokens, &["token", "output"]);
    count(&metrics.credentials_refused, &["key", "unknown"]);
    count(&metrics.connections_refused, &["handshake"]);
    count(&metrics.routes, &["easy", "rules"]);
    count(&metrics.classifier_failures, &["timeout"]);
    count(&metrics.fallbacks, &["a", "b", "timeout"]);
    count(&metrics.hedges, &["a", "b", "won"]);
    count(&metrics.retry_budget_spent, &["retry"]);
    count(&metrics.rate_limited, &["tokens"]);
    count(&metrics.budget_exceeded, &["refused"]);
    count(&metrics.cache, &["hit"]);
    count(&metrics.redis_failures, &["timeout"]);
    count(&metrics.reloads, &["ok"]);
    count(&metrics.task_restarts, &["sweep"]);
    count(&metrics.usage_implausible, &["a"]);
    metrics.model_health.with_label_values(&["a", "up"]).set(2);
    metrics.certificate_expiry.with_label_values(&["localhost"]).set(3);
    metrics.upstream_health.with_label_values(&["up"]).set(1);
    for (place, gauge) in [
        &metrics.streams_active,
        &metrics.streams_resumable,
        &metrics.resumable_bytes,
        &metrics.connections_active,
        &metrics.config_stale,
        &metrics.logouts_waiting,
        &metrics.accepting,
        &metrics.body_memory,
    ]
    .into_iter()
    .enumerate()
    {
        gauge.set(place as i64 + 10);
    }
    metrics.stream_resumes.inc();
    metrics.stream_gaps.inc_by(2);
    metrics.panics.inc_by(3);
    metrics.cache_unverified.inc_by(5);
    metrics.log_lines_dropped.inc_by(4);
    let amount = Price::parse("0.27").unwrap().of(1);
    let add = |dollars: &Dollars, values: &[&str]| dollars.add(values, amount);
    add(&metrics.cost_dollars, &["a", "usage"]);
    add(&metrics.caller_cost_dollars, &["anonymous"]);
    add(&metrics.origin_cost_dollars, &["none"]);
    add(&metrics.saved_dollars, &["cache"]);
    add(&metrics.lost_dollars, &["routing"]);
    metrics
}

#[test]
fn the_exposition_has_the_same_names_help_types_and_labels() {
    let text = populated().text();
    let differs = ["process_start_time_seconds ", "process_open_fds ", "process_max_fds ", "tokenway_tasks "];
    let lines = text.lines().filter(|line| !differs.iter().any(|name| line.starts_with(name)));
    let stable: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(stable, EXPOSITION);
}

/// The metrics in the table of docs/OPERATIONS.md, each with its labels and its type.
fn documented() -> Vec<String> {
    let (_, table) = OPERATIONS.split_once("\n| name | type | description |\n|---|---|---|\n").unwrap();
    let mut all = Vec::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let names: Vec<&str> = cells[0].split('`').skip(1).step_by(2).collect();
        let kinds: Vec<&str> = cells[1].split(", ").collect();
        assert!(kinds.len() == 1 || kinds.len() == names.len(), "{row}");
        all.extend(names.iter().zip(kinds.into_iter().cycle()).map(|(name, kind)| format!("{name} {kind}")));
    }
    all
}

#[test]
fn the_documentation_lists_each_metric_with_its_labels_and_type() {
    let documented = documented();
    let set: BTreeSet<&str> = documented.iter().map(String::as_str).collect();
    assert_eq!(set.len(), documented.len(), "a metric is listed twice");
    let declared = DECLARATIONS.iter().map(|Declaration { name, kind, labels, .. }| match labels {
        [] => format!("{name} {kind}"),
        labels => format!("{name}{{{}}} {kind}", labels.join(",")),
    });
    let declared: Vec<String> = declared.collect();
    assert_eq!(set, declared.iter().map(String::as_str).collect());
}

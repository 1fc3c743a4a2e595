//! The summary of a configuration, or its problems, as JSON. Pure.

use serde_json::{Map, Value, json};

use super::{accepted, default_model, fallbacks, hedge, hosts, mode, redis_url};
use crate::cli::failure::Failure;
use settings::{Problems, format_duration, format_size};
use tokenway::config::Config;
use tokenway::failover::settings::HedgeAfter;
use tokenway::limits::policy::Limits;
use tokenway::models::Model;
use tokenway::price::Cost;

/// Returns the summary of a valid configuration: the same facts as the text, with durations and sizes as in the file, and
/// `null` for what is off.
pub(super) fn summary(config: &Config) -> Value {
    let server = &config.server;
    let upstreams = config.upstreams.iter().map(|upstream| {
        json!({ "name": upstream.name, "base_url": upstream.base.to_string(), "key": !upstream.api_keys.is_empty() })
    });
    let fallbacks: Map<String, Value> =
        fallbacks(config).map(|(model, next)| (model.to_owned(), next.into())).collect();
    json!({
        "ok": true,
        "listen": server.listen,
        "admin": server.admin,
        "tls": server.identity.is_some(),
        "hosts": hosts(config),
        "upstreams": upstreams.collect::<Value>(),
        "models": models(config),
        "default_model": default_model(config),
        "auto": auto(config),
        "fallbacks": fallbacks,
        "hedge": hedge(config).map(|after| match after {
            HedgeAfter::P95 => "p95".to_owned(),
            HedgeAfter::Time(time) => format_duration(time),
        }),
        "trusted_proxies": config.server.trusted_proxies,
        "origins": config.cors.origins(),
        "credentials": config.cors.credentials(),
        "access": accepted(config),
        "keys": config.access.accept.key.then(|| config.access.keys.records().count()),
        "limits": limits(config),
        "budget": budget(config),
        "cache": cache(config),
        "redis": redis_url(config),
        "stream": stream(config),
        "resume": resume(config),
        "warnings": config.warnings,
    })
}

/// Returns the document about a configuration that cannot be used.
pub(super) fn refusal(problems: &Problems, failure: &Failure) -> Value {
    let problems = problems.0.iter().map(
        |problem| json!({ "key": problem.key, "line": problem.line, "reason": problem.reason, "mend": problem.mend }),
    );
    json!({ "ok": false, "error": failure.as_json(), "problems": problems.collect::<Value>() })
}

fn models(config: &Config) -> Value {
    let model = |model: &Model| {
        json!({
            "name": model.name,
            "upstream": config.upstreams[model.upstream.0].name,
            "upstream_model": model.upstream_model,
            "input_price": model.input_price.map(|price| price.to_string()),
            "output_price": model.output_price.map(|price| price.to_string()),
            "context": model.context,
        })
    };
    config.models.models().iter().map(model).collect()
}

fn auto(config: &Config) -> Value {
    let name = |id| config.models.get(id).name.as_str();
    config.auto.as_ref().map_or(Value::Null, |auto| {
        json!({
            "easy": name(auto.easy),
            "hard": name(auto.hard),
            "classifier": auto.asks().map(|asked| name(asked.model)),
            "mode": mode(auto),
        })
    })
}

/// Returns limits as the file writes them: 0 = off.
fn limits(config: &Config) -> Value {
    let members = |limits: &Limits| {
        json!({
            "requests_per_minute": limits.requests_per_minute,
            "burst": limits.burst,
            "tokens_per_minute": limits.tokens_per_minute,
            "concurrent_streams": limits.concurrent_streams,
        })
    };
    let mut all = members(&config.limits.caller);
    all["models"] = config.limits.models.iter().map(|(model, own)| (model.clone(), members(own))).collect();
    all
}

fn budget(config: &Config) -> Value {
    let budget = config.costs.budget;
    match budget.per_day > Cost::default() {
        true => json!({
            "dollars_per_day": budget.per_day.short(),
            "over_budget": if budget.cheapest_when_over { "cheap" } else { "refuse" },
        }),
        false => Value::Null,
    }
}

fn cache(config: &Config) -> Value {
    config.cache.as_ref().map_or(Value::Null, |cache| {
        json!({
            "ttl": format_duration(cache.ttl),
            "max_bytes": format_size(cache.max_bytes),
            "scope": if cache.shared { "shared" } else { "client" },
            "replay": if cache.paced { "paced" } else { "instant" },
        })
    })
}

fn stream(config: &Config) -> Value {
    let stream = &config.stream;
    json!({
        "heartbeat": stream.heartbeat.map(format_duration),
        "first_event_timeout": format_duration(stream.first_event_timeout),
        "commit_after": format_duration(stream.commit_after),
        "idle_timeout": format_duration(stream.idle_timeout),
        "whole_timeout": format_duration(stream.whole_timeout),
        "max_duration": format_duration(stream.max_duration),
    })
}

fn resume(config: &Config) -> Value {
    let resume = &config.resume;
    json!({
        "grace": format_duration(resume.grace),
        "retention": format_duration(resume.retention),
        "max_bytes": format_size(resume.max_bytes),
        "max_streams": resume.max_streams,
    })
}

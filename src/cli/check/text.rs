//! The summary of a configuration as text: one fact per line, and only features that are on. Pure.

use super::{accepted, default_model, fallbacks, hedge, hosts, mode, redis_url};
use bench::report::format::plural;
use doctor::text::wrapped;
use settings::{format_duration, format_size};
use tokenway::cache::settings::Cache;
use tokenway::config::Config;
use tokenway::failover::settings::HedgeAfter;
use tokenway::limits::policy::Limits;
use tokenway::models::names::AUTO;
use tokenway::models::{Model, Table};
use tokenway::price::Cost;
use tokenway::routing::auto::Auto;
use tokenway::stream::log::settings::Resume;
use tokenway::stream::settings::Stream;
use tokenway::upstream::settings::Upstream;

/// Lines are wrapped at spaces before this column.
const WIDTH: usize = 100;
/// The column at which the facts begin, after their labels.
const INDENT: usize = 10;

/// The summary of a configuration.
pub(super) fn summary(config: &Config) -> String {
    let mut text = "ok\n".to_owned();
    for (about, fact) in facts(config) {
        let mut about = about;
        for row in wrapped(&fact, WIDTH - INDENT) {
            text += &format!("{about:INDENT$}{row}\n");
            about = "";
        }
    }
    text
}

/// Returns a line for each feature that is on.
fn facts(config: &Config) -> Vec<(&'static str, String)> {
    let default = default_model(config);
    let limits_of = |(model, own): &(String, Limits)| Some(format!("{model}: {}, for each caller", limits(own)?));
    let mut facts = vec![("listen", listen(config)), ("admin", config.server.admin.to_string())];
    facts.extend(believed(config).map(|proxies| ("proxies", proxies)));
    facts.extend(config.upstreams.iter().map(|upstream| ("upstream", asked(upstream))));
    facts.extend(config.models.models().iter().map(|model| ("model", described(config, model, default))));
    facts.extend(fallbacks(config).map(|(model, next)| ("fallback", format!("{model}: {}", next.join(", then ")))));
    facts.extend(hedge(config).map(|after| ("hedge", hedged(after))));
    facts.extend(config.auto.as_ref().map(|auto| ("auto", decided(auto, &config.models, default))));
    let cookies = if config.cors.credentials() { ", with credentials" } else { "" };
    facts.extend(config.cors.origins().into_iter().map(|origin| ("origin", format!("{origin}{cookies}"))));
    facts.push(("access", access(config)));
    facts.extend(limits(&config.limits.caller).map(|limits| ("limits", format!("{limits}, for each caller"))));
    facts.extend(config.limits.models.iter().filter_map(limits_of).map(|limits| ("limits", limits)));
    facts.extend(budget(config).map(|budget| ("budget", budget)));
    facts.extend(config.cache.as_ref().map(|cache| ("cache", cached(cache))));
    facts.extend(redis_url(config).map(|url| ("redis", url)));
    facts.push(("stream", deadlines(&config.stream)));
    facts.push(("resumable", resumable(&config.resume)));
    facts.extend(config.warnings.iter().map(|warning| ("warning", warning.clone())));
    facts
}

fn listen(config: &Config) -> String {
    let transport = if config.server.identity.is_some() { "TLS" } else { "plaintext" };
    let hosts = hosts(config).map_or("any host".to_owned(), |hosts| hosts.join(", "));
    format!("{} ({transport}), for {hosts}", config.server.listen)
}

fn believed(config: &Config) -> Option<String> {
    let networks: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    (!networks.is_empty()).then(|| format!("x-forwarded-for is trusted from {}", networks.join(", ")))
}

fn asked(upstream: &Upstream) -> String {
    let key = match upstream.api_keys.len() {
        0 => "without a key".to_owned(),
        1 => "with a key".to_owned(),
        keys => format!("with {keys} keys"),
    };
    format!("{}: {}, {key}", upstream.name, upstream.base)
}

fn access(config: &Config) -> String {
    if config.access.accept.is_open() {
        // the one line that must not be overlooked
        return "OPEN: no credentials are required; every client that reaches this gateway spends the provider's money"
            .to_owned();
    }
    let kinds = accepted(config).into_iter().map(|kind| match kind {
        "key" => format!("key ({} in the file)", config.access.keys.records().count()),
        kind => kind.to_owned(),
    });
    kinds.collect::<Vec<_>>().join(", ")
}

fn described(config: &Config, model: &Model, default: Option<&str>) -> String {
    let upstream = &config.upstreams[model.upstream.0].name;
    let price = match (model.input_price, model.output_price) {
        (Some(input), Some(output)) => format!("${input} in, ${output} out per million tokens"),
        _ => "no price".to_owned(),
    };
    format!("{}: {upstream}, {price}{}", model.name, or_default(&model.name, default))
}

fn decided(auto: &Auto, models: &Table, default: Option<&str>) -> String {
    let name = |id| models.get(id).name.as_str();
    let by = auto.asks().map_or("the rules".to_owned(), |classifier| {
        let within = format_duration(classifier.timeout);
        format!("{} ({}, within {within})", name(classifier.model), mode(auto))
    });
    format!("{} or {}, decided by {by}{}", name(auto.easy), name(auto.hard), or_default(AUTO, default))
}

fn or_default(name: &str, default: Option<&str>) -> &'static str {
    if default == Some(name) { ", default" } else { "" }
}

fn hedged(after: HedgeAfter) -> String {
    let late = match after {
        HedgeAfter::P95 => "later than 19 of 20 of the model's own".to_owned(),
        HedgeAfter::Time(time) => format!("not there after {}", format_duration(time)),
    };
    format!("the next model is asked as well when the first output is {late}")
}

/// Returns `None` if nothing is limited.
fn limits(limits: &Limits) -> Option<String> {
    let Limits { requests_per_minute, burst, tokens_per_minute, concurrent_streams } = *limits;
    let at_once = if burst > 0 { format!(" (bursts of {burst})") } else { String::new() };
    let parts = [
        (requests_per_minute > 0)
            .then(|| format!("{} a minute{at_once}", plural(requests_per_minute, "request", "requests"))),
        (tokens_per_minute > 0).then(|| format!("{} a minute", plural(tokens_per_minute, "token", "tokens"))),
        (concurrent_streams > 0)
            .then(|| format!("{} at once", plural(concurrent_streams, "completion", "completions"))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn budget(config: &Config) -> Option<String> {
    let budget = config.costs.budget;
    let beyond = if budget.cheapest_when_over { "the cheapest model answers" } else { "it is refused" };
    (budget.per_day > Cost::default())
        .then(|| format!("${} a day for each caller; beyond it {beyond}", budget.per_day.short()))
}

fn cached(cache: &Cache) -> String {
    let whose = if cache.shared { "SHARED: callers get each other's answers" } else { "each caller's own" };
    let rhythm = if cache.paced { "in their rhythm" } else { "at once" };
    format!("{whose}; {} long, {} in all, sent {rhythm}", format_duration(cache.ttl), format_size(cache.max_bytes))
}

fn deadlines(stream: &Stream) -> String {
    let heartbeat =
        stream.heartbeat.map_or("no heartbeat".to_owned(), |every| format!("heartbeat {}", format_duration(every)));
    let [first, idle, all] =
        [stream.first_event_timeout, stream.idle_timeout, stream.max_duration].map(format_duration);
    format!("{heartbeat}; the first event within {first}, the next within {idle}, all within {all}")
}

fn resumable(resume: &Resume) -> String {
    let [grace, retention] = [resume.grace, resume.retention].map(format_duration);
    let (most, bytes) = (plural(resume.max_streams as u64, "stream", "streams"), format_size(resume.max_bytes));
    format!("up to {most} and {bytes}; {grace} without a reader, {retention} after the end")
}

//! The whole configuration: which settings are refused, where, and which cause a warning.

mod access;
mod auto;
mod example;
mod files;
mod generated;
mod properties;
mod providers;
mod upstreams;
mod validator;

use std::path::Path;
use std::time::Duration;

use settings::Problems;

use super::Config;
use crate::failover::settings::HedgeAfter;

const EXAMPLE: &str = include_str!("../../../tokenway.toml");

/// A small valid file in four pieces; a test may extend each.
#[derive(Default)]
struct Pieces<'a> {
    server: &'a str,
    upstream: &'a str,
    model: &'a str,
    rest: &'a str,
}

impl Pieces<'_> {
    fn text(&self) -> String {
        let url = if self.upstream.contains("base_url") { "" } else { "base_url = \"https://up.example/v1\"" };
        format!(
            "[server]\nplaintext = true\n{}\n[[upstreams]]\nname = \"up\"\n{url}\n{}\n\
             [[models]]\nname = \"m\"\nupstream = \"up\"\n{}\n{}\n",
            self.server, self.upstream, self.model, self.rest
        )
    }

    fn parse(&self) -> Result<Config, Problems> {
        parse(&self.text())
    }
}

fn parse(text: &str) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "KEY" => Some("sk-canary".to_owned()),
        "EMPTY" => Some("\n".to_owned()),
        "TWO_WORDS" => Some("Bearer sk-canary".to_owned()),
        _ => None,
    };
    Config::parse(text, Path::new("/nonexistent"), &env)
}

/// Asserts that this file has exactly one problem, at this key, and that its line says `words`.
#[track_caller]
fn assert_problem(pieces: &Pieces<'_>, key: &str, words: &str) {
    let problems = pieces.parse().map(|_| ()).expect_err(key);
    let shown = problems.to_string();
    assert_eq!(problems.0.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{shown}");
    assert!(shown.contains(words), "{shown:?} lacks {words:?}");
    assert!(!shown.contains("canary") && !shown.contains('\n'), "{shown:?}");
}

#[test]
fn a_duplicate_name_is_proposed_once() {
    let proposed = |text: &str| {
        let problems = parse(text).unwrap_err().0;
        problems.into_iter().find(|problem| problem.key == "models[1].upstream").unwrap().mend
    };
    let up = |name: &str| format!("[[upstreams]]\nname = \"{name}\"\nbase_url = \"https://up.example/v1\"\n");
    let models = "[[models]]\nname = \"m\"\nupstream = \"alpha\"\n[[models]]\nname = \"n\"\nupstream = \"zzzzzz\"\n";
    assert_eq!(proposed(&[&up("alpha"), &up("alpha"), models].concat()), "write `alpha`");
    let three = [&up("alpha"), &up("beta"), &up("alpha"), models].concat();
    assert_eq!(proposed(&three), "write one of alpha, beta");
}

#[test]
fn every_problem_of_the_server_names_its_key_and_the_mend() {
    for (server, key, words) in [
        ("lisen = \"127.0.0.1:1\"", "server.lisen", "write `listen`"),
        ("colour = 1", "server.colour", "here are listen, admin,"),
        ("\"a\\nb\" = 1", "server.`a\\nb`", "is no known key"),
        ("listen = 8443", "server.listen", "must be a string, not an integer"),
        ("listen = \":8443\"", "server.listen", "\"0.0.0.0:8443\""),
        ("admin = \"127.0.0.1:8443\"", "server.admin", "is the same as server.listen"),
        ("certificate = \"a.pem\"", "server.certificate", "not used with plaintext"),
        ("private_key = \"a.key\"", "server.private_key", "not used with plaintext"),
        ("hosts = \"a.example\"", "server.hosts", "must be a list"),
        ("hosts = [\"a.example\", 5]", "server.hosts[1]", "must be a string"),
        ("hosts = [\"a.example:443\"]", "server.hosts[0]", "`a.example`"),
        ("max_connections = 0", "server.max_connections", "from 1 to 10000000"),
        ("max_connections = -1", "server.max_connections", "out of range"),
        ("max_connections = \"10\"", "server.max_connections", "without quotes"),
        ("max_connections_per_ip = 1.5", "server.max_connections_per_ip", "whole number"),
        ("handshake_timeout = \"0s\"", "server.handshake_timeout", "from 1ms to 24h"),
        ("header_timeout = 10", "server.header_timeout", "such as \"15s\""),
        ("body_timeout = \"25h\"", "server.body_timeout", "from 1ms to 24h"),
        ("max_body = \"4MB\"", "server.max_body", "write \"4MiB\""),
        ("max_body = 0", "server.max_body", "from 1B to 1GiB"),
        ("write_timeout = \"0s\"", "server.write_timeout", "out of range"),
        ("drain = \"30\"", "server.drain", "is not a duration"),
        ("trusted_proxies = [\"10.0.0.0/8\", \"10.0.0.1/8\"]", "server.trusted_proxies[1]", "write \"10.0.0.0/8\""),
        ("workers = 5000", "server.workers", "from 0 to 1024"),
    ] {
        assert_problem(&Pieces { server, ..Pieces::default() }, key, words);
    }
    let twice = "plaintext = \"yes\"";
    assert_problem(&Pieces { server: twice, ..Pieces::default() }, "", "duplicate key");
}

#[test]
fn every_problem_of_a_model_names_its_key_and_the_mend() {
    for (model, key, words) in [
        ("input_price = 1.0", "models[0].output_price", "both prices, or neither"),
        ("output_price = 1.0", "models[0].input_price", "both prices, or neither"),
        ("input_price = -1.0\noutput_price = 1", "models[0].input_price", "is no plain decimal number"),
        ("input_price = 1e3\noutput_price = 1", "models[0].input_price", "is no plain decimal number"),
        ("cached_input_price = 1.0", "models[0].cached_input_price", "without the two prices"),
        ("reasoning_price = 1.0", "models[0].reasoning_price", "without the two prices"),
        ("context = \"128K\"", "models[0].context", "whole number"),
        ("context = 0", "models[0].context", "is 0"),
        ("upstream_model = \"\"", "models[0].upstream_model", "is empty"),
        ("fallback = \"cheaper\"", "models[0].fallback", "has no price"),
        ("fallback = \"m2\"", "models[0].fallback", "in square brackets"),
        ("fallback = 5", "models[0].fallback", "\"cheaper\" or a list"),
        ("fallback = [\"m\"]", "models[0].fallback[0]", "is the model itself"),
        ("fallback = [\"m2\"]", "models[0].fallback[0]", "no model has the name `m2`; write `m`"),
        ("price = 5", "models[0].price", "is no known key"),
        ("[[models]]\nname = \"m\"\nupstream = \"up\"", "models[1].name", "`m` is taken (line 9)"),
        ("[[models]]\nname = \"auto\"\nupstream = \"up\"", "models[1].name", "reserved"),
        (
            "[[models]]\nname = \"b\"\nupstream = \"ups\"",
            "models[1].upstream",
            "no upstream has the name `ups`; write `up`",
        ),
        ("[[models]]\nname = \"b\"", "models[1].upstream", "is missing"),
        ("[[models]]\nupstream = \"up\"", "models[1].name", "is missing"),
    ] {
        assert_problem(&Pieces { model, ..Pieces::default() }, key, words);
    }
}

#[test]
fn every_problem_of_the_other_sections_names_its_key_and_the_mend() {
    for (rest, key, words) in [
        ("[cors]\norigins = [\"https://a.example\", \"null\"]", "cors.origins[1]", "line 13"),
        ("[cors]\nmax_age = \"25h\"", "cors.max_age", "24"),
        ("[cors]\ncredentials = \"no\"", "cors.credentials", "must be true or false"),
        ("[stream]\nheartbeat = \"15\"", "stream.heartbeat", "is not a duration"),
        ("[stream]\nfirst_event_timeout = \"0s\"", "stream.first_event_timeout", "out of range"),
        ("[stream]\nidle_timeout = \"0s\"", "stream.idle_timeout", "out of range"),
        ("[stream]\nmax_duration = \"0s\"", "stream.max_duration", "out of range"),
        ("[stream]\nmax_event = \"1KiB\"", "stream.max_event", "from 4KiB to 64MiB"),
        ("[resume]\ngrace = \"25h\"", "resume.grace", "from 0s to 24h"),
        ("[resume]\nretention = 5", "resume.retention", "such as \"15s\""),
        ("[resume]\nmax_streams = 0", "resume.max_streams", "from 1 to 100000"),
        ("[resume]\nmax_bytes = \"1KiB\"", "resume.max_bytes", "from 64KiB"),
        ("[resume]\nmax_stream_bytes = \"1KiB\"", "resume.max_stream_bytes", "from 16KiB to 1GiB"),
        ("[resume]\nmax_stream_bytes = \"65MiB\"", "resume.max_stream_bytes", "over resume.max_bytes (64MiB); raise"),
        ("[resume]\nmax_bytes = \"512KiB\"", "resume.max_bytes", "resume.max_stream_bytes (1MiB) is over"),
        ("[routing]\ndefault = \"x\"", "routing.default", "no model has the name `x`; write `m`"),
        ("[routing]\ndefault = \"auto\"", "routing.default", "add [routing.auto]"),
        ("[routing.auto]\nhard = \"m\"\nmode = \"rules\"", "routing.auto.easy", "answers what is easy"),
        ("[routing.auto]\neasy = \"m\"\nmode = \"rules\"", "routing.auto.hard", "answers what is hard"),
        ("[routing.auto]\neasy = \"m\"\nhard = \"m\"\nmode = \"rules\"", "routing.auto.hard", "is the same model"),
        (
            "[routing.auto]\neasy = \"m\"\nhard = \"x\"\nclassifier = \"m\"",
            "routing.auto.hard",
            "no model has the name `x`",
        ),
        ("[limits]\nrequests_per_minute = -1", "limits.requests_per_minute", "out of range"),
        ("[limits]\nrequests_per_minut = 5", "limits.requests_per_minut", "write `requests_per_minute`"),
        ("[limits]\nburst = 1_000_001", "limits.burst", "from 0 to 1000000"),
        ("[limits]\ntokens_per_minute = \"1k\"", "limits.tokens_per_minute", "without quotes"),
        ("[limits]\nmax_callers = 10", "limits.max_callers", "from 1000 to 100000000"),
        ("[[limits.models]]\nconcurrent_streams = 1", "limits.models[0].name", "is missing"),
        ("[[limits.models]]\nname = \"x\"", "limits.models[0].name", "names no model"),
        ("[[limits.models]]\nname = \"m\"\n[[limits.models]]\nname = \"m\"", "limits.models[1].name", "already"),
        ("[cost]\nbaseline = \"x\"", "cost.baseline", "no model has the name `x`"),
        ("[cost]\nbaseline = \"m\"", "cost.baseline", "without a price"),
        ("[cost]\nbudget_per_day = -1", "cost.budget_per_day", "such as 5.00"),
        ("[cost]\nover_budget = \"no\"", "cost.over_budget", "\"refuse\" or \"cheap\""),
        ("[cost]\nover_budget = \"cheap\"", "cost.over_budget", "no model has a price"),
        ("[redis]\nurl = \"http://canary\"", "redis.url", "\"redis://HOST:6379\""),
        ("[redis]\nurl = \"redis://:canary@h\"", "redis.url", "password_env"),
        ("[redis]\nurl = \"redis://h/x\"", "redis.url", "number of a database"),
        ("[redis]\npassword = \"canary\"", "redis.password", "use password_env"),
        ("[redis]\nurl = \"redis://[::1]\"\npassword_env = \"NONE\"", "redis.password_env", "not set"),
        ("[redis]\nurl = \"redis://[::1]\"\npassword_env = \"EMPTY\"", "redis.password_env", "is empty"),
        ("[redis]\nusername = \"u\"", "redis.username", "redis.url is empty"),
        ("[redis]\nurl = \"redis://[::1]\"\nca_file = \"ca.pem\"", "redis.ca_file", "without TLS"),
        ("[redis]\nurl = \"rediss://h\"\nca_file = \"none.pem\"", "redis.ca_file", "cannot be read"),
        ("[redis]\ntimeout = \"0s\"", "redis.timeout", "from 1ms to 5s"),
        ("[redis]\nlocal_share = 0", "redis.local_share", "from 0.01 to 1"),
        ("[redis]\nlease = \"10ms\"", "redis.lease", "1s"),
        ("[redis]\nlocal_share = \"half\"", "redis.local_share", "such as 0.5"),
        ("[fallback]\ndeadline = \"0s\"", "fallback.deadline", "from 1ms to 24h"),
        ("[fallback]\nretry_budget = 1.5", "fallback.retry_budget", "from 0 to 1"),
        ("[fallback]\nretry_budget = \"20%\"", "fallback.retry_budget", "such as 0.2"),
        ("[fallback]\ncool_down = \"3m\"", "fallback.cool_down", "is over fallback.max_cool_down (2m)"),
        ("[fallback]\nmax_cool_down = \"1s\"", "fallback.max_cool_down", "fallback.cool_down (5s)"),
        ("[fallback.hedge]\nafter = \"p99\"", "fallback.hedge.after", "\"off\", \"p95\""),
        ("[fallback.hedge]\nafter = \"0s\"", "fallback.hedge.after", "asked twice"),
        ("[fallback.hedge]\nafter = 800", "fallback.hedge.after", "such as \"800ms\""),
        ("[fallback.hedge]\nbudget = -1", "fallback.hedge.budget", "is out of range"),
        ("[cache]\nttl = \"0s\"", "cache.ttl", "from 1s to 720h"),
        ("[cache]\nscope = \"all\"", "cache.scope", "must be \"client\" or \"shared\""),
        ("[cache]\nreplay = 1", "cache.replay", "must be \"instant\" or \"paced\""),
        ("[cache]\nmax_bytes = \"512KiB\"", "cache.max_bytes", "cache.max_entry (1MiB) is over"),
        ("[cache]\nmax_entry = \"1GiB\"", "cache.max_entry", "from 4KiB to 64MiB"),
        ("[cache]\nmaxentry = 1", "cache.maxentry", "write `max_entry`"),
        ("[log]\nformat = \"xml\"", "log.format", "\"text\" or \"json\""),
        ("[logs]", "logs", "is no known section; write `log`"),
        ("[[log]]", "log", "must be a section, not a list"),
    ] {
        assert_problem(&Pieces { rest, ..Pieces::default() }, key, words);
    }
}

#[test]
fn an_old_name_is_refused_with_the_new_one() {
    for (rest, line) in [
        ("[streams]\ngrace = \"1m\"", "line 12: streams: has a new name; write `resume`"),
        ("[[streams]]", "line 12: streams: has a new name; write `resume`"),
        ("[redis]\nbudget = \"1s\"", "line 13: redis.budget: has a new name; write `timeout`"),
        ("[redis]\nbudget = 5", "line 13: redis.budget: has a new name; write `timeout`"),
        ("[cache]\nredis_budget = \"1s\"", "line 13: cache.redis_budget: has a new name; write `redis_timeout`"),
    ] {
        let problems = Pieces { rest, ..Pieces::default() }.parse().map(|_| ()).expect_err(rest);
        assert_eq!(problems.to_string(), line);
    }
}

#[test]
fn an_old_name_is_not_proposed() {
    for (rest, key) in [("[strems]", "strems"), ("[redis]\nbudgt = 1", "redis.budgt")] {
        let problems = Pieces { rest, ..Pieces::default() }.parse().map(|_| ()).expect_err(rest);
        let old = [" streams", "`streams`", " budget", "`budget`"];
        assert!(problems.0[0].key == key && old.iter().all(|old| !problems.0[0].mend.contains(old)), "{problems}");
    }
}

#[test]
fn sections_of_the_wrong_shape_draw_no_further_problems() {
    let keys = |text: &str| parse(text).map(|_| ()).unwrap_err().0.into_iter().map(|p| p.key).collect::<Vec<_>>();
    let good_model = "[[models]]\nname = \"m\"\nupstream = \"up\"\n";
    assert_eq!(keys(&format!("server = {{ plaintext = true }}\nupstreams = 5\n{good_model}")), ["upstreams"]);
    assert_eq!(keys(&format!("upstreams = [1]\n{good_model}[server]\nplaintext = true")), ["upstreams[0]"]);
    assert_eq!(keys("[server]\nplaintext = true"), ["upstreams", "models"]);
}

#[test]
fn an_unreadable_address_collides_with_nothing() {
    let pieces = Pieces { server: "listen = 5\nadmin = \"127.0.0.1:8443\"", ..Pieces::default() };
    assert_problem(&pieces, "server.listen", "must be a string");
}

#[test]
fn a_damaged_file_is_reported_by_line_and_never_shown() {
    let problems = parse("[server]\nlisten = \"canary\n\nhosts = [\"canary\"\n").expect_err("no TOML");
    assert_eq!(problems.0[0].line, Some(2), "{problems}");
    assert!(problems.0.iter().all(|problem| problem.reason.contains("is not TOML")), "{problems}");
    assert!(!problems.to_string().contains("canary"), "{problems}");
}

#[test]
fn a_missing_file_is_a_problem_with_a_mend() {
    let problems = Config::load(Path::new("/nonexistent/tokenway.toml"), &|_| None).expect_err("nothing there");
    assert!(problems.to_string().contains("cannot be read") && problems.to_string().contains("--config"));
}

#[test]
fn problems_stand_in_the_order_of_the_file() {
    let text = Pieces { server: "workers = -1", model: "context = 0", rest: "[zzz]", ..Pieces::default() }.text();
    let lines: Vec<_> = parse(&text).unwrap_err().0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.is_sorted());
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let warned = |server: &str, upstream: &str, words: &str| {
        let config =
            Pieces { server, upstream, rest: "[cors]\norigins = [\"https://a.example\"]", ..Pieces::default() };
        let warnings = config.parse().unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(words), "{warnings:?}");
    };
    warned("admin = \"0.0.0.0:9443\"", "", "server.admin is 0.0.0.0:9443");
    warned("listen = \"[::]:8443\"", "", "server.listen is [::]:8443 without TLS");
    warned("trusted_proxies = [\"0.0.0.0/0\"]", "", "server.trusted_proxies[0] includes every address");
    warned("", "base_url = \"http://10.0.0.1/v1\"", "upstreams[0].base_url is http to another machine");
    let closed = Pieces::default().parse().unwrap().warnings;
    assert_eq!(closed, ["cors.origins is empty: every cross-origin page is refused"]);
}

#[test]
fn hedging_without_a_second_model_causes_a_warning() {
    let warnings = |model: &str, rest: &str| {
        let rest = format!("{rest}\n[cors]\norigins = [\"https://a.example\"]");
        Pieces { model, rest: &rest, ..Pieces::default() }.parse().unwrap().warnings
    };
    let priced = "input_price = 1\noutput_price = 1";
    let on = "[fallback.hedge]\nafter = \"p95\"";
    let all = [
        "fallback.hedge.after is on, and no model has a fallback to hedge with: write models.fallback, or \"off\" here",
    ];
    assert_eq!(warnings("", on), all);
    // cheaper than what?
    assert_eq!(warnings(&format!("{priced}\nfallback = \"cheaper\""), on), all);
    let second = format!("[[models]]\nname = \"n\"\nupstream = \"up\"\n{priced}\n");
    let one = warnings("fallback = [\"n\"]", &format!("{second}{on}"));
    assert!(
        one.len() == 1
            && one[0].starts_with("models[1].fallback leaves fallback.hedge no other model to ask for `n`: name"),
        "{one:?}"
    );
    let both = format!("{second}fallback = [\"m\"]\n");
    assert!(warnings("fallback = [\"n\"]", &format!("{both}{on}")).is_empty());
    assert!(warnings("", "[fallback.hedge]\nafter = \"off\"").is_empty());
}

#[test]
fn a_higher_price_for_cached_prompts_causes_a_warning() {
    let warnings = |cached: &str| {
        let model = format!("input_price = 2.5\noutput_price = 10\ncached_input_price = {cached}");
        let rest = "[cors]\norigins = [\"https://a.example\"]";
        Pieces { model: &model, rest, ..Pieces::default() }.parse().unwrap().warnings
    };
    assert!(warnings("1.25").is_empty() && warnings("2.50").is_empty());
    let pricey = warnings("2.500001");
    assert!(
        pricey.len() == 1
            && pricey[0].starts_with("models[0].cached_input_price is $2.500001, above input_price, $2.50, and")
            && pricey[0].ends_with("correct one of the two"),
        "{pricey:?}"
    );
}

#[test]
fn prices_and_budgets_arrive_exactly_as_they_are_written() {
    let priced = "input_price = 2.50\noutput_price = 10\ncached_input_price = 1.25";
    let rest = "[cost]\nbaseline = \"m\"\nbudget_per_day = 0.000001\nover_budget = \"cheap\"";
    let costs = Pieces { model: priced, rest, ..Pieces::default() }.parse().unwrap().costs;
    let baseline = costs.baseline.unwrap();
    let prices = [baseline.input, baseline.cached_input, baseline.output, baseline.reasoning];
    assert_eq!(prices.map(|price| price.to_string()), ["2.50", "1.25", "10.00", "10.00"]);
    assert_eq!((costs.budget.per_day.nano(), costs.budget.cheapest_when_over), (1000, true));
    let none = Pieces::default().parse().unwrap().costs;
    assert_eq!((none.baseline, none.budget.per_day.nano()), (None, 0));
    let unpriced = Pieces { rest: "[cost]\nbudget_per_day = 5", ..Pieces::default() }.parse().unwrap();
    assert!(unpriced.warnings.iter().any(|warning| warning.contains("no bound on the model `m`")));
}

#[test]
fn durations_and_switches_arrive_as_they_are_meant() {
    let config = Pieces { rest: "[stream]\nheartbeat = \"0s\"\n[log]\nformat = \"json\"", ..Pieces::default() };
    let config = config.parse().unwrap();
    assert_eq!(config.stream.heartbeat, None);
    assert_eq!(config.stream.commit_after, Duration::from_secs(10));
    assert!(config.log.json && config.server.hosts.any && config.server.identity.is_none());
}

#[test]
fn hedging_is_off_unless_it_is_asked_for() {
    let hedge = |rest| Pieces { rest, ..Pieces::default() }.parse().unwrap().fallback.hedge.map(|hedge| hedge.after);
    assert_eq!(hedge(""), None);
    assert_eq!(hedge("[fallback.hedge]\nbudget = 0.1"), None);
    assert_eq!(hedge("[fallback.hedge]\nafter = \"p95\""), Some(HedgeAfter::P95));
    assert_eq!(hedge("[fallback.hedge]\nafter = \"800ms\""), Some(HedgeAfter::Time(Duration::from_millis(800))));
}

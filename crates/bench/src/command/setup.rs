//! Turns options into a run that can start. Every error is one line with its fix.

use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

use super::options::{Http, Options};
use crate::load::StreamClient;
use crate::load::page::Page;
use crate::load::prompts::{CommonFields, Prompts};
use crate::load::run::Run;
use crate::load::schedule::{Limit, Plan};
use crate::report::document::{self, Load};
use crate::report::finish::{ms, seconds};
use crate::report::totals::Goals;
use browser::origin::PageOrigin;
use dial::{Dialer, Target, Trust, Versions};
use settings::{Env, Secret};

/// The streams to each target without `--streams` and `--duration`.
const DEFAULT_STREAMS: u64 = 100;
/// The time limit of a connection, which a working server needs by far not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A run that can start, and what the report needs of it.
pub(super) struct Setup {
    pub(super) run: Run,
    pub(super) urls: Vec<Url>,
    pub(super) goals: Goals,
    pub(super) parameters: document::Run,
}

impl Setup {
    /// # Errors
    /// One line: the flag, what is wrong, the fix. Never a header's value, a key or a prompt.
    pub(super) fn new(args: &Options, env: Env<'_>) -> Result<Self, String> {
        let targets = args.url.iter().chain(&args.compare).map(|url| target(url)).collect::<Result<Vec<_>, _>>()?;
        let common = CommonFields { model: args.model.clone(), max_tokens: args.max_tokens, members: members(args)? };
        let prompts = match &args.prompts {
            Some(file) => prompts(file, &common)?,
            None => Prompts::one(&args.prompt, &common),
        };
        let headers = headers(args, env)?;
        let clients = targets.iter().map(|target| client(args, target, &headers)).collect::<Result<_, _>>()?;
        let run = Run { plan: plan(args, targets.len()), prompts, clients };
        Ok(Self {
            urls: targets.iter().map(|target| target.url().clone()).collect(),
            goals: Goals { first_token: args.goal_first_token, time_per_output_token: args.goal_token },
            parameters: parameters(args, &run.plan),
            run,
        })
    }
}

/// Parses a URL, and adds the path of chat completions where it has none.
fn target(url: &str) -> Result<Target, String> {
    let target = Target::parse(url).map_err(|error| error.to_string())?;
    match target.url().path() {
        "/" | "/v1" | "/v1/" => target.with_path("/v1/chat/completions").map_err(|error| error.to_string()),
        _ => Ok(target),
    }
}

fn plan(args: &Options, targets: usize) -> Plan {
    let load = match args.rate {
        Some(rate) => Load::Open { rate, arrivals: args.arrivals },
        None => Load::Closed { users: args.concurrency as usize },
    };
    let limit = match args.duration {
        Some(duration) => Limit::Duration(duration),
        None => Limit::Streams(args.streams.unwrap_or(DEFAULT_STREAMS)),
    };
    Plan { load, targets, limit, warmup: args.warmup, ramp: args.ramp, seed: args.seed }
}

/// The parameters of the run for the report; those of its end are not known yet.
fn parameters(args: &Options, plan: &Plan) -> document::Run {
    document::Run {
        began_unix_s: 0,
        seconds: 0.0,
        interrupted: false,
        cut_streams: 0,
        load: plan.load,
        warmup_s: seconds(plan.warmup),
        ramp_s: seconds(plan.ramp),
        seed: plan.seed,
        model: args.model.clone(),
        origin: args.origin.clone(),
        goals: document::Goals {
            first_token_ms: args.goal_first_token.map(ms),
            time_per_output_token_ms: args.goal_token.map(ms),
        },
    }
}

fn members(args: &Options) -> Result<Map<String, Value>, String> {
    let Some(body) = &args.body else { return Ok(Map::new()) };
    match serde_json::from_str(body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(r#"--body: is no JSON object; write one such as '{"temperature": 0}'"#.to_owned()),
    }
}

fn prompts(file: &Path, common: &CommonFields) -> Result<Prompts, String> {
    let place = || format!("--prompts {}", file.display());
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}; name a file of JSON lines", place()))?;
    let text = String::from_utf8(text).map_err(|_| format!("{}: is not UTF-8; save it as UTF-8", place()))?;
    Prompts::parse(&text, common).map_err(|error| format!("{}: {error}", place()))
}

/// The headers of every request: those of `--header`, and defaults for the others.
fn headers(args: &Options, env: Env<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    if let Some(name) = &args.key_env {
        let key = env(name).ok_or_else(|| format!("--key-env {name}: no such variable; export {name}=… first"))?;
        let key = Secret::parse(key.as_bytes())
            .map_err(|mistake| format!("--key-env {name}: the variable {}; {}", mistake.reason, mistake.mend))?;
        // a key is visible ASCII
        let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/event-stream"));
    Ok(headers)
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = |reason: &str| format!("--header: {reason}; write it as 'name: value'");
    let (name, value) = line.split_once(':').ok_or_else(|| wrong("has no colon"))?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong("has no valid name"))?;
    if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) {
        return Err(format!("--header: {name} is set by the connection; leave it out"));
    }
    // the value may be a key, so no message shows it
    let value = HeaderValue::try_from(value.trim());
    let mut value =
        value.map_err(|_| format!("--header {name}: the value holds a byte that no header has; remove it"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn client(args: &Options, target: &Target, headers: &HeaderMap) -> Result<StreamClient, String> {
    let versions = match args.http {
        Http::Any => Versions::Any,
        Http::One => Versions::Http1,
        Http::Two => Versions::Http2,
    };
    let trust = Trust::from_flags(args.ca.as_deref(), args.insecure).map_err(|error| error.to_string())?;
    let page = args.origin.as_deref().map(|origin| page(origin, target, headers)).transpose()?;
    let dialer = Dialer::new(target.clone(), versions, &trust, args.timeout.min(CONNECT_TIMEOUT));
    let dialer = dialer.map_err(|error| error.to_string())?;
    Ok(StreamClient::new(dialer, !args.new_connections, headers.clone(), page, args.timeout))
}

fn page(origin: &str, target: &Target, headers: &HeaderMap) -> Result<Page, String> {
    let wrong = || "--origin: is no origin; write scheme and host, such as https://app.example.com".to_owned();
    let origin = PageOrigin::parse(origin).map_err(|_| wrong())?;
    Page::new(origin, target.url(), headers)
        .map_err(|block| format!("--origin: no page can send this: {}", block.reason))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::document::Arrivals;
    use tempfile::TempDir;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Options,
    }

    fn args(words: &[&str]) -> Result<Options, clap::Error> {
        Cli::try_parse_from(["bench"].iter().chain(words)).map(|cli| cli.args)
    }

    fn set_up(words: &[&str]) -> Result<Setup, String> {
        let env = |name: &str| match name {
            "KEY" => Some("sk-canary\n".to_owned()),
            "BROKEN" => Some("two canary words".to_owned()),
            _ => None,
        };
        Setup::new(&args(words).unwrap(), &env)
    }

    fn body(setup: &Setup) -> Value {
        serde_json::from_slice(&setup.run.prompts.body(0)).unwrap()
    }

    #[test]
    fn a_url_without_a_path_gets_that_of_chat_completions() {
        for (url, whole) in [
            ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
            ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
            ("https://a.example/openai/chat?x=1", "https://a.example/openai/chat?x=1"),
        ] {
            assert_eq!(set_up(&[url]).unwrap().urls[0].as_str(), whole);
        }
    }

    #[test]
    fn without_flags_ten_users_start_a_hundred_streams() {
        let setup = set_up(&["http://a"]).unwrap();
        let plan = setup.run.plan;
        assert_eq!((plan.load, plan.limit), (Load::Closed { users: 10 }, Limit::Streams(100)));
        assert_eq!((plan.targets, setup.run.clients.len(), plan.warmup), (1, 1, Duration::ZERO));
    }

    #[test]
    fn flags_make_the_plan_and_the_body() {
        let words = "http://a --compare http://b --rate 2.5 --arrivals uniform --duration 1m --warmup 5s --ramp 2s --seed 9 \
                     --model m --max-tokens 7 --prompt hi";
        let words: Vec<_> = words.split_whitespace().chain(["--body", r#"{"temperature":0}"#]).collect();
        let setup = set_up(&words).unwrap();
        let plan = Plan {
            load: Load::Open { rate: 2.5, arrivals: Arrivals::Uniform },
            targets: 2,
            limit: Limit::Duration(Duration::from_secs(60)),
            warmup: Duration::from_secs(5),
            ramp: Duration::from_secs(2),
            seed: 9,
        };
        assert_eq!(setup.run.plan, plan);
        let body = body(&setup);
        assert_eq!((&body["model"], &body["max_tokens"], &body["temperature"]), (&"m".into(), &7.into(), &0.into()));
        assert_eq!(body["messages"][0]["content"], "hi");
    }

    #[test]
    fn prompts_come_from_a_file() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("prompts.jsonl");
        std::fs::write(&file, "\"one\"\n{\"prompt\":\"two\"}\n").unwrap();
        let setup = set_up(&["http://a", "--prompts", file.to_str().unwrap()]).unwrap();
        assert_eq!(body(&setup)["messages"][0]["content"], "one");
        std::fs::write(&file, "\"one\"\ncanary\n").unwrap();
        let error = set_up(&["http://a", "--prompts", file.to_str().unwrap()]).err().unwrap();
        assert!(error.contains("prompts.jsonl: line 2: is no JSON") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn the_key_and_the_headers_are_sent_and_never_shown() {
        let words = ["http://a", "--key-env", "KEY", "-H", "x-a: 1", "-H", "X-A:2", "-H", "content-type: text/plain"];
        let env = |_: &str| Some("sk-canary\n".to_owned());
        let headers = headers(&args(&words).unwrap(), &env).unwrap();
        assert_eq!(headers["authorization"], "Bearer sk-canary");
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (&headers["content-type"], &headers["accept"]),
            (&"text/plain".parse().unwrap(), &"text/event-stream".parse().unwrap())
        );
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn each_error_is_one_line_with_its_flag_and_its_fix() {
        for (words, part) in [
            (vec!["nowhere"], "the URL is no URL; write scheme"),
            (vec!["http://a", "--compare", "ftp://b"], "begin it with https://"),
            (vec!["http://a", "-H", "canary"], "--header: has no colon; write it as 'name: value'"),
            (vec!["http://a", "-H", "na me: canary"], "--header: has no valid name"),
            (vec!["http://a", "-H", "x: can\nary"], "--header x: the value holds a byte"),
            (vec!["http://a", "-H", "content-length: 7"], "leave it out"),
            (vec!["http://a", "--key-env", "NONE"], "--key-env NONE: no such variable"),
            (vec!["http://a", "--key-env", "BROKEN"], "--key-env BROKEN: the variable holds a byte"),
            (vec!["http://a", "--body", "[canary]"], "--body: is no JSON object"),
            (vec!["http://a", "--prompts", "/nowhere/p"], "--prompts /nowhere/p: No such file"),
            (vec!["http://a", "--origin", "canary"], "--origin: is no origin; write scheme and host"),
            (vec!["https://a", "--ca", "/nowhere/ca"], "--ca /nowhere/ca: No such file"),
        ] {
            let error = set_up(&words).err().unwrap_or_else(|| panic!("{words:?}"));
            assert!(error.contains(part) && !error.contains('\n') && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn contradictions_and_values_out_of_range_are_refused() {
        for words in [
            "",
            "http://a -c 0",
            "http://a --rate 0",
            "http://a --rate nan",
            "http://a -c 2 --rate 1",
            "http://a --arrivals uniform",
            "http://a -n 0",
            "http://a -n 5 --duration 1s",
            "http://a --duration 0s",
            "http://a --duration 5",
            "http://a --timeout 0s",
            "http://a --http 3",
            "http://a --ca x --insecure",
            "http://a --prompt x --prompts y",
            "http://a --self-test",
        ] {
            assert!(args(&words.split_whitespace().collect::<Vec<_>>()).is_err(), "{words}");
        }
        assert!(args(&["--self-test"]).is_ok());
    }
}

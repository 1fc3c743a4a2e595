//! The configuration as a whole: what is refused and where, what is only warned of, what the example says.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::problem::Problems;
use super::raw::Raw;
use super::scratch::Scratch;
use super::{Config, local_ca};

const EXAMPLE: &str = include_str!("../../tokenway.toml");

/// A small good file in four pieces, each of which a test may extend.
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
fn every_problem_of_an_upstream_names_its_key_and_the_mend() {
    for (upstream, key, words) in [
        ("api_key = \"sk-canary\"", "upstreams[0].api_key", "secrets never stand in the file; use api_key_env"),
        ("api_key_env = \"sk-canary\"", "upstreams[0].api_key_env", "never the key itself"),
        ("api_key_env = \"skcanary\"", "upstreams[0].api_key_env", "the variable that it names is not set"),
        ("api_key_env = \"GLOBAL_API_KEY\"", "upstreams[0].api_key_env", "the variable GLOBAL_API_KEY is not set"),
        ("api_key_env = \"EMPTY\"", "upstreams[0].api_key_env", "the variable EMPTY is empty"),
        ("api_key_env = \"TWO_WORDS\"", "upstreams[0].api_key_env", "no `Bearer`"),
        ("api_key_file = \"sk-canary\"", "upstreams[0].api_key_file", "cannot be read"),
        ("api_key_env = \"KEY\"\napi_key_file = \"k\"", "upstreams[0].api_key_file", "keep one of the two"),
        ("api_key_env = \"KEY\"\nbase_url = \"http://up.example\"", "upstreams[0].base_url", "clear text; write https"),
        ("base_url = \"https://u:canary@up.example\"", "upstreams[0].base_url", "holds credentials"),
        ("base_url = \"https://up.example?k=canary\"", "upstreams[0].base_url", "has a query"),
        ("base_url = 5", "upstreams[0].base_url", "must be a string"),
        ("ca_file = \"none.pem\"", "upstreams[0].ca_file", "cannot be read"),
        ("ca_file = \"a.pem\"\nbase_url = \"http://[::1]\"", "upstreams[0].ca_file", "is not used"),
        ("connect_timeout = \"0s\"", "upstreams[0].connect_timeout", "out of range"),
        ("keep_alive = true", "upstreams[0].keep_alive", "must be a string, not true or false"),
        ("keepalive = \"1s\"", "upstreams[0].keepalive", "write `keep_alive`"),
    ] {
        assert_problem(&Pieces { upstream, ..Pieces::default() }, key, words);
    }
}

#[test]
fn every_problem_of_a_model_names_its_key_and_the_mend() {
    for (model, key, words) in [
        ("input_price = 1.0", "models[0].output_price", "both prices, or neither"),
        ("output_price = 1.0", "models[0].input_price", "both prices, or neither"),
        ("input_price = -1.0\noutput_price = 1", "models[0].input_price", "is not a price"),
        ("input_price = 1e3\noutput_price = 1", "models[0].input_price", "is not a price"),
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
        ("[routing]\ndefault = \"x\"", "routing.default", "no model has the name `x`; write `m`"),
        ("[routing.auto]\neasy = \"m\"", "routing.auto", "this version has no [routing.auto]; remove"),
        ("[access]\naccept = [\"key\"]", "access", "this version has no [access]; remove"),
        ("[limits]", "limits", "this version has no [limits]"),
        ("[cache]", "cache", "this version has no [cache]"),
        ("[redis]", "redis", "this version has no [redis]"),
        ("[log]\nformat = \"xml\"", "log.format", "\"text\" or \"json\""),
        ("[logs]", "logs", "is no known section; write `log`"),
        ("[[log]]", "log", "must be a section, not a list"),
    ] {
        assert_problem(&Pieces { rest, ..Pieces::default() }, key, words);
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
fn a_damaged_file_is_told_by_line_and_never_shown() {
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
    warned("trusted_proxies = [\"0.0.0.0/0\"]", "", "server.trusted_proxies[0] is everybody");
    warned("", "base_url = \"http://10.0.0.1/v1\"", "upstreams[0].base_url is http to another machine");
    let closed = Pieces::default().parse().unwrap().warnings;
    assert_eq!(closed, ["cors.origins is empty: every cross-origin page is refused"]);
}

/// A directory with a good local certificate, and a key file.
fn with_files() -> Scratch {
    let dir = Scratch::new();
    local_ca::ensure(dir.path(), SystemTime::now()).unwrap();
    fs::write(dir.path().join("key"), "sk-canary\n").unwrap();
    dir
}

const WITH_FILES: &str = "
[server]
certificate = \"localhost.pem\"
private_key = \"localhost.key\"
[[upstreams]]
name = \"up\"
base_url = \"https://up.example\"
api_key_file = \"key\"
ca_file = \"ca.pem\"
[[models]]
name = \"m\"
upstream = \"up\"
";

#[test]
fn files_are_found_beside_the_configuration() {
    let dir = with_files();
    fs::write(dir.path().join("tokenway.toml"), WITH_FILES).unwrap();
    let config = Config::load(&dir.path().join("tokenway.toml"), &|_| None).unwrap();
    assert_eq!(config.server.identity.as_ref().unwrap().chain.len(), 1);
    assert_eq!(config.server.hosts.names, ["localhost"]);
    assert_eq!(config.server.hosts.addresses.len(), 2);
    assert_eq!(config.upstreams[0].api_key.as_ref().unwrap().expose(), "sk-canary");
    assert_eq!(config.upstreams[0].roots.as_ref().unwrap().len(), 1);
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn files_that_everybody_can_read_and_names_that_the_certificate_lacks_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let dir = with_files();
    for (file, mode) in [("key", 0o644), ("localhost.key", 0o644)] {
        fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let text = WITH_FILES.replace("[server]", "[server]\nhosts = [\"localhost\", \"api.example\"]");
    let warnings = Config::parse(&text, dir.path(), &|_| None).unwrap().warnings.join("\n");
    assert!(warnings.contains("server.private_key names a file that every user"), "{warnings}");
    assert!(warnings.contains("upstreams[0].api_key_file names a file that every user"), "{warnings}");
    assert!(warnings.contains("server.hosts[1] names api.example, which the certificate does not"), "{warnings}");
    assert!(!warnings.contains("canary"));
}

#[test]
fn bad_files_are_all_reported_at_once() {
    let dir = with_files();
    fs::copy(dir.path().join("key"), dir.path().join("localhost.key")).unwrap();
    fs::copy(dir.path().join("localhost.pem"), dir.path().join("key")).unwrap();
    fs::write(dir.path().join("ca.pem"), "canary").unwrap();
    let problems = Config::parse(WITH_FILES, dir.path(), &|_| None).unwrap_err();
    let keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["server.private_key", "upstreams[0].api_key_file", "upstreams[0].ca_file"], "{problems}");
    assert!(!problems.to_string().contains("canary") && !problems.to_string().contains("-----"));
}

#[test]
fn a_file_without_end_is_not_read_to_the_end() {
    let text = WITH_FILES.replace("\"ca.pem\"", "\"/dev/zero\"");
    let problems = Config::parse(&text, with_files().path(), &|_| None).unwrap_err();
    assert!(problems.to_string().contains("larger than 4 MiB"), "{problems}");
}

#[test]
fn the_example_is_good_and_says_what_the_reference_table_says() {
    let dir = Scratch::new();
    local_ca::ensure(&dir.path().join("certs"), SystemTime::now()).unwrap();
    let env = |name: &str| (name == "GLOBAL_API_KEY").then(|| "sk-canary".to_owned());
    let config = Config::parse(EXAMPLE, dir.path(), &env).unwrap();
    assert_eq!(config.warnings, ["cors.origins is empty: every cross-origin page is refused"]);
    let table = config.models.models().iter().map(|model| {
        let price = |price: Option<crate::route::price::Price>| price.unwrap().to_string();
        let numbers = (price(model.input_price), price(model.output_price), model.context.unwrap());
        format!("{} {} {} {}", model.name, numbers.0, numbers.1, numbers.2)
    });
    assert_eq!(
        table.collect::<Vec<_>>(),
        [
            "deepseek-v4-flash 0.27 1.10 128000",
            "deepseek-v4-pro 0.55 2.20 200000",
            "qwen3-32b 0.30 1.20 32000",
            "glm-4-plus 0.20 0.80 128000",
            "gpt-4o 2.50 10.00 128000",
        ]
    );
    assert_eq!(config.upstreams[0].base.to_string(), "https://global-apis.com/v1");
    assert!(!format!("{config:?}").contains("canary"));
}

/// The lines of the example that must be written; everything else there is a default.
const NO_DEFAULT: [&str; 9] =
    ["name", "base_url", "api_key_env", "upstream", "input_price", "output_price", "context", "default", "[routing]"];

#[test]
fn every_value_of_the_example_that_has_a_default_is_that_default() {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let must = |line: &&str| line.starts_with("[[") || NO_DEFAULT.contains(&key(line).as_str());
    let short: Vec<&str> = EXAMPLE.lines().filter(must).collect();
    let mut problems = Problems::default();
    let (long, short) = (Raw::parse(EXAMPLE, &mut problems), Raw::parse(&short.join("\n"), &mut problems));
    assert_eq!(problems, Problems::default());
    assert_eq!(long, short);
}

/// The reader tells its own keys: it lists them where a key is unknown.
#[test]
fn the_example_holds_every_key_that_there_is() {
    let unknown = Pieces {
        server: "ZZZZ = 1",
        upstream: "ZZZZ = 1",
        model: "ZZZZ = 1",
        rest: "[cors]\nZZZZ = 1\n[stream]\nZZZZ = 1\n[routing]\nZZZZ = 1\n[log]\nZZZZ = 1\n",
    };
    let problems = unknown.parse().unwrap_err().0;
    assert_eq!(problems.len(), 7);
    for problem in problems {
        for key in problem.mend.split_once("here are ").unwrap().1.split(", ") {
            let written = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(EXAMPLE.lines().any(written), "{key}");
        }
    }
}

#[test]
fn durations_and_switches_arrive_as_they_are_meant() {
    let config = Pieces { rest: "[stream]\nheartbeat = \"0s\"\n[log]\nformat = \"json\"", ..Pieces::default() };
    let config = config.parse().unwrap();
    assert_eq!(config.stream.heartbeat, None);
    assert_eq!(config.stream.commit_after, Duration::from_secs(20));
    assert!(config.log.json && config.server.hosts.any && config.server.identity.is_none());
}

/// Mistakes that have nothing to do with each other: the piece of the file, the line, the key.
const PLANTED: [(usize, &str, &str); 12] = [
    (0, "workers = -1", "server.workers"),
    (0, "max_body = \"4MB\"", "server.max_body"),
    (0, "hosts = [\"*\"]", "server.hosts[0]"),
    (0, "drian = \"1s\"", "server.drian"),
    (1, "api_key = \"sk-canary\"", "upstreams[0].api_key"),
    (1, "ca_file = \"none.pem\"", "upstreams[0].ca_file"),
    (1, "keep_alive = 5", "upstreams[0].keep_alive"),
    (2, "context = 0", "models[0].context"),
    (2, "fallback = [\"m\"]", "models[0].fallback[0]"),
    (3, "[access]", "access"),
    (3, "[log]\nformat = 1", "log.format"),
    (3, "[routing]\ndefault = \"sonnet\"", "routing.default"),
];

fn any_value() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[a-z0-9./:-]{0,12}", "[0-9]{1,3}(ms|s|h|MiB|B)"].prop_map(|text| format!("\"{text}\""));
    let scalar =
        prop_oneof![text, any::<i64>().prop_map(|n| n.to_string()), "[0-9]\\.[0-9]{1,8}", "true|1979-05-27|nan|\\[\\]"];
    prop_oneof![3 => scalar.clone(), 1 => scalar.prop_map(|value| format!("[{value}, {{ a = {value} }}]"))]
}

proptest! {
    #[test]
    fn as_many_problems_are_reported_as_mistakes_are_planted(chosen in proptest::sample::subsequence(PLANTED.to_vec(), 0..=PLANTED.len())) {
        let piece = |n| chosen.iter().filter(|(p, ..)| *p == n).map(|(_, line, _)| *line).collect::<Vec<_>>().join("\n");
        let (server, upstream, model, rest) = (piece(0), piece(1), piece(2), piece(3));
        let problems = match (Pieces { server: &server, upstream: &upstream, model: &model, rest: &rest }).parse() {
            Ok(_) => Problems::default(),
            Err(problems) => problems,
        };
        let mut keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
        let mut planted: Vec<_> = chosen.iter().map(|(.., key)| *key).collect();
        keys.sort_unstable();
        planted.sort_unstable();
        prop_assert_eq!(keys, planted);
        prop_assert!(!problems.to_string().contains("canary"));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|([a-z\\[\\]=\"#.\\n ]{0,12}\\n){0,6}") {
        let _read_or_refused = parse(&text).map(|_| ());
    }

    #[test]
    fn any_value_under_any_key_is_read_or_refused_at_that_key(
        line in proptest::sample::select(EXAMPLE.lines().filter(|line| line.contains(" = ") && !line.contains("plaintext")).collect::<Vec<_>>()),
        value in any_value(),
    ) {
        let key = line.trim_start_matches("# ").split(" = ").next().unwrap();
        let changed = EXAMPLE.replacen(line, &format!("{key} = {value}"), 1);
        prop_assume!(changed != EXAMPLE);
        let mut problems = Problems::default();
        let read = Raw::parse(&changed, &mut problems);
        prop_assert!(read.is_some() || problems.0.iter().all(|p| p.reason.contains("TOML")));
        for problem in &problems.0 {
            let named = problem.key.contains(key) || problem.reason.contains("TOML");
            prop_assert!(named && !problem.mend.is_empty() && !problem.to_string().contains('\n'), "{}", problem);
        }
    }
}

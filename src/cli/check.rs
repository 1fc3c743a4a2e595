//! `tokenway check`: everything that is wrong with a configuration file, before anything listens.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::probe;
use crate::config::{Config, Env, Problems};
use crate::route::auto::AUTO;
use crate::route::table::Model;

/// Wrong usage or configuration (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: u8 = 64;

/// Checks a configuration file and tells everything that is wrong with it at once.
///
/// Nothing listens, and without --live nothing is sent. Certificates, keys and variables that the file names are read and
/// checked, and never shown. The summary goes to stdout, problems to stderr. Exit status: 0 good, 64 problems, 1 if a
/// model does not answer.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  GLOBAL_API_KEY=… tokenway check --config tokenway.toml --live")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Write one JSON object to stdout instead of text
    #[arg(long)]
    pub json: bool,
    /// Then ask each model to say hello: does its key work, does it stream, how soon? This costs some tokens
    #[arg(long)]
    pub live: bool,
}

/// Runs the command with this process's environment and streams.
pub fn run(args: &Args) -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let checked = check(args, &env, &mut io::stdout().lock(), &mut io::stderr().lock());
    match checked {
        Ok(None) => ExitCode::from(EXIT_USAGE),
        Ok(Some(config)) if args.live => probe::run(config, args.json),
        Ok(Some(_)) => ExitCode::SUCCESS,
        // Nobody reads the answer any more; there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes the result and returns the configuration if it is good.
fn check(args: &Args, env: Env<'_>, out: &mut impl Write, err: &mut impl Write) -> io::Result<Option<Config>> {
    let loaded = Config::load(&args.config, env);
    if let Err(problems) = &loaded {
        for problem in &problems.0 {
            writeln!(err, "{}: {problem}", args.config.display())?;
        }
    }
    match &loaded {
        Ok(config) if args.json => writeln!(out, "{}", summary(config))?,
        Ok(config) => write_text(config, out)?,
        Err(problems) if args.json => writeln!(out, "{}", refusal(problems))?,
        Err(_) => {}
    }
    Ok(loaded.ok())
}

fn write_text(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let server = &config.server;
    let transport = if server.identity.is_some() { "TLS" } else { "plaintext" };
    writeln!(out, "ok")?;
    writeln!(out, "listen    {} ({transport}), for {}", server.listen, hosts(config).join(", "))?;
    writeln!(out, "admin     {}", server.admin)?;
    for upstream in &config.upstreams {
        let key = if upstream.api_key.is_some() { "with a key" } else { "without a key" };
        writeln!(out, "upstream  {}: {}, {key}", upstream.name, upstream.base)?;
    }
    let default = config.models.find(None);
    for (i, model) in config.models.models().iter().enumerate() {
        let default = if default.is_some_and(|id| id.0 == i) { ", default" } else { "" };
        let upstream = &config.upstreams[model.upstream.0].name;
        writeln!(out, "model     {}: {upstream}, {}{default}", model.name, price(model))?;
    }
    if let Some(auto) = &config.auto {
        let name = |id| config.models.get(id).name.as_str();
        let by = auto.asks().map_or("the rules", |classifier| name(classifier.model));
        let default = if auto.is_default { ", default" } else { "" };
        writeln!(out, "auto      {} or {}, decided by {by}{default}", name(auto.easy), name(auto.hard))?;
    }
    for origin in config.cors.origins() {
        writeln!(out, "origin    {origin}")?;
    }
    match &accepted(config)[..] {
        [] => writeln!(out, "access    open: no credentials are asked for")?,
        kinds => writeln!(out, "access    {}", kinds.join(", "))?,
    }
    for warning in &config.warnings {
        writeln!(out, "warning   {warning}")?;
    }
    Ok(())
}

fn price(model: &Model) -> String {
    match (model.input_price, model.output_price) {
        (Some(input), Some(output)) => format!("${input} in, ${output} out per million tokens"),
        _ => "no price".to_owned(),
    }
}

/// What a request means that names no model.
fn default_model(config: &Config) -> Option<&str> {
    match &config.auto {
        Some(auto) if auto.is_default => Some(AUTO),
        _ => config.models.find(None).map(|id| config.models.get(id).name.as_str()),
    }
}

/// The kinds of credentials that are taken.
fn accepted(config: &Config) -> Vec<&'static str> {
    let accept = config.access.accept;
    let kinds = [("key", accept.key), ("token", accept.token), ("session", accept.session)];
    kinds.into_iter().filter(|(_, taken)| *taken).map(|(kind, _)| kind).collect()
}

fn hosts(config: &Config) -> Vec<String> {
    let hosts = &config.server.hosts;
    if hosts.any {
        return vec!["any host".to_owned()];
    }
    hosts.names.iter().cloned().chain(hosts.addresses.iter().map(ToString::to_string)).collect()
}

fn summary(config: &Config) -> Value {
    let (server, hosts) = (&config.server, &config.server.hosts);
    let upstreams = config.upstreams.iter().map(|upstream| {
        json!({ "name": upstream.name, "base_url": upstream.base.to_string(), "key": upstream.api_key.is_some() })
    });
    let models = config.models.models().iter().map(|model| {
        json!({
            "name": model.name,
            "upstream": config.upstreams[model.upstream.0].name,
            "upstream_model": model.upstream_model,
            "input_price": model.input_price.map(|price| price.to_string()),
            "output_price": model.output_price.map(|price| price.to_string()),
            "context": model.context,
        })
    });
    json!({
        "ok": true,
        "listen": server.listen,
        "admin": server.admin,
        "tls": server.identity.is_some(),
        "hosts": if hosts.any { Value::Null } else { self::hosts(config).into() },
        "upstreams": upstreams.collect::<Value>(),
        "models": models.collect::<Value>(),
        "default_model": default_model(config),
        "auto": config.auto.as_ref().map(|auto| {
            let name = |id| config.models.get(id).name.as_str();
            json!({ "easy": name(auto.easy), "hard": name(auto.hard), "classifier": auto.asks().map(|asked| name(asked.model)) })
        }),
        "origins": config.cors.origins(),
        "access": accepted(config),
        "warnings": config.warnings,
    })
}

fn refusal(problems: &Problems) -> Value {
    let problems = problems.0.iter().map(
        |problem| json!({ "key": problem.key, "line": problem.line, "reason": problem.reason, "mend": problem.mend }),
    );
    json!({ "ok": false, "problems": problems.collect::<Value>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scratch::Scratch;

    const GOOD: &str = "[server]\nplaintext = true\n[cors]\norigins = [\"https://app.example.com\"]\n\
        [[upstreams]]\nname = \"up\"\nbase_url = \"https://up.example/v1\"\napi_key_env = \"KEY\"\n\
        [[models]]\nname = \"m\"\nupstream = \"up\"\ninput_price = 0.5\noutput_price = 1\n[routing]\ndefault = \"m\"\n";

    /// Exit status, stdout and stderr for a file with this text.
    fn checked(text: &str, json: bool) -> (u8, String, String) {
        let dir = Scratch::new();
        let args = Args { config: dir.path().join("tokenway.toml"), json, live: false };
        std::fs::write(&args.config, text).unwrap();
        let env = |name: &str| (name == "KEY").then(|| "sk-canary".to_owned());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = check(&args, &env, &mut out, &mut err).unwrap().is_some();
        let status = if good { 0 } else { EXIT_USAGE };
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        assert!(!out.contains("canary") && !err.contains("canary"));
        (status, out, err)
    }

    #[test]
    fn a_good_file_is_summed_up_on_stdout() {
        let (status, out, err) = checked(GOOD, false);
        assert_eq!((status, err.as_str()), (0, ""));
        assert_eq!(
            out,
            "ok\n\
             listen    127.0.0.1:8443 (plaintext), for any host\n\
             admin     127.0.0.1:9443\n\
             upstream  up: https://up.example/v1, with a key\n\
             model     m: up, $0.50 in, $1.00 out per million tokens, default\n\
             origin    https://app.example.com\n\
             access    open: no credentials are asked for\n"
        );
    }

    #[test]
    fn what_auto_means_is_shown() {
        let second = "[[models]]\nname = \"n\"\nupstream = \"up\"\n[routing.auto]\neasy = \"m\"\nhard = \"n\"\n";
        let good = GOOD.replace("default = \"m\"", "default = \"auto\"") + second;
        let (_, out, err) = checked(&format!("{good}classifier = \"m\""), false);
        assert!(out.contains("auto      m or n, decided by m, default\n"), "{out}{err}");
        let (_, out, _) = checked(&format!("{good}mode = \"rules\""), false);
        assert!(out.contains("auto      m or n, decided by the rules, default\n"), "{out}");
        let (_, out, _) = checked(&format!("{good}classifier = \"m\""), true);
        let summary: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(summary["default_model"], "auto");
        assert_eq!(summary["auto"], json!({ "easy": "m", "hard": "n", "classifier": "m" }));
    }

    #[test]
    fn warnings_are_shown_and_are_no_failure() {
        let (status, out, _) = checked(&GOOD.replace("\"https://app.example.com\"", ""), false);
        assert_eq!(status, 0);
        assert!(out.ends_with("warning   cors.origins is empty: every cross-origin page is refused\n"), "{out}");
    }

    #[test]
    fn problems_go_to_stderr_one_a_line_with_status_64() {
        let (status, out, err) = checked(&GOOD.replace("plaintext = true", "plaintext = 1\nhost = []"), false);
        assert_eq!((status, out.as_str()), (EXIT_USAGE, ""));
        let lines: Vec<&str> = err.lines().collect();
        assert!(lines.iter().any(|line| line.contains("tokenway.toml: line 2: server.plaintext: must be")), "{err}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("tokenway.toml: line 3: server.host: is no known key; write `hosts`")),
            "{err}"
        );
    }

    #[test]
    fn json_is_one_object_for_good_and_bad() {
        let good: Value = serde_json::from_str(&checked(GOOD, true).1).unwrap();
        assert_eq!(good["ok"], true);
        assert_eq!(good["upstreams"][0], json!({ "name": "up", "base_url": "https://up.example/v1", "key": true }));
        assert_eq!(good["access"], json!([]));
        assert_eq!((&good["default_model"], &good["origins"][0]), (&json!("m"), &json!("https://app.example.com")));
        let (status, out, _) = checked(&GOOD.replace("[routing]", "[rooting]"), true);
        let bad: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((status, &bad["ok"]), (EXIT_USAGE, &json!(false)));
        assert_eq!(
            (&bad["problems"][0]["key"], &bad["problems"][0]["mend"]),
            (&json!("rooting"), &json!("write `routing`"))
        );
    }

    #[test]
    fn help_shows_an_example() {
        let mut command = <Args as ClapArgs>::augment_args(clap::Command::new("check"));
        assert!(command.render_long_help().to_string().contains("tokenway check --config tokenway.toml"));
    }
}

//! `tokenway check`: everything that is wrong with a configuration file, before anything listens; and what a good one means.

mod json;
mod live;
mod text;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::failure::Failure;
use crate::config::{Config, Env, HedgeAfter};
use crate::report::format::plural;
use crate::route::auto::{AUTO, Auto, Mode};
use crate::route::table::ModelId;

/// Checks a configuration file and tells everything that is wrong with it at once.
///
/// Nothing listens, and without --live nothing is sent. Certificates, keys and variables that the file names are read and
/// checked, and never shown. What the file means goes to stdout, problems to stderr. Exit status: 0 good, 64 problems, 1 if a
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
    match check(args, &env, &mut io::stdout(), &mut io::stderr()) {
        Ok(status) => status.into(),
        // Nobody reads the answer any more; there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes the result and returns the exit status.
fn check(args: &Args, env: Env<'_>, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let config = match Config::load(&args.config, env) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems.0 {
                writeln!(err, "{}: {problem}", args.config.display())?;
            }
            let count = plural(problems.0.len() as u64, "problem", "problems");
            let failure = Failure::usage(format!("{}: {count}", args.config.display()));
            if args.json {
                writeln!(out, "{}", json::refusal(&problems, &failure))?;
            }
            return Ok(failure.status());
        }
    };
    let mut summary = json::summary(&config);
    if !args.json {
        write!(out, "{}", text::summary(&config))?;
        out.flush()?;
    }
    let mut failure = None;
    if args.live {
        let mut answers = Vec::new();
        let asked = live::ask_all(&config, |answer| {
            if !args.json {
                writeln!(out, "live      {answer}")?;
            }
            answers.push(answer.as_json());
            Ok(())
        });
        failure = asked.err();
        summary["live"] = answers.into();
    }
    if let Some(failure) = &failure {
        writeln!(err, "tokenway: {failure}")?;
        summary["ok"] = false.into();
        summary["error"] = failure.as_json();
    }
    if args.json {
        writeln!(out, "{summary}")?;
    }
    Ok(failure.map_or(0, |failure| failure.status()))
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

/// The names that are served; `None` where any is.
fn hosts(config: &Config) -> Option<Vec<String>> {
    let hosts = &config.server.hosts;
    let named = || hosts.names.iter().cloned().chain(hosts.addresses.iter().map(ToString::to_string)).collect();
    (!hosts.any).then(named)
}

/// The models that have a fallback, and which others are asked for them, in this order.
fn fallbacks(config: &Config) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let models = &config.models;
    let name = |id: ModelId| models.get(id).name.as_str();
    let order = move |first: usize| models.candidates(ModelId(first), 0, |_| true).into_iter().map(name);
    let orders = (0..models.models().len()).map(move |first| order(first).collect::<Vec<_>>());
    orders.filter_map(|order| match &order[..] {
        [first, next @ ..] if !next.is_empty() => Some((*first, next.to_vec())),
        _ => None,
    })
}

fn hedge(config: &Config) -> Option<HedgeAfter> {
    config.fallback.hedge.as_ref().map(|hedge| hedge.after)
}

/// As `routing.auto.mode` writes it.
fn mode(auto: &Auto) -> &'static str {
    match auto.mode {
        Mode::Speculative => "speculative",
        Mode::First => "first",
        Mode::Rules => "rules",
    }
}

/// As `redis.url` writes it, whose credentials stand elsewhere.
fn redis_url(config: &Config) -> Option<String> {
    let redis = config.redis.as_ref()?;
    let scheme = match (redis.tls, redis.cluster) {
        (false, false) => "redis",
        (true, false) => "rediss",
        (false, true) => "redis-cluster",
        (true, true) => "rediss-cluster",
    };
    let host = if redis.host.contains(':') { format!("[{}]", redis.host) } else { redis.host.clone() };
    let database = if redis.cluster { String::new() } else { format!("/{}", redis.database) };
    Some(format!("{scheme}://{host}:{}{database}", redis.port))
}

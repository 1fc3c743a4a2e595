//! `tokenway check`: reports everything that is wrong with a configuration file, without starting a listener, or its
//! summary.

mod json;
mod live;
mod quirks;
mod text;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::failure::Failure;
use bench::report::format::plural;
use settings::{Env, Problems};
use tokenway::config::{Config, schema};
use tokenway::failover::settings::HedgeAfter;
use tokenway::models::ModelId;
use tokenway::models::names::AUTO;
use tokenway::routing::auto::{Auto, Mode};

/// Checks a configuration file and reports everything that is wrong with it at once.
///
/// No listener is started, and without --live no request is sent. Certificates, keys and variables that the file names are
/// read and checked, and never shown. The summary goes to stdout, problems to stderr. Exit status: 0 good, 64 problems, 1 if
/// a model does not answer.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  tokenway check --config tokenway.toml
  GLOBAL_API_KEY=… tokenway check --config tokenway.toml --live
  tokenway check --schema > tokenway.schema.json")]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "schema")]
    pub config: Option<PathBuf>,
    /// Print the JSON Schema of the configuration file and exit
    #[arg(long, conflicts_with_all = ["config", "live"])]
    pub schema: bool,
    /// Write one JSON object to stdout instead of text
    #[arg(long)]
    pub json: bool,
    /// Then send a short request to each model: does its key work, does it stream, how fast, what is special about it? Asks for 16 tokens each
    #[arg(long)]
    pub live: bool,
}

/// Runs the command with this process's environment and streams.
pub(crate) fn run(args: &Args) -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    match check(args, &env, &mut io::stdout(), &mut io::stderr()) {
        Ok(status) => status.into(),
        // stdout is closed: no reader is left to report that to
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes the result and returns the exit status.
fn check(args: &Args, env: Env<'_>, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let Some(file) = &args.config else {
        // for machines on one line, like all JSON documents
        return match args.json {
            true => writeln!(out, "{}", schema()),
            false => writeln!(out, "{:#}", schema()),
        }
        .map(|()| 0);
    };
    let failure = match Config::load(file, env) {
        Ok(config) if args.json => for_machines(&config, args.live, out, err)?,
        Ok(config) => for_people(&config, args.live, out)?,
        Err(problems) => return refuse(args, file, &problems, out, err),
    };
    let Some(failure) = failure else { return Ok(0) };
    writeln!(err, "tokenway: {failure}")?;
    Ok(failure.status())
}

/// Writes one line per problem, or for machines one document with all of them.
fn refuse(args: &Args, file: &Path, problems: &Problems, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    writeln!(err, "{}", problems.in_file(file))?;
    let failure =
        Failure::usage(format!("{}: {}", file.display(), plural(problems.0.len() as u64, "problem", "problems")));
    if args.json {
        writeln!(out, "{}", json::refusal(problems, &failure))?;
    }
    Ok(failure.status())
}

fn for_people(config: &Config, ask: bool, out: &mut impl Write) -> io::Result<Option<Failure>> {
    write!(out, "{}", text::summary(config))?;
    out.flush()?;
    if !ask {
        return Ok(None);
    }
    let report = |progress: live::Progress<'_>| match progress {
        // the beginning of the line, while the model works
        live::Progress::Asking(model, upstream) => {
            write!(out, "live      {model}: {upstream} ")?;
            out.flush()
        }
        live::Progress::Answered(answer) => {
            writeln!(out, "{answer}")?;
            answer.quirks().try_for_each(|quirk| writeln!(out, "quirk     {quirk}"))
        }
    };
    Ok(live::ask_all(config, report).err())
}

fn for_machines(config: &Config, ask: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<Option<Failure>> {
    let mut summary = json::summary(config);
    let mut failure = None;
    if ask {
        let mut answers = Vec::new();
        let report = |progress: live::Progress<'_>| {
            match progress {
                live::Progress::Asking(model, upstream) => {
                    // stdout is for the document alone, and a closed stderr is no reason to stop
                    let _ = writeln!(err, "tokenway: asking {model} at {upstream}");
                }
                live::Progress::Answered(answer) => answers.push(answer.as_json()),
            }
            Ok(())
        };
        failure = live::ask_all(config, report).err();
        summary["live"] = answers.into();
    }
    if let Some(failure) = &failure {
        summary["ok"] = false.into();
        summary["error"] = failure.as_json();
    }
    writeln!(out, "{summary}")?;
    Ok(failure)
}

/// Returns the model of requests that name none.
fn default_model(config: &Config) -> Option<&str> {
    match &config.auto {
        Some(auto) if auto.is_default => Some(AUTO),
        _ => config.models.find(None).map(|id| config.models.get(id).name.as_str()),
    }
}

/// Returns the kinds of credentials that are accepted.
fn accepted(config: &Config) -> Vec<&'static str> {
    let accept = config.access.accept;
    let kinds = [("key", accept.key), ("token", accept.token), ("session", accept.session)];
    kinds.into_iter().filter(|(_, taken)| *taken).map(|(kind, _)| kind).collect()
}

/// Returns the names that are served, or `None` if any name is.
fn hosts(config: &Config) -> Option<Vec<String>> {
    let hosts = &config.server.hosts;
    let named = || hosts.names.iter().cloned().chain(hosts.addresses.iter().map(ToString::to_string)).collect();
    (!hosts.any).then(named)
}

/// Returns the models that have a fallback, each with its fallback models in order.
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

/// Returns the mode as `routing.auto.mode` writes it.
fn mode(auto: &Auto) -> &'static str {
    match auto.mode {
        Mode::Speculative => "speculative",
        Mode::First => "first",
        Mode::Rules => "rules",
    }
}

/// Returns the URL as `redis.url` writes it, without credentials.
fn redis_url(config: &Config) -> Option<String> {
    let redis = config.redis.as_ref()?;
    let scheme = match (redis.tls, redis.cluster) {
        (false, false) => "redis",
        (true, false) => "rediss",
        (false, true) => "redis-cluster",
        (true, true) => "rediss-cluster",
    };
    let database = if redis.cluster { String::new() } else { format!("/{}", redis.database) };
    Some(format!("{scheme}://{}{database}", redis.place()))
}

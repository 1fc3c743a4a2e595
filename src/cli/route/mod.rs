//! `tokenway route`: how the model name `auto` is decided, and how accurately.

mod asking;
mod labelled;
mod matrix;
mod report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::failure::Failure;
use families::excerpt::Excerpt;
use families::prompt::Prompt;
use tokenway::config::Config;
use tokenway::routing::rules::Rules;

use report::Judge;

/// Shows how requests to the model `auto` are classified as easy or hard, and measures the accuracy.
///
/// Exit status: 0 good, 1 the classifier gave no verdict at all, 64 a wrong configuration.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  # the built-in rules on 260 labelled prompts
  tokenway route eval

  # your keywords, and the classifier that is configured there
  tokenway route eval --config tokenway.toml

  tokenway route explain 'Prove that there are infinitely many primes.'")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// A configuration with [routing.auto]: its keywords and its classifier
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write one JSON object to stdout instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Classifies the labelled prompts and prints the confusion matrix: of the rules, and of the classifier if there is one.
    /// The classifier is really asked, with about 600 tokens per prompt
    #[command(after_help = "\
Examples:
  tokenway route eval --wrong
  tokenway route eval --config tokenway.toml --json")]
    Eval {
        /// List the prompts with wrong verdicts
        #[arg(long)]
        wrong: bool,
    },
    /// Shows the verdict of the rules on a text, and the reasons
    #[command(after_help = "\
Example:
  tokenway route explain 'Prove that there are infinitely many primes.'")]
    Explain {
        /// The user's last message
        text: String,
    },
}

/// Runs the command with this process's environment and streams.
pub(crate) async fn run(args: Args) -> ExitCode {
    let config = match args.config.as_deref().map(load).transpose() {
        Ok(config) => config,
        Err(reason) => return Failure::usage(reason).report("", args.json),
    };
    let rules =
        config.as_ref().and_then(|config| config.auto.as_ref()).map(|auto| auto.rules.clone()).unwrap_or_default();
    let done = match &args.command {
        Command::Eval { wrong } => evaluate(config.as_ref(), &rules, *wrong, args.json).await,
        Command::Explain { text } => explain(&rules, text, args.json, &mut io::stdout().lock()).map(|()| None),
    };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        // the document contains it
        Ok(Some(failure)) => failure.report("", false),
        Err(error) => Failure::failed(error.to_string()).report("", args.json),
    }
}

fn load(path: &Path) -> Result<Config, String> {
    let config = Config::load(path, &|name| std::env::var(name).ok()).map_err(|problems| problems.in_file(path))?;
    match config.auto {
        Some(_) => Ok(config),
        None => Err(format!("{}: has no [routing.auto]; add it, or leave out --config", path.display())),
    }
}

/// Writes the evaluation. Returns a failure if a classifier was asked and never gave a verdict.
async fn evaluate(config: Option<&Config>, rules: &Rules, wrong: bool, as_json: bool) -> io::Result<Option<Failure>> {
    let prompts = labelled::all().map_err(io::Error::other)?;
    let verdicts = prompts.iter().map(|prompt| Some(rules.decide(&prompt.prompt))).collect();
    let mut judges = vec![Judge::new("rules", verdicts)];
    let classifier = config.and_then(|config| Some((config, config.auto.as_ref()?.classifier?)));
    if let Some((config, classifier)) = classifier {
        eprintln!("asking {} about {} prompts", config.models.get(classifier.model).name, prompts.len());
        judges.extend(asking::judged(config, classifier, &prompts).await.map_err(io::Error::other)?);
    }
    let silent = judges.iter().find(|judge| judge.verdicts.iter().all(Option::is_none));
    let failure = silent.map(|judge| {
        Failure::failed(format!("{} gave no verdict at all; `tokenway check --live` shows how it answers", judge.name))
    });
    let mut out = io::stdout().lock();
    match as_json {
        true => writeln!(out, "{}", report::json(&prompts, &judges, failure.as_ref()))?,
        false => report::text(&prompts, &judges, wrong, &mut out)?,
    }
    Ok(failure)
}

fn explain(rules: &Rules, text: &str, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let prompt = Prompt { text: Excerpt::of(text, text.len(), 0), ..Prompt::default() };
    let seen = rules.explain(&prompt);
    let verdict = Rules::verdict(&seen);
    if as_json {
        let signs: Vec<_> =
            seen.iter().map(|seen| json!({ "sign": seen.sign.as_str(), "points": seen.points })).collect();
        return writeln!(out, "{}", json!({ "verdict": verdict.as_str(), "signs": signs }));
    }
    writeln!(out, "{verdict}")?;
    for seen in &seen {
        writeln!(out, "{:+}  {}", seen.points, seen.sign)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::matrix::Matrix;
    use super::*;
    use tokenway::routing::verdict::Verdict;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn its_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_explanation_gives_the_verdict_and_every_sign() {
        let explained = |text, as_json| {
            let mut out = Vec::new();
            explain(&Rules::default(), text, as_json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(explained("Prove the theorem for every n.", false), "hard\n+4  mathematics\n+1  depth\n");
        let json: serde_json::Value = serde_json::from_str(&explained("Hi!", true)).unwrap();
        assert_eq!(json["verdict"], "easy");
        assert_eq!(json["signs"][0], json!({ "sign": "plain task", "points": -4 }));
    }

    /// A lower bound, not a target: it fails when a change makes the rules worse.
    #[test]
    fn the_rules_are_right_where_they_were() {
        let prompts = labelled::all().unwrap();
        let right = |tuning: bool| {
            let half = prompts.iter().filter(|prompt| prompt.tuning == tuning);
            Matrix::of(half.map(|prompt| (prompt.label, Some(Rules::default().decide(&prompt.prompt))))).share_right()
        };
        assert!(right(true) >= 0.90, "tuning: {}", right(true));
        assert!(right(false) >= 0.75, "held out: {}", right(false));
        assert!(prompts.len() >= 200);
        for label in Verdict::BOTH {
            assert!(prompts.iter().filter(|prompt| prompt.label == label).count() >= 100);
        }
    }
}

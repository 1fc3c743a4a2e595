//! The command `tokenway`.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::failure::{self, Failure};
use cli::{bench, check, cost, demo_upstream, doctor, key, route, serve, token};

/// The edge gateway between browsers and LLM APIs.
///
/// Without a subcommand it serves; without a configuration it starts the development default: TLS on https://localhost:8443
/// with a local CA, a demo upstream, a playground on another origin.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  tokenway
  tokenway check --config tokenway.toml && tokenway --config tokenway.toml"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Serves (the default)
    Serve(serve::Args),
    /// Checks a configuration: reports every mistake at once, with its place and the fix
    Check(check::Args),
    /// Does what a browser would do with a request to any server, and explains why it is blocked
    Doctor(Box<doctor::Args>),
    /// Measures streamed completions of any server: first token, tokens a second, buffering
    Bench(Box<bench::Args>),
    /// Computes the monthly cost of a workload, from a price table or from log lines
    Cost(Box<cost::Args>),
    /// Manages gateway keys for servers and scripts: new, list, revoke
    Key(key::Args),
    /// Makes tokens for pages: mint
    Token(token::Args),
    /// Shows how the model name auto is decided: eval, explain
    Route(route::Args),
    /// Starts an OpenAI-compatible server that needs no key and no model, with faults on demand
    DemoUpstream(demo_upstream::Args),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // --help and --version are not errors
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            let failure = Failure::of_arguments(&error);
            if json_is_wanted() {
                failure.print_json();
            }
            return failure.status().into();
        }
    };
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => block_on(doctor::run(*args)),
        Command::Bench(args) => bench::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Route(args) => block_on(route::run(args)),
        Command::DemoUpstream(args) => block_on(demo_upstream::run(args)),
    }
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            // a running name lookup cannot be interrupted, so the process does not wait for it
            runtime.shutdown_background();
            code
        }
        Err(error) => Failure::failed(format!("cannot start worker threads: {error}")).report("", json_is_wanted()),
    }
}

fn json_is_wanted() -> bool {
    failure::wants_json(&std::env::args_os().skip(1).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use ::doctor::pasted::words;
    use clap::CommandFactory;

    use super::*;

    /// The default width of a terminal.
    const WIDTH: usize = 80;

    /// Returns the help of this command and of all its subcommands, each with its words.
    fn helps(command: clap::Command, path: &str, all: &mut Vec<(String, String, String)>) {
        let written = command.get_after_long_help().or_else(|| command.get_after_help());
        let written = written.map(ToString::to_string).unwrap_or_default();
        let mut sized = command.clone().term_width(WIDTH).color(clap::ColorChoice::Never);
        // the examples are at the end of the help
        let shown = sized.render_long_help().to_string();
        let begin = shown.find(written.lines().next().unwrap_or("nothing"));
        all.push((path.to_owned(), written, begin.map(|begin| shown[begin..].to_owned()).unwrap_or_default()));
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            helps(below.clone(), &format!("{path} {}", below.get_name()), all);
        }
    }

    /// Returns the words of each `tokenway` command in these lines, as a shell splits them.
    fn commands(text: &str) -> Vec<Vec<String>> {
        let lines = text.replace("\\\n", " ");
        let lines = lines.lines().filter(|line| line.starts_with("  ") && !line.trim_start().starts_with('#'));
        let simple = lines.flat_map(|line| {
            let mut words = words::split(line).unwrap_or_default();
            let is_end = |word: &String| ["|", "&&", ">", "2>&1"].contains(&word.as_str());
            words.iter_mut().for_each(|word| {
                if is_end(word) {
                    "\n".clone_into(word)
                }
            });
            words.split(|word| word == "\n").map(<[String]>::to_vec).collect::<Vec<_>>()
        });
        let is_ours = |words: &[String]| words.iter().position(|word| word == "tokenway").filter(|place| *place < 2);
        simple.filter_map(|words| is_ours(&words).map(|place| words[place..].to_vec())).collect()
    }

    #[test]
    fn every_help_has_an_example_that_can_be_pasted_as_it_is_shown() {
        let mut all = Vec::new();
        helps(Arguments::command(), "tokenway", &mut all);
        assert!(all.len() >= 16, "{}", all.len());
        for (path, written, shown) in all {
            let own = commands(&shown).into_iter().filter(|words| words.join(" ").starts_with(&path)).count();
            assert!(own > 0, "{path} --help has no example");
            for words in commands(&shown) {
                if let Err(error) = Arguments::try_parse_from(&words) {
                    panic!("{path} --help: {words:?}: {error}");
                }
            }
            // a line that clap wraps would be another command
            assert_eq!(commands(&shown), commands(&written), "{path} --help");
            for line in written.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= WIDTH && shown.contains(line), "{path} --help is broken at: {line}");
            }
        }
    }
}

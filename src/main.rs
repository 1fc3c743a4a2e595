//! The command `tokenway`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokenway::cli::failure::{self, Failure};
use tokenway::cli::{bench, check, cost, demo_upstream, doctor, key, route, serve, token};

/// The edge gateway between browsers and LLM APIs.
///
/// Without a subcommand it serves; without a configuration it starts the development default: TLS on
/// https://localhost:8443 with a local CA, a demo upstream, a playground on another origin.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
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
    /// Checks a configuration: every mistake at once, with its place and the mend
    Check(check::Args),
    /// Does what a browser would do with a request to any server, and says why it is blocked
    Doctor(Box<doctor::Args>),
    /// Measures streamed completions of any server: first token, tokens a second, buffering
    Bench(Box<bench::Args>),
    /// Tells what a workload costs a month, foretold from prices or told from log lines
    Cost(Box<cost::Args>),
    /// Gateway keys for servers and scripts: new, list, revoke
    Key(key::Args),
    /// Tokens for pages: mint
    Token(token::Args),
    /// What decides for the model name auto: eval, explain
    Route(route::Args),
    /// Starts an OpenAI-compatible server that needs no key and no model, with faults on demand
    DemoUpstream(demo_upstream::Args),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // --help and --version are no errors
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            let failure = Failure::of_arguments(&error);
            if json_is_wanted() {
                failure.tell_machines();
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
            // a name that is being looked up cannot be interrupted: nobody waits for it
            runtime.shutdown_background();
            code
        }
        Err(error) => Failure::failed(format!("cannot start worker threads: {error}")).tell("", json_is_wanted()),
    }
}

fn json_is_wanted() -> bool {
    failure::wants_json(&std::env::args_os().skip(1).collect::<Vec<_>>())
}

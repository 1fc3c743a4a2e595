//! `tokenway bench`: measures streamed completions of any server.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use bench::command::{self, Options};

/// Measures streamed completions: time to first token, time between tokens, tokens a second; and whether something on the
/// way buffers.
///
/// Works with any server that offers OpenAI's chat completions. The table goes to stdout, progress and failures to stderr.
/// Exit status: 0 success, 1 if no stream was whole, 64 wrong usage.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// The prefix of messages on stderr.
const NAME: &str = "tokenway bench: ";

const EXAMPLES: &str = r#"Examples:

  A local server, ten users, a hundred streams
    tokenway bench http://127.0.0.1:8000/v1 --model gemma --max-tokens 64

  A provider, twenty streams a second for a minute, a page of results
    tokenway bench https://api.example.com/v1 --key-env API_KEY --model gpt-4o \
      --rate 20 --duration 60s --html bench.html

  What a gateway adds
    tokenway bench https://localhost:8443 --ca certs/ca.pem \
      --compare http://127.0.0.1:9000 --streams 500

  What a page of another origin gets, over HTTP/2
    tokenway bench https://llm.example.com \
      --origin https://app.example.com --http 2

  How exact the tool itself is on this machine
    tokenway bench --self-test"#;

/// Runs the command with this process's environment and streams.
pub(crate) fn run(args: &Args) -> ExitCode {
    // one thread: an event's time is taken where it is read, and no thread waits for a lock
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(measure(&args.options)),
        Err(error) => Failure::failed(format!("cannot start: {error}")).report(NAME, args.options.wants_json()),
    }
}

async fn measure(options: &Options) -> ExitCode {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    if options.self_test {
        return match command::self_test(stop).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(message) => Failure::failed(message).report(NAME, false),
        };
    }
    let env = |name: &str| std::env::var(name).ok();
    match command::run(options, &env, stop).await {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                // where stdout is for JSON, the document contains the failure
                Failure::failed(failure).report(NAME, false);
            }
            ExitCode::FAILURE
        }
        Err(mistake) => Failure::usage(mistake).report(NAME, options.wants_json()),
    }
}

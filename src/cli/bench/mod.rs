//! `tokenway bench`: measures streamed completions of any server.

mod args;
mod progress;
mod self_test;
mod setup;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

pub use args::Args;
use setup::Setup;

use super::check::EXIT_USAGE;

/// Runs the command with this process's environment and streams.
pub fn run(args: &Args) -> ExitCode {
    // one thread measures: a stream's event is read where its time is taken, and nothing waits for a lock
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(start(args)),
        Err(error) => {
            eprintln!("tokenway bench: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: &Args) -> ExitCode {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    if args.self_test {
        return self_test::run(stop).await;
    }
    let env = |name: &str| std::env::var(name).ok();
    match Setup::new(args, &env) {
        Ok(setup) => {
            let _ = setup.targets;
            let ended = setup
                .run
                .go(stop, |told| {
                    if let crate::load::run::Told::Ended(s) = told {
                        println!("{:?} {:?} {} {:?}", s.number, s.first_token(), s.output_tokens, s.outcome)
                    }
                })
                .await;
            println!("{ended:?}");
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprintln!("tokenway bench: {mistake}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

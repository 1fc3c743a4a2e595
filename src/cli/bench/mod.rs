//! `tokenway bench`: measures streamed completions of any server.

mod args;
mod output;
mod progress;
mod self_test;
mod setup;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

pub(crate) use args::Args;
use output::Output;
use progress::Progress;
use setup::Setup;

use super::failure::Failure;
use bench::load::run::Told;
use bench::report::document::Document;
use bench::report::totals::Totals;

/// Who speaks on stderr.
const NAME: &str = "tokenway bench: ";

/// Runs the command with this process's environment and streams.
pub(crate) fn run(args: &Args) -> ExitCode {
    // one thread measures: an event's time is taken where it is read, and nothing waits for a lock
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(start(args)),
        Err(error) => Failure::failed(format!("cannot start: {error}")).tell(NAME, args.wants_json()),
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
    let ready = Setup::new(args, &env).and_then(|setup| Ok((setup, Output::open(args, &env)?)));
    match ready {
        Ok((setup, output)) => measure(setup, output, stop).await,
        Err(mistake) => Failure::usage(mistake).tell(NAME, args.wants_json()),
    }
}

/// Runs, and writes what was found. Exit status 0 if anything came whole.
async fn measure(setup: Setup, output: Output, stop: CancellationToken) -> ExitCode {
    let Setup { run, mut setting } = setup;
    let mut progress = Progress::of(&run.plan);
    let mut totals = Totals::new(run.plan.targets, setting.goals);
    setting.began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ended = run.go(stop, |told| {
        progress.told(&told);
        if let Told::Ended(sample) = told {
            totals.add(&sample);
        }
    });
    let ended = ended.await;
    progress.finish();
    setting.elapsed = ended.elapsed;
    setting.interrupted = ended.interrupted;
    setting.cut = ended.cut;
    let document = totals.finish(&setting);
    let failure = (totals.whole() == 0).then(|| Failure::failed(why_none(&document)));
    let failures = output.write(&document, failure);
    for failure in &failures {
        // where stdout is for JSON, the document has it
        failure.tell(NAME, false);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why nothing came whole, in one line: the most frequent reason.
fn why_none(document: &Document) -> String {
    let failures = document.targets.iter().flat_map(|target| &target.failures);
    let truncated = document.targets.iter().find(|target| target.streams.truncated > 0);
    match (failures.max_by_key(|failure| failure.count), truncated) {
        (Some(failure), _) => failure.words.clone(),
        (None, Some(target)) => {
            format!("{}: every stream broke off before its end; look at the server's log", target.url)
        }
        (None, None) => "no stream came to its end before the run was stopped".to_owned(),
    }
}

//! The load test as a command: options, set-up, progress bar and output.

mod options;
mod output;
mod progress;
mod self_test;
mod setup;

use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

pub use options::{Http, Options};
pub use self_test::self_test;

use crate::load::run::RunEvent;
use crate::report::document::Document;
use crate::report::finish::seconds;
use crate::report::totals::Totals;
use output::Output;
use progress::Progress;
use settings::Env;
use setup::Setup;

/// Runs a load test until its limit or until `stop`, and writes its results to stdout and to the files of the options.
///
/// Returns what failed, one line each: no stream was whole, or a result could not be written. Where `--json -` is given, the
/// document contains the first failure. The caller's runtime should have one thread: then the time of an event is taken
/// where it is read.
///
/// # Errors
/// Wrong usage, in one line. Nothing was sent.
pub async fn run(options: &Options, env: Env<'_>, stop: CancellationToken) -> Result<Vec<String>, String> {
    let Setup { run, urls, goals, mut parameters } = Setup::new(options, env)?;
    let output = Output::open(options, env)?;
    let mut progress = Progress::of(&run.plan);
    let mut totals = Totals::new(run.plan.targets, goals);
    parameters.began_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let end = run.execute(stop, |event| {
        progress.update(&event);
        if let RunEvent::Ended(sample) = event {
            totals.add(&sample);
        }
    });
    let end = end.await;
    progress.finish();
    (parameters.seconds, parameters.interrupted, parameters.cut_streams) =
        (seconds(end.elapsed), end.interrupted, end.cut);
    let document = totals.finish(&urls, parameters);
    let failed = (totals.whole() == 0).then(|| why_none(&document));
    Ok(output.write(&document, failed))
}

/// The most frequent reason why no stream was whole, in one line.
fn why_none(document: &Document) -> String {
    let failures = document.targets.iter().flat_map(|target| &target.failures);
    let truncated = document.targets.iter().find(|target| target.streams.truncated > 0);
    match (failures.max_by_key(|failure| failure.count), truncated) {
        (Some(failure), _) => failure.words.clone(),
        (None, Some(target)) => {
            format!("{}: every stream broke off before its end; look at the server's log", target.url)
        }
        (None, None) => "no stream ended before the run was stopped".to_owned(),
    }
}

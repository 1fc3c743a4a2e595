//! `tokenway bench --self-test`: how exact the tool is on this machine.

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use bench::load::self_test::{Exercise, Found};
use bench::report::format::plural;

/// The most that the tool may add to a time to first token, 99 times of 100.
const BOUND: Duration = Duration::from_millis(1);

/// Exit status 0 if the tool is as exact as it should be.
pub(super) async fn run(stop: CancellationToken) -> ExitCode {
    let exercise = Exercise::default();
    let mut progress = Progress::of_streams(Some(exercise.streams));
    let found = exercise.run(stop, |done| progress.streams(done)).await;
    progress.finish();
    match found {
        Err(error) => {
            eprintln!("tokenway bench: --self-test: the built-in upstream cannot be started: {error}");
            ExitCode::FAILURE
        }
        Ok(found) => {
            let good = found.failed == 0 && !found.errors.is_empty() && Found::quantile(&found.errors, 0.99) < BOUND;
            print!("{}", table(&exercise, &found, good));
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn table(exercise: &Exercise, found: &Found, good: bool) -> String {
    let row = |name: &str, values: &[Duration]| {
        let cells: String = [0.5, 0.9, 0.99, 0.999, 1.0]
            .map(|share| format!("{:>9.3}", Found::quantile(values, share).as_secs_f64() * 1e3))
            .concat();
        format!("{name:<34}{cells}\n")
    };
    let heading: String = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>9}")).concat();
    let Exercise { users, first_token, tokens_per_second, tokens, .. } = exercise;
    format!(
        "{} streams, {users} at a time, of {tokens} tokens, {tokens_per_second} a second; first token after {} ms; plain \
         HTTP/1.1, same process\n{:<34}{heading}\n{}{}{}: the tool adds {} {} ms to 99 of 100 first tokens{}\n",
        found.errors.len(),
        first_token.as_millis(),
        "milliseconds",
        row("added to the first token", &found.errors),
        row("the upstream's lateness (left out)", &found.lateness),
        if good { "pass" } else { "fail" },
        if Found::quantile(&found.errors, 0.99) < BOUND { "less than" } else { "more than" },
        BOUND.as_millis(),
        match found.failed {
            0 => String::new(),
            failed => format!("; {} did not come whole", plural(failed, "stream", "streams")),
        }
    )
}

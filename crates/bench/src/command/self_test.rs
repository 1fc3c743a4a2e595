//! `--self-test`: the error of the tool on this machine.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::load::self_test::{SelfTest, SelfTestResult};
use crate::report::format::plural;

/// The largest error in 99 of 100 times to first token.
const BOUND: Duration = Duration::from_millis(1);

/// Measures the tool against a built-in server and prints the result; `true` if the error is within its bound.
///
/// # Errors
/// One line: the built-in server cannot be started.
pub async fn self_test(stop: CancellationToken) -> Result<bool, String> {
    let test = SelfTest::default();
    let mut progress = Progress::of_streams(Some(test.streams));
    let result = test.run(stop, |ended| progress.set_ended(ended)).await;
    progress.finish();
    let result = result.map_err(|error| format!("--self-test: the built-in upstream cannot be started: {error}"))?;
    let exact = SelfTestResult::quantile(&result.errors, 0.99) < BOUND;
    let passed = result.failed == 0 && !result.errors.is_empty() && exact;
    print!("{}", table(&test, &result, exact, passed));
    Ok(passed)
}

fn table(test: &SelfTest, result: &SelfTestResult, exact: bool, passed: bool) -> String {
    let row = |name: &str, values: &[Duration]| {
        let cells: String = [0.5, 0.9, 0.99, 0.999, 1.0]
            .map(|share| format!("{:>9.3}", SelfTestResult::quantile(values, share).as_secs_f64() * 1e3))
            .concat();
        format!("{name:<34}{cells}\n")
    };
    let heading: String = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>9}")).concat();
    let SelfTest { users, first_token, tokens_per_second, tokens, .. } = test;
    format!(
        "{} streams, {users} at a time, of {tokens} tokens, {tokens_per_second} a second; first token after {} ms; plain \
         HTTP/1.1, same process\n{:<34}{heading}\n{}{}{}: the tool adds {} {} ms to 99 of 100 first tokens{}\n",
        result.errors.len(),
        first_token.as_millis(),
        "milliseconds",
        row("added to the first token", &result.errors),
        row("the upstream's lateness (left out)", &result.lateness),
        if passed { "pass" } else { "fail" },
        if exact { "less than" } else { "more than" },
        BOUND.as_millis(),
        match result.failed {
            0 => String::new(),
            failed => format!("; {} not whole", plural(failed, "stream was", "streams were")),
        }
    )
}

//! The load tester measures itself.

use std::time::Duration;

use bench::load::self_test::{SelfTest, SelfTestResult};
use tokio_util::sync::CancellationToken;

use crate::support::soon;

/// Of each first token.
const DELAY: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_the_tool_adds_is_what_neither_the_delay_nor_the_upstream_s_lateness_explains() {
    let test = SelfTest { users: 4, streams: 12, first_token: DELAY, tokens_per_second: 200.0, tokens: 4 };
    let mut reported = Vec::new();
    let found = soon(test.run(CancellationToken::new(), |ended| reported.push(ended))).await.unwrap();
    assert_eq!((found.failed, reported), (0, (1..=12).collect()));
    assert_eq!((found.errors.len(), found.lateness.len()), (12, 12));
    // the machine may be busy, but the delay is in neither
    let median = |values: &[Duration]| SelfTestResult::quantile(values, 0.5);
    assert!(median(&found.errors) < DELAY / 2, "{:?}", found.errors);
    assert!(!median(&found.lateness).is_zero() && median(&found.lateness) < DELAY / 2);
}

#[test]
fn a_quantile_is_a_value_that_so_many_do_not_exceed() {
    let values: Vec<_> = (1..=10).map(Duration::from_millis).collect();
    let quantile = |share| SelfTestResult::quantile(&values, share).as_millis();
    assert_eq!([0.0, 0.1, 0.5, 0.51, 0.99, 1.0].map(quantile), [1, 1, 5, 6, 10, 10]);
    assert_eq!(SelfTestResult::quantile(&[], 0.5), Duration::ZERO);
}

//! A stderr that takes nothing: the log loses lines, and nothing else.

use std::fs::OpenOptions;
use std::process::Stdio;

use super::{Gateway, Setup};
use crate::support::soon;

const DROPPED: &str = "tokenway_log_lines_dropped_total";

/// Everything goes on that is not the log.
async fn assert_works(gateway: Gateway) {
    gateway.refused(10).await;
    gateway.until_metric(DROPPED, &[], |lines| lines > 0.0).await;
    gateway.signal("HUP");
    gateway.until_metric("tokenway_config_reloads_total", &[("result", "ok")], |reloads| reloads == 1.0).await;
    gateway.refused(10).await;
    gateway.assert_ready().await;
    assert_eq!(gateway.metric("tokenway_panics_total", &[]).await, 0.0);
    gateway.assert_stops().await;
}

#[tokio::test]
async fn a_pipe_that_is_not_read_costs_log_lines_and_nothing_else() {
    let mut gateway = Gateway::start(Setup { stderr: Stdio::piped(), ..Setup::default() }).await;
    let _unread = gateway.child.stderr.take().unwrap();
    let mut requests = 0;
    soon(async {
        while gateway.metric(DROPPED, &[]).await == 0.0 {
            gateway.refused(1000).await;
            requests += 1000;
        }
    })
    .await;
    assert!(requests >= 2000, "the queue holds less than {requests} lines");
    assert_works(gateway).await;
}

#[tokio::test]
async fn a_pipe_whose_reader_is_gone_costs_log_lines_and_nothing_else() {
    let mut gateway = Gateway::start(Setup { stderr: Stdio::piped(), ..Setup::default() }).await;
    drop(gateway.child.stderr.take());
    assert_works(gateway).await;
}

#[tokio::test]
async fn a_full_disk_costs_log_lines_and_nothing_else() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_works(Gateway::start(Setup { stderr: full.into(), ..Setup::default() }).await).await;
}

//! `scripts/soak`, for seconds: its load runs, the gateway returns to what it was before, and the judgement finds a leak.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// A run lasts for the seconds of its load, and until the gateway is idle.
const PATIENCE: Duration = Duration::from_secs(120);

async fn soak(arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/soak")).args(arguments);
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

#[tokio::test]
async fn the_judgement_of_soak_finds_a_leak_below_the_noise_and_accepts_noise() {
    soak(&["--self-test"]).await;
}

#[tokio::test]
async fn after_some_seconds_of_soak_no_stream_task_or_descriptor_is_left() {
    let binary = env!("CARGO_BIN_EXE_tokenway");
    let told = soak(&["--smoke", "--minutes", "0.1", "--trouble", "1", "--clients", "8", "--tokenway", binary]).await;
    for line in ["descriptors", "tasks", "direct: complete", "resumable: complete", "coalesced: complete"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(told.ends_with("soak: not judged\n"), "{told}");
}

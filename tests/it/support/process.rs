//! Child processes: servers that say where they listen, and programs that print one JSON value.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a server may take to say where it listens; generous, for a machine that runs everything at once.
const STARTUP: Duration = Duration::from_secs(30);
/// How long a program may run.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server; it is killed when this is dropped.
pub struct Server {
    _child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    name: String,
}

impl Server {
    /// Starts this crate's binary.
    pub fn tokenway<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let name = format!("{:?}", command.as_std());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (told, lines) = mpsc::unbounded_channel();
        tokio::spawn(tell(child.stdout.take().unwrap(), told.clone()));
        tokio::spawn(tell(child.stderr.take().unwrap(), told));
        Self { _child: child, lines, name }
    }

    /// The rest of the first line that begins with `before`, up to a blank.
    pub async fn said(&mut self, before: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if let Some((_, rest)) = line.split_once(before) {
                    return Some(rest.split_whitespace().next().unwrap_or_default().to_owned());
                }
            }
            None
        };
        match timeout(STARTUP, found).await {
            Ok(Some(said)) => said,
            Ok(None) => panic!("{} ended without saying {before:?}", self.name),
            Err(_) => panic!("{} did not say {before:?} within {STARTUP:?}", self.name),
        }
    }
}

/// Passes lines on, and prints them where the test runner shows them if the test fails.
async fn tell(output: impl AsyncRead + Unpin, told: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        let _ = told.send(line);
    }
}

/// Runs a program of tests/ with node and gives back the JSON that it prints.
pub async fn node(script: &str, args: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
    program("node".into(), script, args, environment).await
}

/// Runs a program of tests/ with the Python that scripts/setup made, and gives back the JSON that it prints.
pub async fn python(script: &str, args: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
    let python = root().join(".tools/python/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup", python.display());
    program(python, script, args, environment).await
}

async fn program(program: PathBuf, script: &str, args: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
    let mut command = Command::new(&program);
    command
        .arg(root().join("tests").join(script))
        .args(args)
        .envs(environment.iter().copied())
        // temporary files, a browser's profile among them, go where `cargo clean` removes them
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{script}: not done within {PATIENCE:?}"))
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup", program.display()));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{script}: {error} in {out:?}\n{err}"))
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

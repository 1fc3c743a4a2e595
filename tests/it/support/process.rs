//! Child processes: servers that say where they listen, and programs that print one JSON value.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a server may take to say where it listens; generous, for a machine that runs everything at once.
const STARTUP: Duration = Duration::from_secs(120);
/// How long a program may run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Secrets of `[access]`, which every child process has in its environment.
pub const SECRETS: [(&str, &str); 3] = [
    ("TOKENWAY_TOKEN_SECRET", "canary-token-secret-0123456789abcdef"),
    ("TOKENWAY_SESSION_SECRET", "canary-session-secret-0123456789abcdef"),
    ("NEXT_SESSION_SECRET", "canary-next-session-secret-0123456789abcdef"),
];

/// A running server; it is killed when this is dropped.
pub struct Server {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    all: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl Server {
    /// Starts this crate's binary.
    pub fn tokenway<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Self {
        Self::tokenway_in(&root(), args)
    }

    /// Starts this crate's binary in this directory.
    pub fn tokenway_in<I: IntoIterator<Item: AsRef<OsStr>>>(directory: &Path, args: I) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
        command
            .current_dir(directory)
            .args(args)
            .envs(SECRETS)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let name = format!("{:?}", command.as_std());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (told, lines) = mpsc::unbounded_channel();
        let all = Arc::default();
        tokio::spawn(tell(child.stdout.take().unwrap(), told.clone(), Arc::clone(&all)));
        tokio::spawn(tell(child.stderr.take().unwrap(), told, Arc::clone(&all)));
        Self { child, lines, all, name }
    }

    /// Every line that it has said so far, on stdout and stderr.
    pub fn output(&self) -> Vec<String> {
        self.all.lock().unwrap().clone()
    }

    /// Sends it a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it has ended").to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success(), "no SIG{name} to {}", self.name);
    }

    /// Its exit status, once it has ended; every line that it said is then in [`Server::output`].
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(STARTUP, self.child.wait()).await;
        while self.lines.recv().await.is_some() {}
        ended.unwrap_or_else(|_| panic!("{} did not end within {STARTUP:?}", self.name)).unwrap()
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
async fn tell(output: impl AsyncRead + Unpin, told: mpsc::UnboundedSender<String>, all: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        all.lock().unwrap().push(line.clone());
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

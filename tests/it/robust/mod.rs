//! What must not stop the gateway, as a process without TLS: a stderr that takes nothing, no descriptors, silent clients, a drain.

mod certificate;
mod descriptors;
mod last_writes;
mod schedules;
mod shutdown;
mod soak;
mod stderr;

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::gateway::{Directory, exchange};
use crate::support::metrics::Scrape;
use crate::support::ports::free_port;
use crate::support::soon;

const PAUSE: Duration = Duration::from_millis(20);

/// How a gateway is started.
struct Setup<'a> {
    stderr: Stdio,
    /// A shell command before the gateway, such as `ulimit`.
    shell: &'a str,
    /// Further lines of `[server]`.
    server: &'a str,
    /// The upstream of the model `m`.
    upstream: SocketAddr,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { stderr: Stdio::inherit(), shell: ":", server: "", upstream: SocketAddr::from(([127, 0, 0, 1], 9)) }
    }
}

/// A gateway as a process; it is killed when this is dropped.
struct Gateway {
    child: Child,
    public: SocketAddr,
    admin: String,
    _directory: Directory,
}

impl Gateway {
    /// Starts, and waits until it is ready.
    async fn start(setup: Setup<'_>) -> Self {
        Self::start_at(setup, (free_port(), free_port())).await
    }

    /// The same at these ports, public and admin.
    async fn start_at(setup: Setup<'_>, (public, admin): (u16, u16)) -> Self {
        let Setup { stderr, shell, server, upstream } = setup;
        let directory = Directory::new();
        let file = directory.0.join("tokenway.toml");
        let text = format!(
            "[server]\nplaintext = true\nlisten = \"127.0.0.1:{public}\"\nadmin = \"127.0.0.1:{admin}\"\n{server}\n\
             [[upstreams]]\nname = \"up\"\nbase_url = \"http://{upstream}/v1\"\n\
             [[models]]\nname = \"m\"\nupstream = \"up\"\n[limits]\nrequests_per_minute = 0\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("sh");
        let script = format!("{shell} && exec \"$0\" serve --config \"$1\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tokenway")]).arg(&file).kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let public = SocketAddr::from(([127, 0, 0, 1], public));
        let it = Self { child, public, admin: format!("127.0.0.1:{admin}"), _directory: directory };
        let is_listening = async || TcpStream::connect(&it.admin).await.is_ok();
        soon(async {
            while !is_listening().await {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
        it.assert_ready().await;
        it
    }

    fn ports(&self) -> (u16, u16) {
        (self.public.port(), self.admin.rsplit_once(':').unwrap().1.parse().unwrap())
    }

    async fn assert_ready(&self) {
        assert!(soon(exchange(&self.admin, "GET /readyz", "")).await.contains("\"ready\""));
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Scrape::parse(&soon(exchange(&self.admin, "GET /metrics", "")).await).sum(name, labels)
    }

    async fn until_metric(&self, name: &str, labels: &[(&str, &str)], so: impl Fn(f64) -> bool) {
        soon(async {
            while !so(self.metric(name, labels).await) {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }

    /// Sends requests that are refused, each of which is one log line; returns when all are answered.
    async fn refused(&self, requests: usize) {
        let (mut read, mut write) = soon(TcpStream::connect(self.public)).await.unwrap().into_split();
        let id = "i".repeat(128);
        let request = format!("GET /nowhere HTTP/1.1\r\nhost: {}\r\nx-request-id: {id}\r\n", self.public);
        let (all, last) =
            (format!("{request}\r\n").repeat(requests - 1), format!("{request}connection: close\r\n\r\n"));
        // its write half stays open until the answers are there: a client that closes it has left
        let sending = tokio::spawn(async move { write.write_all((all + &last).as_bytes()).await.map(|()| write) });
        let mut answers = Vec::new();
        soon(read.read_to_end(&mut answers)).await.unwrap();
        drop(soon(sending).await.unwrap().unwrap());
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(
            answers.matches("HTTP/1.1 404 ").count(),
            requests,
            "{}",
            &answers[answers.len().saturating_sub(2000)..]
        );
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it has ended").to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// SIGTERM, and then the exit status 0.
    async fn assert_stops(mut self) {
        self.signal("TERM");
        let status = soon(self.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

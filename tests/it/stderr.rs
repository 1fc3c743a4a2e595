//! A stderr that takes nothing: the log loses lines, and nothing else.

use std::fs::{self, OpenOptions};
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

const DROPPED: &str = "tokenway_log_lines_dropped_total";
const PAUSE: Duration = Duration::from_millis(20);

/// A gateway whose stderr is not read by the test; it is killed when this is dropped.
struct Gateway {
    child: Child,
    public: SocketAddr,
    admin: String,
    _directory: Directory,
}

impl Gateway {
    /// Starts with this stderr, and waits until it is ready.
    async fn start(stderr: impl Into<Stdio>) -> Self {
        let directory = Directory::new();
        let file = directory.0.join("tokenway.toml");
        let (public, admin) = (free_port(), free_port());
        let text = format!(
            "[server]\nplaintext = true\nlisten = \"127.0.0.1:{public}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             [[upstreams]]\nname = \"up\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
             [[models]]\nname = \"m\"\nupstream = \"up\"\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
        command.args(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]).kill_on_drop(true);
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
        assert!(soon(exchange(&it.admin, "GET /readyz", "")).await.contains("ready"));
        it
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

    /// Everything goes on that is not the log.
    async fn assert_works(mut self) {
        self.refused(10).await;
        self.until_metric(DROPPED, &[], |lines| lines > 0.0).await;
        self.signal("HUP");
        self.until_metric("tokenway_config_reloads_total", &[("result", "ok")], |reloads| reloads == 1.0).await;
        self.refused(10).await;
        assert!(soon(exchange(&self.admin, "GET /readyz", "")).await.contains("ready"));
        assert_eq!(self.metric("tokenway_panics_total", &[]).await, 0.0);
        self.signal("TERM");
        let status = soon(self.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[tokio::test]
async fn a_pipe_that_is_not_read_costs_log_lines_and_nothing_else() {
    let mut gateway = Gateway::start(Stdio::piped()).await;
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
    gateway.assert_works().await;
}

#[tokio::test]
async fn a_pipe_whose_reader_is_gone_costs_log_lines_and_nothing_else() {
    let mut gateway = Gateway::start(Stdio::piped()).await;
    drop(gateway.child.stderr.take());
    gateway.assert_works().await;
}

#[tokio::test]
async fn a_full_disk_costs_log_lines_and_nothing_else() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    Gateway::start(full).await.assert_works().await;
}

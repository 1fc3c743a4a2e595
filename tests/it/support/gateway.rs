//! The gateway and its demo upstream as child processes, as people run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certs;
use super::process::Server;

/// A demo upstream; it is killed when this is dropped.
pub struct Upstream {
    /// `http://127.0.0.1:PORT/v1`
    pub base_url: String,
    _server: Server,
}

impl Upstream {
    /// A hundred tokens, twenty a second, after 150 ms, unless a request's `"demo"` field says otherwise.
    pub async fn start() -> Self {
        let mut server = Server::tokenway([
            "demo-upstream",
            "--listen",
            "127.0.0.1:0",
            "--first-token",
            "150ms",
            "--tokens-per-second",
            "20",
            "--tokens",
            "100",
        ]);
        Self { base_url: server.said("demo upstream on ").await, _server: server }
    }

    /// The text with which it answers this request, asked without the gateway.
    pub async fn text(&self, request: &serde_json::Value) -> String {
        let authority = self.base_url.trim_start_matches("http://").trim_end_matches("/v1");
        let mut request = request.clone();
        request["stream"] = false.into();
        let answer = exchange(authority, "POST /v1/chat/completions", &request.to_string()).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }
}

/// What a test sets beside the fixed configuration: further lines of the sections of that name.
#[derive(Default)]
pub struct Setup<'a> {
    pub server: &'a str,
    pub stream: &'a str,
    /// Instead of `origins = ["http://localhost:*"]`.
    pub cors: &'a str,
    /// Whole sections.
    pub more: &'a str,
}

/// Whole sections: answers are kept, and `auto` is `cheap` or `dear`, by the rules. Further lines of `dear` may follow.
pub const AUTO: &str = r#"
[cache]
enabled = true
[routing.auto]
easy = "cheap"
hard = "dear"
mode = "rules"
[[models]]
name = "cheap"
upstream = "demo"
input_price = 0.2
output_price = 0.8
[[models]]
name = "dear"
upstream = "demo"
input_price = 2.5
output_price = 10.0
"#;

/// A running gateway on https://localhost; it is killed when this is dropped.
pub struct Gateway {
    /// `https://localhost:PORT`
    pub url: String,
    /// `127.0.0.1:PORT` of the admin listener.
    pub admin: String,
    /// The leaf certificate.
    pub certificate: PathBuf,
    /// The certificate authority that a client is to trust.
    pub ca: PathBuf,
    _server: Server,
    _directory: Directory,
}

impl Gateway {
    /// A gateway before this upstream: pages of `http://localhost:*` are allowed, the model is `demo`.
    pub async fn start(upstream: &Upstream, setup: Setup<'_>) -> Self {
        Self::before(&upstream.base_url, setup).await
    }

    /// The same before the upstream of this URL, `http://127.0.0.1:PORT/v1`.
    pub async fn before(base_url: &str, setup: Setup<'_>) -> Self {
        let directory = Directory::new();
        let path = |name: &str| directory.0.join(name);
        certs::write(&directory.0);
        let Setup { server, stream, cors, more } = setup;
        let cors = if cors.is_empty() { "origins = [\"http://localhost:*\"]" } else { cors };
        let config = format!(
            r#"
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
certificate = {certificate:?}
private_key = {key:?}
{server}
[cors]
{cors}
[stream]
{stream}
[[upstreams]]
name = "demo"
base_url = "{base_url}"
[[models]]
name = "demo"
upstream = "demo"
input_price = 0.27
output_price = 1.10
context = 8192
{limits}
{more}
"#,
            certificate = path("leaf.pem"),
            key = path("leaf.key"),
            limits = if more.contains("[limits]") { "" } else { "[limits]\nrequests_per_minute = 0" },
        );
        fs::write(path("tokenway.toml"), config).unwrap();
        let mut server = Server::tokenway(["serve".as_ref(), "--config".as_ref(), path("tokenway.toml").as_os_str()]);
        let public = server.said("listening on https://").await;
        let admin = server.said("admin on http://").await;
        let port = public.rsplit_once(':').unwrap().1.trim_end_matches('/');
        Self {
            url: format!("https://localhost:{port}"),
            admin: admin.trim_end_matches('/').to_owned(),
            certificate: path("leaf.pem"),
            ca: path("ca.pem"),
            _server: server,
            _directory: directory,
        }
    }

    /// The value of the one sample of `/metrics` that begins with `series`; 0 where there is none.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = exchange(&self.admin, "GET /metrics", "").await;
        let sample = text.lines().find_map(|line| line.strip_prefix(series));
        sample.map_or(0.0, |rest| rest.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Returns when the metric has this value.
    pub async fn until_metric(&self, series: &str, value: f64) {
        let reached = async {
            while self.metric(series).await != value {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(super::PATIENCE, reached).await.is_err() {
            panic!("{series} is {} and not {value}", self.metric(series).await);
        }
    }
}

/// One HTTP/1.1 exchange over plaintext; gives back the body of a 200.
pub async fn exchange(authority: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{request}: {head}");
    body.to_owned()
}

/// A directory of its own, removed at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gateway-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

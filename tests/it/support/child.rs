//! The gateway as a child process before a demo upstream of the test's own: what the upstream saw, what the log says,
//! what signals do.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use demo_upstream::{Demo, Knobs};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::certs;
use super::client::{RequestBody, Target, full, until_closed};
use super::gateway::{Directory, exchange};
use super::metrics::Scrape;
use super::process::Server;
use super::soon;

/// Between two looks at what tells no one that it has changed.
const PAUSE: Duration = Duration::from_millis(10);
/// The origin that every test's configuration allows.
pub const ALLOWED: &str = "https://app.example";
/// An origin that none allows.
pub const REFUSED: &str = "https://evil.example";

/// What a test sets beside the fixed configuration: further lines of the sections of that name.
#[derive(Clone, Copy, Default)]
pub struct Plan<'a> {
    pub server: &'a str,
    pub cors: &'a str,
    pub stream: &'a str,
    /// Further lines of the upstream `demo`.
    pub upstream: &'a str,
    /// Whole sections.
    pub more: &'a str,
    /// What stands in the file `key`, which nothing names unless `upstream` does.
    pub key: &'a str,
}

/// A gateway in its own process and its upstream in this one; both end when this is dropped.
pub struct Child {
    pub demo: Demo,
    pub target: Target,
    /// `127.0.0.1:PORT` of the admin listener.
    pub admin: String,
    pub server: Server,
    directory: Directory,
}

impl Child {
    /// Allows [`ALLOWED`]; the model is `demo`, at 0.27 and 1.10 dollars per million tokens.
    pub async fn start(plan: Plan<'_>) -> Self {
        let directory = Directory::new();
        certs::write(&directory.0);
        fs::write(directory.0.join("key"), plan.key).unwrap();
        let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
        let file = directory.0.join("tokenway.toml");
        fs::write(&file, config(&demo, plan)).unwrap();
        let mut server = Server::tokenway(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
        let address = server.said("listening on https://").await.parse().unwrap();
        let admin = server.said("admin on http://").await;
        let target = Target { address, roots: roots(&directory.0.join("ca.pem")) };
        Self { demo, target, admin, server, directory }
    }

    /// A file in the directory of the configuration, which is `tokenway.toml`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    /// Writes another configuration, which a SIGHUP makes the gateway read.
    pub fn configure(&self, plan: Plan<'_>) {
        fs::write(self.path("tokenway.toml"), config(&self.demo, plan)).unwrap();
    }

    /// The metrics of this moment.
    pub async fn metrics(&self) -> Scrape {
        Scrape::parse(&exchange(&self.admin, "GET /metrics", "").await)
    }

    /// The metrics, once they are so. There is no signal to wait for: a metric is what is asked for. They are asked for once
    /// more then: one scrape reads its metrics one after another, and what was counted meanwhile may stand in some of them.
    pub async fn until(&self, so: impl Fn(&Scrape) -> bool) -> Scrape {
        soon(async {
            loop {
                if so(&self.metrics().await) {
                    return self.metrics().await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    }

    /// Returns once `/readyz` has this status.
    pub async fn until_ready_is(&self, status: StatusCode) {
        let ask = format!("GET /readyz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        let so = format!("HTTP/1.1 {} ", status.as_str());
        soon(async {
            loop {
                let mut tcp = TcpStream::connect(&self.admin).await.unwrap();
                tcp.write_all(ask.as_bytes()).await.unwrap();
                if until_closed(&mut tcp).await.starts_with(&so) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }

    /// The log line of a request.
    pub async fn logged(&self, request_id: &str) -> Value {
        soon(async {
            loop {
                let lines = self.server.output();
                let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let mut own =
                    lines.filter(|line| line["target"] == "tokenway::request" && line["request_id"] == request_id);
                if let Some(line) = own.next() {
                    assert!(own.next().is_none(), "{request_id} was logged twice");
                    return line;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    }

    /// What the upstream itself answers to a request.
    pub async fn directly(&self, mut request: Request<RequestBody>) -> Response<Incoming> {
        *request.uri_mut() = request.uri().path().parse().unwrap();
        let tcp = TcpStream::connect(self.demo.addr).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        soon(sender.send_request(request)).await.unwrap()
    }
}

/// The certificates that a client is to trust.
pub fn roots(pem: &std::path::Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(pem).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

/// A request for a completion of the model `demo`; `demo` holds the upstream's knobs.
pub fn chat(stream: bool, demo: Value) -> Value {
    json!({
        "model": "demo", "stream": stream, "messages": [{ "role": "user", "content": "Hello, 世界 🚀" }], "demo": demo,
    })
}

/// `POST /v1/chat/completions`, good for both versions.
pub fn post(body: &Value) -> Request<RequestBody> {
    Request::post("https://localhost/v1/chat/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(full(body.to_string()))
        .unwrap()
}

/// The request with one more header.
pub fn with(mut request: Request<RequestBody>, name: &'static str, value: &str) -> Request<RequestBody> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

fn config(demo: &Demo, plan: Plan<'_>) -> String {
    let Plan { server, cors, stream, upstream, more, .. } = plan;
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
certificate = "leaf.pem"
private_key = "leaf.key"
{server}
[cors]
{cors}
{origins}
[stream]
{stream}
[[upstreams]]
name = "demo"
base_url = "http://{demo}/v1"
{upstream}
[[models]]
name = "demo"
upstream = "demo"
input_price = 0.27
output_price = 1.10
context = 8192
{limits}
{more}
[log]
format = "json"
"#,
        origins = if cors.contains("origins") { String::new() } else { format!("origins = [\"{ALLOWED}\"]") },
        limits = if more.contains("[limits]") { "" } else { "[limits]\nrequests_per_minute = 0" },
        demo = demo.addr,
    )
}

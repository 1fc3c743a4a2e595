//! The whole gateway in this process: two demo upstreams, real TLS in front, and clients of both HTTP versions.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use demo_upstream::{Demo, Knobs, expected_stream};
use families::family::Family;
use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokenway::config::Config;
use tokenway::drain::Drain;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::metrics::Metrics;
use tokenway::server::{self, Settings};
use tokenway::stream::log::registry::Registry;
use tokenway::stream::open::OpenStreams;
use tokenway::upstream::settings::Roots;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::answer::Answer;
use super::certs::{self, TestCertificate};
use super::client::{RequestBody, Target, full, request};
use super::process::SECRETS;
use super::soon;

/// The provider's key of the first upstream.
pub const FIRST_KEY: &str = "sk-first-secret-of-the-gateway";
/// The provider's key of the second upstream.
pub const SECOND_KEY: &str = "sk-second-secret-of-the-gateway";
/// The origin that is allowed.
pub const ORIGIN: &str = "https://app.example.com";

/// What a test sets. Lines of TOML for the sections of that name.
#[derive(Default)]
pub struct Setup<'a> {
    pub server: &'a str,
    pub stream: &'a str,
    pub streams: &'a str,
    /// Without any, nothing is limited.
    pub limits: &'a str,
    /// Lines of the section `[redis]`.
    pub redis: &'a str,
    pub cors: &'a str,
    /// Whole sections. `[access]` finds its secrets in the variables that it names by default.
    pub more: &'a str,
    /// More lines of the first upstream.
    pub one: &'a str,
    /// Instead of a demo upstream, this one stands behind the model `demo`.
    pub upstream: Option<std::net::SocketAddr>,
    /// Clients reach the gateway without TLS.
    pub plaintext: bool,
    /// The kernel's buffers are small, so that what the gateway itself holds can be seen.
    pub narrow: bool,
    /// The first upstream speaks TLS with this certificate, and is trusted by these roots.
    pub first_tls: Option<(TestCertificate, Arc<RootCertStore>)>,
    /// The families that the gateway takes; all that there are, where none are given.
    pub families: Option<&'static [&'static dyn Family]>,
    /// What the first upstream does.
    pub first: Knobs,
    /// What the second upstream does.
    pub second: Knobs,
}

/// A running gateway. The model `demo` is the first upstream's; `careful` is, too, and falls back to `spare`, which is the
/// second's.
pub struct Edge {
    pub first: Demo,
    pub second: Demo,
    pub target: Target,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub open: Arc<OpenStreams>,
    pub streams: Registry,
    _tasks: JoinSet<()>,
}

impl Edge {
    /// Starts all of it, within the runtime of the test.
    pub async fn start(setup: Setup<'_>) -> Self {
        super::log::capture();
        let listener = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            narrow(&listener, setup.narrow);
            listener
        };
        let (first, scheme) = match &setup.first_tls {
            None => (Demo::start(listener().await, setup.first).unwrap(), "http"),
            Some((certificate, _)) => {
                let tls = server::tls::server_config(&certificate.identity).unwrap();
                (Demo::start_tls(listener().await, tls, setup.first).unwrap(), "https")
            }
        };
        let second = Demo::start(listener().await, setup.second).unwrap();
        let text = format!(
            r#"
[server]
plaintext = true
hosts = ["localhost"]
{server}
[cors]
origins = ["{ORIGIN}"]
{cors}
[stream]
{stream}
[resume]
{streams}
[limits]
{limits}
[redis]
{redis}
[[upstreams]]
name = "one"
base_url = "{scheme}://{one}/v1"
{first_key}
{first}
[[upstreams]]
name = "two"
base_url = "http://{two}/v1"
api_key_env = "SECOND_KEY"
[[models]]
name = "demo"
upstream = "one"
[[models]]
name = "careful"
upstream = "one"
upstream_model = "model-at-one"
fallback = ["spare"]
[[models]]
name = "spare"
upstream = "two"
{more}
"#,
            server = setup.server,
            stream = setup.stream,
            streams = setup.streams,
            limits = if setup.limits.is_empty() { "requests_per_minute = 0" } else { setup.limits },
            redis = setup.redis,
            cors = setup.cors,
            more = setup.more,
            first_key = if setup.one.contains("api_keys_env") { "" } else { "api_key_env = \"FIRST_KEY\"" },
            first = setup.one,
            one = setup.upstream.unwrap_or(first.addr),
            two = second.addr,
        );
        let env = |name: &str| match name {
            "FIRST_KEY" => Some(FIRST_KEY.to_owned()),
            "SECOND_KEY" => Some(SECOND_KEY.to_owned()),
            _ => SECRETS.iter().find(|(secret, _)| *secret == name).map(|(_, value)| (*value).to_owned()),
        };
        let mut config = Config::parse(&text, Path::new(""), &env).unwrap_or_else(|problems| panic!("{problems}"));
        // the certificate lives in memory alone
        let certificate = certs::localhost();
        config.server.identity = (!setup.plaintext).then_some(certificate.identity);
        config.upstreams[0].roots = setup.first_tls.map(|(_, roots)| Roots(roots));

        let metrics = Arc::new(Metrics::new().unwrap());
        let drain = Drain::default();
        let open = OpenStreams::new(metrics.streams_active.clone());
        let settings = Arc::new(ArcSwap::from_pointee(Settings::new(&config.server).unwrap()));
        let mut shared = Shared::start(&config, metrics.clone(), open.clone(), drain.clone()).await.unwrap();
        shared.families = setup.families.unwrap_or(shared.families);
        let streams = shared.streams.clone();
        let live = Arc::new(Live::new(Gateway::new(config, shared).unwrap()));
        let public = server::bind("server.listen", "127.0.0.1:0".parse().unwrap(), false).unwrap();
        narrow(&public, setup.narrow);
        let target = Target { address: public.local_addr().unwrap(), roots: certificate.roots };
        let mut tasks = JoinSet::new();
        let served = server::serve(public, settings, live, metrics.clone(), drain.clone());
        tasks.spawn(async move { served.await.unwrap() });
        Self { first, second, target, metrics, drain, open, streams, _tasks: tasks }
    }

    /// A new connection.
    pub async fn client(&self, version: Version) -> Client {
        Client::connect(&self.target, version).await
    }

    /// The sum of all samples whose series begins with this.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.text();
        let samples = text.lines().filter(|line| line.starts_with(series));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Returns when the metric has such a value.
    pub async fn until_metric(&self, series: &str, so: impl Fn(f64) -> bool) {
        soon(async {
            while !so(self.metric(series)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub fn ended_on(&self, route: &str, model: &str, status: u16, outcome: &str) -> u64 {
        self.metrics.requests.with_label_values(&[route, model, &status.to_string(), outcome]).get()
    }

    /// Returns when this many requests for this model have ended so.
    pub async fn until_ended(&self, model: &str, status: u16, outcome: &str, count: u64) {
        self.until_ended_on("chat_completions", model, status, outcome, count).await;
    }

    /// The same for another route.
    pub async fn until_ended_on(&self, route: &str, model: &str, status: u16, outcome: &str, count: u64) {
        let ended = tokio::time::timeout(super::PATIENCE, async {
            while self.ended_on(route, model, status, outcome) != count {
                tokio::task::yield_now().await;
            }
        });
        if ended.await.is_err() {
            let requests = self.metrics.text();
            let requests: Vec<_> = requests.lines().filter(|line| line.starts_with("tokenway_requests")).collect();
            panic!("no {count} requests ended with {status} {outcome}: {requests:#?}");
        }
    }
}

/// Accepted sockets inherit the size from the listener.
fn narrow(listener: &TcpListener, narrow: bool) {
    if narrow {
        socket2::SockRef::from(listener).set_send_buffer_size(32 << 10).unwrap();
    }
}

/// The version of HTTP between client and gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

/// One connection to the gateway; it is closed when this and all answers that came over it are dropped.
pub struct Client {
    sender: Sender,
    connection: Arc<Connection>,
}

struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

impl Client {
    /// Connects. An HTTP/2 client keeps the smallest window that the protocol knows.
    pub async fn connect(target: &Target, version: Version) -> Self {
        match version {
            Version::Http1 => {
                let io = TokioIo::new(target.raw_h1().await);
                let (sender, connection) = http1::handshake(io).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
                Self { sender: Sender::Http1(sender), connection: Arc::new(Connection(connection)) }
            }
            Version::Http2 => {
                let io = TokioIo::new(target.tls(&["h2"]).await);
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.initial_stream_window_size(65_535);
                let (sender, connection) = builder.handshake(io).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
                Self { sender: Sender::Http2(sender), connection: Arc::new(Connection(connection)) }
            }
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, mut request: Request<RequestBody>) -> Answer {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                soon(sender.ready()).await.unwrap();
                let path = request.uri().path_and_query().unwrap().clone();
                *request.uri_mut() = path.into();
                soon(sender.send_request(request)).await
            }
            Sender::Http2(sender) => soon(sender.send_request(request)).await,
        };
        Answer::new(response.unwrap(), self.connection.clone())
    }

    /// Asks for a completion.
    pub async fn ask(&mut self, body: &Value) -> Answer {
        self.send(completion(body)).await
    }

    /// Sends a request and leaves once `so` is: over HTTP/2 the stream is reset, over HTTP/1.1 the connection closed.
    pub async fn leave_when(mut self, request: Request<RequestBody>, so: impl Future) {
        tokio::select! {
            _ = self.send(request) => panic!("an answer"),
            _ = so => {}
        }
    }
}

/// `POST /v1/chat/completions` with this body.
pub fn completion(body: &Value) -> Request<RequestBody> {
    post("/v1/chat/completions", body.to_string())
}

/// A POST of JSON.
pub fn post(path: &str, body: impl Into<Bytes>) -> Request<RequestBody> {
    let mut request = request("POST", path, full(body));
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request
}

/// A streaming request with knobs for the demo upstream.
pub fn streaming(model: &str, demo: Value) -> Value {
    let messages = json!([{ "role": "user", "content": "Why do żółte 🌊 streams feel fast?" }]);
    json!({ "model": model, "messages": messages, "stream": true, "demo": demo })
}

/// The same, not streaming.
pub fn whole(model: &str, demo: Value) -> Value {
    let mut request = streaming(model, demo);
    request["stream"] = false.into();
    request
}

/// The events that a client must get for its streaming request: the upstream's own, after it was asked for usage, without
/// the usage-only chunk unless the client had asked for it.
pub fn expected(request: &Value) -> Vec<Bytes> {
    let asked = request["stream_options"]["include_usage"] == json!(true);
    let mut request = request.clone();
    request["stream_options"] = json!({ "include_usage": true });
    let mut events = expected_stream(request.to_string().as_bytes());
    assert!(!events.is_empty(), "the demo upstream refuses {request}");
    events.retain(|event| asked || !is_usage_only(event));
    events
}

/// Whether the event is the chunk that holds nothing but the counts.
pub fn is_usage_only(event: &[u8]) -> bool {
    let event = String::from_utf8_lossy(event);
    event.contains(r#""choices":[],"#) && event.contains(r#""usage":{"#)
}

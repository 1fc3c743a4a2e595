//! The load client: opens streams, checks every byte of them, and takes the times.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ProtocolVersion, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::source::Clock;
use crate::wire::Reader;
use crate::{BoxError, Outcome, target};

const QUESTION: &[u8] =
    br#"{"model":"bench","stream":true,"messages":[{"role":"user","content":"Count to the end of the day."}]}"#;
/// Handshakes under way at a time, so that 4,000 of them do not all wait in one accept queue.
const OPENING: usize = 16;
/// Streams on one shared HTTP/2 connection; below the usual server limits (nginx: 128).
const STREAMS_PER_CONNECTION: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// How the client talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// HTTP/1.1 without TLS: the way to the source itself.
    Plain,
    /// HTTP/1.1 over TLS, a connection for each stream.
    H1,
    /// HTTP/2 over TLS, a hundred streams to a connection.
    H2,
}

impl Protocol {
    /// As it stands in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Plain => "plain",
            Protocol::H1 => "h1",
            Protocol::H2 => "h2",
        }
    }
}

/// Where to, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Ask for streams that can be resumed.
    pub(crate) resumable: bool,
    /// Show the gateway key.
    pub(crate) with_key: bool,
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Client {
    h1: TlsConnector,
    h2: TlsConnector,
}

impl Client {
    /// Trusts `certificate` alone; TLS 1.3 without resumption, so that every handshake is a whole one.
    pub(crate) fn new(certificate: &CertificateDer<'static>) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let with_alpn = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        Ok(Client { h1: with_alpn(b"http/1.1"), h2: with_alpn(b"h2") })
    }

    /// Connects, shakes hands, and starts the connection's task.
    pub(crate) async fn connect(&self, endpoint: Endpoint) -> Outcome<Connection> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = match endpoint.protocol {
            Protocol::Plain => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
            }
            Protocol::H1 => {
                let stream = handshake(&self.h1, stream).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
            }
            Protocol::H2 => {
                let stream = handshake(&self.h2, stream).await?;
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Connection { sender, endpoint, driver })
    }
}

async fn handshake(connector: &TlsConnector, stream: TcpStream) -> Outcome<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    let tls = stream.get_ref().1;
    let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
    if tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) || suite != Some(CipherSuite::TLS13_AES_256_GCM_SHA384)
    {
        return Err(
            format!("TLS differs: {:?} {suite:?}; the figures would not compare", tls.protocol_version()).into()
        );
    }
    Ok(stream)
}

/// An open connection; closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: Sender,
    endpoint: Endpoint,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Asks for one stream and returns once the response's head is there.
    async fn ask(&mut self) -> Outcome<Response<Incoming>> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(question(self.endpoint)?).await?
            }
            Sender::Http2(sender) => sender.clone().send_request(question(self.endpoint)?).await?,
        };
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            return Err(format!("answered {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(response)
    }

    /// Runs a stream to its end and returns how long after `start` its first event was there.
    pub(crate) async fn first_event(&mut self, start: Instant) -> Outcome<Duration> {
        let mut body = self.ask().await?.into_body();
        let mut reader = Reader::default();
        let mut first = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            reader.feed(&data, |_| {
                first.get_or_insert_with(|| start.elapsed());
            })?;
        }
        if !reader.is_done() {
            return Err("a stream ended without [DONE]".into());
        }
        first.ok_or_else(|| "a stream without an event".into())
    }

    fn share(&self) -> Outcome<http2::SendRequest<Full<Bytes>>> {
        match &self.sender {
            Sender::Http1(_) => Err("an HTTP/1.1 connection carries one stream".into()),
            Sender::Http2(sender) => Ok(sender.clone()),
        }
    }
}

fn question(endpoint: Endpoint) -> Outcome<Request<Full<Bytes>>> {
    const PATH: &str = "/v1/chat/completions";
    let (port, absolute) = (endpoint.address.port(), endpoint.protocol == Protocol::H2);
    let request = Request::post(if absolute { format!("https://localhost:{port}{PATH}") } else { PATH.to_owned() })
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let request = if endpoint.resumable { request.header("tokenway-resumable", "true") } else { request };
    let request = match endpoint.with_key {
        true => request.header("authorization", format!("Bearer {}", target::key().expose())),
        false => request,
    };
    let request = if absolute { request } else { request.header("host", format!("localhost:{port}")) };
    Ok(request.body(Full::new(Bytes::from_static(QUESTION)))?)
}

/// What all open streams have seen together.
#[derive(Debug)]
pub(crate) struct Tally {
    clock: Clock,
    events: AtomicU64,
    recording: AtomicBool,
    /// Microseconds from the source's write to here.
    latencies: Mutex<Vec<f64>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// Nothing seen yet.
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Tally {
            clock,
            events: AtomicU64::new(0),
            recording: AtomicBool::new(false),
            latencies: Mutex::default(),
            faults: Mutex::default(),
        })
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// From now on latencies are kept.
    pub(crate) fn record(&self) {
        self.recording.store(true, Relaxed);
    }

    /// The latencies that were kept, in microseconds.
    pub(crate) fn latencies(&self) -> Vec<f64> {
        std::mem::take(&mut self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first fault of any stream, and how many there were.
    pub(crate) fn check(&self) -> Outcome {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults
            .first()
            .map_or(Ok(()), |first| Err(format!("{} streams failed, the first: {first}", faults.len()).into()))
    }

    fn event(&self, stamp: u64) {
        self.events.fetch_add(1, Relaxed);
        if self.recording.load(Relaxed) {
            let nanos = self.clock.nanos().saturating_sub(stamp);
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(nanos as f64 / 1000.0);
        }
    }
}

/// Streams that stay open until this is dropped.
#[derive(Debug)]
pub(crate) struct Streams {
    _tasks: JoinSet<()>,
    _shared: Vec<Connection>,
}

impl Streams {
    /// Opens `count` streams and returns when each has had its first event.
    pub(crate) async fn open(client: &Client, endpoint: Endpoint, count: usize, tally: &Arc<Tally>) -> Outcome<Self> {
        let mut shared = Vec::new();
        if endpoint.protocol == Protocol::H2 {
            for _ in 0..count.div_ceil(STREAMS_PER_CONNECTION) {
                shared.push(client.connect(endpoint).await?);
            }
        }
        let permits = Arc::new(Semaphore::new(OPENING));
        let (opened, mut openings) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for index in 0..count {
            let way = match shared.get(index / STREAMS_PER_CONNECTION) {
                Some(connection) => Way::Shared(connection.share()?, connection.endpoint),
                None => Way::Own(client.clone(), endpoint),
            };
            let stream = Stream { way, tally: tally.clone(), opened: opened.clone(), permits: permits.clone() };
            tasks.spawn(stream.run());
        }
        drop(opened);
        let all = async {
            for _ in 0..count {
                if openings.recv().await.is_none() {
                    break;
                }
                tally.check()?;
            }
            tally.check()
        };
        timeout(PATIENCE, all).await.map_err(|_| format!("{count} streams were not open after {PATIENCE:?}"))??;
        Ok(Streams { _tasks: tasks, _shared: shared })
    }
}

enum Way {
    Own(Client, Endpoint),
    Shared(http2::SendRequest<Full<Bytes>>, Endpoint),
}

struct Stream {
    way: Way,
    tally: Arc<Tally>,
    opened: mpsc::UnboundedSender<()>,
    permits: Arc<Semaphore>,
}

impl Stream {
    async fn run(self) {
        let tally = self.tally.clone();
        let opened = self.opened.clone();
        let Err(error) = self.watch().await;
        tally.faults.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        let _ = opened.send(());
    }

    /// Streams here have no end, so it returns only when something failed.
    async fn watch(self) -> Result<std::convert::Infallible, BoxError> {
        let Stream { way, tally, opened, permits } = self;
        let mut permit = Some(permits.acquire().await?);
        let mut own = None;
        let response = match way {
            Way::Own(client, endpoint) => own.insert(client.connect(endpoint).await?).ask().await?,
            Way::Shared(mut sender, endpoint) => sender.send_request(question(endpoint)?).await?,
        };
        if response.status() != StatusCode::OK {
            return Err(format!("answered {}", response.status()).into());
        }
        let mut body = response.into_body();
        let mut reader = Reader::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            reader.feed(&data, |stamp| tally.event(stamp))?;
            if permit.take().is_some() {
                let _ = opened.send(());
            }
        }
        Err("a stream ended that has no end".into())
    }
}

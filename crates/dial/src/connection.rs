//! One connection that speaks HTTP, of either version.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::tap::Tap;
use super::target::Target;

/// Most header lines of an answer: more than any server needs, few enough to bound a hostile one.
const MAX_HEADERS: usize = 1024;
/// Most bytes of an answer's head, and of what is read ahead of whoever takes its body.
const MAX_HEAD: usize = 1024 * 1024;

/// A connection. It is closed when its last handle is dropped, its answers with it.
#[derive(Debug)]
pub struct Connection {
    /// How long it took to make.
    pub phases: Phases,
    /// Whom it leads to.
    pub peer: SocketAddr,
    /// What its socket brings.
    pub tap: Arc<Tap>,
    sender: Sender,
    driver: Arc<Driver>,
}

/// How long each phase of making a connection took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// The look-up of the name; zero for an address, and where it was known already.
    pub dns: Duration,
    /// From the first SYN to a connection.
    pub tcp: Duration,
    /// The handshake, where there is one.
    pub tls: Option<Duration>,
}

/// The task that moves the bytes; it ends with the last handle.
#[derive(Debug)]
struct Driver(AbortHandle);

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The connection was closed before the request was sent whole: it may be sent again on another one.
    Unsent,
    /// The connection broke, or was closed, before the head of the answer had come.
    Broken,
    /// What came is no HTTP.
    NotHttp,
    /// The head is longer than this client reads.
    HeadTooLong,
}

impl Connection {
    /// Begins HTTP on a transport, and drives it in a task of its own.
    pub(super) async fn open<T>(
        transport: T,
        http2: bool,
        peer: SocketAddr,
        phases: Phases,
        tap: Arc<Tap>,
    ) -> Result<Self, hyper::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(transport);
        // how a connection ends is told by the answers that it carries
        let (sender, driver) = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_header_list_size(MAX_HEAD as u32);
            let (sender, connection) = builder.handshake(io).await?;
            (Sender::Http2(sender), tokio::spawn(async { drop(connection.await) }))
        } else {
            let mut builder = http1::Builder::new();
            builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
            let (sender, connection) = builder.handshake(io).await?;
            (Sender::Http1(sender), tokio::spawn(async { drop(connection.await) }))
        };
        Ok(Self { phases, peer, tap, sender, driver: Arc::new(Driver(driver.abort_handle())) })
    }

    /// Which version is spoken.
    pub fn version(&self) -> Version {
        match self.sender {
            Sender::Http1(_) => Version::HTTP_11,
            Sender::Http2(_) => Version::HTTP_2,
        }
    }

    /// Another handle on the same connection, for another stream of it; `None` with HTTP/1.1, which has one at a time.
    pub fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let Self { phases, peer, .. } = *self;
        let (tap, driver) = (Arc::clone(&self.tap), Arc::clone(&self.driver));
        Some(Self { phases, peer, tap, sender: Sender::Http2(sender.clone()), driver })
    }

    /// Whether a request can be sent: open, and with HTTP/1.1 no answer under way.
    pub fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Waits until a request can be sent; `false` where the connection has ended.
    pub async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// A request for `target` in the form that this version wants: `host` and origin form, or the whole URL.
    pub fn request(&self, method: Method, target: &Target) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        match self.sender {
            Sender::Http2(_) => *request.uri_mut() = target.uri().clone(),
            Sender::Http1(_) => {
                *request.uri_mut() = Uri::from(target.path_and_query());
                // a host that was parsed is ASCII without control characters
                if let Ok(host) = HeaderValue::try_from(target.authority()) {
                    request.headers_mut().insert(HOST, host);
                }
            }
        }
        request
    }

    /// Sends a request; the future is the wait for the head of its answer. With HTTP/2, more can be sent meanwhile.
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + use<> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Sender::Http2(sender) => Either::Right(sender.try_send_request(request)),
        };
        async {
            answer.await.map_err(|mut error| match error.take_message() {
                Some(_) => SendError::Unsent,
                None => SendError::of(&error.into_error()),
            })
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SendError {
    fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            SendError::HeadTooLong
        } else if error.is_parse() {
            SendError::NotHttp
        } else {
            SendError::Broken
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Unsent => "the connection was closed before the request was sent",
            SendError::Broken => "the connection was closed before an answer came",
            SendError::NotHttp => "what answered is no HTTP server of this version; check the port and --http",
            SendError::HeadTooLong => "the head of the answer is too long",
        })
    }
}

impl std::error::Error for SendError {}

//! One HTTP connection, of version 1.1 or 2.

use std::fmt;
use std::sync::Arc;

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

use crate::connector::Phases;
use crate::tap::Tap;
use crate::target::Target;

/// The most header lines of a response: more than any server needs, few enough to bound a hostile one.
const MAX_HEADERS: usize = 1024;
/// The most bytes of a response head, and of what is read ahead of the reader of the body.
const MAX_HEAD: usize = 1024 * 1024;

/// A connection. It is closed, with its responses, when its last handle is dropped.
#[derive(Debug)]
pub struct Connection {
    /// The duration of each phase of opening it.
    pub phases: Phases,
    /// The counters of its socket.
    pub tap: Arc<Tap>,
    sender: Sender,
    driver: Arc<Driver>,
}

/// The task that moves the bytes. It ends when the last handle is dropped.
#[derive(Debug)]
struct Driver(AbortHandle);

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The connection was closed before the request was sent: it can be sent again on another connection.
    Unsent,
    /// The connection was reset or closed before the head of the response.
    Broken,
    /// The response is no HTTP.
    NotHttp,
    /// The head exceeds this client's limits.
    HeadTooLong,
}

impl Connection {
    /// Starts HTTP on a transport, in a task of its own.
    pub(super) async fn open<T>(transport: T, http2: bool, phases: Phases, tap: Arc<Tap>) -> Result<Self, hyper::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(transport);
        // the responses report how the connection ends
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
        Ok(Self { phases, tap, sender, driver: Arc::new(Driver(driver.abort_handle())) })
    }

    /// The HTTP version.
    pub fn version(&self) -> Version {
        match self.sender {
            Sender::Http1(_) => Version::HTTP_11,
            Sender::Http2(_) => Version::HTTP_2,
        }
    }

    /// Another handle for another stream of the same connection; `None` with HTTP/1.1, which has one stream at a time.
    pub fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let (tap, driver) = (Arc::clone(&self.tap), Arc::clone(&self.driver));
        Some(Self { phases: self.phases, tap, sender: Sender::Http2(sender.clone()), driver })
    }

    /// Whether a request can be sent: the connection is open and, with HTTP/1.1, carries no response.
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

    /// A request for `target` in the form of this version: `host` and origin form (HTTP/1.1), or the whole URL (HTTP/2).
    pub fn request(&self, method: Method, target: &Target) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        match self.sender {
            Sender::Http2(_) => *request.uri_mut() = target.uri().clone(),
            Sender::Http1(_) => {
                *request.uri_mut() = Uri::from(target.path_and_query());
                // a parsed host is ASCII without control characters
                if let Ok(host) = HeaderValue::try_from(target.authority()) {
                    request.headers_mut().insert(HOST, host);
                }
            }
        }
        request
    }

    /// Sends a request. The future waits for the head of the response; with HTTP/2, more requests can be sent meanwhile.
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + use<> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Sender::Http2(sender) => Either::Right(sender.try_send_request(request)),
        };
        async {
            response.await.map_err(|mut error| match error.take_message() {
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
            SendError::Broken => "the connection was closed before a response came",
            SendError::NotHttp => "the response is not HTTP of this version; check the port and --http",
            SendError::HeadTooLong => "the head of the response is too long",
        })
    }
}

impl std::error::Error for SendError {}

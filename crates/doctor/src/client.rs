//! Sends requests to servers over connections that are reused.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::body::ObservedBody;
use browser::head::ResponseHead;
use dial::{Connection, Dialer, Error, SendError, Target, Trust, Versions};

/// The time limit for a reused connection to become free.
const REUSE: Duration = Duration::from_millis(100);
/// The time limit for reading a discarded body, so that its connection can be reused.
const DISCARD: Duration = Duration::from_millis(200);

/// A complete request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The URL. Its fragment is not sent.
    pub url: Url,
    /// The method, in the given case.
    pub method: Method,
    /// All headers but `host` and `content-length`.
    pub headers: HeaderMap,
    /// The body; empty if there is none.
    pub body: Bytes,
}

/// The head of a response, and its unread body.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status and the headers.
    pub head: ResponseHead,
    /// The HTTP version.
    pub version: Version,
    /// The time from the request to this head, without the time to connect.
    pub after: Duration,
    /// The body. With HTTP/1.1, the connection is busy until it is read or dropped.
    pub body: Incoming,
}

/// Why there is no response, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(pub String);

/// Sends requests, and reuses one connection to each server.
pub struct Client {
    versions: Versions,
    trust: Trust,
    timeout: Duration,
    /// The end of the time for all requests together.
    deadline: Option<Instant>,
    /// The connections by authority, and whether they use TLS.
    open: HashMap<(String, bool), Connection>,
}

impl Client {
    /// A client that waits at most `timeout` for a connection, and as long again for the head of a response.
    pub fn new(versions: Versions, trust: Trust, timeout: Duration) -> Self {
        Self { versions, trust, timeout, deadline: None, open: HashMap::new() }
    }

    /// The time limit of a connection and of a response head.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Limits the time of each following response, and of all of them together.
    pub fn limit(&mut self, timeout: Duration, in_all: Duration) {
        self.timeout = self.timeout.min(timeout);
        self.deadline = Some(Instant::now() + in_all);
    }

    /// Whether the time for all requests together is over.
    pub fn is_out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Sends a request and waits for the head of its response. Follows no redirect, stores no cookie, and adds no header but
    /// `host`.
    ///
    /// # Errors
    /// There is no response.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<HttpResponse, Unreachable> {
        let target = Target::parse(request.url.as_str())?;
        let key = (target.authority(), target.is_tls());
        if let Some(mut reused) = self.open.remove(&key)
            && timeout(REUSE, reused.ready()).await == Ok(true)
        {
            match self.exchange(&mut reused, &target, request).await {
                // the server has closed it: the request is sent on a new one
                Err(Failed::Unsent) => {}
                Err(Failed::Unreachable(unreachable)) => return Err(unreachable),
                Ok(response) => {
                    self.open.insert(key, reused);
                    return Ok(response);
                }
            }
        }
        let dialer = Dialer::new(target, self.versions, &self.trust, self.timeout)?;
        let mut connection = dialer.dial().await?;
        match self.exchange(&mut connection, dialer.target(), request).await {
            Ok(response) => {
                self.open.insert(key, connection);
                Ok(response)
            }
            Err(Failed::Unreachable(unreachable)) => Err(unreachable),
            Err(Failed::Unsent) => Err(Unreachable(format!("{}: {}", dialer.target().authority(), SendError::Unsent))),
        }
    }

    /// Sends a request and returns the head of its response. The body is discarded.
    ///
    /// # Errors
    /// There is no response, or the time for all requests together is over.
    pub async fn head(&mut self, request: &HttpRequest) -> Result<ResponseHead, Unreachable> {
        let over = || Unreachable("the time for probes is over".to_owned());
        let response = match self.deadline {
            None => self.send(request).await?,
            Some(_) if self.is_out_of_time() => return Err(over()),
            Some(deadline) => timeout_at(deadline, self.send(request)).await.map_err(|_| over())??,
        };
        ObservedBody::read(response.body, DISCARD).await;
        Ok(response.head)
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        target: &Target,
        request: &HttpRequest,
    ) -> Result<HttpResponse, Failed> {
        let place = target.authority();
        let mut sent = connection.request(request.method.clone(), target);
        for (name, value) in &request.headers {
            sent.headers_mut().append(name, value.clone());
        }
        *sent.body_mut() = Full::new(request.body.clone());
        let begin = Instant::now();
        let response = timeout(self.timeout, connection.send(sent)).await;
        let late = || format!("{place}: no answer within {:?}; allow it more with --timeout", self.timeout);
        let response = response.map_err(|_| Failed::Unreachable(Unreachable(late())))?;
        let response = response.map_err(|error| match error {
            SendError::Unsent => Failed::Unsent,
            error => Failed::Unreachable(Unreachable(format!("{place}: {error}"))),
        })?;
        let after = begin.elapsed();
        let (parts, body) = response.into_parts();
        let head = ResponseHead { status: parts.status, headers: parts.headers };
        Ok(HttpResponse { head, version: parts.version, after, body })
    }
}

enum Failed {
    /// The request was not sent.
    Unsent,
    Unreachable(Unreachable),
}

impl From<Error> for Unreachable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

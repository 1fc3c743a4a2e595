//! The client of one upstream: sends a request and checks the head of the answer.
//!
//! Headers pass by allow-list in both directions. Requests have only those of [`super::request`]; of the answer only `vary`
//! is used. The provider's key is sent to the configured origin only, because redirects are never followed.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use families::refusal;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tokio::time::Instant;

pub use super::announcement::Format;
use super::announcement::{self, request_id, retry_after};
use super::body::ResponseBody;
use super::connect::{Connect, authority};
use super::connection::Connection;
use super::exchange::Unanswered;
use super::failure::Failure;
use super::head::Head;
use super::pool::Pool;
pub use super::request::Call;
use super::request::RequestHead;
use super::settings::Upstream;

/// Most bytes that are read of an error's body, and after `[DONE]`.
const MAX_REST: usize = 64 * 1024;
/// The timeout of reading them.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends requests to one upstream.
pub struct Client {
    settings: Upstream,
    connect: Connect,
    request_head: RequestHead,
    pool: Pool,
}

/// The body of a successful answer. Dropping it before its end closes the connection, which cancels the completion.
pub struct AnswerBody {
    /// The answer's `vary`, to be merged into the gateway's own.
    pub vary: Option<HeaderValue>,
    /// The format of the body.
    pub format: Format,
    /// The time to wait, if the body is an error.
    pub retry_after: Option<Duration>,
    /// Bytes that replace the body: see [`AnswerBody::replace`].
    replacement: Option<Bytes>,
    /// `None` after a failure, or when the connection is back in the pool.
    body: Option<ResponseBody>,
    client: Arc<Client>,
}

/// How far a call is.
pub enum Step {
    /// There is a connection, and the request is sent: from now on the upstream may be working.
    Sent,
    /// The head of the answer has come, with the upstream's own id of the request, if it has one.
    Head(Option<String>),
}

impl Client {
    /// Makes the client of this upstream.
    ///
    /// # Errors
    /// Describes what in the configuration cannot be used.
    pub fn new(upstream: &Upstream) -> Result<Self, String> {
        Ok(Self {
            settings: upstream.clone(),
            connect: Connect::new(upstream)?,
            request_head: RequestHead::new(upstream, &authority(&upstream.base))?,
            pool: Pool::new(upstream.keep_alive, upstream.max_connection_age),
        })
    }

    /// Returns the configured name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it is the client of an upstream with these settings.
    pub fn serves(&self, upstream: &Upstream) -> bool {
        self.settings == *upstream
    }

    /// Closes all idle connections, from now on at once.
    pub fn retire(&self) {
        self.pool.retire();
    }

    /// Sends a call and checks the head of its answer. `step` is called at each step.
    ///
    /// A request is sent again only if a reused connection gave no byte of an answer: once, on a new connection, or as often as
    /// no byte of the request was sent.
    ///
    /// # Errors
    /// There is no connection, no answer, or no usable answer.
    pub async fn send(self: &Arc<Self>, call: &Call, mut step: impl FnMut(Step)) -> Result<AnswerBody, Failure> {
        let request_head = self.request_head.write(call);
        let mut may_reuse = true;
        loop {
            let idle = if may_reuse { self.pool.take() } else { None };
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                None => Connection::new(self.connect.open().await?),
            };
            step(Step::Sent);
            match connection.exchange(&request_head, &call.body).await {
                Ok((head, body)) => {
                    step(Step::Head(request_id(&head)));
                    return self.check(&head, body, call.added).await;
                }
                Err(Unanswered::Unsent) if !is_new => {}
                Err(Unanswered::NoByte) if !is_new => may_reuse = false,
                Err(_) => return Err(Failure::Broken),
            }
        }
    }

    async fn check(self: &Arc<Self>, head: &Head, body: ResponseBody, added: &[&str]) -> Result<AnswerBody, Failure> {
        let format = match head.status {
            StatusCode::OK => announcement::format(head)?,
            _ => Format::Json,
        };
        let body = AnswerBody {
            vary: joined(head, &header::VARY),
            format,
            retry_after: retry_after(head),
            replacement: None,
            body: Some(body),
            client: Arc::clone(self),
        };
        match head.status {
            StatusCode::OK => Ok(body),
            // boxed, because it is rare and each request would carry its state
            status => Err(Box::pin(refused(status, body, added)).await),
        }
    }

    /// Closes connections that were not used for `keep_alive`, or that the upstream has closed.
    pub fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }
}

/// Returns the failure of a status that is not a success.
async fn refused(status: StatusCode, body: AnswerBody, added: &[&str]) -> Failure {
    let retry_after = body.retry_after;
    let text = body.read_rest().await;
    Failure::Refused(refusal::classify(status.as_u16(), retry_after, &text, added))
}

/// Returns all lines of a list header as one (RFC 9110 §5.3).
fn joined(head: &Head, name: &HeaderName) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = head.all(name).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok().filter(|value| !value.is_empty())
}

impl AnswerBody {
    /// Returns the next bytes, or `None` at the proper end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(self.replacement.take().map(Ok)) };
        let next = ready!(body.poll(cx));
        if let Some(Err(_)) = next {
            self.body = None;
        }
        Poll::Ready(next.map(|next| next.map_err(|_| Failure::Broken)))
    }

    /// Waits for the next bytes.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether bytes may still come.
    pub fn is_open(&self) -> bool {
        self.replacement.is_some() || self.body.as_ref().is_some_and(|body| !body.is_ended())
    }

    /// Releases the connection for the next request, if the body has ended properly. The reader of the body decides this: a
    /// completion without its proper end is a sign of an unhealthy upstream.
    pub fn release(&mut self) {
        if !self.is_open()
            && let Some(connection) = self.body.take().and_then(ResponseBody::into_connection)
        {
            self.client.pool.return_idle(connection);
        }
    }

    /// Replaces a body that was read to its end, in another format. The connection is released.
    pub fn replace(&mut self, body: Bytes) {
        self.release();
        self.body = None;
        self.replacement = Some(body);
    }

    /// Reads the rest, within a bound of bytes and time, and releases the connection.
    pub async fn read_rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = async {
            while let Some(Ok(bytes)) = self.next().await {
                rest.extend_from_slice(&bytes[..bytes.len().min(MAX_REST - rest.len())]);
                if rest.len() == MAX_REST {
                    break;
                }
            }
        };
        // after a timeout, the bytes so far are used
        let _ = tokio::time::timeout(REST_TIMEOUT, read).await;
        self.release();
        rest
    }
}

//! One upstream as a client sees it: idle connections, one request out, one checked answer in.
//!
//! Headers pass by allow-list in both directions. Upwards go only those that are written here; downwards comes none
//! but `vary`. The provider's key goes to the configured origin alone, for redirects are never followed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::Instant;

use super::connect::{Connect, authority};
use super::failure::Failure;
use super::wire::{Reading, Unanswered, Wire};
use crate::config::Upstream;
use families::refusal;

/// Most idle connections that are kept to one upstream.
const MAX_IDLE: usize = 256;
/// Most bytes that are read of an error's body, and of what follows `[DONE]`.
const MAX_REST: usize = 64 * 1024;
/// How long is waited for those.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends requests to one upstream.
pub struct Client {
    name: String,
    connect: Connect,
    uri: Uri,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    keep_alive: Duration,
    idle: Mutex<VecDeque<(Wire, Instant)>>,
}

/// One request: the whole of what goes up.
pub struct Call {
    /// The JSON body.
    pub body: Bytes,
    /// Whether an event stream is expected in return, or one JSON object.
    pub streaming: bool,
    /// Sent as `x-request-id`.
    pub request_id: HeaderValue,
    /// Sent on as it came.
    pub idempotency_key: Option<HeaderValue>,
}

/// The body of a successful answer. Dropping it before its end closes the connection, which cancels the completion.
pub struct AnswerBody {
    /// The answer's `vary`, to be merged into the gateway's own.
    pub vary: Option<HeaderValue>,
    /// `None` once it broke, or its connection went back.
    reading: Option<Reading>,
    client: Arc<Client>,
}

impl Client {
    /// # Errors
    /// What in the configuration cannot be used.
    pub fn new(upstream: &Upstream) -> Result<Self, String> {
        let path = format!("{}/chat/completions", upstream.base.prefix);
        let authorization = match &upstream.api_key {
            None => None,
            Some(key) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                    .map_err(|_| "the key holds bytes that cannot stand in a header".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            name: upstream.name.clone(),
            connect: Connect::new(upstream)?,
            uri: path.parse().map_err(|_| format!("`{path}` is no path"))?,
            host: HeaderValue::from_str(&authority(&upstream.base)).map_err(|error| error.to_string())?,
            authorization,
            keep_alive: upstream.keep_alive,
            idle: Mutex::default(),
        })
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a call and checks the head of its answer. `begun` is called as soon as there is a connection: from then on the
    /// upstream may be at work.
    ///
    /// A request is sent again only when not one byte of it had left.
    pub async fn send(self: &Arc<Self>, call: &Call, mut begun: impl FnMut()) -> Result<AnswerBody, Failure> {
        let mut request = self.request(call);
        while let Some(wire) = self.take_idle() {
            begun();
            match wire.exchange(request).await {
                Ok((head, body)) => return self.check(head, body, call.streaming).await,
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Broken) => return Err(Failure::Broken),
            }
        }
        let wire = Wire::new(self.connect.open().await?);
        begun();
        match wire.exchange(request).await {
            Ok((head, body)) => self.check(head, body, call.streaming).await,
            Err(_) => Err(Failure::Broken),
        }
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let accept = if call.streaming { "text/event-stream" } else { "application/json" };
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tokenway/", env!("CARGO_PKG_VERSION"))));
        headers.insert(HeaderName::from_static("x-request-id"), call.request_id.clone());
        if let Some(key) = &call.idempotency_key {
            headers.insert(HeaderName::from_static("idempotency-key"), key.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }

    async fn check(self: &Arc<Self>, head: Parts, reading: Reading, streaming: bool) -> Result<AnswerBody, Failure> {
        let vary = joined(&head.headers, &header::VARY);
        let body = AnswerBody { vary, reading: Some(reading), client: Arc::clone(self) };
        if head.status != StatusCode::OK {
            let said = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
            let retry_after = said(header::RETRY_AFTER).and_then(|wait| refusal::asked_for(wait, said(header::DATE)));
            let text = body.read_rest().await;
            let refused = refusal::classify(head.status.as_u16(), retry_after, &text);
            return Err(Failure::Refused(refused));
        }
        usable(&head.headers, streaming)?;
        Ok(body)
    }

    fn take_idle(&self) -> Option<Wire> {
        let now = Instant::now();
        loop {
            // the youngest first: it is the least likely to be closed
            let (mut wire, since) = self.idle().pop_back()?;
            if now.duration_since(since) < self.keep_alive && wire.is_reusable() {
                return Some(wire);
            }
        }
    }

    fn park(&self, mut wire: Wire) {
        if wire.is_reusable() {
            let now = Instant::now();
            let mut idle = self.idle();
            idle.push_back((wire, now));
            let crowded = idle.len() > MAX_IDLE;
            let stale = |parked: Option<&(Wire, Instant)>| {
                parked.is_some_and(|(_, since)| now.duration_since(*since) >= self.keep_alive)
            };
            if crowded || stale(idle.front()) {
                idle.pop_front();
            }
        }
    }

    /// Closes connections that were not used for `keep_alive`, or that the upstream has closed.
    pub fn sweep(&self, now: Instant) {
        self.idle().retain_mut(|(wire, since)| now.duration_since(*since) < self.keep_alive && wire.is_reusable());
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Wire, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All lines of a list header as one (RFC 9110 §5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok().filter(|value| !value.is_empty())
}

/// Whether the head announces what was asked for: an event stream or JSON, in UTF-8, as it is.
fn usable(headers: &HeaderMap, streaming: bool) -> Result<(), Failure> {
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Err(Failure::BadHead("it is compressed, though identity was asked for"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let expected = if streaming { "text/event-stream" } else { "application/json" };
    if !essence.eq_ignore_ascii_case(expected) {
        return Err(Failure::BadHead(match streaming {
            true => "its content type is not text/event-stream",
            false => "its content type is not application/json",
        }));
    }
    let foreign = |parameter: &str| {
        let charset = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        charset.is_some_and(|(_, value)| !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
    };
    match parts.any(foreign) {
        true => Err(Failure::BadHead("its charset is not UTF-8")),
        false => Ok(()),
    }
}

impl AnswerBody {
    /// The next bytes: `None` at the proper end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let next = ready!(reading.poll(cx));
        if let Some(Err(_)) = next {
            self.reading = None;
        }
        Poll::Ready(next.map(|next| next.map_err(|_| Failure::Broken)))
    }

    /// The next bytes, awaited.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether bytes may still come.
    pub fn is_open(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| !reading.is_ended())
    }

    /// Keeps the connection for the next request, if the body has ended properly. Whoever has read the body decides: a
    /// completion that ended without its end is no sign of an upstream in good health.
    pub fn keep(&mut self) {
        if !self.is_open() {
            self.reading.take().and_then(Reading::into_wire).into_iter().for_each(|wire| self.client.park(wire));
        }
    }

    /// Reads what is left, within a bound of bytes and time, and keeps the connection.
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
        // late is not wrong here: what came in time is used
        let _ = tokio::time::timeout(REST_TIMEOUT, read).await;
        self.keep();
        rest
    }
}

//! Runs one stream, from its connection to its last event, and measures it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ORIGIN, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::body::observed;
use super::failure::{check_head, no_connection, no_response};
use super::measurement::{Measurement, Slot};
use super::page::Page;
use super::pool::{Lease, Pool};
use super::sse::{Events, MAX_EVENT, ReadError};
use crate::report::sample::{Cors, Failure, Kind, Outcome, Sample};
use browser::block::Block;
use browser::head::ResponseHead;
use dial::{Dialer, SendError, Target};
use families::chat::Chat;
use families::family::Family;

/// The most bytes of a discarded body that are read, so that its connection can be reused.
const MAX_DISCARDED: usize = 64 * 1024;
/// The time limit for the end of a body after `[DONE]`.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Sends requests to one target and measures the streams.
pub struct StreamClient {
    pool: Pool,
    headers: HeaderMap,
    page: Option<Page>,
    timeout: Duration,
}

impl StreamClient {
    /// A client that connects with `dialer`, sends these headers, and behaves as the browser of `page` if there is one. With
    /// `reuse`, a connection carries several streams. A stream that has not ended after `timeout` is aborted.
    pub fn new(dialer: Dialer, reuse: bool, headers: HeaderMap, page: Option<Page>, timeout: Duration) -> Self {
        Self { pool: Pool::new(dialer, reuse), headers, page, timeout }
    }

    /// Runs one stream to its end and measures it.
    pub(super) async fn measure(&self, body: Bytes, slot: Slot) -> Sample {
        let mut measurement = Measurement::start(slot);
        let outcome = match timeout(self.timeout, self.run(body, &mut measurement)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => Outcome::Failed(self.timed_out()),
        };
        measurement.finish(outcome)
    }

    async fn run(&self, body: Bytes, measurement: &mut Measurement) -> Result<Outcome, Failure> {
        let lease = self.pool.acquire().await.map_err(|error| no_connection(&error))?;
        measurement.connected(&lease);
        let lease = match &self.page {
            Some(page) => self.preflight(page, lease, measurement).await?,
            None => lease,
        };
        let (lease, response) = self.exchange(lease, measurement, |lease| self.request(lease, body.clone())).await?;
        measurement.sample.head = Some(measurement.elapsed());
        let (head, body) = response.into_parts();
        if let Some(page) = &self.page {
            let checked = page.check(&ResponseHead { status: head.status, headers: head.headers.clone() });
            measurement.sample.cors = Some(match &checked {
                Ok(()) => Cors::Allowed,
                Err(block) => Cors::AnswerRefused { code: code(block) },
            });
            checked.map_err(|block| self.blocked(&block))?;
        }
        if let Err(failure) = check_head(self.target(), head.status, &head.headers) {
            self.discard(lease, body).await;
            return Err(failure);
        }
        self.read(lease, body, measurement).await
    }

    /// Sends the preflight, where the page's request needs one.
    async fn preflight(&self, page: &Page, lease: Lease, measurement: &mut Measurement) -> Result<Lease, Failure> {
        let Some(preflight) = page.preflight() else { return Ok(lease) };
        let begin = Instant::now();
        let request = |lease: &Lease| {
            let mut request = lease.connection.request(Method::OPTIONS, self.target());
            request.headers_mut().extend(preflight.headers.clone());
            request
        };
        let (mut lease, response) = self.exchange(lease, measurement, request).await?;
        measurement.sample.preflight = Some(begin.elapsed());
        let (head, body) = response.into_parts();
        if let Err(block) = page.check_preflight(&ResponseHead { status: head.status, headers: head.headers }) {
            measurement.sample.cors = Some(Cors::PreflightRefused { code: code(&block) });
            self.discard(lease, body).await;
            return Err(self.blocked(&block));
        }
        if Limited::new(body, MAX_DISCARDED).collect().await.is_ok() && lease.connection.ready().await {
            return Ok(lease);
        }
        self.pool.connect().await.map_err(|error| no_connection(&error))
    }

    /// Sends a request and waits for the head of its response. A server may close a reused connection just then (RFC 9112
    /// §9.3.1): as in browsers, the request is sent again on a new connection.
    async fn exchange(
        &self,
        mut lease: Lease,
        measurement: &mut Measurement,
        request: impl Fn(&Lease) -> Request<Full<Bytes>>,
    ) -> Result<(Lease, Response<Incoming>), Failure> {
        let sent = request(&lease);
        let mut response = lease.connection.send(sent).await;
        if lease.reused && matches!(response, Err(SendError::Unsent | SendError::Broken)) {
            lease = self.pool.connect().await.map_err(|error| no_connection(&error))?;
            measurement.connected(&lease);
            let sent = request(&lease);
            response = lease.connection.send(sent).await;
        }
        response.map(|response| (lease, response)).map_err(|error| no_response(self.target(), error))
    }

    fn request(&self, lease: &Lease, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = lease.connection.request(Method::POST, self.target());
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tokenway-bench/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if let Some(origin) = self.page.as_ref().and_then(|page| HeaderValue::from_str(page.origin()).ok()) {
            headers.insert(ORIGIN, origin);
        }
        *request.body_mut() = Full::new(body);
        request
    }

    /// Reads events to the end of the body.
    async fn read(&self, lease: Lease, body: Incoming, measurement: &mut Measurement) -> Result<Outcome, Failure> {
        let (body, stats) = observed(body, lease.connection.tap.clone());
        measurement.body = Arc::clone(&stats);
        let mut events = Events::new(body, MAX_EVENT);
        let (mut reader, mut done) = (Chat.reader(), false);
        loop {
            // what follows [DONE] is ignored, but the end of the body releases the connection
            let next = match done {
                false => events.next().await,
                true => timeout(AFTER_DONE, events.next()).await.unwrap_or(Some(Err(ReadError::TooLong))),
            };
            match next {
                Some(Ok(_)) if done => {}
                Some(Ok(event)) => {
                    let meaning = reader.read(Some(event.event.as_bytes()), event.data.as_bytes());
                    if meaning.fault.is_some() {
                        return Err(self.failure(
                            Kind::ErrorEvent,
                            "the stream ended with an error event; look at the server's log",
                        ));
                    }
                    measurement.record(&meaning);
                    done = meaning.terminal;
                }
                None => {
                    self.pool.release(lease);
                    return self.outcome(done || measurement.finished, measurement);
                }
                Some(Err(_)) if done => return self.outcome(true, measurement),
                Some(Err(ReadError::Body(_))) => return Ok(Outcome::Truncated),
                Some(Err(ReadError::TooLong)) => {
                    let message = format!("an event has more than {MAX_EVENT} bytes; this is no completion");
                    return Err(self.failure(Kind::EventTooLong, &message));
                }
            }
        }
    }

    /// Discards a body and releases its connection, if the body is short.
    async fn discard(&self, lease: Lease, body: Incoming) {
        if Limited::new(body, MAX_DISCARDED).collect().await.is_ok() {
            self.pool.release(lease);
        }
    }

    /// The outcome of a stream whose body has ended.
    fn outcome(&self, whole: bool, measurement: &Measurement) -> Result<Outcome, Failure> {
        match (whole, measurement.outputs) {
            (false, _) => Ok(Outcome::Truncated),
            (true, 0) => {
                Err(self.failure(Kind::NoOutput, "whole, but without output; check --max-tokens and the prompt"))
            }
            (true, _) => Ok(Outcome::Whole),
        }
    }

    fn target(&self) -> &Target {
        self.pool.target()
    }

    fn failure(&self, kind: Kind, message: &str) -> Failure {
        Failure { kind, message: format!("{}: {message}", self.target()) }
    }

    fn blocked(&self, block: &Block) -> Failure {
        let code = code(block);
        let message = format!("a browser blocks the response: {code}; `tokenway doctor` explains why");
        self.failure(Kind::Cors, &message)
    }

    fn timed_out(&self) -> Failure {
        let after = self.timeout.as_secs_f64();
        let message =
            format!("not finished after {after} s; allow more with --timeout, or ask for less with --max-tokens");
        self.failure(Kind::TimedOut, &message)
    }
}

fn code(block: &Block) -> &'static str {
    block.code.map_or("refused", |code| code.as_str())
}

//! One stream, from its connection to its last event, and the times of all that happens to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ORIGIN, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::body::Chunks;
use super::page::Page;
use super::pool::{Lease, Pool};
use super::sse::{Broken, Events};
use super::taking::{Place, Taking};
use super::verdict::{check_head, no_answer, no_connection};
use crate::report::sample::{Cors, Failure, Kind, Outcome, Sample};
use browser::answer::Answer;
use browser::block::Block;
use dial::{Dialer, SendError, Target};
use families::chat::Chat;
use families::family::Family;

/// Most bytes of one event: larger than any tool call in one piece.
const MAX_EVENT: usize = 4 * 1024 * 1024;
/// Most bytes that are read of a body which nobody wants, so that its connection can be used again.
const MAX_WASTE: usize = 64 * 1024;
/// How long the end of a body may take after `[DONE]`.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Asks one target.
pub struct Asker {
    pool: Pool,
    headers: HeaderMap,
    page: Option<Page>,
    timeout: Duration,
}

impl Asker {
    /// Asks through this dialer, with these headers, as this page if there is one. With `reuse`, connections are used
    /// again; a stream that is not over after `timeout` is given up.
    pub fn new(dialer: Dialer, reuse: bool, headers: HeaderMap, page: Option<Page>, timeout: Duration) -> Self {
        Self { pool: Pool::new(dialer, reuse), headers, page, timeout }
    }

    /// Runs one stream to its end, whatever that is.
    pub(super) async fn stream(&self, body: Bytes, place: Place) -> Sample {
        let mut taking = Taking::begin(place);
        let outcome = match timeout(self.timeout, self.run(body, &mut taking)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => Outcome::Failed(self.timed_out()),
        };
        taking.end(outcome)
    }

    async fn run(&self, body: Bytes, taking: &mut Taking) -> Result<Outcome, Failure> {
        let lease = self.pool.take().await.map_err(|error| no_connection(&error))?;
        taking.connected(&lease);
        let lease = match &self.page {
            Some(page) => self.ask_first(page, lease, taking).await?,
            None => lease,
        };
        let (lease, answer) = self.exchange(lease, taking, |lease| self.request(lease, body.clone())).await?;
        taking.sample.head = Some(taking.now());
        let (head, body) = answer.into_parts();
        if let Some(page) = &self.page {
            let answer = Answer { status: head.status, headers: head.headers.clone() };
            let checked = page.check(&answer);
            taking.sample.cors = Some(checked.as_ref().map_or_else(|block| refused_answer(block), |()| Cors::Allowed));
            checked.map_err(|block| self.refused(&block))?;
        }
        if let Err(failure) = check_head(self.target(), head.status, &head.headers) {
            self.waste(lease, body).await;
            return Err(failure);
        }
        self.read(lease, body, taking).await
    }

    /// The preflight, where the page's request needs one.
    async fn ask_first(&self, page: &Page, lease: Lease, taking: &mut Taking) -> Result<Lease, Failure> {
        let Some(preflight) = page.preflight() else { return Ok(lease) };
        let begun = Instant::now();
        let request = |lease: &Lease| {
            let mut request = lease.connection.request(Method::OPTIONS, self.target());
            request.headers_mut().extend(preflight.headers.clone());
            request
        };
        let (mut lease, answer) = self.exchange(lease, taking, request).await?;
        taking.sample.preflight = Some(begun.elapsed());
        let (head, body) = answer.into_parts();
        let answer = Answer { status: head.status, headers: head.headers };
        if let Err(block) = page.check_preflight(&answer) {
            taking.sample.cors = Some(Cors::PreflightRefused { code: code(&block) });
            self.waste(lease, body).await;
            return Err(self.refused(&block));
        }
        if Limited::new(body, MAX_WASTE).collect().await.is_ok() && lease.connection.ready().await {
            return Ok(lease);
        }
        self.pool.fresh().await.map_err(|error| no_connection(&error))
    }

    /// Sends a request and waits for the head of its answer. A connection that is used again may be found closed by a
    /// server that was done with it (RFC 9112 §9.3.1): as in browsers, that costs no stream.
    async fn exchange(
        &self,
        mut lease: Lease,
        taking: &mut Taking,
        request: impl Fn(&Lease) -> Request<Full<Bytes>>,
    ) -> Result<(Lease, Response<Incoming>), Failure> {
        let sent = request(&lease);
        let mut answer = lease.connection.send(sent).await;
        if lease.reused && matches!(answer, Err(SendError::Unsent | SendError::Broken)) {
            lease = self.pool.fresh().await.map_err(|error| no_connection(&error))?;
            taking.connected(&lease);
            let sent = request(&lease);
            answer = lease.connection.send(sent).await;
        }
        answer.map(|answer| (lease, answer)).map_err(|error| no_answer(self.target(), error))
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
    async fn read(&self, lease: Lease, body: Incoming, taking: &mut Taking) -> Result<Outcome, Failure> {
        let (chunks, notes) = Chunks::new(body, lease.connection.tap.clone());
        taking.notes = Arc::clone(&notes);
        let mut events = Events::new(chunks, MAX_EVENT);
        let (mut reader, mut done) = (Chat.reader(), false);
        loop {
            // what comes after [DONE] is nobody's, but its end frees the connection
            let next = match done {
                false => events.next().await,
                true => timeout(AFTER_DONE, events.next()).await.unwrap_or(Some(Err(Broken::TooLong))),
            };
            match next {
                Some(Ok(_)) if done => {}
                Some(Ok(event)) => {
                    let meaning = reader.read(Some(event.event.as_bytes()), event.data.as_bytes());
                    if meaning.fault.is_some() {
                        return Err(self.error_event());
                    }
                    taking.arrived(&meaning);
                    done = meaning.terminal;
                }
                None => {
                    self.pool.give_back(lease);
                    return self.over(done || taking.finished, taking);
                }
                Some(Err(_)) if done => return self.over(true, taking),
                Some(Err(Broken::Body(_))) => return Ok(Outcome::Truncated),
                Some(Err(Broken::TooLong)) => return Err(self.event_too_long()),
            }
        }
    }

    /// Reads a body that nobody wants, if it is short.
    async fn waste(&self, lease: Lease, body: Incoming) {
        if Limited::new(body, MAX_WASTE).collect().await.is_ok() {
            self.pool.give_back(lease);
        }
    }

    /// The body has ended.
    fn over(&self, whole: bool, taking: &Taking) -> Result<Outcome, Failure> {
        match (whole, taking.outputs) {
            (false, _) => Ok(Outcome::Truncated),
            (true, 0) => {
                Err(self.failure(Kind::NoOutput, "whole, and said nothing; check --max-tokens and the prompt"))
            }
            (true, _) => Ok(Outcome::Whole),
        }
    }

    fn target(&self) -> &Target {
        self.pool.target()
    }

    fn failure(&self, kind: Kind, words: &str) -> Failure {
        Failure { kind, words: format!("{}: {words}", self.target()) }
    }

    fn refused(&self, block: &Block) -> Failure {
        let code = code(block);
        self.failure(
            Kind::Cors,
            &format!("a browser keeps the answer from the page: {code}; `tokenway doctor` tells why"),
        )
    }

    fn error_event(&self) -> Failure {
        self.failure(Kind::ErrorEvent, "the stream ended with an error event; look at the server's log")
    }

    fn event_too_long(&self) -> Failure {
        self.failure(Kind::EventTooLong, &format!("an event has more than {MAX_EVENT} bytes; this is no completion"))
    }

    fn timed_out(&self) -> Failure {
        let after = self.timeout.as_secs_f64();
        let words = format!("not over after {after} s; allow more with --timeout, or ask for less with --max-tokens");
        self.failure(Kind::TimedOut, &words)
    }
}

fn refused_answer(block: &Block) -> Cors {
    Cors::AnswerRefused { code: code(block) }
}

fn code(block: &Block) -> &'static str {
    block.code.map_or("refused", |code| code.as_str())
}

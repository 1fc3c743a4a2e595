//! One stream, from its connection to its last event, and the times of all that happens to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ORIGIN, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::body::{Chunks, Notes};
use super::page::Page;
use super::pool::{Lease, Pool};
use super::sse::{Broken, Events};
use super::verdict::{check_head, no_answer, no_connection};
use crate::browser::answer::Answer;
use crate::browser::block::Block;
use crate::chat::estimate;
use crate::chat::event::{self, Chunk};
use crate::chat::usage::Usage;
use crate::dial::{Dialer, SendError, Target};
use crate::report::sample::{Arrival, Connect, Cors, Failure, Kind, Outcome, Sample};

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

/// One stream's place in the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) target: usize,
    pub(super) number: u64,
    /// Of the run.
    pub(super) beginning: Instant,
    /// When the stream is to start.
    pub(super) scheduled: Instant,
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
        let (lease, answer) = self.ask(lease, body, taking).await?;
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
    async fn ask_first(&self, page: &Page, mut lease: Lease, taking: &mut Taking) -> Result<Lease, Failure> {
        let Some(preflight) = page.preflight() else { return Ok(lease) };
        let begun = Instant::now();
        let mut request = lease.connection.request(Method::OPTIONS, self.target());
        request.headers_mut().extend(preflight.headers);
        let answer = lease.connection.send(request).await.map_err(|error| no_answer(self.target(), error))?;
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

    /// Sends the request and waits for the head of its answer. A connection that is used again may be found closed by a
    /// server that was done with it (RFC 9112 §9.3.1): as in browsers, that costs no stream.
    async fn ask(
        &self,
        mut lease: Lease,
        body: Bytes,
        taking: &mut Taking,
    ) -> Result<(Lease, Response<Incoming>), Failure> {
        let request = self.request(&lease, body.clone());
        match lease.connection.send(request).await {
            Err(SendError::Unsent | SendError::Broken) if lease.reused => {}
            answer => return answer.map(|answer| (lease, answer)).map_err(|error| no_answer(self.target(), error)),
        }
        let mut lease = self.pool.fresh().await.map_err(|error| no_connection(&error))?;
        taking.connected(&lease);
        let request = self.request(&lease, body);
        let answer = lease.connection.send(request).await.map_err(|error| no_answer(self.target(), error))?;
        Ok((lease, answer))
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
        let mut done = false;
        loop {
            // what comes after [DONE] is nobody's, but its end frees the connection
            let next = match done {
                false => events.next().await,
                true => timeout(AFTER_DONE, events.next()).await.unwrap_or(Some(Err(Broken::TooLong))),
            };
            match next {
                Some(Ok(_)) if done => {}
                Some(Ok(event)) => match event::inspect(Some(event.event.as_bytes()), event.data.as_bytes()) {
                    Chunk::Error(_) => return Err(self.error_event()),
                    chunk => {
                        taking.arrived(&chunk);
                        done = chunk == Chunk::Done;
                    }
                },
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

/// A sample that is being taken.
struct Taking {
    sample: Sample,
    scheduled: Instant,
    /// Of the body, once there is one.
    notes: Arc<Notes>,
    finished: bool,
    text_bytes: u64,
    outputs: u64,
    usage: Option<Usage>,
    last: Option<Duration>,
}

impl Taking {
    fn begin(place: Place) -> Self {
        let sample = Sample {
            target: place.target,
            number: place.number,
            scheduled: place.scheduled - place.beginning,
            started: place.beginning.elapsed(),
            connect: None,
            reused: false,
            preflight: None,
            head: None,
            first_byte: None,
            events: Vec::new(),
            total: Duration::ZERO,
            bytes: 0,
            output_tokens: 0,
            counted: false,
            cors: None,
            outcome: Outcome::Truncated,
        };
        Self {
            sample,
            scheduled: place.scheduled,
            notes: Arc::default(),
            finished: false,
            text_bytes: 0,
            outputs: 0,
            usage: None,
            last: None,
        }
    }

    /// The time since the stream was to start.
    fn now(&self) -> Duration {
        self.scheduled.elapsed()
    }

    fn connected(&mut self, lease: &Lease) {
        let phases = lease.connection.phases;
        let made = Connect { dns: phases.dns, tcp: phases.tcp, tls: phases.tls };
        self.sample.connect = (!lease.reused).then_some(made);
        self.sample.reused = lease.reused;
    }

    fn arrived(&mut self, chunk: &Chunk) {
        let at = self.now();
        let mut output = false;
        if let Chunk::Delta(delta) = chunk {
            output = delta.output;
            self.outputs += u64::from(delta.output);
            self.text_bytes += delta.text_bytes;
            self.finished |= delta.finished;
            // some servers send a running count with every chunk: the last one holds
            self.usage = delta.usage.or(self.usage);
        }
        self.last = Some(at);
        let (read, bytes) = (self.notes.read(), self.notes.bytes());
        self.sample.events.push(Arrival { at, read, bytes, output });
    }

    fn end(mut self, outcome: Outcome) -> Sample {
        self.sample.total = match (&outcome, self.last) {
            (Outcome::Whole, Some(last)) => last,
            _ => self.now(),
        };
        self.sample.first_byte = self.notes.first().map(|first| first.saturating_duration_since(self.scheduled));
        self.sample.bytes = self.notes.bytes();
        self.sample.counted = self.usage.is_some();
        self.sample.output_tokens = match self.usage {
            Some(usage) => usage.completion,
            None => estimate::output_tokens(self.text_bytes, self.outputs),
        };
        self.sample.outcome = outcome;
        self.sample
    }
}

//! Asks one model after another until one gives its first output, or a whole answer.
//!
//! Before the first output another model may be asked; after it, never: no answer is stitched from two models.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};

use crate::caller::Caller;
use crate::chat::answer::{self, NoAnswer};
use crate::chat::request::Request;
use crate::config;
use crate::route::table::{ModelId, Table};
use crate::stream::attempt::Attempt;
use crate::stream::bill::Purpose;
use crate::stream::feed::{Feed, Opened};
use crate::stream::meter::Meter;
use crate::upstream::client::{AnswerBody, Call, Client};
use crate::upstream::failure::Failure;

/// Most bytes of an answer that is not streamed.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Every upstream and every model, ready to be asked.
pub struct Upstreams {
    /// In the order of the configuration: [`crate::route::table::UpstreamId`] is the place.
    clients: Vec<Arc<Client>>,
    models: Table,
    rules: config::Stream,
}

/// One completion that is wanted.
pub struct Ask {
    /// In whose name: no upstream is asked without a caller, nor for a model that the caller may not use.
    pub caller: Caller,
    /// Who is asked, in this order, until one answers.
    pub candidates: Vec<ModelId>,
    /// What is asked.
    pub request: Request,
    /// Sent up as `x-request-id`.
    pub request_id: HeaderValue,
    /// Sent up as it came.
    pub idempotency_key: Option<HeaderValue>,
    /// What the answer is for.
    pub purpose: Purpose,
}

/// How one model is asked.
type Once<T> = for<'a> fn(
    &'a Upstreams,
    ModelId,
    &'a Ask,
    &'a Meter,
) -> Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A completion that was not streamed.
pub struct Whole {
    /// The upstream's own bytes.
    pub body: Bytes,
    /// The answer's `vary`.
    pub vary: Option<HeaderValue>,
}

impl Upstreams {
    /// # Errors
    /// Which upstream cannot be used, and why.
    pub fn new(config: &config::Config) -> Result<Self, String> {
        let client = |upstream: &config::Upstream| {
            Client::new(upstream).map(Arc::new).map_err(|error| format!("upstream `{}`: {error}", upstream.name))
        };
        let clients = config.upstreams.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self { clients, models: config.models.clone(), rules: config.stream.clone() })
    }

    /// Every model that can be asked.
    pub fn models(&self) -> &Table {
        &self.models
    }

    /// The bounds of each stream.
    pub fn rules(&self) -> &config::Stream {
        &self.rules
    }

    /// Closes connections that have been idle too long.
    pub fn sweep(&self, now: Instant) {
        self.clients.iter().for_each(|client| client.sweep(now));
    }

    /// Opens the stream of the first candidate that gives output.
    ///
    /// # Errors
    /// The last candidate's failure.
    pub async fn stream(self: Arc<Self>, ask: Ask, meter: Meter) -> Result<Opened, Failure> {
        self.first_good(&ask, &meter, |upstreams, id, ask, meter| Box::pin(upstreams.stream_once(id, ask, meter))).await
    }

    /// Gets the whole answer of the first candidate that gives one.
    ///
    /// # Errors
    /// The last candidate's failure.
    pub async fn whole(self: Arc<Self>, ask: Ask, meter: Meter) -> Result<Whole, Failure> {
        self.first_good(&ask, &meter, |upstreams, id, ask, meter| Box::pin(upstreams.whole_once(id, ask, meter))).await
    }

    async fn first_good<T>(&self, ask: &Ask, meter: &Meter, once: Once<T>) -> Result<T, Failure> {
        // an upstream that is never quite silent would wear out every other patience
        let time_up = meter.started() + self.rules.max_duration;
        timeout_at(time_up, self.try_each(ask, meter, once)).await.unwrap_or(Err(Failure::TooLong))
    }

    async fn try_each<T>(&self, ask: &Ask, meter: &Meter, once: Once<T>) -> Result<T, Failure> {
        let allowed = |id: &ModelId| ask.caller.may_use(&self.models.get(*id).name);
        let mut left = ask.candidates.iter().copied().filter(allowed).peekable();
        loop {
            let Some(id) = left.next() else { return Err(Failure::Empty) };
            let failure = match once(self, id, ask, meter).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let model = self.models.get(id).name.as_str();
            let next = left.peek().filter(|_| failure.is_retryable()).map(|next| self.models.get(*next).name.as_str());
            let (upstream, reason) = (self.client(id).name(), failure.reason());
            tracing::warn!(request_id = meter.record().request_id(), model, upstream, reason, next, "attempt failed");
            let Some(next) = next else { return Err(failure) };
            let metrics = Arc::clone(meter.record().metrics());
            metrics.fallbacks.with_label_values(&[model, next, reason]).inc();
        }
    }

    async fn stream_once(&self, id: ModelId, ask: &Ask, meter: &Meter) -> Result<Opened, Failure> {
        let mut attempt = self.begin(id, ask, meter);
        let (sent, patience) = (Instant::now(), self.rules.first_event_timeout);
        let body = self.send(id, ask, &mut attempt, patience, Failure::SilentBeforeFirstEvent).await?;
        let feed = Feed::new(body, self.rules.max_event, ask.request.wants_usage(), attempt);
        let mut opened = first_output(feed, sent, &self.rules).await?;
        opened.feed.attempt_mut().first_output_came();
        Ok(opened)
    }

    async fn whole_once(&self, id: ModelId, ask: &Ask, meter: &Meter) -> Result<Whole, Failure> {
        let mut attempt = self.begin(id, ask, meter);
        // a whole answer has no events: silence is all the time until its head, then between its bytes
        let patience = self.rules.idle_timeout;
        let mut body = self.send(id, ask, &mut attempt, patience, Failure::SilentBetweenEvents).await?;
        let whole = take_whole(&mut body, patience, &mut attempt).await;
        let bytes = whole.inspect_err(|failure| attempt.failed(failure))?;
        attempt.answers();
        body.keep();
        Ok(Whole { body: bytes, vary: body.vary.take() })
    }

    fn begin(&self, id: ModelId, ask: &Ask, meter: &Meter) -> Attempt {
        let prompt_tokens = ask.request.estimated_prompt_tokens();
        Attempt::begin(meter, self.models.get(id), self.client(id).name(), prompt_tokens, ask.purpose)
    }

    /// Up to the head of the answer; `silent` if that does not come in time.
    async fn send(
        &self,
        id: ModelId,
        ask: &Ask,
        attempt: &mut Attempt,
        patience: Duration,
        silent: Failure,
    ) -> Result<AnswerBody, Failure> {
        let call = Call {
            body: ask.request.to_upstream(&self.models.get(id).upstream_model),
            streaming: ask.request.stream(),
            request_id: ask.request_id.clone(),
            idempotency_key: ask.idempotency_key.clone(),
        };
        let answer = timeout(patience, self.client(id).send(&call, || attempt.sent())).await;
        let body = answer.unwrap_or(Err(silent)).inspect_err(|failure| attempt.failed(failure))?;
        attempt.answered();
        Ok(body)
    }

    fn client(&self, id: ModelId) -> &Arc<Client> {
        &self.clients[self.models.get(id).upstream.0]
    }
}

/// Holds what comes until the first output, or until a completion without any has ended properly.
async fn first_output(mut feed: Feed, mut silent_since: Instant, rules: &config::Stream) -> Result<Opened, Failure> {
    let mut held = Vec::new();
    loop {
        let (patience, silent) = match held.is_empty() {
            true => (rules.first_event_timeout, Failure::SilentBeforeFirstEvent),
            false => (rules.idle_timeout, Failure::SilentBetweenEvents),
        };
        let next = match timeout_at(silent_since + patience, feed.next()).await {
            Ok(next) => next?,
            // comments, or a part of an event: not silent
            Err(_) if feed.heard() > silent_since => {
                silent_since = feed.heard();
                continue;
            }
            Err(_) => return Err(silent),
        };
        let Some(batch) = next else {
            return if feed.tally().finished { Ok(Opened::new(held, feed)) } else { Err(Failure::Empty) };
        };
        let output = batch.output;
        held.push(batch);
        if output || feed.is_done() && feed.tally().finished {
            return Ok(Opened::new(held, feed));
        }
        silent_since = feed.heard();
    }
}

/// Reads an answer that is not streamed to its end, and what it says of itself.
async fn take_whole(body: &mut AnswerBody, patience: Duration, attempt: &mut Attempt) -> Result<Bytes, Failure> {
    let bytes = collect(body, patience).await?;
    let answer = answer::inspect_answer(&bytes).map_err(|error| match error {
        NoAnswer::Error(fault) => Failure::InBody(fault),
        NoAnswer::Malformed => Failure::BadBody("it is no chat completion"),
    })?;
    let tally = attempt.tally_mut();
    tally.usage = answer.usage;
    tally.output_bytes = answer.text_bytes;
    Ok(bytes)
}

async fn collect(body: &mut AnswerBody, patience: Duration) -> Result<Bytes, Failure> {
    let mut whole = Vec::new();
    loop {
        match timeout(patience, body.next()).await.map_err(|_| Failure::SilentBetweenEvents)? {
            Some(bytes) => whole.extend_from_slice(&bytes?),
            None => return Ok(whole.into()),
        }
        if whole.len() > MAX_ANSWER {
            return Err(Failure::BadBody("it is too large"));
        }
    }
}

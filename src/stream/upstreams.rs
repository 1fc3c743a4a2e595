//! Asks one model after another until one gives its first output, or a whole answer.
//!
//! Before the first output another model may be asked; after it, never: no answer is stitched from two models.

mod attempts;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};

use self::attempts::{Attempts, Work};

use crate::auth::caller::Caller;
use crate::config;
use crate::failover::health_registry::{HealthRegistry, ModelHealth};
use crate::metering::attempt::Attempt;
use crate::metering::meter::Meter;
use crate::metrics::Metrics;
use crate::models::{ModelId, Table};
use crate::routing::plan::Plan;
use crate::stream::event::Flags;
use crate::stream::feed::{Feed, Opened};
use crate::upstream::client::{AnswerBody, Call, Client};
use crate::upstream::failure::Failure;
use crate::upstream::idempotency;
use families::answer::Answer;
use families::family::Family;
use families::request::Request;

/// Most bytes of an answer that is not streamed.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Every upstream and every model, ready to be asked.
pub struct Upstreams {
    /// In the order of the configuration: [`crate::models::UpstreamId`] is the place.
    clients: Vec<Arc<Client>>,
    models: Table,
    rules: config::Stream,
    fallback: config::Fallback,
    /// Of each model, in the order of the table.
    health_registry: Vec<Arc<ModelHealth>>,
    shared: Arc<HealthRegistry>,
    metrics: Arc<Metrics>,
}

/// How one model is asked.
type Once<T> = for<'a> fn(&'a Upstreams, ModelId, &'a Plan, &'a Meter) -> Work<'a, T>;

/// A completion that was not streamed.
pub struct Whole {
    /// The upstream's own bytes.
    pub body: Bytes,
    /// What is in it.
    pub answer: Answer,
    /// The answer's `vary`.
    pub vary: Option<HeaderValue>,
}

impl Upstreams {
    /// `shared` keeps what was learned under the configuration before.
    ///
    /// # Errors
    /// Which upstream cannot be used, and why.
    pub fn new(config: &config::Config, shared: Arc<HealthRegistry>, metrics: Arc<Metrics>) -> Result<Self, String> {
        let client = |upstream: &config::Upstream| {
            Client::new(upstream).map(Arc::new).map_err(|error| format!("upstream `{}`: {error}", upstream.name))
        };
        let clients = config.upstreams.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self {
            clients,
            models: config.models.clone(),
            rules: config.stream.clone(),
            fallback: config.fallback.clone(),
            health_registry: shared.adopt(config),
            shared,
            metrics,
        })
    }

    /// Every model that can be asked.
    pub fn models(&self) -> &Table {
        &self.models
    }

    /// Where attempts are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The bounds of each stream.
    pub fn rules(&self) -> &config::Stream {
        &self.rules
    }

    /// Who is asked for this, in this order, until one answers: `first`, then those that its `fallback` names, as far as the
    /// caller may use them, the request fits and they are in good health.
    pub fn candidates(&self, first: ModelId, request: &Request, caller: &Caller) -> Vec<ModelId> {
        let usable = |id: ModelId| caller.may_use(self.name(id)) && self.model_health(id).is_usable();
        self.models.candidates(first, request.least_context(), usable)
    }

    /// Closes connections that have been idle too long.
    pub fn sweep(&self, now: Instant) {
        self.clients.iter().for_each(|client| client.sweep(now));
    }

    /// Opens the stream of the first candidate that gives output.
    ///
    /// # Errors
    /// The last candidate's failure.
    pub async fn stream(self: Arc<Self>, plan: Plan, meter: Meter) -> Result<Opened, Failure> {
        let once: Once<Opened> = |upstreams, id, plan, meter| Box::pin(upstreams.stream_once(id, plan, meter));
        let hedge = self.fallback.hedge.as_ref();
        let (mut opened, mut permit) = Attempts::new(&self, &plan, &meter, once, hedge).run().await?;
        permit.first_output_came();
        opened.feed.judge_by(permit);
        Ok(opened)
    }

    /// Gets the whole answer of the first candidate that gives one. It is never hedged: until its end, nothing tells a slow
    /// answer from a long one.
    ///
    /// # Errors
    /// The last candidate's failure.
    pub async fn whole(self: Arc<Self>, plan: Plan, meter: Meter) -> Result<Whole, Failure> {
        let once: Once<Whole> = |upstreams, id, plan, meter| Box::pin(upstreams.whole_once(id, plan, meter));
        let (whole, mut permit) = Attempts::new(&self, &plan, &meter, once, None).run().await?;
        permit.succeeded();
        Ok(whole)
    }

    /// When all attempts together have taken too long, and what that is called. An upstream that is never quite silent would
    /// wear out every other patience.
    fn time_up(&self, meter: &Meter) -> (Instant, Failure) {
        let (started, whole, first) = (meter.started(), self.rules.max_duration, self.fallback.deadline);
        if first < whole { (started + first, Failure::Deadline) } else { (started + whole, Failure::TooLong) }
    }

    async fn stream_once(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Result<Opened, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        let (sent, patience) = (Instant::now(), self.rules.first_event_timeout);
        let body = self.send(id, plan, &mut attempt, patience, Failure::SilentBeforeFirstEvent).await?;
        let feed = Box::new(Feed::new(body, self.rules.max_event, &plan.request, attempt));
        let mut opened = first_output(feed, sent, &self.rules).await?;
        opened.feed.attempt_mut().first_output_came();
        Ok(opened)
    }

    async fn whole_once(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Result<Whole, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        // a whole answer has no events: silence is all the time until its head, then between its bytes
        let patience = self.rules.idle_timeout;
        let mut body = self.send(id, plan, &mut attempt, patience, Failure::SilentBetweenEvents).await?;
        let whole = take_whole(&mut body, patience, plan.request.family()).await;
        let (bytes, answer) = whole.inspect_err(|failure| attempt.failed(failure))?;
        let tally = attempt.tally_mut();
        tally.usage = answer.usage;
        tally.output_bytes = answer.text_bytes;
        attempt.answers();
        body.keep();
        Ok(Whole { body: bytes, answer, vary: body.vary.take() })
    }

    fn begin(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Attempt {
        let prompt_tokens = plan.request.estimated_prompt_tokens();
        Attempt::begin(meter, self.models.get(id), self.client(id).name(), prompt_tokens, plan.purpose)
    }

    /// Up to the head of the answer; `silent` if that does not come in time.
    async fn send(
        &self,
        id: ModelId,
        plan: &Plan,
        attempt: &mut Attempt,
        patience: Duration,
        silent: Failure,
    ) -> Result<AnswerBody, Failure> {
        let call = Call {
            path: plan.request.family().upstream_path(),
            body: plan.request.to_upstream(&self.models.get(id).upstream_model),
            streaming: plan.request.stream(),
            request_id: plan.request_id.clone(),
            idempotency_key: self.idempotency_key(id, plan),
        };
        let answer = {
            // pinned here: else `timeout` would copy it, some kilobytes
            let sending = pin!(self.client(id).send(&call, || attempt.sent()));
            timeout(patience, sending).await
        };
        let body = answer.unwrap_or(Err(silent)).inspect_err(|failure| attempt.failed(failure))?;
        attempt.answered();
        Ok(body)
    }

    fn idempotency_key(&self, id: ModelId, plan: &Plan) -> Option<HeaderValue> {
        let key = plan.idempotency_key.as_ref()?;
        let is_named = self.models.find(plan.request.model()) == Some(id);
        if is_named { Some(key.clone()) } else { idempotency::key_for(key, self.name(id)) }
    }

    fn name(&self, id: ModelId) -> &str {
        &self.models.get(id).name
    }

    fn model_health(&self, id: ModelId) -> &Arc<ModelHealth> {
        &self.health_registry[id.0]
    }

    fn client(&self, id: ModelId) -> &Arc<Client> {
        &self.clients[self.models.get(id).upstream.0]
    }
}

/// Holds what comes until the first output, or until a completion without any has ended properly.
async fn first_output(
    mut feed: Box<Feed>,
    mut silent_since: Instant,
    rules: &config::Stream,
) -> Result<Opened, Failure> {
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
        let output = batch.flags.has(Flags::OUTPUT);
        held.push(batch);
        if output || feed.is_done() && feed.tally().finished {
            return Ok(Opened::new(held, feed));
        }
        silent_since = feed.heard();
    }
}

/// Reads an answer that is not streamed to its end, and what is in it.
async fn take_whole(
    body: &mut AnswerBody,
    patience: Duration,
    family: &dyn Family,
) -> Result<(Bytes, Answer), Failure> {
    let bytes = collect(body, patience).await?;
    let answer = family.read_answer(&bytes)?;
    Ok((bytes, answer))
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

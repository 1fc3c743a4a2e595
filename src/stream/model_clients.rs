//! Asks one model: opens its stream up to the first output, or gets its whole answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};

use crate::metering::attempt::Attempt;
use crate::metering::meter::Meter;
use crate::models::{Model, ModelId, Table, Target};
use crate::offload;
use crate::routing::plan::Plan;
use crate::spend::tally::Most;
use crate::stream::event::Flags;
use crate::stream::feed::{Feed, Opened};
use crate::stream::settings::Stream;
use crate::upstream::client::{AnswerBody, Call, Client};
use crate::upstream::failure::Failure;
use crate::upstream::settings::Upstream;
use families::answer::Answer;
use families::family::Family;

/// The most bytes of an answer that is not streamed.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// The clients of all models.
pub struct ModelClients {
    /// The clients, indexed by [`crate::models::UpstreamId`], in the order of the configuration.
    clients: Vec<Arc<Client>>,
    /// The targets, indexed by [`ModelId`], in the order of the table.
    targets: Vec<Arc<Target>>,
    models: Table,
    rules: Stream,
}

/// A completion that was not streamed.
pub struct Whole {
    /// The upstream's own bytes.
    pub body: Bytes,
    /// The parsed answer.
    pub answer: Answer,
    /// The answer's `vary`.
    pub vary: Option<HeaderValue>,
}

impl ModelClients {
    /// Makes a client for each upstream.
    ///
    /// # Errors
    /// Names the upstream that cannot be used, and the reason.
    pub fn new(upstreams: &[Upstream], models: &Table, rules: &Stream) -> Result<Self, String> {
        let client = |upstream: &Upstream| {
            Client::new(upstream).map(Arc::new).map_err(|error| format!("upstream `{}`: {error}", upstream.name))
        };
        let clients: Vec<_> = upstreams.iter().map(client).collect::<Result<_, _>>()?;
        let target = |model: &Model| Arc::new(Target::new(model.clone(), clients[model.upstream.0].name()));
        let targets = models.models().iter().map(target).collect();
        Ok(Self { clients, targets, models: models.clone(), rules: rules.clone() })
    }

    /// Returns the bounds of each stream.
    pub fn rules(&self) -> &Stream {
        &self.rules
    }

    /// Closes connections whose idle timeout is over.
    pub fn sweep(&self, now: Instant) {
        self.clients.iter().for_each(|client| client.sweep(now));
    }

    /// Opens a stream, up to its first output.
    ///
    /// # Errors
    /// The reason why there is no output.
    pub async fn stream(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Result<Opened, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        let began = attempt.began();
        let body = self.send(id, plan, &mut attempt).await?;
        let feed = Box::new(Feed::new(body, self.rules.max_event, &plan.request, attempt));
        let mut opened = first_output(feed, began, &self.rules).await?;
        opened.feed.attempt_mut().first_output_came();
        Ok(opened)
    }

    /// Gets a whole answer.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn whole(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Result<Whole, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        let mut body = self.send(id, plan, &mut attempt).await?;
        let whole = take_whole(&mut body, self.rules.idle_timeout, plan.request.family()).await;
        let (bytes, answer) = whole.inspect_err(|failure| attempt.failed(failure))?;
        let tally = attempt.tally_mut();
        tally.report(answer.usage);
        tally.output_bytes = answer.text_bytes;
        attempt.answers();
        body.release();
        Ok(Whole { body: bytes, answer, vary: body.vary.take() })
    }

    fn begin(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Attempt {
        let target = &self.targets[id.0];
        let mut attempt = Attempt::begin(meter, target, plan.request.estimated_prompt_tokens(), plan.purpose);
        attempt.tally_mut().most = Most::of(&plan.request, target.model.context);
        attempt
    }

    /// Sends the request and waits for the head of the answer, within a timeout.
    async fn send(&self, id: ModelId, plan: &Plan, attempt: &mut Attempt) -> Result<AnswerBody, Failure> {
        let (model, streaming) = (self.models.get(id), plan.request.stream());
        let call = Call {
            path: plan.request.family().upstream_path(),
            body: plan.request.to_upstream(&model.upstream_model),
            streaming,
            request_id: plan.request_id.clone(),
            idempotency_key: plan.idempotency_key.as_ref().and_then(|key| key.for_model(&model.name)),
        };
        let (patience, silent) = match streaming {
            true => (self.rules.first_event_timeout, Failure::SilentBeforeFirstEvent),
            // a whole answer has no events: the upstream is silent until it is complete
            false => (self.rules.whole_timeout, Failure::SilentBeforeWhole),
        };
        let answer = {
            // pinned here: `timeout` would move it, and it has several kilobytes
            let sending = pin!(self.clients[model.upstream.0].send(&call, || attempt.sent()));
            timeout(patience, sending).await
        };
        let body = answer.unwrap_or(Err(silent)).inspect_err(|failure| attempt.failed(failure))?;
        attempt.answered();
        Ok(body)
    }
}

/// Holds events back until the first output, or until a completion without output has ended properly.
async fn first_output(mut feed: Box<Feed>, mut silent_since: Instant, rules: &Stream) -> Result<Opened, Failure> {
    let mut held = Vec::new();
    loop {
        let (patience, silent) = match held.is_empty() {
            true => (rules.first_event_timeout, Failure::SilentBeforeFirstEvent),
            false => (rules.idle_timeout, Failure::SilentBetweenEvents),
        };
        let next = match timeout_at(silent_since + patience, feed.next()).await {
            Ok(next) => next?,
            // a comment, or a part of an event, has come in
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

/// Reads an answer that is not streamed to its end, and parses it.
async fn take_whole(
    body: &mut AnswerBody,
    patience: Duration,
    family: &'static dyn Family,
) -> Result<(Bytes, Answer), Failure> {
    let bytes = collect(body, patience).await?;
    let input = bytes.clone();
    let answer = offload::run(bytes.len(), move || family.read_answer(&input)).await;
    // a panic is a defect of the gateway, but only of this attempt: another model can still answer
    let answer = answer.map_err(|_| Failure::BadBody("it cannot be read"))??;
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

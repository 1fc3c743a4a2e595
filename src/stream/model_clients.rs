//! Asks one model: opens its stream up to the first output, or gets its whole answer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};

use super::conversion;
use crate::failover::circuit::CoolDown;
use crate::failover::keys::KeyPool;
use crate::metering::attempt::Attempt;
use crate::metering::meter::Meter;
use crate::models::{Model, ModelId, Table, Target};
use crate::offload;
use crate::routing::plan::Plan;
use crate::spend::tally::Most;
use crate::stream::event::Flags;
use crate::stream::feed::{Feed, Opened};
use crate::stream::settings::Stream;
use crate::upstream::client::{AnswerBody, Call, Client, Format, Step};
use crate::upstream::failure::Failure;
use crate::upstream::settings::Upstream;
use families::answer::Answer;
use families::family::Family;
use families::refusal::Refusal;

/// The most bytes of an answer that is not streamed.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// The clients of all models.
pub struct ModelClients {
    /// Indexed by [`crate::models::UpstreamId`], in the order of the configuration.
    providers: Vec<Provider>,
    /// The targets, indexed by [`ModelId`], in the order of the table.
    targets: Vec<Arc<Target>>,
    /// Which models have refused to be asked for usage, indexed by [`ModelId`].
    refuses_usage: Vec<AtomicBool>,
    models: Table,
    rules: Stream,
}

/// One upstream.
struct Provider {
    client: Arc<Client>,
    keys: KeyPool,
    /// Streams are asked for their usage.
    stream_usage: bool,
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
    /// Makes the clients of these models. `clients` has that of each upstream, in the order of the configuration.
    pub fn new(
        upstreams: &[Upstream],
        models: &Table,
        rules: &Stream,
        cool_down: CoolDown,
        clients: Vec<Arc<Client>>,
    ) -> Self {
        let provider = |(upstream, client): (&Upstream, Arc<Client>)| {
            let keys = KeyPool::new(upstream.api_keys.len(), cool_down);
            Provider { client, keys, stream_usage: upstream.stream_usage }
        };
        let providers: Vec<Provider> = upstreams.iter().zip(clients).map(provider).collect();
        let target = |model: &Model| Arc::new(Target::new(model.clone(), providers[model.upstream.0].client.name()));
        let targets = models.models().iter().map(target).collect();
        let refuses_usage = models.models().iter().map(|_| AtomicBool::default()).collect();
        Self { providers, targets, refuses_usage, models: models.clone(), rules: rules.clone() }
    }

    /// Returns the client of each upstream.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.providers.iter().map(|provider| Arc::clone(&provider.client)).collect()
    }

    /// Returns the bounds of each stream.
    pub fn rules(&self) -> &Stream {
        &self.rules
    }

    /// Closes connections whose idle timeout is over.
    pub fn sweep(&self, now: Instant) {
        self.providers.iter().for_each(|provider| provider.client.sweep(now));
    }

    /// Opens a stream, up to its first output. If it is the only attempt that is left (`is_last`), a report of progress, which
    /// the client has asked for, opens it as well.
    ///
    /// # Errors
    /// The reason why there is no output.
    pub async fn stream(&self, id: ModelId, plan: &Plan, meter: &Meter, is_last: bool) -> Result<Opened, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        let began = attempt.began();
        let mut body = self.send(id, plan, &mut attempt).await?;
        if body.format == Format::Json {
            // boxed, because it is rare and each request would carry its state
            let events = Box::pin(self.take_events(&mut body, plan.request.family())).await;
            body.replace(events.inspect_err(|failure| attempt.failed(failure))?);
        }
        let feed = Box::new(Feed::new(body, self.rules.max_event, &plan.request, attempt));
        let mut opened = first_output(feed, began, &self.rules, is_last).await?;
        if opened.feed.is_answering() {
            opened.feed.attempt_mut().first_output_came();
        }
        Ok(opened)
    }

    /// Gets a whole answer.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn whole(&self, id: ModelId, plan: &Plan, meter: &Meter) -> Result<Whole, Failure> {
        let mut attempt = self.begin(id, plan, meter);
        let mut body = self.send(id, plan, &mut attempt).await?;
        let whole = self.take_whole(&mut body, plan.request.family()).await;
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
        let (patience, silent) = match plan.request.stream() {
            true => (self.rules.first_event_timeout, Failure::SilentBeforeFirstEvent),
            // a whole answer has no events: the upstream is silent until it is complete
            false => (self.rules.whole_timeout, Failure::SilentBeforeWhole),
        };
        let answer = {
            // pinned here: `timeout` would move it, and it has several kilobytes
            let sending = pin!(self.send_until_accepted(id, plan, attempt));
            timeout(patience, sending).await
        };
        let body = answer.unwrap_or(Err(silent)).inspect_err(|failure| attempt.failed(failure))?;
        attempt.answered();
        Ok(body)
    }

    /// Sends the request. If the upstream refuses its API key, or what the gateway has added, it is sent again with another
    /// key, or without the addition.
    async fn send_until_accepted(
        &self,
        id: ModelId,
        plan: &Plan,
        attempt: &mut Attempt,
    ) -> Result<AnswerBody, Failure> {
        let (model, request) = (self.models.get(id), &plan.request);
        let provider = &self.providers[model.upstream.0];
        let mut turn = provider.keys.begin();
        let may_add = provider.stream_usage && !self.refuses_usage[id.0].load(Relaxed);
        let mut adds_usage = may_add && request.adds_usage();
        let mut call = Call {
            path: request.family().upstream_path(),
            body: request.to_upstream(&model.upstream_model, adds_usage),
            streaming: request.stream(),
            request_id: plan.request_id.clone(),
            idempotency_key: plan.idempotency_key.as_ref().and_then(|key| key.for_model(&model.name)),
            api_key: turn.key(),
            added: if adds_usage { request.family().usage_members() } else { &[] },
        };
        loop {
            let step = |step| match step {
                Step::Sent => attempt.sent(),
                Step::Head(id) => id.into_iter().for_each(|id| attempt.upstream_request_id(id)),
            };
            let refusal = match provider.client.send(&call, step).await {
                Err(Failure::Refused(refusal)) => refusal,
                answer => {
                    if answer.is_ok() {
                        turn.accepted();
                        // a body that still names it was not the reason for the refusal
                        let is_taken_back = may_add && request.adds_usage() && !adds_usage;
                        self.refuses_usage[id.0].fetch_or(is_taken_back, Relaxed);
                    }
                    return answer;
                }
            };
            if refusal.refuses_addition {
                turn.accepted();
                adds_usage = false;
                call.added = &[];
                call.body = request.to_upstream(&model.upstream_model, false);
                tracing::info!(
                    request_id = plan.request_id.to_str().unwrap_or_default(),
                    model = model.name,
                    upstream = provider.client.name(),
                    "the upstream refuses stream_options: it is asked without them"
                );
                continue;
            }
            let refused = turn.key();
            if !turn.refused(&refusal) {
                return Err(Failure::Refused(refusal));
            }
            call.api_key = turn.key();
            tracing::warn!(
                request_id = plan.request_id.to_str().unwrap_or_default(),
                upstream = provider.client.name(),
                key = refused + 1,
                reason = refusal.fault.as_str(),
                "an API key is refused and rests: the request goes on with the next key"
            );
        }
    }

    /// Reads a whole answer that came instead of a stream, and returns its events.
    async fn take_events(&self, body: &mut AnswerBody, family: &'static dyn Family) -> Result<Bytes, Failure> {
        let bytes = self.collect(body).await?;
        let events = offload::run(bytes.len(), move || conversion::to_events(family, &bytes)).await;
        // a panic is a defect of the gateway, but only of this attempt: another model can still answer
        events.unwrap_or(Err(Failure::BadBody("it cannot be read"))).map_err(|failure| with_wait(failure, body))
    }

    /// Reads an answer that is not streamed to its end, and parses it. An upstream may stream it nevertheless.
    async fn take_whole(&self, body: &mut AnswerBody, family: &'static dyn Family) -> Result<(Bytes, Answer), Failure> {
        let bytes = self.collect(body).await?;
        let (format, length, max_event) = (body.format, bytes.len(), self.rules.max_event);
        let read = move || match format {
            Format::Json => family.read_answer(&bytes).map(|answer| (bytes, answer)).map_err(Failure::from),
            Format::Events => conversion::to_whole(family, bytes, max_event),
        };
        let answer = offload::run(length, read).await;
        answer.unwrap_or(Err(Failure::BadBody("it cannot be read"))).map_err(|failure| with_wait(failure, body))
    }

    /// Reads a body to its end. Some upstreams send white space while they work: the first other byte may take as long as a
    /// head.
    async fn collect(&self, body: &mut AnswerBody) -> Result<Bytes, Failure> {
        let mut whole = Vec::new();
        let mut patience = self.rules.whole_timeout;
        loop {
            let next = timeout(patience, body.next()).await;
            match next.map_err(|_| Failure::SilentBetweenEvents)? {
                Some(bytes) => whole.extend_from_slice(&bytes?),
                None => return Ok(whole.into()),
            }
            if whole.len() > MAX_ANSWER {
                return Err(Failure::BadBody("it is too large"));
            }
            if !whole.trim_ascii_start().is_empty() {
                patience = self.rules.idle_timeout;
            }
        }
    }
}

/// Returns the failure with the time to wait that the head of the answer names.
fn with_wait(failure: Failure, body: &AnswerBody) -> Failure {
    match (failure, body.retry_after) {
        (Failure::InBody(fault), retry_after @ Some(_)) => {
            Failure::Refused(Refusal { retry_after, ..Refusal::from(fault) })
        }
        (failure, _) => failure,
    }
}

/// Holds events back until the first output, or until a completion without output has ended properly. If `is_last`, a report
/// of progress is enough.
async fn first_output(
    mut feed: Box<Feed>,
    mut silent_since: Instant,
    rules: &Stream,
    is_last: bool,
) -> Result<Opened, Failure> {
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
        let output = batch.flags.has(Flags::OUTPUT) || is_last && batch.flags.has(Flags::PROGRESS);
        held.push(batch);
        if output || feed.is_done() && feed.tally().finished {
            return Ok(Opened::new(held, feed));
        }
        silent_since = feed.heard();
    }
}

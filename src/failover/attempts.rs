//! Failover: asks one candidate after another until one answers, and starts a hedged attempt if the first one is slow.
//!
//! The first candidate that answers wins: all other attempts are dropped at once, which cancels them and settles their cost.
//! How a model is asked is a parameter: this module knows nothing about answers.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use crate::auth::caller::Caller;
use crate::failover::health::{AttemptPermit, ModelHealth};
use crate::failover::health_registry::HealthRegistry;
use crate::failover::hedge::{self, Hedge};
use crate::failover::settings::Fallback;
use crate::metrics::Metrics;
use crate::models::{Model, ModelId, Table};
use crate::upstream::failure::Failure;
use crate::upstream::settings::Upstream;
use families::request::Request;

/// The label `reason` of a fallback from a model whose circuit is open.
const COOL_DOWN: &str = "cool_down";

/// The models of one configuration and their health: which of them to ask, in which order.
pub struct Failover {
    models: Table,
    /// The name of each model's upstream, in the order of the table.
    upstreams: Vec<String>,
    /// `refuse_members` of each model's upstream, in the order of the table.
    refused: Vec<Vec<String>>,
    /// The health of each model, in the order of the table.
    health: Vec<Arc<ModelHealth>>,
    registry: Arc<HealthRegistry>,
    rules: Fallback,
}

/// The candidates of one request, and the bounds of its attempts.
pub struct Candidates<'a> {
    /// The models to ask, in this order.
    pub models: &'a [ModelId],
    /// The request's id, for the log.
    pub request_id: &'a str,
    /// Whether it is a client's request, for which the retry budget grows, and not a question to the classifier.
    pub is_answer: bool,
    /// Whether a second attempt may begin beside a slow one.
    pub may_hedge: bool,
    /// The deadline of all attempts together, and the failure that it causes.
    pub deadline: (Instant, Failure),
}

/// The future of one attempt.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

impl Failover {
    /// Makes the failover of this configuration. Unchanged models keep their health.
    pub fn new(upstreams: &[Upstream], models: &Table, rules: &Fallback, registry: Arc<HealthRegistry>) -> Self {
        let upstream = |model: &Model| upstreams[model.upstream.0].name.clone();
        let refused = |model: &Model| upstreams[model.upstream.0].refuse_members.clone();
        Self {
            models: models.clone(),
            upstreams: models.models().iter().map(upstream).collect(),
            refused: models.models().iter().map(refused).collect(),
            health: registry.adopt(upstreams, models),
            registry,
            rules: rules.clone(),
        }
    }

    /// Returns the table of all models.
    pub fn models(&self) -> &Table {
        &self.models
    }

    /// Returns `[fallback]`.
    pub fn rules(&self) -> &Fallback {
        &self.rules
    }

    /// Returns the metrics in which fallbacks and hedges are counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.registry.metrics()
    }

    /// Returns the candidates for this request, in order: `first`, then those of its `fallback` that the caller may use,
    /// whose context is large enough, whose upstream refuses no member of it and whose circuit is not open.
    pub fn candidates(&self, first: ModelId, request: &Request, caller: &Caller) -> Vec<ModelId> {
        let now = Instant::now();
        let takes = |id: ModelId| self.refused_member(id, request).is_none();
        let usable = |id: ModelId| caller.may_use(self.name(id)) && takes(id) && self.health(id).is_available(now);
        self.models.candidates(first, request.least_context(), usable)
    }

    /// Returns the path of the first member of the request that this model's upstream refuses.
    pub fn refused_member(&self, id: ModelId, request: &Request) -> Option<String> {
        request.marked_member(&self.refused[id.0])
    }

    /// Returns the first answer, and the permit of its attempt.
    ///
    /// # Errors
    /// The failure of the last candidate, or of the deadline.
    pub async fn run<'a, T>(
        &'a self,
        candidates: &'a Candidates<'a>,
        ask: impl Fn(ModelId) -> Asking<'a, T>,
    ) -> Result<(T, AttemptPermit), Failure> {
        let attempts = Attempts {
            failover: self,
            candidates,
            ask,
            next: 0,
            under_way: Vec::with_capacity(1),
            slow_at: None,
            hedge: None,
        };
        pin!(attempts.run()).await
    }

    fn name(&self, id: ModelId) -> &str {
        &self.models.get(id).name
    }

    fn health(&self, id: ModelId) -> &Arc<ModelHealth> {
        &self.health[id.0]
    }

    fn count_fallback(&self, from: ModelId, to: ModelId, reason: &str) {
        self.metrics().fallbacks.with_label_values(&[self.name(from), self.name(to), reason]).inc();
    }
}

/// All attempts at one request.
struct Attempts<'a, T, A> {
    failover: &'a Failover,
    candidates: &'a Candidates<'a>,
    ask: A,
    /// The index of the next candidate.
    next: usize,
    /// The running attempts, in the order of their start: one attempt, or two while hedging.
    under_way: Vec<UnderWay<'a, T>>,
    /// When a hedged attempt begins, if only one attempt is running.
    slow_at: Option<Instant>,
    hedge: Option<Hedge<'a>>,
}

/// One attempt.
struct UnderWay<'a, T> {
    id: ModelId,
    permit: AttemptPermit,
    asking: Asking<'a, T>,
}

impl<'a, T, A: Fn(ModelId) -> Asking<'a, T>> Attempts<'a, T, A> {
    async fn run(mut self) -> Result<(T, AttemptPermit), Failure> {
        let (deadline, late) = &self.candidates.deadline;
        self.begin_first()?;
        let mut due = self.due();
        let mut timer = pin!(sleep_until(due));
        loop {
            tokio::select! {
                biased;
                (place, result) = first_ended(&mut self.under_way) => match result {
                    Ok(answer) => return Ok((answer, self.won(place))),
                    Err(failure) => self.lost(place, failure)?,
                },
                () = timer.as_mut() => {
                    if Instant::now() >= *deadline {
                        return Err(self.give_up(late.clone()));
                    }
                    self.begin_hedge();
                }
            }
            if due != self.due() {
                due = self.due();
                timer.as_mut().reset(due);
            }
        }
    }

    fn due(&self) -> Instant {
        let (deadline, _) = self.candidates.deadline;
        self.slow_at.map_or(deadline, |slow_at| slow_at.min(deadline))
    }

    /// Asks the first candidate whose circuit is not open; if all are open, the first candidate.
    fn begin_first(&mut self) -> Result<(), Failure> {
        let failover = self.failover;
        let first = *self.candidates.models.first().ok_or(Failure::Empty)?;
        if self.candidates.is_answer {
            failover.registry.request_began();
        }
        match self.next_available() {
            Some((id, permit)) => {
                if id != first {
                    self.passed_over(first, id);
                }
                self.begin(id, permit);
            }
            None => {
                let permit = failover.health(first).acquire_anyway(Instant::now(), failover.rules.cool_down);
                self.begin(first, permit);
            }
        }
        Ok(())
    }

    /// Records that the circuit of the requested model is open, and another candidate is asked at once.
    fn passed_over(&self, id: ModelId, next: ModelId) {
        let (model, upstream) = (self.failover.name(id), &self.failover.upstreams[id.0]);
        let (request_id, next_name) = (self.candidates.request_id, self.failover.name(next));
        tracing::info!(
            request_id,
            model,
            upstream,
            reason = COOL_DOWN,
            next = next_name,
            "circuit open: another model is asked"
        );
        self.failover.count_fallback(id, next, COOL_DOWN);
    }

    /// Takes the next candidate whose circuit gives a permit.
    fn next_available(&mut self) -> Option<(ModelId, AttemptPermit)> {
        let now = Instant::now();
        while let Some(id) = self.candidates.models.get(self.next).copied() {
            self.next += 1;
            if let Some(permit) = self.failover.health(id).acquire(now, self.failover.rules.cool_down) {
                return Some((id, permit));
            }
        }
        None
    }

    fn begin(&mut self, id: ModelId, permit: AttemptPermit) {
        let hedge = self.failover.rules.hedge.as_ref().filter(|_| self.candidates.may_hedge && self.hedge.is_none());
        let patience = hedge.and_then(|rules| hedge::patience(rules, self.failover.health(id)));
        self.slow_at = patience.map(|patience| permit.began() + patience);
        let asking = (self.ask)(id);
        self.under_way.push(UnderWay { id, permit, asking });
    }

    /// Starts a hedged attempt at the next candidate.
    fn begin_hedge(&mut self) {
        self.slow_at = None;
        let failover = self.failover;
        let (Some(rules), Some(slow)) = (&failover.rules.hedge, self.under_way.first().map(|attempt| attempt.id))
        else {
            return;
        };
        let Some((id, permit)) = self.next_available() else { return };
        if !failover.registry.may_hedge(rules.budget) {
            // it stays the next candidate, in case the slow one fails
            self.next -= 1;
            return;
        }
        let (model, next) = (failover.name(slow), failover.name(id));
        let request_id = self.candidates.request_id;
        tracing::info!(request_id, model, next, "no output yet: another model is asked as well");
        self.hedge = Some(Hedge::new(failover.metrics(), (slow, model), (id, next)));
        self.begin(id, permit);
    }

    fn won(&mut self, place: usize) -> AttemptPermit {
        let winner = self.under_way.swap_remove(place);
        self.hedge.iter_mut().for_each(|hedge| hedge.answered_by(winner.id));
        // an attempt that began earlier and has no output yet is slower; one that began later may have been faster
        let slower = self.under_way.drain(..).filter(|attempt| attempt.permit.began() < winner.permit.began());
        slower.for_each(|attempt| attempt.permit.overtaken());
        winner.permit
    }

    /// Handles a failed attempt: another one is running, or the next candidate is asked, or the failure is the result.
    fn lost(&mut self, place: usize, failure: Failure) -> Result<(), Failure> {
        let mut attempt = self.under_way.remove(place);
        attempt.permit.failed(&failure);
        let next = match self.under_way.first() {
            // a refusal of the request itself by the model that was asked first is final
            _ if place == 0 && !failure.is_retryable() => None,
            Some(other) => Some(other.id),
            None if !failure.is_retryable() => None,
            None => self.begin_next(),
        };
        let failover = self.failover;
        let (model, upstream) = (failover.name(attempt.id), &failover.upstreams[attempt.id.0]);
        let (reason, next_name) = (failure.reason(), next.map(|next| failover.name(next)));
        let (request_id, cause) = (self.candidates.request_id, failure.connect_error().map(ToString::to_string));
        tracing::warn!(request_id, model, upstream, reason, cause, next = next_name, "attempt failed");
        let Some(next) = next else {
            self.hedge.iter_mut().for_each(Hedge::failed);
            return Err(failure);
        };
        // the failure of a hedged attempt causes no fallback
        if place == 0 {
            failover.count_fallback(attempt.id, next, reason);
        }
        Ok(())
    }

    fn begin_next(&mut self) -> Option<ModelId> {
        let (id, permit) = self.next_available()?;
        if !self.failover.registry.may_retry(self.failover.rules.retry_budget) {
            return None;
        }
        self.begin(id, permit);
        Some(id)
    }

    /// Handles the deadline of all attempts.
    fn give_up(&mut self, late: Failure) -> Failure {
        let bound = self.failover.rules.deadline;
        for mut attempt in self.under_way.drain(..) {
            // an attempt that began late did not cause the failure
            if attempt.permit.began().elapsed() >= bound / 2 {
                attempt.permit.failed(&late);
            }
        }
        self.hedge.iter_mut().for_each(Hedge::failed);
        late
    }
}

/// Waits for the first attempt that ends. Returns its index and its result.
async fn first_ended<T>(under_way: &mut [UnderWay<'_, T>]) -> (usize, Result<T, Failure>) {
    poll_fn(|cx| {
        for (place, attempt) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(result) = attempt.asking.as_mut().poll(cx) {
                return Poll::Ready((place, result));
            }
        }
        Poll::Pending
    })
    .await
}

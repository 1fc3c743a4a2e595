//! The attempts at one request: one after another, each at the next candidate, until one answers; and perhaps a second one
//! beside the first, if that is slow.
//!
//! The first that answers is the only one: the others are dropped there and then, which cancels them and settles what they
//! cost.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::{Once, Upstreams};
use crate::config::{Hedge, HedgeAfter};
use crate::failover::health_registry::AttemptPermit;
use crate::metering::meter::Meter;
use crate::metrics::Metrics;
use crate::models::ModelId;
use crate::routing::plan::Plan;
use crate::spend::bill::Purpose;
use crate::upstream::failure::Failure;

/// What `reason` is where a model was not even asked.
const COOL_DOWN: &str = "cool_down";

/// All attempts at one request.
pub(super) struct Attempts<'a, T> {
    upstreams: &'a Upstreams,
    plan: &'a Plan,
    meter: &'a Meter,
    once: Once<T>,
    /// Who has not been asked yet.
    left: VecDeque<ModelId>,
    /// In the order in which they began: one, or two while hedging.
    under_way: Vec<UnderWay<'a, T>>,
    /// When the only attempt under way is too slow.
    slow_at: Option<Instant>,
    hedge: Option<&'a Hedge>,
    hedged: Option<Hedged>,
}

/// One of them.
struct UnderWay<'a, T> {
    id: ModelId,
    permit: AttemptPermit,
    work: Work<'a, T>,
}

/// One model being asked.
pub(super) type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// What happens next.
enum Event<T> {
    Ended(usize, Result<T, Failure>),
    Slow,
    TimeUp,
}

/// A hedge, counted when it is over.
struct Hedged {
    metrics: Arc<Metrics>,
    from: String,
    to: String,
    result: &'static str,
}

impl<'a, T> Attempts<'a, T> {
    /// Nobody has been asked yet. Without `hedge`, one attempt is made at a time.
    pub(super) fn new(
        upstreams: &'a Upstreams,
        plan: &'a Plan,
        meter: &'a Meter,
        once: Once<T>,
        hedge: Option<&'a Hedge>,
    ) -> Self {
        let allowed = |id: &ModelId| plan.caller.may_use(&upstreams.models.get(*id).name);
        let left = plan.candidates.iter().copied().filter(allowed).collect();
        Self { upstreams, plan, meter, once, left, under_way: Vec::new(), slow_at: None, hedge, hedged: None }
    }

    /// The first answer, and the permit that it passed; or the last failure.
    pub(super) async fn run(mut self) -> Result<(T, AttemptPermit), Failure> {
        let (time_up, late) = self.upstreams.time_up(self.meter);
        self.begin_first()?;
        loop {
            match self.next(time_up).await {
                Event::Ended(place, Ok(answer)) => return Ok((answer, self.won(place))),
                Event::Ended(place, Err(failure)) => self.lost(place, failure)?,
                Event::Slow => self.hedge(),
                Event::TimeUp => return Err(self.give_up(late)),
            }
        }
    }

    async fn next(&mut self, time_up: Instant) -> Event<T> {
        let slow_at = self.slow_at;
        let slow = async move {
            match slow_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (place, result) = first_ended(&mut self.under_way) => Event::Ended(place, result),
            () = sleep_until(time_up) => Event::TimeUp,
            () = slow => Event::Slow,
        }
    }

    /// Asks the first candidate that is not to be left alone; if all are, the first one all the same.
    fn begin_first(&mut self) -> Result<(), Failure> {
        let first = *self.left.front().ok_or(Failure::Empty)?;
        // the classifier's question is none of a client's
        if self.plan.purpose == Purpose::Answer {
            self.upstreams.shared.request_began();
        }
        match self.next_usable() {
            Some((id, permit)) => {
                if id != first {
                    self.passed_over(first, id);
                }
                self.begin(id, permit);
            }
            None => {
                let permit = self.upstreams.model_health(first).ask_anyway(self.upstreams.fallback.cool_down);
                self.begin(first, permit);
            }
        }
        Ok(())
    }

    /// The model that is wanted is left alone for its health, and another one is asked at once.
    fn passed_over(&self, id: ModelId, next: ModelId) {
        let (model, upstream) = (self.upstreams.name(id), self.upstreams.client(id).name());
        let (request_id, next_name) = (self.meter.record().request_id().to_owned(), self.upstreams.name(next));
        tracing::info!(request_id, model, upstream, reason = COOL_DOWN, next = next_name, "left alone for its health");
        self.count_fallback(id, next, COOL_DOWN);
    }

    /// Takes the next candidate that may be asked.
    fn next_usable(&mut self) -> Option<(ModelId, AttemptPermit)> {
        let cool_down = self.upstreams.fallback.cool_down;
        while let Some(id) = self.left.pop_front() {
            if let Some(permit) = self.upstreams.model_health(id).ask(cool_down) {
                return Some((id, permit));
            }
        }
        None
    }

    fn begin(&mut self, id: ModelId, permit: AttemptPermit) {
        let patience = self.hedge.filter(|_| self.hedged.is_none()).and_then(|hedge| match hedge.after {
            HedgeAfter::P95 => self.upstreams.model_health(id).p95(),
            HedgeAfter::Time(time) => Some(time),
        });
        self.slow_at = patience.map(|patience| permit.began() + patience);
        let work = (self.once)(self.upstreams, id, self.plan, self.meter);
        self.under_way.push(UnderWay { id, permit, work });
    }

    /// Asks the next candidate beside the one that is slow.
    fn hedge(&mut self) {
        self.slow_at = None;
        let (Some(hedge), Some(slow)) = (self.hedge, self.under_way.first().map(|attempt| attempt.id)) else { return };
        let Some((id, permit)) = self.next_usable() else { return };
        if !self.upstreams.shared.may_hedge(hedge.budget) {
            // it is still somebody to ask, should the slow one fail
            self.left.push_front(id);
            return;
        }
        let (from, to) = (self.upstreams.name(slow).to_owned(), self.upstreams.name(id).to_owned());
        let (request_id, metrics) = (self.meter.record().request_id().to_owned(), self.upstreams.metrics.clone());
        tracing::info!(request_id, model = from, next = to, "no output yet: another model is asked as well");
        self.hedged = Some(Hedged { metrics, from, to, result: "abandoned" });
        self.begin(id, permit);
    }

    fn won(&mut self, place: usize) -> AttemptPermit {
        let winner = self.under_way.swap_remove(place);
        if let Some(hedged) = &mut self.hedged {
            hedged.result = match self.upstreams.name(winner.id) {
                name if name == hedged.to => "won",
                name if name == hedged.from => "lost",
                // both have failed, and somebody else was asked
                _ => "failed",
            };
        }
        // who began earlier and has nothing yet is slower than that; who began later may have been faster
        let slower = self.under_way.drain(..).filter(|attempt| attempt.permit.began() < winner.permit.began());
        slower.for_each(|attempt| attempt.permit.overtaken());
        winner.permit
    }

    /// An attempt has failed: somebody else is asked, or is under way already, or the failure is the request's.
    fn lost(&mut self, place: usize, failure: Failure) -> Result<(), Failure> {
        let mut attempt = self.under_way.remove(place);
        attempt.permit.failed(&failure);
        let next = match self.under_way.first() {
            // what the model that was asked first says of the request itself is final
            _ if place == 0 && !failure.is_retryable() => None,
            Some(other) => Some(other.id),
            None if !failure.is_retryable() => None,
            None => self.begin_next(),
        };
        let (model, upstream) = (self.upstreams.name(attempt.id), self.upstreams.client(attempt.id).name());
        let (reason, next_name) = (failure.reason(), next.map(|next| self.upstreams.name(next)));
        let request_id = self.meter.record().request_id().to_owned();
        let cause = failure.connect_error().map(ToString::to_string);
        tracing::warn!(request_id, model, upstream, reason, cause, next = next_name, "attempt failed");
        let Some(next) = next else {
            self.hedge_failed();
            return Err(failure);
        };
        // a hedge that fails beside the one that it was to help changes nothing
        if place == 0 {
            self.count_fallback(attempt.id, next, reason);
        }
        Ok(())
    }

    fn begin_next(&mut self) -> Option<ModelId> {
        let (id, permit) = self.next_usable()?;
        if !self.upstreams.shared.may_retry(self.upstreams.fallback.retry_budget) {
            return None;
        }
        self.begin(id, permit);
        Some(id)
    }

    /// Time is up for all that are under way.
    fn give_up(&mut self, late: Failure) -> Failure {
        let bound = self.upstreams.fallback.deadline;
        for mut attempt in self.under_way.drain(..) {
            // one that began late is not to blame
            if attempt.permit.began().elapsed() >= bound / 2 {
                attempt.permit.failed(&late);
            }
        }
        self.hedge_failed();
        late
    }

    fn hedge_failed(&mut self) {
        self.hedged.iter_mut().for_each(|hedged| hedged.result = "failed");
    }

    fn count_fallback(&self, from: ModelId, to: ModelId, reason: &str) {
        let labels = [self.upstreams.name(from), self.upstreams.name(to), reason];
        self.upstreams.metrics.fallbacks.with_label_values(&labels).inc();
    }
}

/// The first of these that has ended, by its place, and how.
async fn first_ended<T>(under_way: &mut [UnderWay<'_, T>]) -> (usize, Result<T, Failure>) {
    poll_fn(|cx| {
        for (place, attempt) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(result) = attempt.work.as_mut().poll(cx) {
                return Poll::Ready((place, result));
            }
        }
        Poll::Pending
    })
    .await
}

impl Drop for Hedged {
    fn drop(&mut self) {
        self.metrics.hedges.with_label_values(&[&self.from, &self.to, self.result]).inc();
    }
}

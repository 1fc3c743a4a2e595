//! Measures one request and settles it exactly once: at its end, at its failure, or when it is dropped. What was settled is
//! published when the last who works on the request lets go of its meter, so that no event waits for a log line.
//!
//! Dropping a meter unsettled means that the client has left: the connection was dropped with the response in it.

mod answering;
mod publish;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use prometheus::Histogram;
use tokio::time::Instant;

use self::answering::Answering;
use crate::auth::caller::Caller;
use crate::limits::fields::Fields;
use crate::limits::limiter::Grant;
use crate::metrics::{Cached, Metrics, Outcome};
use crate::models::{Model, Target};
use crate::price::{Cost, Prices};
use crate::routing::verdict::Decision;
use crate::spend::bill::{Bill, Charge, Purpose};
use crate::spend::budget::Hold;
use crate::spend::savings::{Cause, Reuse};
use crate::spend::tally::Tokens;

/// The record of one request, shared by all who work on it. When the last of them is gone, it is settled.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<Record>>);

/// What is known of one request so far.
pub struct Record {
    metrics: Arc<Metrics>,
    event_forward: Histogram,
    started: Instant,
    request_id: Arc<str>,
    route: &'static str,
    origin: Option<Box<str>>,
    /// The entry of `cors.origins` that let the page in.
    origin_entry: Option<Arc<str>>,
    client: IpAddr,
    caller: Option<Caller>,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    /// What is measured goes on after the answer.
    outlives_answer: bool,
    /// Attempts at an answer that have begun.
    attempts: u32,
    /// Attempts of all kinds that have begun.
    begun: u32,
    waiting: Waiting,
    answering: Option<Answering>,
    bill: Bill,
    /// What the cache had to do with it.
    cached: Cached,
    /// Its answer was not asked for anew.
    reuse: Option<Box<Reuse>>,
    /// Its model was `auto`: what that is compared with.
    baseline: Option<Prices>,
    /// How `auto` was decided.
    routed: Option<Decision>,
    /// What its caller's limits have granted it, until it ends.
    grants: Vec<Grant>,
    /// What was taken of its caller's budget, and whether that was beyond it.
    budget: Option<(Hold, bool)>,
    /// The `ratelimit` fields of the response.
    limits: Option<Box<Fields>>,
    /// How it ended, and when.
    ending: Option<(Outcome, Instant)>,
}

/// How long upstreams were waited for, one or several at a time.
#[derive(Default)]
struct Waiting {
    /// How many are waited for now.
    open: u32,
    /// Since when; `None` where none is.
    since: Option<Instant>,
    before: Duration,
}

impl Meter {
    /// Begins when the request's head has been read.
    pub fn start(
        metrics: Arc<Metrics>,
        started: Instant,
        request_id: Arc<str>,
        route: &'static str,
        origin: Option<&HeaderValue>,
        client: IpAddr,
    ) -> Self {
        let event_forward = metrics.event_forward.clone();
        // as long as the longest host name, a scheme and a port are
        let origin = origin.and_then(|origin| origin.to_str().ok()).filter(|origin| origin.len() <= 270).map(Box::from);
        Self(Arc::new(Mutex::new(Record {
            metrics,
            event_forward,
            started,
            request_id,
            route,
            origin,
            origin_entry: None,
            client,
            caller: None,
            status: None,
            error: None,
            outlives_answer: false,
            attempts: 0,
            begun: 0,
            waiting: Waiting::default(),
            answering: None,
            bill: Bill::default(),
            cached: Cached::Off,
            reuse: None,
            baseline: None,
            routed: None,
            grants: Vec::new(),
            budget: None,
            limits: None,
            ending: None,
        })))
    }

    /// When the request's head had been read.
    pub fn started(&self) -> Instant {
        self.record().started
    }

    /// The record, to write to.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The metrics that this meter writes to.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// What the caller's limits have granted: it is given back, or charged, when the record ends.
    pub fn hold(&mut self, grant: Grant) {
        self.grants.push(grant);
    }

    /// What was taken of the caller's budget: it is settled with what the request has cost.
    pub fn hold_budget(&mut self, hold: Hold, beyond: bool) {
        self.budget = Some((hold, beyond));
    }

    /// Whether the request goes beyond its caller's budget, and is answered all the same.
    pub fn is_beyond_budget(&self) -> bool {
        self.budget.as_ref().is_some_and(|(_, beyond)| *beyond)
    }

    /// Sets what the response's head says of the caller's limits.
    pub fn limited(&mut self, fields: Option<Fields>) {
        self.limits = fields.map(Box::new);
    }

    /// Adds limits that were decided later.
    pub fn limited_further(&mut self, later: Option<Fields>) {
        self.limits = match (self.limits.take(), later) {
            (Some(fields), Some(later)) => Some(Box::new(fields.and(&later))),
            (fields, later) => fields.or(later.map(Box::new)),
        };
    }

    /// What the response's head says of the caller's limits.
    pub fn limits(&self) -> Option<&Fields> {
        self.limits.as_deref()
    }

    /// The entry of `cors.origins` that let the page in, for what is counted by origin.
    pub fn origin_entry(&mut self, entry: &Arc<str>) {
        self.origin_entry = Some(Arc::clone(entry));
    }

    /// The request's model is `auto`: what that saves is counted against these prices, `costs.baseline`.
    pub fn compare_with(&mut self, baseline: Option<Prices>) {
        self.baseline = baseline;
    }

    /// The answer is not asked for anew: it comes from the cache, or from a request in flight. Names who answered.
    pub fn reuses(&mut self, model: &Model, upstream: &str) {
        let who = Arc::new(Target::new(model.clone(), upstream));
        let cause = if self.cached == Cached::Joined { Cause::Joining } else { Cause::Cache };
        self.answering = Some(Answering::new(0, Arc::clone(&who)));
        self.reuse = Some(Box::new(Reuse { cause, who, tokens: None }));
    }

    /// How many tokens the answer has that is not asked for anew: without them nothing is counted as saved.
    pub fn reused(&mut self, tokens: Tokens) {
        if let Some(reuse) = &mut self.reuse {
            reuse.tokens = Some(tokens);
        }
    }

    /// The tokens of the answer, once they are known: the cache stores them.
    pub fn answer_tokens(&self) -> Option<Tokens> {
        match &self.reuse {
            Some(reuse) => reuse.tokens,
            None => self.bill.of(self.answering.as_ref()?.number).map(|charge| charge.tokens),
        }
    }

    /// It was asked of `auto`, and decided so.
    pub fn routed(&mut self, decision: Decision) {
        self.routed = Some(decision);
        self.metrics.routes.with_label_values(&[decision.verdict.as_str(), decision.by.as_str()]).inc();
    }

    /// It was asked of `auto`, and decided so for the request whose answer it shares.
    pub fn shares_route(&mut self, decision: Option<Decision>) {
        self.routed = decision;
    }

    /// How `auto` was decided; `None` where it was not asked, or is not decided yet.
    pub fn route(&self) -> Option<Decision> {
        self.routed
    }

    /// Who calls, once that is known.
    pub fn caller(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    /// An attempt begins; its number. Until another one has output, the latest is the one that may answer.
    pub(super) fn attempt_began(&mut self, who: &Arc<Target>, purpose: Purpose, now: Instant) -> u32 {
        self.begun += 1;
        self.waiting.begin(now);
        if purpose == Purpose::Answer {
            self.attempts += 1;
            self.reuse = None;
            self.answers(self.begun, who);
        }
        self.begun
    }

    /// From here on this is the attempt that answers, unless the client has had output of another.
    pub(super) fn answers(&mut self, number: u32, who: &Arc<Target>) {
        let settled = |answering: &Answering| answering.number == number || answering.first_output.is_some();
        if !self.answering.as_ref().is_some_and(settled) {
            self.answering = Some(Answering::new(number, Arc::clone(who)));
        }
    }

    /// Sets the upstream's own id of the request, if this attempt is the one that answers.
    pub(super) fn upstream_request_id(&mut self, number: u32, id: &str) {
        if let Some(answering) = self.answering.as_mut().filter(|answering| answering.number == number) {
            answering.upstream_request_id = Some(id.into());
        }
    }

    /// An upstream that was waited for has said something, or never will.
    pub(super) fn wait_ended(&mut self, now: Instant) {
        self.waiting.end(now);
    }

    /// What an attempt is charged.
    pub(super) fn charge(&mut self, charge: Charge) {
        self.bill.add(charge);
    }

    /// What the cache has to do with the answer; said once, where there is a cache.
    pub fn cached(&mut self, cached: Cached) {
        self.cached = cached;
        self.metrics.cache.with_label_values(&[cached.as_str()]).inc();
    }

    /// What the cache had to do with the answer.
    pub fn cache(&self) -> Cached {
        self.cached
    }

    /// What the upstreams charge for the request, as far as its attempts are over.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// Who answers and at which attempt: model, upstream, attempts.
    pub fn answering(&self) -> Option<(&str, &str, u32)> {
        let answering = self.answering.as_ref()?;
        Some((answering.who.model.name.as_str(), answering.who.upstream.as_str(), self.attempts))
    }

    /// How long upstreams have been waited for up to now; several at a time count once.
    pub fn upstream_time(&self) -> Duration {
        self.waiting.so_far()
    }

    /// The response head has gone out with this status.
    pub fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// What is measured is not the answer but what it began: [`Record::answered`] does not settle it.
    pub fn outlive_answer(&mut self) {
        self.outlives_answer = true;
    }

    /// The answer is whole, and with it all that is measured, unless that outlives it.
    pub fn answered(&mut self) {
        if !self.outlives_answer {
            self.settle(Outcome::Ok);
        }
    }

    /// What went wrong, for the log: a code or a reason from a closed set.
    pub fn error(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// Events that were complete at `complete`, some of them `output` or none, are taken by the client's connection at `now`.
    pub fn taken(&mut self, complete: Instant, now: Instant, output: bool) {
        self.event_forward.observe(now.saturating_duration_since(complete).as_secs_f64());
        let Some(answering) = &mut self.answering else { return };
        if !output {
            return;
        }
        answering.last_output = Some(now);
        if answering.first_output.is_some() {
            return;
        }
        answering.first_output = Some(now);
        let first = now.saturating_duration_since(self.started);
        let histogram = &self.metrics.time_to_first_token;
        histogram.with_label_values(&[answering.who.model.name.as_str()]).observe(first.as_secs_f64());
        if self.cached == Cached::Joined {
            // what it has waited for is another request's upstream
            return;
        }
        let overhead = first.saturating_sub(self.waiting.so_far());
        self.metrics.gateway_overhead.observe(overhead.as_secs_f64());
    }

    /// Ends the record. Whatever comes later changes nothing, but for what attempts that are still under way are charged.
    pub fn settle(&mut self, outcome: Outcome) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((outcome, Instant::now()));
        // here and not when it is published: before its client hears of the end, its place is free again
        let used = self.bill.tokens();
        self.grants.drain(..).for_each(|grant| grant.settle(used));
    }

    /// What the request costs, all attempts together; `None` where nothing was charged for it though an upstream was asked, or
    /// where a price is not known.
    pub fn cost(&self) -> Option<Cost> {
        let known = self.reuse.is_some() || !self.bill.charges().is_empty();
        self.bill.total().filter(|_| known)
    }
}

impl Waiting {
    fn begin(&mut self, now: Instant) {
        self.open += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: Instant) {
        self.open -= 1;
        if self.open == 0 {
            self.before += self.since.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        }
    }

    fn so_far(&self) -> Duration {
        self.before + self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.settle(Outcome::ClientGone);
        if let Some((hold, _)) = self.budget.take() {
            hold.settle(self.bill.known());
        }
        if let Some((outcome, ended)) = self.ending {
            self.publish(outcome, ended);
        }
    }
}

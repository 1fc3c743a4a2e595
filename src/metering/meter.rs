//! Measures one request and settles it exactly once: at its end, at its failure, or when it is dropped. It is published when the last
//! clone of its meter is dropped, so that no event waits for a log line.
//!
//! A meter that is dropped unsettled means that the client has left: the connection was dropped with the response in it.

mod publish;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use prometheus::Histogram;
use tokio::time::Instant;

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

/// The record of one request. Clones share it; when the last one is dropped, it is settled.
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
    /// The entry of `cors.origins` that allows the page.
    origin_entry: Option<Arc<str>>,
    client: IpAddr,
    caller: Option<Caller>,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    /// The measured completion does not end with the response.
    outlives_answer: bool,
    /// Attempts for the answer so far.
    attempts: u32,
    /// Attempts of all kinds so far.
    begun: u32,
    waiting: Waiting,
    answering: Option<Answering>,
    bill: Bill,
    /// How the cache was used.
    cached: Cached,
    /// Set if the answer is cached or coalesced.
    reuse: Option<Box<Reuse>>,
    /// The prices that a request for `auto` is compared with.
    baseline: Option<Prices>,
    /// How `auto` was decided.
    routed: Option<Decision>,
    /// The grants of its caller's limits, until it ends.
    grants: Vec<Grant>,
    /// The hold on its caller's budget, and whether the request exceeds the budget.
    budget: Option<(Hold, bool)>,
    /// The `ratelimit` fields of its response.
    limits: Option<Box<Fields>>,
    /// How it ended, and when.
    ending: Option<(Outcome, Instant)>,
}

/// The attempt that answers, as far as is known, and the times of its output.
struct Answering {
    /// The number of the attempt.
    number: u32,
    who: Arc<Target>,
    first_output: Option<Instant>,
    last_output: Option<Instant>,
}

/// How long upstreams were waited for, one or several at a time.
#[derive(Default)]
struct Waiting {
    /// How many upstreams are waited for now.
    open: u32,
    /// Since when; `None` if there is none.
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

    /// When the request's head was read.
    pub fn started(&self) -> Instant {
        self.record().started
    }

    /// The record, to write to.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The metrics of the process.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Takes a grant of the caller's limits; it is settled when the record is.
    pub fn hold(&mut self, grant: Grant) {
        self.grants.push(grant);
    }

    /// Takes a hold on the caller's budget; it is settled with the cost of the request.
    pub fn hold_budget(&mut self, hold: Hold, beyond: bool) {
        self.budget = Some((hold, beyond));
    }

    /// Whether the request exceeds its caller's budget and is answered by the cheapest model.
    pub fn is_beyond_budget(&self) -> bool {
        self.budget.as_ref().is_some_and(|(_, beyond)| *beyond)
    }

    /// Sets the `ratelimit` fields of the response.
    pub fn limited(&mut self, fields: Option<Fields>) {
        self.limits = fields.map(Box::new);
    }

    /// The `ratelimit` fields of the response.
    pub fn limits(&self) -> Option<&Fields> {
        self.limits.as_deref()
    }

    /// Sets the entry of `cors.origins` that allows the page, for costs by origin.
    pub fn origin_entry(&mut self, entry: &Arc<str>) {
        self.origin_entry = Some(Arc::clone(entry));
    }

    /// The request is for `auto`: its savings are computed against these prices, `costs.baseline`.
    pub fn compare_with(&mut self, baseline: Option<Prices>) {
        self.baseline = baseline;
    }

    /// The answer is cached or coalesced; it is that of this model.
    pub fn reuses(&mut self, model: &Model, upstream: &str) {
        let who = Arc::new(Target::new(model.clone(), upstream));
        let cause = if self.cached == Cached::Joined { Cause::Joining } else { Cause::Cache };
        self.answering = Some(Answering { number: 0, who: Arc::clone(&who), first_output: None, last_output: None });
        self.reuse = Some(Box::new(Reuse { cause, who, tokens: None }));
    }

    /// The tokens of a cached or coalesced answer: without them no saving is counted.
    pub fn reused(&mut self, tokens: Tokens) {
        if let Some(reuse) = &mut self.reuse {
            reuse.tokens = Some(tokens);
        }
    }

    /// The tokens of the answer, once they are known.
    pub fn answer_tokens(&self) -> Option<Tokens> {
        match &self.reuse {
            Some(reuse) => reuse.tokens,
            None => self.bill.of(self.answering.as_ref()?.number).map(|charge| charge.tokens),
        }
    }

    /// The decision for a request for `auto`.
    pub fn routed(&mut self, decision: Decision) {
        self.routed = Some(decision);
        self.metrics.routes.with_label_values(&[decision.verdict.as_str(), decision.by.as_str()]).inc();
    }

    /// The decision for the request whose answer this one shares.
    pub fn shares_route(&mut self, decision: Option<Decision>) {
        self.routed = decision;
    }

    /// The decision for `auto`; `None` if there is none, or none yet.
    pub fn route(&self) -> Option<Decision> {
        self.routed
    }

    /// Sets the caller.
    pub fn caller(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    /// An attempt begins; returns its number. Until an attempt has output, the latest one counts as the one that answers.
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

    /// From now on this is the attempt that answers, unless the client has output of another one.
    pub(super) fn answers(&mut self, number: u32, who: &Arc<Target>) {
        let settled = |answering: &Answering| answering.number == number || answering.first_output.is_some();
        if !self.answering.as_ref().is_some_and(settled) {
            self.answering = Some(Answering { number, who: Arc::clone(who), first_output: None, last_output: None });
        }
    }

    /// The wait for an upstream has ended.
    pub(super) fn wait_ended(&mut self, now: Instant) {
        self.waiting.end(now);
    }

    /// Adds the charge of an attempt.
    pub(super) fn charge(&mut self, charge: Charge) {
        self.bill.add(charge);
    }

    /// Sets and counts how the cache is used; called once, if there is a cache.
    pub fn cached(&mut self, cached: Cached) {
        self.cached = cached;
        self.metrics.cache.with_label_values(&[cached.as_str()]).inc();
    }

    /// How the cache is used.
    pub fn cache(&self) -> Cached {
        self.cached
    }

    /// The bill of the request: the charges of attempts that have ended.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// When the request's head had been read.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The model that answers, and the number of attempts so far.
    pub fn target(&self) -> Option<(&Target, u32)> {
        self.answering.as_ref().map(|answering| (&*answering.who, self.attempts))
    }

    /// The names of the model and the upstream that answer, and the number of attempts so far.
    pub fn answering(&self) -> Option<(&str, &str, u32)> {
        let answering = self.answering.as_ref()?;
        Some((answering.who.model.name.as_str(), answering.who.upstream.as_str(), self.attempts))
    }

    /// How long upstreams have been waited for up to now; several at a time count once.
    pub fn upstream_time(&self, now: Instant) -> Duration {
        self.waiting.so_far(now)
    }

    /// The response head has gone out with this status.
    pub fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The completion does not end with the response: [`Record::answered`] does not settle the record.
    pub fn outlive_answer(&mut self) {
        self.outlives_answer = true;
    }

    /// The response is complete, which settles the record, unless the completion outlives the response.
    pub fn answered(&mut self) {
        if !self.outlives_answer {
            self.settle(Outcome::Ok);
        }
    }

    /// The error for the log: a code or a reason from a closed set.
    pub fn error(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// The client's connection takes at `now` events that were complete at `complete`; `output` if one of them is output.
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
            // it has waited for the upstream of another request
            return;
        }
        let overhead = first.saturating_sub(self.waiting.so_far(now));
        self.metrics.gateway_overhead.observe(overhead.as_secs_f64());
    }

    /// Settles the record. Later changes have no effect, except for the charges of attempts under way.
    pub fn settle(&mut self, outcome: Outcome) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((outcome, Instant::now()));
        // here and not when it is published, so that its concurrency permit is free before its client sees the end
        let used = self.bill.tokens();
        self.grants.drain(..).for_each(|grant| grant.settle(used));
    }

    /// The cost of the request, all attempts together; `None` if an upstream was asked and nothing is charged yet, or if a price is
    /// not known.
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

    fn so_far(&self, now: Instant) -> Duration {
        self.before + self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
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

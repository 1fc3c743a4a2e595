//! Stage 5: where the answer comes from: the cache, another request, or an upstream.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Gateway;
use super::exchange::Exchange;
use crate::cache::directives::RequestCacheControl;
use crate::cache::entry::{Answer, Entry};
use crate::cache::lead;
use crate::cache::response_cache::{Entered, Found, Lookup, Reuse};
use crate::cache::source::{CacheSource, Entering, Part};
use crate::cache::splice::Splicer;
use crate::error::{Code, Reject};
use crate::metrics::Cached;
use crate::models::ModelId;
use crate::routing::plan::Plan;
use crate::spend::tally::Tally;
use crate::stream::log::coalescer::{Leader, Subscriber};
use crate::stream::source::{Next, Source};
use crate::stream::upstream_source::{Sink, Start, Streams, UpstreamSource};
use crate::supervise;
use families::family::Family;

/// When the head goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// With the first output, or at `stream.commit_after`.
    FirstOutput,
    /// At once: the response is no stream.
    Now,
}

/// Where the answer to a request comes from.
pub(super) enum Origin {
    /// An upstream, for this request alone.
    Upstream(Box<Plan>),
    /// The cache, with the age of the answer.
    Cached(Box<Plan>, Arc<Entry>, Duration),
    /// An answer that identical requests share.
    Coalesced(Box<Plan>, Subscriber, Role),
}

/// What an answer that the cache has part in is to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The upstream is asked for it, and it pays.
    Leads,
    /// The answer is there, or on its way: it pays nothing.
    Reuses,
}

/// The source of a streamed answer.
pub(super) enum AnswerSource {
    Upstream(UpstreamSource),
    Cache(Box<CacheSource>),
}

impl Source for AnswerSource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        match self {
            Self::Upstream(source) => source.poll_next(cx),
            Self::Cache(source) => source.poll_next(cx),
        }
    }
}

impl Exchange {
    /// Finds a cached answer, or a coalesced one to join; else an upstream is asked, for this request or for all identical
    /// ones. `reuse` is what was found before.
    ///
    /// # Errors
    /// The request wants a cached answer only, and there is none.
    pub(super) async fn source(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Origin, Reject> {
        if let Some(reuse) = reuse {
            return Ok(self.reuse(plan, reuse));
        }
        let (gateway, headers, meter) = (&self.gateway, &self.parts.headers, &self.meter);
        let only_if_cached = RequestCacheControl::of(headers).only_if_cached;
        let Some(lookup) = gateway.lookup(&plan, headers).await else {
            if gateway.config.cache.is_some() {
                meter.record().cached(Cached::Off);
            }
            return if only_if_cached { Err(not_cached()) } else { Ok(Origin::Upstream(Box::new(plan))) };
        };
        let entered = match only_if_cached {
            true => gateway.shared.cache.reuse(&lookup).await.map(Entered::Reuse),
            false => Some(gateway.shared.cache.enter(&lookup).await),
        };
        match entered {
            Some(Entered::Reuse(reuse)) => Ok(self.reuse(plan, reuse)),
            Some(Entered::Leads(leader, subscriber)) => {
                meter.record().cached(Cached::Miss);
                self.lead(leader, plan.clone(), lookup);
                Ok(Origin::Coalesced(Box::new(plan), subscriber, Role::Leads))
            }
            None => {
                meter.record().cached(Cached::Miss);
                Err(not_cached())
            }
        }
    }

    fn reuse(&self, plan: Plan, reuse: Reuse) -> Origin {
        let plan = Box::new(plan);
        let (cached, origin) = match reuse {
            Reuse::Hit(Found { entry, now }) => {
                let age = entry.age(now);
                (Cached::Hit, Origin::Cached(plan, entry, age))
            }
            Reuse::Coalesced(subscriber) => (Cached::Joined, Origin::Coalesced(plan, subscriber, Role::Reuses)),
        };
        self.meter.record().cached(cached);
        origin
    }

    /// Gets the answer for all identical requests, in a task of its own.
    fn lead(&self, leader: Leader, mut plan: Plan, lookup: Lookup<'_>) {
        let (gateway, meter) = (Arc::clone(&self.gateway), self.meter.clone());
        let (asked, rules) = (lookup.asked, lookup.rules.clone());
        let cache = {
            let gateway = Arc::clone(&gateway);
            move |model: &str, tally: Tally, answer: Answer| {
                // under the model that answered: a request for the model that failed gets that one, once it is back
                if let Some(id) = gateway.completions.models().find(Some(model)) {
                    gateway.shared.cache.store(&asked, &gateway.routes[id.0], &rules, tally, answer);
                }
            }
        };
        let (completions, panics) = (Arc::clone(&gateway.completions), gateway.shared.metrics.panics.clone());
        if !plan.request.stream() {
            let asking = completions.whole(plan, meter.clone());
            supervise::spawn_answer(&panics, lead::whole(leader, asking, meter, cache));
            return;
        }
        // a later request may ask for the usage
        plan.request.keep_usage();
        let opening = completions.stream(plan, meter.clone());
        let source = move |opened| {
            let start = Start::Opened(opened);
            (UpstreamSource::new(start, Sink::Log, meter.clone(), gateway.streams()), meter)
        };
        supervise::spawn_answer(&panics, lead::streamed(leader, opening, source, cache));
    }

    /// The way into a coalesced answer. A subscriber learns how `auto` was decided, and passes its own limits at the model
    /// that answers.
    pub(super) fn enter(&self, plan: &Plan, mut subscriber: Subscriber, role: Role) -> Entering {
        let (completions, meter) = (Arc::clone(&self.gateway.completions), self.meter.clone());
        let joins = Some(plan).filter(|_| role == Role::Reuses).cloned();
        Box::pin(async move {
            let head = subscriber.head().await?;
            if let Some(plan) = joins {
                if plan.selection.is_pending() {
                    meter.record().shares_route(head.route);
                }
                completions.admit_subscriber(&plan, head.route, &meter).await?;
            }
            Ok(subscriber)
        })
    }

    /// Tells the meter which model's answer is reused.
    pub(super) fn reuses(&self, model: ModelId) {
        let model = self.gateway.completions.models().get(model);
        self.meter.record().reuses(model, &self.gateway.config.upstreams[model.upstream.0].name);
    }

    /// What the answer is to this request.
    pub(super) fn part(&self, plan: &Plan, role: Role) -> Part {
        match role {
            Role::Leads => Part::Leads,
            Role::Reuses => Part::Reuses {
                splicer: splicer(self.route.family()),
                completions: Arc::clone(&self.gateway.completions),
                prompt_tokens: plan.request.estimated_prompt_tokens(),
            },
        }
    }
}

impl Gateway {
    /// What holds for all streams.
    pub(super) fn streams(&self) -> Streams<'_> {
        Streams { rules: self.completions.rules(), open: &self.shared.open }
    }
}

/// Gives an answer of this family a new id.
pub(super) fn splicer(family: &'static dyn Family) -> Splicer {
    let mut random = [0; 16];
    // without randomness ids may repeat: no reason to refuse a request
    let _ = getrandom::fill(&mut random);
    Splicer::new(family, random)
}

/// 504: the request takes a cached answer only, and there is none (RFC 9111 §5.2.1.7).
fn not_cached() -> Reject {
    let message = "No cached answer to this request: send it without `cache-control: only-if-cached`.";
    Reject::new(Code::NotCached, message)
}

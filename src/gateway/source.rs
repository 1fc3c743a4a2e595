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

/// Where the answer to a request comes from.
pub(super) enum Origin {
    /// An upstream, for this request alone.
    Upstream(Box<Plan>),
    /// The cache.
    Cached(Box<Share>, Arc<Entry>, Duration),
    /// An answer that identical requests share.
    Coalesced(Box<Share>, Subscriber),
}

/// What is known of a request with a cached or coalesced answer.
pub(super) struct Share {
    /// The request, if it joins the answer to another one.
    pub(super) joins: Option<Box<Plan>>,
    /// This request leads, and pays.
    pub(super) leads: bool,
    /// The first candidate.
    pub(super) model: ModelId,
    pub(super) has_one_candidate: bool,
    pub(super) wants_usage: bool,
    /// Tokens of the prompt, estimated.
    pub(super) prompt_tokens: u64,
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
    /// Finds a cached answer, or a coalesced one to join; else an upstream answers, for this request or for all identical ones.
    /// `reuse` is an answer that an earlier stage has found.
    ///
    /// # Errors
    /// The request wants a cached answer only, and there is none.
    pub(super) async fn source(&self, plan: Box<Plan>, reuse: Option<Reuse>) -> Result<Origin, Reject> {
        let only_if_cached = || RequestCacheControl::of(&self.parts.headers).only_if_cached;
        match reuse {
            Some(reuse) => Ok(self.reuse(plan, reuse)),
            // boxed: without a cache, its kilobytes are not part of the request's future
            None if self.gateway.config.cache.is_some() => Box::pin(self.source_with_cache(plan)).await,
            None if only_if_cached() => Err(not_cached()),
            None => Ok(Origin::Upstream(plan)),
        }
    }

    async fn source_with_cache(&self, plan: Box<Plan>) -> Result<Origin, Reject> {
        let (gateway, headers, meter) = (&self.gateway, &self.parts.headers, &self.meter);
        let only_if_cached = RequestCacheControl::of(headers).only_if_cached;
        let Some(lookup) = gateway.lookup(&plan, headers).await else {
            meter.record().cached(Cached::Off);
            return if only_if_cached { Err(not_cached()) } else { Ok(Origin::Upstream(plan)) };
        };
        let entered = match only_if_cached {
            true => gateway.shared.cache.free(&lookup).await.map(Entered::Reuse),
            false => Some(gateway.shared.cache.enter(&lookup).await),
        };
        match entered {
            Some(Entered::Reuse(reuse)) => Ok(self.reuse(plan, reuse)),
            Some(Entered::Leads(leader, subscriber)) => {
                meter.record().cached(Cached::Miss);
                let share = Share { leads: true, ..Share::new(&plan) };
                self.lead(leader, plan, lookup);
                Ok(Origin::Coalesced(Box::new(share), subscriber))
            }
            None => {
                meter.record().cached(Cached::Miss);
                Err(not_cached())
            }
        }
    }

    fn reuse(&self, plan: Box<Plan>, reuse: Reuse) -> Origin {
        let share = Share::new(&plan);
        let (cached, origin) = match reuse {
            Reuse::Hit(Found { entry, now }) => {
                let age = entry.age(now);
                (Cached::Hit, Origin::Cached(Box::new(share), entry, age))
            }
            Reuse::Coalesced(subscriber) => {
                (Cached::Joined, Origin::Coalesced(Box::new(Share { joins: Some(plan), ..share }), subscriber))
            }
        };
        self.meter.record().cached(cached);
        origin
    }

    /// Gets the answer for all identical requests, in a task of its own.
    fn lead(&self, leader: Leader, mut plan: Box<Plan>, lookup: Lookup<'_>) {
        let (gateway, meter) = (Arc::clone(&self.gateway), self.meter.clone());
        let (asked, rules) = (lookup.asked, lookup.rules.clone());
        let cache = {
            let gateway = Arc::clone(&gateway);
            move |model: &str, tally: Tally, answer: Answer| {
                // under the model that answered: a request for the model that failed gets that one, once it is back
                if let Some(id) = gateway.completions.models().find(Some(model)) {
                    gateway.shared.cache.keep(&asked, &gateway.routes[id.0], &rules, tally, answer);
                }
            }
        };
        let completions = Arc::clone(&gateway.completions);
        if !plan.request.stream() {
            let asking = completions.whole(plan, meter.clone());
            tokio::spawn(lead::whole(leader, asking, meter, cache));
            return;
        }
        // a later request may ask for the usage
        plan.request.keep_usage();
        let opening = completions.stream(plan, meter.clone());
        let source = move |opened| {
            let start = Start::Opened(opened);
            (UpstreamSource::new(start, Sink::Log, meter.clone(), gateway.streams()), meter)
        };
        tokio::spawn(lead::streamed(leader, opening, source, cache));
    }

    /// Waits for the head of a coalesced answer. A request that joins takes over the decision for `auto`, and reserves of its own
    /// limits at the model that answers.
    pub(super) fn enter(&self, mut subscriber: Subscriber, joins: Option<Box<Plan>>) -> Entering {
        let (completions, meter) = (Arc::clone(&self.gateway.completions), self.meter.clone());
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

    /// The part of this request in the answer.
    pub(super) fn part(&self, share: &Share) -> Part {
        match share.leads {
            true => Part::Leads,
            false => Part::Reuses {
                splicer: splicer(),
                completions: Arc::clone(&self.gateway.completions),
                prompt_tokens: share.prompt_tokens,
            },
        }
    }
}

impl Gateway {
    /// The rules and the registry of all streams.
    pub(super) fn streams(&self) -> Streams<'_> {
        Streams { rules: self.completions.rules(), open: &self.shared.open }
    }
}

impl Share {
    fn new(plan: &Plan) -> Self {
        Self {
            joins: None,
            leads: false,
            model: plan.selection.model,
            has_one_candidate: plan.has_one_candidate(),
            wants_usage: plan.request.wants_usage(),
            prompt_tokens: plan.request.estimated_prompt_tokens(),
        }
    }
}

/// A splicer with a new completion id.
pub(super) fn splicer() -> Splicer {
    let mut random = [0; 16];
    // without randomness ids may repeat: no reason to refuse a request
    let _ = getrandom::fill(&mut random);
    Splicer::new(random)
}

/// The request wants a cached answer only, and there is none (RFC 9111 §5.2.1.7).
fn not_cached() -> Reject {
    let message = "No kept answer to this request: ask without `cache-control: only-if-cached`.";
    Reject::new(Code::NotCached, message)
}

//! How an answer is told that the cache has part in: a kept one, or one that several requests share while it comes in.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::timeout;

use super::begun::{Begun, Head};
use super::exchange::Exchange;
use crate::body::Body;
use crate::cache::cached_body::{CachedBody, Entering, Part, Source, whole_of};
use crate::cache::entry::Entry;
use crate::cache::flight::Follower;
use crate::cache::replay::Replay;
use crate::cache::splice::Splicer;
use crate::error::{Code, Reject};
use crate::gateway::answers;
use crate::models::ModelId;
use crate::routing::plan::Plan;
use crate::spend::tally::Tally;
use crate::stream::upstreams::Whole;

/// An answer that the cache has part in.
pub(super) struct Shared {
    from: From,
    /// The request, where it has joined another one's answer.
    joins: Option<Box<Plan>>,
    /// The model that is wanted.
    model: ModelId,
    only_one: bool,
    wants_usage: bool,
    prompt_tokens: u64,
}

/// Where an answer comes from.
enum From {
    Store { entry: Arc<Entry>, age: Duration },
    Flight(Follower),
}

impl Shared {
    /// One that is kept, and so old.
    pub(super) fn kept(entry: Arc<Entry>, age: Duration, plan: &Plan) -> Self {
        Self::new(From::Store { entry, age }, plan)
    }

    /// One that this request gets, and pays for.
    pub(super) fn led(follower: Follower, plan: &Plan) -> Self {
        Self::new(From::Flight(follower), plan)
    }

    /// One that another request gets.
    pub(super) fn joined(follower: Follower, plan: Plan) -> Self {
        let shared = Self::new(From::Flight(follower), &plan);
        Self { joins: Some(Box::new(plan)), ..shared }
    }

    fn new(from: From, plan: &Plan) -> Self {
        Self {
            from,
            joins: None,
            model: plan.selection.model,
            only_one: plan.has_one_candidate(),
            wants_usage: plan.request.wants_usage(),
            prompt_tokens: plan.request.estimated_prompt_tokens(),
        }
    }

    /// It pays for the answer.
    fn leads(&self) -> bool {
        matches!(self.from, From::Flight(_)) && self.joins.is_none()
    }
}

impl Exchange {
    /// A shared answer that is not resumable.
    pub(super) async fn tell(&self, shared: Shared, streaming: bool) -> Result<Response<Body>, Reject> {
        if !streaming {
            return self.tell_whole(shared).await;
        }
        let Begun { source: told, head } = self.begin_telling(shared).await?;
        let every = self.gateway.upstreams.rules().heartbeat;
        let first = if head.has_output { every.unwrap_or_default() } else { Duration::ZERO };
        Ok(head.answer(Box::pin(told.with_heartbeat(every, first)), &self.meter))
    }

    /// Up to the first output of a stream, or `commit_after`.
    pub(super) async fn begin_telling(&self, shared: Shared) -> Result<Begun<CachedBody>, Reject> {
        let (gateway, meter) = (&self.gateway, &self.meter);
        let part = self.part(&shared);
        let only_one = shared.only_one && shared.leads();
        let Shared { from, joins, model, wants_usage, .. } = shared;
        let (source, head) = match from {
            From::Store { entry, age } => {
                let replay = Replay::instant(entry).ok_or_else(unreadable)?;
                let paced = gateway.config.cache.as_ref().is_some_and(|rules| rules.paced);
                let replay = if paced { replay.paced(&gateway.shared.drain.begun) } else { replay };
                self.name(model);
                let head = Head { vary: None, has_output: true, answerer_is_known: true, age: Some(age) };
                (Source::Kept(replay), head)
            }
            From::Flight(follower) => {
                let mut entering = self.entering(follower, joins);
                match timeout(gateway.upstreams.rules().commit_after, &mut entering).await {
                    Ok(Ok(follower)) => {
                        let vary = follower.known_head().and_then(|head| head.vary.clone());
                        let head = Head { vary, has_output: true, answerer_is_known: true, age: None };
                        (Source::Flight(follower), head)
                    }
                    Ok(Err(failure)) => return Err(answers::failed(&failure, meter)),
                    // nothing was sent until here, so that the status could tell the truth: now the client must hear something
                    Err(_) => {
                        let head = Head { vary: None, has_output: false, answerer_is_known: only_one, age: None };
                        (Source::Entering(entering), head)
                    }
                }
            }
        };
        let mut told = CachedBody::new(source, part, meter.clone(), wants_usage);
        told.identify();
        Ok(Begun { source: told, head })
    }

    /// A shared stream that is told into a log: nobody waits for its beginning.
    pub(super) fn telling(&self, shared: Shared) -> Result<CachedBody, Reject> {
        let part = self.part(&shared);
        let source = match shared.from {
            From::Flight(follower) => Source::Entering(self.entering(follower, shared.joins)),
            From::Store { entry, .. } => {
                self.name(shared.model);
                Source::Kept(Replay::instant(entry).ok_or_else(unreadable)?)
            }
        };
        Ok(CachedBody::new(source, part, self.meter.clone(), shared.wants_usage))
    }

    async fn tell_whole(&self, shared: Shared) -> Result<Response<Body>, Reject> {
        let meter = &self.meter;
        let (part, leads) = (self.part(&shared), shared.leads());
        let Shared { from, joins, model, prompt_tokens, .. } = shared;
        let failed = |failure| answers::failed(&failure, meter);
        let (whole, tally, age) = match from {
            From::Store { entry, age } => {
                let body = whole_of(&entry, &splicer()).ok_or_else(unreadable)?;
                self.name(model);
                (Whole { body, vary: None }, entry.tally.clone(), Some(age))
            }
            From::Flight(follower) => {
                let mut follower = self.entering(follower, joins).await.map_err(failed)?;
                let head = follower.head().await.map_err(failed)?;
                let (body, tally) = match &head.whole {
                    Some(body) if leads => (body.clone(), follower.tally()),
                    Some(body) => (splicer().completion(body), follower.tally()),
                    None => {
                        let told = CachedBody::new(Source::Flight(follower), part, meter.clone(), false);
                        told.whole().await.map_err(failed)?
                    }
                };
                let id = self.gateway.upstreams.models().find(Some(&head.model)).filter(|_| !leads);
                id.into_iter().for_each(|id| self.name(id));
                (Whole { body, vary: head.vary.clone() }, tally, None)
            }
        };
        if !leads {
            meter.record().reused(Tally { prompt_tokens, ..tally }.tokens());
        }
        let mut response = answers::whole(self.route, whole, meter)?;
        age.into_iter().for_each(|age| answers::age(&mut response, age));
        Ok(response)
    }

    /// The way into a flight: who has joined it is told of the decision, and passes its own limits at the model that it fell on.
    fn entering(&self, mut follower: Follower, joins: Option<Box<Plan>>) -> Entering {
        let (router, meter) = (Arc::clone(&self.gateway.router), self.meter.clone());
        Box::pin(async move {
            let head = follower.head().await?;
            if let Some(plan) = joins {
                if plan.selection.is_pending() {
                    meter.record().shares_route(head.route);
                }
                router.admit_joiner(&plan, head.route, &meter).await?;
            }
            Ok(follower)
        })
    }

    /// Tells the meter whose answer is reused.
    fn name(&self, model: ModelId) {
        let model = self.gateway.upstreams.models().get(model);
        self.meter.record().reuses(model, &self.gateway.config.upstreams[model.upstream.0].name);
    }

    fn part(&self, shared: &Shared) -> Part {
        match shared.leads() {
            true => Part::Leads,
            false => Part::Reuses {
                splicer: splicer(),
                upstreams: Arc::clone(&self.gateway.upstreams),
                prompt_tokens: shared.prompt_tokens,
            },
        }
    }
}

fn splicer() -> Splicer {
    let mut random = [0; 16];
    // without randomness ids may repeat: no reason to refuse a request
    let _ = getrandom::fill(&mut random);
    Splicer::new(random)
}

/// Entries are checked as they are kept and as they are read: this is not met.
fn unreadable() -> Reject {
    Reject::new(Code::InternalError, "The gateway failed: this is a defect of it.")
}

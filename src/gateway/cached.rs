//! How an answer is told that the cache has part in: a kept one, or one that several requests share while it comes in.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::timeout;

use super::Gateway;
use super::begun::{Begun, Head};
use crate::body::Body;
use crate::cache::entry::Entry;
use crate::cache::replay::Replay;
use crate::cache::source::{CacheSource, Entering, Origin, Part, whole};
use crate::cache::splice::Splicer;
use crate::error::{Code, Reject};
use crate::gateway::answers;
use crate::gateway::routes::Route;
use crate::metering::meter::Meter;
use crate::models::ModelId;
use crate::routing::router::Routed;
use crate::spend::tally::Tally;
use crate::stream::body::Body as StreamBody;
use crate::stream::completion::Sink;
use crate::stream::log::coalescer::Subscriber;
use crate::stream::upstreams::Whole;

/// An answer that the cache has part in.
pub(super) struct Shared {
    from: From,
    /// The request, where it has joined another one's answer.
    joins: Option<Box<Routed>>,
    /// The model that is wanted.
    model: ModelId,
    only_one: bool,
    wants_usage: bool,
    prompt_tokens: u64,
}

/// Where an answer comes from.
enum From {
    Store { entry: Arc<Entry>, age: Duration },
    Coalesced(Subscriber),
}

impl Shared {
    /// One that is kept, and so old.
    pub(super) fn kept(entry: Arc<Entry>, age: Duration, routed: &Routed) -> Self {
        Self::new(From::Store { entry, age }, routed)
    }

    /// One that this request gets, and pays for.
    pub(super) fn led(subscriber: Subscriber, routed: &Routed) -> Self {
        Self::new(From::Coalesced(subscriber), routed)
    }

    /// One that another request gets.
    pub(super) fn joined(subscriber: Subscriber, routed: Routed) -> Self {
        let shared = Self::new(From::Coalesced(subscriber), &routed);
        Self { joins: Some(Box::new(routed)), ..shared }
    }

    fn new(from: From, routed: &Routed) -> Self {
        let ask = &routed.ask;
        Self {
            from,
            joins: None,
            model: routed.model,
            only_one: ask.candidates.len() == 1 && !routed.is_undecided(),
            wants_usage: ask.request.wants_usage(),
            prompt_tokens: ask.request.estimated_prompt_tokens(),
        }
    }

    /// It pays for the answer.
    fn leads(&self) -> bool {
        matches!(self.from, From::Coalesced(_)) && self.joins.is_none()
    }
}

impl Gateway {
    /// A shared answer that is not resumable.
    pub(super) async fn tell(
        &self,
        shared: Shared,
        streaming: bool,
        route: Route,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        if !streaming {
            return self.tell_whole(shared, route, meter).await;
        }
        let Begun { source, head } = self.begin_telling(shared, meter).await?;
        let every = self.upstreams.rules().heartbeat;
        let first = if head.has_output { every.unwrap_or_default() } else { Duration::ZERO };
        Ok(head.answer(Box::pin(StreamBody::new(source).with_heartbeat(every, first)), meter))
    }

    /// Up to the first output of a stream, or `commit_after`.
    pub(super) async fn begin_telling(&self, shared: Shared, meter: &Meter) -> Result<Begun<CacheSource>, Reject> {
        let part = self.part(&shared);
        let only_one = shared.only_one && shared.leads();
        let Shared { from, joins, model, wants_usage, .. } = shared;
        let (origin, head) = match from {
            From::Store { entry, age } => {
                let replay = Replay::instant(entry).ok_or_else(unreadable)?;
                let paced = self.config.cache.as_ref().is_some_and(|rules| rules.paced);
                let replay = if paced { replay.paced(&self.shared.drain.begun) } else { replay };
                self.name(model, meter);
                let head = Head { vary: None, has_output: true, answerer_is_known: true, age: Some(age) };
                (Origin::Cached(replay), head)
            }
            From::Coalesced(subscriber) => {
                let mut entering = self.entering(subscriber, joins, meter);
                match timeout(self.upstreams.rules().commit_after, &mut entering).await {
                    Ok(Ok(subscriber)) => {
                        let vary = subscriber.known_head().and_then(|head| head.vary.clone());
                        let head = Head { vary, has_output: true, answerer_is_known: true, age: None };
                        (Origin::Coalesced(subscriber), head)
                    }
                    Ok(Err(failure)) => return Err(answers::failed(&failure, meter)),
                    // nothing was sent until here, so that the status could tell the truth: now the client must hear something
                    Err(_) => {
                        let head = Head { vary: None, has_output: false, answerer_is_known: only_one, age: None };
                        (Origin::Entering(entering), head)
                    }
                }
            }
        };
        Ok(Begun { source: CacheSource::new(origin, part, meter.clone(), wants_usage), head })
    }

    /// A shared stream that is told into a log: nobody waits for its beginning.
    pub(super) fn telling(&self, shared: Shared, meter: &Meter) -> Result<CacheSource, Reject> {
        let part = self.part(&shared);
        let origin = match shared.from {
            From::Coalesced(subscriber) => Origin::Entering(self.entering(subscriber, shared.joins, meter)),
            From::Store { entry, .. } => {
                self.name(shared.model, meter);
                Origin::Cached(Replay::instant(entry).ok_or_else(unreadable)?)
            }
        };
        Ok(CacheSource::new(origin, part, meter.clone(), shared.wants_usage).into_sink(Sink::Log))
    }

    async fn tell_whole(&self, shared: Shared, route: Route, meter: &Meter) -> Result<Response<Body>, Reject> {
        let leads = shared.leads();
        let Shared { from, joins, model, prompt_tokens, .. } = shared;
        let failed = |failure| answers::failed(&failure, meter);
        let (whole, tally, age) = match from {
            From::Store { entry, age } => {
                let body = splicer().completion(&entry.completion().ok_or_else(unreadable)?);
                self.name(model, meter);
                (Whole { body, vary: None }, entry.tally.clone(), Some(age))
            }
            From::Coalesced(subscriber) => {
                let mut subscriber = self.entering(subscriber, joins, meter).await.map_err(failed)?;
                let head = subscriber.head().await.map_err(failed)?;
                let (body, tally) = match &head.whole {
                    Some(body) => (body.clone(), subscriber.tally()),
                    None => whole(subscriber).await.map_err(failed)?,
                };
                let body = if leads { body } else { splicer().completion(&body) };
                let id = self.upstreams.models().find(Some(&head.model)).filter(|_| !leads);
                id.into_iter().for_each(|id| self.name(id, meter));
                (Whole { body, vary: head.vary.clone() }, tally, None)
            }
        };
        if !leads {
            meter.record().reused(Tally { prompt_tokens, ..tally }.tokens());
        }
        let mut response = answers::whole(route, whole, meter)?;
        age.into_iter().for_each(|age| answers::age(&mut response, age));
        Ok(response)
    }

    /// The way into a flight: who has joined it is told of the decision, and passes its own limits at the model that it fell on.
    fn entering(&self, mut subscriber: Subscriber, joins: Option<Box<Routed>>, meter: &Meter) -> Entering {
        let (router, meter) = (Arc::clone(&self.router), meter.clone());
        Box::pin(async move {
            let head = subscriber.head().await?;
            if let Some(routed) = joins {
                if routed.is_undecided() {
                    meter.record().shares_route(head.route);
                }
                router.admit_joiner(&routed, head.route, &meter).await?;
            }
            Ok(subscriber)
        })
    }

    /// Tells the meter whose answer is reused.
    fn name(&self, model: ModelId, meter: &Meter) {
        let model = self.upstreams.models().get(model);
        meter.record().reuses(model, &self.config.upstreams[model.upstream.0].name);
    }

    fn part(&self, shared: &Shared) -> Part {
        match shared.leads() {
            true => Part::Leads,
            false => Part::Reuses {
                splicer: splicer(),
                upstreams: Arc::clone(&self.upstreams),
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

//! How an answer is told that the cache has part in: a kept one, or one that several requests share while it comes in.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::timeout;

use super::Gateway;
use super::begun::{Begun, Head};
use crate::answers;
use crate::auto::Routed;
use crate::body::Body;
use crate::cache::entry::Entry;
use crate::cache::flight::Follower;
use crate::cache::replay::Replay;
use crate::cache::splice::Splicer;
use crate::cache::told::{Part, Source, Told, whole_of};
use crate::error::{Code, Reject};
use crate::fallback::Whole;
use crate::route::table::ModelId;
use crate::routes::Route;
use crate::stream::meter::Meter;
use crate::stream::tally::Tally;

/// An answer that the cache has part in.
pub(super) struct Shared {
    from: From,
    /// It pays for the answer.
    leads: bool,
    /// The model that is wanted.
    model: ModelId,
    /// Which one is still to be decided.
    undecided: bool,
    only_one: bool,
    wants_usage: bool,
    prompt_tokens: u64,
}

/// Where an answer comes from.
pub(super) enum From {
    Store { entry: Arc<Entry>, age: Duration },
    Flight(Follower),
}

impl Shared {
    /// Of this request, which pays for the answer if it leads.
    pub(super) fn new(from: From, leads: bool, routed: &Routed) -> Self {
        let (ask, undecided) = (&routed.ask, routed.is_undecided());
        Self {
            from,
            leads,
            model: routed.model,
            undecided,
            only_one: ask.candidates.len() == 1 && !undecided,
            wants_usage: ask.request.wants_usage(),
            prompt_tokens: ask.request.estimated_prompt_tokens(),
        }
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
        let Begun { source: told, head } = self.begin_telling(shared, meter).await?;
        let every = self.upstreams.rules().heartbeat;
        let first = if head.has_output { every.unwrap_or_default() } else { Duration::ZERO };
        Ok(head.answer(Box::pin(told.with_heartbeat(every, first)), meter))
    }

    /// Up to the first output of a stream, or `commit_after`.
    pub(super) async fn begin_telling(&self, shared: Shared, meter: &Meter) -> Result<Begun<Told>, Reject> {
        let part = self.part(&shared);
        let Shared { from, leads, model, only_one, wants_usage, .. } = shared;
        let (mut source, mut vary, mut known, mut has_output, age) = match from {
            From::Store { entry, age } => {
                let replay = Replay::instant(entry).ok_or_else(unreadable)?;
                let paced = self.config.cache.as_ref().is_some_and(|rules| rules.paced);
                let replay = if paced { replay.paced(&self.shared.drain.begun) } else { replay };
                self.name(model, meter);
                (Source::Kept(replay), None, true, true, Some(age))
            }
            From::Flight(follower) => (Source::Flight(follower), None, leads && only_one, false, None),
        };
        if let Source::Flight(follower) = &mut source {
            match timeout(self.upstreams.rules().commit_after, follower.head()).await {
                Ok(Ok(head)) => {
                    vary.clone_from(&head.vary);
                    (known, has_output) = (true, true);
                }
                Ok(Err(failure)) => return Err(answers::failed(&failure, meter)),
                // nothing was sent until here, so that the status could tell the truth: now the client must hear something
                Err(_) => {}
            }
        }
        let mut told = Told::new(source, part, meter.clone(), wants_usage);
        told.identify();
        Ok(Begun { source: told, head: Head { vary, has_output, answerer_is_known: known, age } })
    }

    /// A shared stream that is told into a log: nobody waits for its beginning.
    pub(super) fn telling(&self, shared: Shared, meter: &Meter) -> Result<Told, Reject> {
        let part = self.part(&shared);
        let source = match shared.from {
            From::Flight(follower) => Source::Flight(follower),
            From::Store { entry, .. } => {
                self.name(shared.model, meter);
                Source::Kept(Replay::instant(entry).ok_or_else(unreadable)?)
            }
        };
        Ok(Told::new(source, part, meter.clone(), shared.wants_usage))
    }

    async fn tell_whole(&self, shared: Shared, route: Route, meter: &Meter) -> Result<Response<Body>, Reject> {
        let part = self.part(&shared);
        let Shared { from, leads, model, undecided, prompt_tokens, .. } = shared;
        let failed = |failure| answers::failed(&failure, meter);
        let (whole, tally, age) = match from {
            From::Store { entry, age } => {
                let body = whole_of(&entry, &splicer()).ok_or_else(unreadable)?;
                self.name(model, meter);
                (Whole { body, vary: None }, entry.tally.clone(), Some(age))
            }
            From::Flight(mut follower) => {
                let head = follower.head().await.map_err(failed)?;
                let (body, tally) = match &head.whole {
                    Some(body) if leads => (body.clone(), follower.tally()),
                    Some(body) => (splicer().completion(body), follower.tally()),
                    None => {
                        let told = Told::new(Source::Flight(follower), part, meter.clone(), false);
                        told.whole().await.map_err(failed)?
                    }
                };
                let id = self.upstreams.models().find(Some(&head.model)).filter(|_| !leads);
                if let Some(id) = id {
                    self.name(id, meter);
                    if undecided {
                        meter.record().shares_route(head.route);
                    }
                }
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

    /// Tells the meter whose answer is reused.
    fn name(&self, model: ModelId, meter: &Meter) {
        let model = self.upstreams.models().get(model);
        meter.record().reuses(model, &self.config.upstreams[model.upstream.0].name);
    }

    fn part(&self, shared: &Shared) -> Part {
        match shared.leads {
            true => Part::Leads,
            false => Part::Reuses {
                splicer: splicer(),
                upstreams: Arc::clone(&self.upstreams),
                prompt_tokens: shared.prompt_tokens,
                undecided: shared.undecided,
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

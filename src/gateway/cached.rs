//! Completions that the cache has part in: kept ones, and those that several requests share while they come in.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderValue, Response};
use tokio::time::timeout;

use super::Gateway;
use crate::answers;
use crate::auto::Routed;
use crate::body::Body;
use crate::cache::canonical::canonical;
use crate::cache::directive::Wishes;
use crate::cache::entry::{Answer, Entry};
use crate::cache::flight::{Entered, Follower, Pilot};
use crate::cache::fly;
use crate::cache::keeper::{Found, Lookup};
use crate::cache::key::{Asked, FlightKind, Owner, Route as AnswerRoute};
use crate::cache::replay::Replay;
use crate::cache::splice::Splicer;
use crate::cache::told::{Part, Source, Told, whole_of};
use crate::config;
use crate::error::{Code, Reject};
use crate::fallback::{Ask, Whole};
use crate::metrics::Cached;
use crate::route::table::{Model, ModelId};
use crate::routes::Route;
use crate::stream::meter::Meter;
use crate::stream::relay::Relay;
use crate::stream::tally::Tally;

/// A larger body is brought into its canonical form beside the worker threads, as it is parsed.
const DONE_IN_PLACE: usize = 256 * 1024;

/// Who answers a request.
pub(super) enum Sharing {
    /// An upstream, and nobody else hears of it.
    Alone(Box<Routed>),
    /// The cache has part in it.
    Shared(Box<Shared>),
}

/// An answer that the cache has part in.
pub(super) struct Shared {
    from: From,
    /// It pays for the answer.
    leads: bool,
    /// The model that is wanted.
    model: ModelId,
    only_one: bool,
    wants_usage: bool,
    prompt_tokens: u64,
}

enum From {
    Store { entry: Arc<Entry>, age: Duration },
    Flight(Follower),
}

/// A stream that is about to be told.
pub(super) struct Begun {
    pub(super) told: Told,
    pub(super) vary: Option<HeaderValue>,
    pub(super) has_output: bool,
    pub(super) answerer_is_known: bool,
    pub(super) age: Option<Duration>,
}

impl Gateway {
    /// Looks for a kept answer, or for somebody who is just getting it; else begins to get it, for all who may come.
    ///
    /// # Errors
    /// Only a kept answer is wanted, and there is none.
    pub(super) async fn share(&self, routed: Routed, headers: &HeaderMap, meter: &Meter) -> Result<Sharing, Reject> {
        let undecided = routed.is_undecided();
        let wishes = Wishes::of(headers);
        // which model's answer is wanted is not known yet: none is read, and none is older than the decision
        let wishes = Wishes { no_cache: wishes.no_cache || undecided, ..wishes };
        let ask = &routed.ask;
        let asked = match &self.config.cache {
            Some(rules) if !wishes.no_store => asked(ask, headers, rules).await.map(|asked| (asked, rules)),
            _ => None,
        };
        let Some((asked, rules)) = asked else {
            if self.config.cache.is_some() {
                meter.record().cached(Cached::Off);
            }
            return if wishes.only_if_cached {
                Err(answers::not_cached())
            } else {
                Ok(Sharing::Alone(Box::new(routed)))
            };
        };
        let streaming = ask.request.stream();
        let allowed = |id: &&ModelId| ask.caller.may_use(&self.upstreams.models().get(**id).name);
        let candidates: Vec<AnswerRoute> = ask.candidates.iter().filter(allowed).map(|id| self.routes[id.0]).collect();
        let model = routed.model;
        let lookup = Lookup {
            key: asked.key(&self.routes[model.0]),
            flight: asked.flight(&candidates, FlightKind { streamed: streaming, undecided }),
            // a whole answer can be joined from a stream, and not the other way round
            also: (!streaming).then(|| asked.flight(&candidates, FlightKind { streamed: true, undecided })),
            asked,
            wishes,
            rules,
        };
        let keeper = &self.shared.cache;
        let entered = match wishes.only_if_cached {
            false => keeper.enter(&lookup).await,
            true => match keeper.find(&lookup).await {
                Some(found) => Entered::Instead(found),
                None => {
                    meter.record().cached(Cached::Miss);
                    return Err(answers::not_cached());
                }
            },
        };
        let shared = |from, leads, ask: &Ask| {
            Sharing::Shared(Box::new(Shared {
                from,
                leads,
                model,
                only_one: ask.candidates.len() == 1 && !undecided,
                wants_usage: ask.request.wants_usage(),
                prompt_tokens: ask.request.estimated_prompt_tokens(),
            }))
        };
        let (cached, sharing) = match entered {
            Entered::Instead(Found { entry, now }) => {
                let age = entry.age(now);
                (Cached::Hit, shared(From::Store { entry, age }, false, ask))
            }
            Entered::Joined(follower) => (Cached::Joined, shared(From::Flight(follower), false, ask)),
            Entered::Leads(pilot, follower) => {
                let sharing = shared(From::Flight(follower), true, ask);
                self.fly(pilot, routed, lookup.asked, rules, meter);
                (Cached::Miss, sharing)
            }
        };
        meter.record().cached(cached);
        Ok(sharing)
    }

    /// Gets an answer, in a task of its own.
    fn fly(&self, pilot: Pilot, mut routed: Routed, asked: Asked, rules: &config::Cache, meter: &Meter) {
        let (keeper, routes, rules) = (Arc::clone(&self.shared.cache), Arc::clone(&self.routes), rules.clone());
        let upstreams = Arc::clone(&self.upstreams);
        let keep = move |model: &str, tally: Tally, answer: Answer| {
            // under the model that answered: whoever asks for the one that failed is to get it, once it is back
            if let Some(id) = upstreams.models().find(Some(model)) {
                keeper.keep(&asked, &routes[id.0], &rules, tally, answer);
            }
        };
        let (router, meter) = (Arc::clone(&self.router), meter.clone());
        if !routed.ask.request.stream() {
            let asking = router.whole(routed, meter.clone());
            tokio::spawn(fly::whole(pilot, asking, meter, keep));
            return;
        }
        // a later one may ask for the usage
        routed.ask.request.keep_usage();
        let opening = Box::pin(router.stream(routed, meter.clone()));
        let (rules, open, own) = (self.quiet_rules(), Arc::clone(&self.shared.open), meter.clone());
        let relay = move |opened| Relay::opened(opened, own, &rules, &open);
        tokio::spawn(fly::streamed(pilot, opening, meter, relay, keep));
    }

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
        let begun = self.begin_telling(shared, meter).await?;
        let rules = self.upstreams.rules();
        let first = if begun.has_output { rules.heartbeat.unwrap_or_default() } else { Duration::ZERO };
        let told = begun.told.with_heartbeat(rules.heartbeat, first);
        let mut response = answers::stream(Box::pin(told), begun.vary);
        if begun.answerer_is_known {
            answers::describe(&mut response, meter);
        }
        begun.age.into_iter().for_each(|age| answers::age(&mut response, age));
        answers::name_cache(&mut response, meter);
        Ok(response)
    }

    /// Up to the first output of a stream, or `commit_after`.
    pub(super) async fn begin_telling(&self, shared: Shared, meter: &Meter) -> Result<Begun, Reject> {
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
        Ok(Begun { told, vary, has_output, answerer_is_known: known, age })
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
        let Shared { from, leads, model, prompt_tokens, .. } = shared;
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
                    meter.record().shares_route(head.route);
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
            },
        }
    }
}

/// Under which key each model's answers are kept; empty where none are.
pub(super) fn routes(config: &config::Config) -> Arc<[AnswerRoute]> {
    let route = |model: &Model| {
        let upstream = &config.upstreams[model.upstream.0];
        AnswerRoute::new(&model.name, &upstream.name, &upstream.base.to_string(), &model.upstream_model)
    };
    let models = config.cache.iter().flat_map(|_| config.models.models());
    models.map(route).collect()
}

/// What is asked, and by whom; `None` for what has no key.
async fn asked(ask: &Ask, headers: &HeaderMap, rules: &config::Cache) -> Option<Asked> {
    let owner = if rules.shared { Owner::everybody() } else { Owner::caller(&ask.caller, headers) };
    let body = ask.request.body().clone();
    let of = move || canonical(&body).map(|form| Asked::new(&form, owner));
    match ask.request.body().len() <= DONE_IN_PLACE {
        true => of(),
        false => tokio::task::spawn_blocking(of).await.ok().flatten(),
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

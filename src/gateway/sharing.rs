//! Which requests share an answer: what is kept, what others are just getting, and what is got for all who may come.

use std::sync::Arc;

use http::header::HeaderMap;

use super::Gateway;
use super::cached::Shared;
use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::cache::canonical::canonical;
use crate::cache::directives::RequestCacheControl;
use crate::cache::entry::Answer;
use crate::cache::flight::Pilot;
use crate::cache::fly;
use crate::cache::key::{Asked, FlightKey, FlightKind, Owner, Route as AnswerRoute};
use crate::cache::response_cache::{Entered, Found, Lookup, Reuse};
use crate::config;
use crate::error::Reject;
use crate::gateway::answers;
use crate::metering::meter::Meter;
use crate::metrics::Cached;
use crate::models::{Model, ModelId};
use crate::routing::plan::{Plan, Scope, Selection};
use crate::spend::tally::Tally;
use crate::stream::relay::Relay;

/// A larger body is brought into its canonical form beside the worker threads, as it is parsed.
const DONE_IN_PLACE: usize = 256 * 1024;

/// Who answers a request.
pub(super) enum Sharing {
    /// An upstream, and nobody else hears of it.
    Alone(Box<Plan>),
    /// The cache has part in it.
    Shared(Box<Shared>),
}

/// How far it is known which model is to answer.
#[derive(Clone, Copy)]
enum Standing {
    /// The request names it.
    Named,
    /// It was asked of `auto`, and is decided.
    Decided,
    /// It was asked of `auto`, and is still to be decided.
    Undecided,
}

impl Exchange {
    /// For whom is kept what is kept of this request; `None` where nothing is to be.
    pub(super) fn scope(&self, caller: &Caller) -> Option<Scope> {
        let headers = &self.parts.headers;
        let rules = self.gateway.config.cache.as_ref().filter(|_| !RequestCacheControl::of(headers).no_store)?;
        Some(owner(caller, headers, rules).0.0)
    }

    /// An answer for which nobody has to be paid, if there is one.
    pub(super) async fn find_reuse(&self, plan: &Plan) -> Option<Reuse> {
        let lookup = self.gateway.lookup(plan, &self.parts.headers).await?;
        self.gateway.shared.cache.free(&lookup).await
    }

    /// Looks for a kept answer, or for somebody who is just getting it; else begins to get it, for all who may come.
    ///
    /// # Errors
    /// Only a kept answer is wanted, and there is none.
    pub(super) async fn share(&self, plan: Plan, free: Option<Reuse>) -> Result<Sharing, Reject> {
        let (gateway, headers, meter) = (&self.gateway, &self.parts.headers, &self.meter);
        if let Some(free) = free {
            return Ok(reuse(free, plan, meter));
        }
        let only_if_cached = RequestCacheControl::of(headers).only_if_cached;
        let Some(lookup) = gateway.lookup(&plan, headers).await else {
            if gateway.config.cache.is_some() {
                meter.record().cached(Cached::Off);
            }
            return if only_if_cached { Err(answers::not_cached()) } else { Ok(Sharing::Alone(Box::new(plan))) };
        };
        let response_cache = &gateway.shared.cache;
        if only_if_cached {
            return match response_cache.free(&lookup).await {
                Some(free) => Ok(reuse(free, plan, meter)),
                None => {
                    meter.record().cached(Cached::Miss);
                    Err(answers::not_cached())
                }
            };
        }
        match response_cache.enter(&lookup).await {
            Entered::Reuse(free) => Ok(reuse(free, plan, meter)),
            Entered::Leads(pilot, follower) => {
                meter.record().cached(Cached::Miss);
                let shared = Shared::led(follower, &plan);
                gateway.fly(pilot, plan, (lookup.asked, lookup.rules), meter);
                Ok(Sharing::Shared(Box::new(shared)))
            }
        }
    }
}

impl Gateway {
    /// What is looked for; `None` where the cache has no part in it.
    async fn lookup(&self, plan: &Plan, headers: &HeaderMap) -> Option<Lookup<'_>> {
        let (model, standing) = (plan.selection.model, Standing::new(&plan.selection));
        let rules = self.config.cache.as_ref()?;
        let wishes = RequestCacheControl::of(headers);
        if wishes.no_store {
            return None;
        }
        let asked = asked(plan, headers, rules).await?;
        let streamed = plan.request.stream();
        let decided =
            |streamed| asked.flight(&self.answerers(&plan.candidates, plan), FlightKind { streamed, undecided: None });
        let undecided = |streamed| self.undecided_flight(&asked, plan, streamed, headers);
        // a whole answer can be joined from a stream, and not the other way round
        let streamed_too = || Some(true).filter(|_| !streamed);
        let (key, flight, also) = match standing {
            Standing::Named => (Some(model), decided(streamed), streamed_too().map(decided).into_iter().collect()),
            // somebody may have asked before it was decided, for whom it then was
            Standing::Decided => {
                let before = std::iter::once(streamed).chain(streamed_too()).map(undecided);
                (Some(model), decided(streamed), streamed_too().map(decided).into_iter().chain(before).collect())
            }
            // which model's answer is wanted is not known yet: none is read
            Standing::Undecided => (None, undecided(streamed), streamed_too().map(undecided).into_iter().collect()),
        };
        let key = key.map(|model| asked.key(&self.routes[model.0]));
        Some(Lookup { asked, key, flight, also, streamed, wishes, rules })
    }

    /// The flight of a request whose model is still to be decided: the candidates of both may answer.
    fn undecided_flight(&self, asked: &Asked, plan: &Plan, streamed: bool, headers: &HeaderMap) -> FlightKey {
        let both = self.config.auto.iter().flat_map(|auto| [auto.easy, auto.hard]);
        let of = |first| self.answerers(&self.upstreams.candidates(first, &plan.request, &plan.caller), plan);
        let candidates: Vec<AnswerRoute> = both.flat_map(of).collect();
        let undecided = Some(Owner::caller(&plan.caller, headers));
        asked.flight(&candidates, FlightKind { streamed, undecided })
    }

    /// The routes of those that the caller may use.
    fn answerers(&self, candidates: &[ModelId], plan: &Plan) -> Vec<AnswerRoute> {
        let allowed = |id: &&ModelId| plan.caller.may_use(&self.upstreams.models().get(**id).name);
        candidates.iter().filter(allowed).map(|id| self.routes[id.0]).collect()
    }

    /// Gets an answer, in a task of its own.
    fn fly(&self, pilot: Pilot, mut plan: Plan, kept: (Asked, &config::Cache), meter: &Meter) {
        let (asked, rules) = kept;
        let (response_cache, routes, rules) = (Arc::clone(&self.shared.cache), Arc::clone(&self.routes), rules.clone());
        let upstreams = Arc::clone(&self.upstreams);
        let keep = move |model: &str, tally: Tally, answer: Answer| {
            // under the model that answered: whoever asks for the one that failed is to get it, once it is back
            if let Some(id) = upstreams.models().find(Some(model)) {
                response_cache.keep(&asked, &routes[id.0], &rules, tally, answer);
            }
        };
        let (router, meter) = (Arc::clone(&self.router), meter.clone());
        if !plan.request.stream() {
            let asking = router.whole(plan, meter.clone());
            tokio::spawn(fly::whole(pilot, asking, meter, keep));
            return;
        }
        // a later one may ask for the usage
        plan.request.keep_usage();
        let opening = router.stream(plan, meter.clone());
        let (rules, open, own) = (self.quiet_rules(), Arc::clone(&self.shared.open), meter.clone());
        let relay = move |opened| Relay::opened(opened, own, &rules, &open);
        tokio::spawn(fly::streamed(pilot, opening, meter, relay, keep));
    }
}

impl Standing {
    fn new(selection: &Selection) -> Self {
        match (selection.is_auto(), selection.is_pending()) {
            (_, true) => Self::Undecided,
            (true, false) => Self::Decided,
            (false, false) => Self::Named,
        }
    }
}

fn reuse(free: Reuse, plan: Plan, meter: &Meter) -> Sharing {
    let (cached, shared) = match free {
        Reuse::Hit(Found { entry, now }) => {
            let age = entry.age(now);
            (Cached::Hit, Shared::kept(entry, age, &plan))
        }
        Reuse::Coalesced(follower) => (Cached::Joined, Shared::joined(follower, plan)),
    };
    meter.record().cached(cached);
    Sharing::Shared(Box::new(shared))
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
async fn asked(plan: &Plan, headers: &HeaderMap, rules: &config::Cache) -> Option<Asked> {
    let owner = owner(&plan.caller, headers, rules);
    let body = plan.request.body().clone();
    let of = move || canonical(&body).map(|form| Asked::new(&form, owner));
    match plan.request.body().len() <= DONE_IN_PLACE {
        true => of(),
        false => tokio::task::spawn_blocking(of).await.ok().flatten(),
    }
}

fn owner(caller: &Caller, headers: &HeaderMap, rules: &config::Cache) -> Owner {
    if rules.shared { Owner::everybody() } else { Owner::caller(caller, headers) }
}

//! Which requests share an answer: what is kept, what others are just getting, and what is got for all who may come.

use std::sync::Arc;

use http::header::HeaderMap;

use super::Gateway;
use super::cached::Shared;
use crate::auth::caller::Caller;
use crate::cache::canonical::canonical;
use crate::cache::directives::RequestCacheControl;
use crate::cache::entry::Answer;
use crate::cache::key::{Asked, CoalescingKind, Owner, Route as AnswerRoute};
use crate::cache::lead;
use crate::cache::response_cache::{Entered, Found, Lookup, Reuse};
use crate::config;
use crate::error::Reject;
use crate::gateway::answers;
use crate::metering::meter::Meter;
use crate::metrics::Cached;
use crate::models::{Model, ModelId};
use crate::routing::router::{Destination, Routed, Scope};
use crate::spend::tally::Tally;
use crate::stream::completion::{Completion, Sink, Start, Streams};
use crate::stream::log::coalescer::{CoalescingKey, Leader};
use crate::stream::upstreams::Ask;

/// A larger body is brought into its canonical form beside the worker threads, as it is parsed.
const DONE_IN_PLACE: usize = 256 * 1024;

/// A request that may be answered.
pub(super) struct Wanted {
    pub(super) routed: Routed,
    /// It was asked of `auto`.
    pub(super) of_auto: bool,
    /// All that it can afford: an answer that costs nothing.
    pub(super) free: Option<Reuse>,
}

/// Who answers a request.
pub(super) enum Sharing {
    /// An upstream, and nobody else hears of it.
    Alone(Box<Routed>),
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

impl Gateway {
    /// For whom is kept what is kept of this request; `None` where nothing is to be.
    pub(super) fn scope(&self, caller: &Caller, headers: &HeaderMap) -> Option<Scope> {
        let rules = self.config.cache.as_ref().filter(|_| !RequestCacheControl::of(headers).no_store)?;
        Some(owner(caller, headers, rules).0.0)
    }

    /// An answer for which nobody has to be paid, if there is one.
    pub(super) async fn free(
        &self,
        ask: &Ask,
        destination: &Destination,
        model: ModelId,
        headers: &HeaderMap,
    ) -> Option<Reuse> {
        let undecided = matches!(destination, Destination::Undecided(_));
        let standing = Standing::new(destination.is_of_auto(), undecided);
        let lookup = self.lookup(ask, model, standing, headers).await?;
        self.shared.cache.free(&lookup).await
    }

    /// Looks for a kept answer, or for somebody who is just getting it; else begins to get it, for all who may come.
    ///
    /// # Errors
    /// Only a kept answer is wanted, and there is none.
    pub(super) async fn share(&self, wanted: Wanted, headers: &HeaderMap, meter: &Meter) -> Result<Sharing, Reject> {
        let Wanted { routed, of_auto, free } = wanted;
        if let Some(free) = free {
            return Ok(reuse(free, routed, meter));
        }
        let standing = Standing::new(of_auto, routed.is_undecided());
        let only_if_cached = RequestCacheControl::of(headers).only_if_cached;
        let Some(lookup) = self.lookup(&routed.ask, routed.model, standing, headers).await else {
            if self.config.cache.is_some() {
                meter.record().cached(Cached::Off);
            }
            return if only_if_cached { Err(answers::not_cached()) } else { Ok(Sharing::Alone(Box::new(routed))) };
        };
        let response_cache = &self.shared.cache;
        if only_if_cached {
            return match response_cache.free(&lookup).await {
                Some(free) => Ok(reuse(free, routed, meter)),
                None => {
                    meter.record().cached(Cached::Miss);
                    Err(answers::not_cached())
                }
            };
        }
        match response_cache.enter(&lookup).await {
            Entered::Reuse(free) => Ok(reuse(free, routed, meter)),
            Entered::Leads(leader, subscriber) => {
                meter.record().cached(Cached::Miss);
                let shared = Shared::led(subscriber, &routed);
                self.lead(leader, routed, lookup.asked, lookup.rules, meter);
                Ok(Sharing::Shared(Box::new(shared)))
            }
        }
    }

    /// What is looked for; `None` where the cache has no part in it.
    async fn lookup(&self, ask: &Ask, model: ModelId, standing: Standing, headers: &HeaderMap) -> Option<Lookup<'_>> {
        let rules = self.config.cache.as_ref()?;
        let wishes = RequestCacheControl::of(headers);
        if wishes.no_store {
            return None;
        }
        let asked = asked(ask, headers, rules).await?;
        let streamed = ask.request.stream();
        let decided = |streamed| {
            asked.coalescing_key(&self.answerers(&ask.candidates, ask), CoalescingKind { streamed, undecided: None })
        };
        let undecided = |streamed| self.undecided_key(&asked, ask, streamed, headers);
        // a whole answer can be joined from a stream, and not the other way round
        let streamed_too = || Some(true).filter(|_| !streamed);
        let (key, coalescing_key, also) = match standing {
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
        Some(Lookup { asked, key, coalescing_key, also, streamed, wishes, rules })
    }

    /// The key of a request whose model is still to be decided: the candidates of both may answer.
    fn undecided_key(&self, asked: &Asked, ask: &Ask, streamed: bool, headers: &HeaderMap) -> CoalescingKey {
        let both = self.config.auto.iter().flat_map(|auto| [auto.easy, auto.hard]);
        let of = |first| self.answerers(&self.upstreams.candidates(first, &ask.request, &ask.caller), ask);
        let candidates: Vec<AnswerRoute> = both.flat_map(of).collect();
        let undecided = Some(Owner::caller(&ask.caller, headers));
        asked.coalescing_key(&candidates, CoalescingKind { streamed, undecided })
    }

    /// The routes of those that the caller may use.
    fn answerers(&self, candidates: &[ModelId], ask: &Ask) -> Vec<AnswerRoute> {
        let allowed = |id: &&ModelId| ask.caller.may_use(&self.upstreams.models().get(**id).name);
        candidates.iter().filter(allowed).map(|id| self.routes[id.0]).collect()
    }

    /// Gets an answer, in a task of its own.
    fn lead(&self, leader: Leader, mut routed: Routed, asked: Asked, rules: &config::Cache, meter: &Meter) {
        let (response_cache, routes, rules) = (Arc::clone(&self.shared.cache), Arc::clone(&self.routes), rules.clone());
        let upstreams = Arc::clone(&self.upstreams);
        let keep = move |model: &str, tally: Tally, answer: Answer| {
            // under the model that answered: whoever asks for the one that failed is to get it, once it is back
            if let Some(id) = upstreams.models().find(Some(model)) {
                response_cache.keep(&asked, &routes[id.0], &rules, tally, answer);
            }
        };
        let (router, meter) = (Arc::clone(&self.router), meter.clone());
        if !routed.ask.request.stream() {
            let asking = router.whole(routed, meter.clone());
            tokio::spawn(lead::whole(leader, asking, meter, keep));
            return;
        }
        // a later one may ask for the usage
        routed.ask.request.keep_usage();
        let opening = router.stream(routed, meter.clone());
        let (rules, open) = (self.upstreams.rules().clone(), Arc::clone(&self.shared.open));
        let completion = move |opened| {
            let streams = Streams { rules: &rules, open: &open };
            (Completion::new(Start::Opened(opened), Sink::Log, meter.clone(), streams), meter)
        };
        tokio::spawn(lead::streamed(leader, opening, completion, keep));
    }
}

impl Standing {
    fn new(of_auto: bool, undecided: bool) -> Self {
        match (of_auto, undecided) {
            (_, true) => Self::Undecided,
            (true, false) => Self::Decided,
            (false, false) => Self::Named,
        }
    }
}

fn reuse(free: Reuse, routed: Routed, meter: &Meter) -> Sharing {
    let (cached, shared) = match free {
        Reuse::Hit(Found { entry, now }) => {
            let age = entry.age(now);
            (Cached::Hit, Shared::kept(entry, age, &routed))
        }
        Reuse::Coalesced(subscriber) => (Cached::Joined, Shared::joined(subscriber, routed)),
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
async fn asked(ask: &Ask, headers: &HeaderMap, rules: &config::Cache) -> Option<Asked> {
    let owner = owner(&ask.caller, headers, rules);
    let body = ask.request.body().clone();
    let of = move || canonical(&body).map(|form| Asked::new(&form, owner));
    match ask.request.body().len() <= DONE_IN_PLACE {
        true => of(),
        false => tokio::task::spawn_blocking(of).await.ok().flatten(),
    }
}

fn owner(caller: &Caller, headers: &HeaderMap, rules: &config::Cache) -> Owner {
    if rules.shared { Owner::everybody() } else { Owner::caller(caller, headers) }
}

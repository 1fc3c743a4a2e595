//! What the cache is asked for: the key of a request, and the keys of the coalesced answers that it may join.

use std::sync::Arc;

use http::header::HeaderMap;

use super::Gateway;
use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::cache::canonical::canonical;
use crate::cache::directives::RequestCacheControl;
use crate::cache::key::{Asked, CoalescingKind, Owner, Route as AnswerRoute};
use crate::cache::response_cache::{Lookup, Reuse};
use crate::cache::settings::Cache;
use crate::config::Config;
use crate::models::{Model, ModelId};
use crate::offload;
use crate::routing::plan::{Plan, Scope, Selection};
use crate::stream::log::coalescer::CoalescingKey;

/// How the model that answers is chosen.
#[derive(Clone, Copy)]
enum Choice {
    /// The request names it.
    Named,
    /// The request asks for `auto`; the decision is made.
    Decided,
    /// The request asks for `auto`; the decision is pending.
    Undecided,
}

impl Exchange {
    /// The owner of what is cached of this request; `None` if nothing may be cached.
    pub(super) fn scope(&self, caller: &Caller) -> Option<Scope> {
        let headers = &self.parts.headers;
        let rules = self.gateway.config.cache.as_ref().filter(|_| !RequestCacheControl::of(headers).no_store)?;
        Some(owner(caller, headers, rules).0.0)
    }

    /// A cached or coalesced answer, which costs nothing, if there is one.
    pub(super) async fn find_reuse(&self, plan: &Plan) -> Option<Reuse> {
        let lookup = self.gateway.lookup(plan, &self.parts.headers).await?;
        self.gateway.shared.cache.reuse(&lookup).await
    }
}

impl Gateway {
    /// The keys to look for; `None` if the cache is not used.
    pub(super) async fn lookup(&self, plan: &Plan, headers: &HeaderMap) -> Option<Lookup<'_>> {
        let (model, choice) = (plan.selection.model, Choice::of(&plan.selection));
        let rules = self.config.cache.as_ref()?;
        let cache_control = RequestCacheControl::of(headers);
        if cache_control.no_store {
            return None;
        }
        let asked = asked(plan, headers, rules).await?;
        let streamed = plan.request.stream();
        let decided = |streamed| {
            asked.coalescing_key(&self.answerers(&plan.candidates, plan), CoalescingKind { streamed, undecided: None })
        };
        let undecided = |streamed| self.undecided_key(&asked, plan, streamed, headers);
        // a whole answer can be joined from a stream, and not the other way round
        let streamed_too = || Some(true).filter(|_| !streamed);
        let (key, coalescing_key, also) = match choice {
            Choice::Named => (Some(model), decided(streamed), streamed_too().map(decided).into_iter().collect()),
            // an identical request may have come before its decision, which then was the same
            Choice::Decided => {
                let before = std::iter::once(streamed).chain(streamed_too()).map(undecided);
                (Some(model), decided(streamed), streamed_too().map(decided).into_iter().chain(before).collect())
            }
            // the model is not known yet: no cached answer is read
            Choice::Undecided => (None, undecided(streamed), streamed_too().map(undecided).into_iter().collect()),
        };
        let key = key.map(|model| asked.key(&self.routes[model.0]));
        Some(Lookup { asked, key, coalescing_key, also, family: plan.request.family(), streamed, cache_control, rules })
    }

    /// The key of a request whose model is still to be decided: the candidates of both may answer.
    fn undecided_key(&self, asked: &Asked, plan: &Plan, streamed: bool, headers: &HeaderMap) -> CoalescingKey {
        let both = self.config.auto.iter().flat_map(|auto| [auto.easy, auto.hard]);
        let of = |first| self.answerers(&self.completions.candidates(first, &plan.request, &plan.caller), plan);
        let candidates: Vec<AnswerRoute> = both.flat_map(of).collect();
        let undecided = Some(Owner::caller(&plan.caller, headers));
        asked.coalescing_key(&candidates, CoalescingKind { streamed, undecided })
    }

    /// The routes of those that the caller may use.
    fn answerers(&self, candidates: &[ModelId], plan: &Plan) -> Vec<AnswerRoute> {
        let allowed = |id: &&ModelId| plan.caller.may_use(&self.completions.models().get(**id).name);
        candidates.iter().filter(allowed).map(|id| self.routes[id.0]).collect()
    }
}

impl Choice {
    fn of(selection: &Selection) -> Self {
        match (selection.is_auto(), selection.is_pending()) {
            (_, true) => Self::Undecided,
            (true, false) => Self::Decided,
            (false, false) => Self::Named,
        }
    }
}

/// The part of the cache key for each model; empty without a cache.
pub(super) fn routes(config: &Config) -> Arc<[AnswerRoute]> {
    let route = |model: &Model| {
        let upstream = &config.upstreams[model.upstream.0];
        AnswerRoute::new(&model.name, &upstream.name, &upstream.base.to_string(), &model.upstream_model)
    };
    let models = config.cache.iter().flat_map(|_| config.models.models());
    models.map(route).collect()
}

/// The content of the request and its owner; `None` for a body without a canonical form.
async fn asked(plan: &Plan, headers: &HeaderMap, rules: &Cache) -> Option<Asked> {
    let owner = owner(&plan.caller, headers, rules);
    let body = plan.request.body().clone();
    let family = plan.request.family().name();
    let of = move || canonical(&body).map(|form| Asked::new(family, &form, owner));
    offload::run(plan.request.body().len(), of).await.ok().flatten()
}

fn owner(caller: &Caller, headers: &HeaderMap, rules: &Cache) -> Owner {
    if rules.shared { Owner::everybody() } else { Owner::caller(caller, headers) }
}

//! The gateway: one request from its head to its response, one file a stage and one file a route.
//!
//! `handle` shows the path: admit → read → plan → reserve → source → respond.

mod admit;
mod exchange;
mod handle;
pub mod head;
pub mod live;
mod lookup;
mod models;
mod plan;
mod process;
mod read;
mod refusal;
mod reserve;
mod respond;
mod response;
pub mod routes;
mod session;
mod source;
mod streams;
mod upload;

pub use self::process::Shared;

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::signatures::Signatures;
use crate::cache::key::Route as AnswerRoute;
use crate::config::Config;
use crate::failover::attempts::Failover;
use crate::failover::health_registry::HealthRegistry;
use crate::limits::limiter::Limiter;
use crate::metrics::Metrics;
use crate::routing::router::Router;
use crate::routing::verdict_cache::Sharing;
use crate::stream::completions::Completions;
use crate::stream::model_clients::ModelClients;
use crate::upstream::clients::Clients;

/// Everything that a request needs of one configuration. A reload replaces it as a whole; a request keeps the one that it
/// began with.
pub struct Gateway {
    /// The checked configuration.
    pub config: Config,
    completions: Arc<Completions>,
    /// Valid for the keys of this configuration: a reload begins with an empty cache.
    signatures: Signatures,
    router: Arc<Router>,
    /// By the place of the model: the part of the cache key that names it; empty without a cache.
    routes: Arc<[AnswerRoute]>,
    /// `refuse_members` of all upstreams: what is looked for in each request.
    refusable: Arc<[String]>,
    shared: Shared,
}

impl Gateway {
    /// # Errors
    /// What in the configuration cannot be used.
    pub fn new(config: Config, shared: Shared) -> Result<Self, String> {
        let (health_registry, metrics) = (Arc::clone(&shared.health_registry), Arc::clone(&shared.metrics));
        let place = shared.store.place(process::shares_answers(&config))?;
        let router = router(&config, metrics);
        let router = Arc::new(match &config.cache {
            Some(cache) => {
                let (store, ttl, timeout) = (Arc::clone(&shared.store), cache.ttl, cache.redis_timeout);
                router.sharing(Sharing { store, ttl, timeout }, &config.upstreams)
            }
            None => router,
        });
        let limiter = Arc::clone(&shared.limiter);
        let completions =
            Arc::new(completions(&config, Arc::clone(&router), (health_registry, &shared.clients), limiter)?);
        // nothing fails from here on: what outlives a reload follows the new configuration
        shared.clients.adopt(completions.clients());
        shared.store.move_to(place);
        shared.store.set_secret(config.cache.as_ref().and_then(|cache| cache.redis_secret.as_ref()));
        shared.streams.set_rules(config.resume.clone());
        shared.cache.set_rules(config.cache.as_ref());
        let routes = lookup::routes(&config);
        let refusable = config.upstreams.iter().flat_map(|upstream| upstream.refuse_members.iter().cloned()).collect();
        Ok(Self { config, completions, router, routes, signatures: Signatures::default(), refusable, shared })
    }

    /// Closes upstream connections whose idle timeout is over, and ends and evicts resumable streams that are due.
    pub fn sweep(&self, now: Instant) {
        self.completions.sweep(now);
        self.shared.streams.sweep(now);
    }
}

/// What selects the model of a request, for one configuration.
pub fn router(config: &Config, metrics: Arc<Metrics>) -> Router {
    Router::new(&config.models, config.auto.as_ref(), config.fallback.cool_down, metrics)
}

/// What answers requests, for one configuration.
///
/// # Errors
/// Which upstream cannot be used, and why.
pub fn completions(
    config: &Config,
    router: Arc<Router>,
    (health, clients): (Arc<HealthRegistry>, &Clients),
    limiter: Arc<Limiter>,
) -> Result<Completions, String> {
    let Config { upstreams, models, stream, fallback, limits, .. } = config;
    let clients = ModelClients::new(upstreams, models, stream, fallback.cool_down, clients.of(upstreams)?);
    let failover = Failover::new(upstreams, models, fallback, health);
    Ok(Completions::new(clients, failover, router, (limiter, limits.clone())))
}

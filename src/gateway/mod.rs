//! The gateway: one request from its head to its response, one file a stage and one file a route.
//!
//! `handle` shows the path: admit → read → plan → reserve → source → respond.

mod admit;
mod exchange;
mod handle;
mod head;
pub mod live;
mod lookup;
mod models;
mod plan;
mod process;
mod read;
mod reserve;
mod refusal;
mod respond;
mod response;
mod response_head;
mod routes;
mod session;
mod source;
mod streams;

pub use self::process::Shared;

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::signatures::Signatures;
use crate::cache::key::Route as AnswerRoute;
use crate::config::Config;
use crate::routing::router::Router;
use crate::stream::completions::Completions;

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
    shared: Shared,
}

impl Gateway {
    /// # Errors
    /// The setting that cannot be used.
    pub fn new(config: Config, shared: Shared) -> Result<Self, String> {
        let (health_registry, metrics) = (Arc::clone(&shared.health_registry), Arc::clone(&shared.metrics));
        let place = shared.store.place(process::shares_answers(&config))?;
        let router = Arc::new(Router::new(&config, metrics).sharing(Arc::clone(&shared.store), &config));
        let limiter = Arc::clone(&shared.limiter);
        let completions = Arc::new(Completions::new(&config, Arc::clone(&router), health_registry, limiter)?);
        // nothing fails from here on: what outlives a reload follows the new configuration
        shared.store.move_to(place);
        shared.streams.set_rules(config.resume.clone());
        shared.cache.set_rules(config.cache.as_ref());
        let routes = lookup::routes(&config);
        Ok(Self { config, completions, router, routes, signatures: Signatures::default(), shared })
    }

    /// Closes upstream connections whose idle timeout is over, and ends and evicts resumable streams that are due.
    pub fn sweep(&self, now: Instant) {
        self.completions.sweep(now);
        self.shared.streams.sweep(now);
    }
}

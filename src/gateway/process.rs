//! What a process has once, and every configuration shares.

use std::sync::Arc;
use std::time::Duration;

use families::family::Family;
use tokio::join;

use crate::auth::revocations::{LocalRevocations, Revocations};
use crate::auth::shared_revocations::SharedRevocations;
use crate::body_memory::BodyMemory;
use crate::cache::response_cache::ResponseCache;
use crate::config::Config;
use crate::drain::Drain;
use crate::failover::health_registry::HealthRegistry;
use crate::limits::limiter::Limiter;
use crate::metrics::Metrics;
use crate::redis::connection::Connection;
use crate::redis::settings::Redis;
use crate::redis::store::Store;
use crate::spend::budget::Budgets;
use crate::stream::log::registry::Registry;
use crate::stream::open::OpenStreams;
use crate::upstream::clients::Clients;

/// What a reload does not replace.
#[derive(Clone)]
pub struct Shared {
    /// The API families whose requests are taken.
    pub families: &'static [&'static dyn Family],
    /// All metrics of the process.
    pub metrics: Arc<Metrics>,
    /// All open streams.
    pub open: Arc<OpenStreams>,
    /// All resumable streams.
    pub streams: Registry,
    /// The memory of all request bodies.
    pub body_memory: Arc<BodyMemory>,
    /// What each caller has used of its limits.
    pub limiter: Arc<Limiter>,
    /// What each caller has spent of its budget.
    pub budgets: Arc<Budgets>,
    /// The health of models and upstreams.
    pub health_registry: Arc<HealthRegistry>,
    /// The clients of upstreams.
    pub clients: Arc<Clients>,
    /// Answers and verdicts of `auto` that instances share. A reload may move it.
    pub store: Arc<Store>,
    /// Cached answers, and coalesced answers in progress.
    pub cache: Arc<ResponseCache>,
    /// Sessions that were logged out.
    pub revocations: Arc<dyn Revocations>,
    /// The Redis of limits and budgets.
    pub link: Option<Arc<Connection>>,
    /// The shutdown.
    pub drain: Drain,
}

/// How long the start waits for Redis before it continues without it.
const FIRST_CONNECTION: Duration = Duration::from_secs(1);

impl Shared {
    /// The state of a new process: in Redis if `[redis]` is configured, else in memory.
    ///
    /// # Errors
    /// What in the configuration cannot be used.
    pub async fn start(
        config: &Config,
        metrics: Arc<Metrics>,
        open: Arc<OpenStreams>,
        drain: Drain,
    ) -> Result<Self, String> {
        let streams = Registry::new(config.resume.clone(), Arc::clone(&metrics), drain.clone());
        let health_registry = Arc::new(HealthRegistry::new(Arc::clone(&metrics)));
        let body_memory = BodyMemory::new(metrics.body_memory.clone());
        let store = Arc::new(Store::nowhere(Arc::clone(&metrics)));
        let cache = ResponseCache::new(config.cache.as_ref(), Arc::clone(&store));
        let (limiter, budgets, revocations, link): (_, _, Arc<dyn Revocations>, _) = match &config.redis {
            None => {
                let limiter = Limiter::local(config.max_callers, Arc::clone(&metrics));
                (limiter, Budgets::local(config.max_callers), Arc::new(LocalRevocations::default()), None)
            }
            Some(redis) => {
                let link = Arc::new(Connection::start(redis, "limits", Arc::clone(&metrics))?);
                store.move_to(store.place(shares_answers(config))?);
                join!(link.is_ready_within(FIRST_CONNECTION), store.is_ready_within(FIRST_CONNECTION));
                let revocations = SharedRevocations::start(Arc::clone(&link), Arc::clone(&metrics));
                let budgets = Budgets::shared(config.max_callers, Arc::clone(&link), redis.local_share);
                let limiter = Limiter::shared(config.max_callers, Arc::clone(&link), redis, Arc::clone(&metrics))?;
                (limiter, budgets, revocations, Some(link))
            }
        };
        Ok(Self {
            families: families::ALL,
            metrics,
            open,
            streams,
            body_memory,
            limiter,
            budgets,
            health_registry,
            store,
            clients: Arc::default(),
            cache,
            revocations,
            link,
            drain,
        })
    }
}

/// The Redis that holds cached answers.
pub(super) fn shares_answers(config: &Config) -> Option<&Redis> {
    config.redis.as_ref().filter(|_| config.cache.is_some())
}

//! What a process has once, whatever its configuration becomes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::access::everywhere::Everywhere;
use crate::access::revocations::{InProcess, Revocations};
use crate::budget::Budgets;
use crate::cache::keeper::Keeper;
use crate::cache::remote::Remote;
use crate::config::Config;
use crate::drain::Drain;
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::redis::link::Link;
use crate::resume::registry::Registry;
use crate::stream::open::OpenStreams;
use crate::upstream::standing::Standings;

/// What outlives a reload.
#[derive(Clone)]
pub struct Shared {
    /// All metrics of the process.
    pub metrics: Arc<Metrics>,
    /// All open streams.
    pub open: Arc<OpenStreams>,
    /// All resumable streams.
    pub streams: Registry,
    /// What every caller has used of its limits.
    pub limiter: Arc<Limiter>,
    /// What every caller has spent of its budget.
    pub budgets: Arc<Budgets>,
    /// How the upstreams have done so far.
    pub standings: Arc<Standings>,
    /// The answers that are kept or in flight.
    pub cache: Arc<Keeper>,
    /// The sessions that were logged out.
    pub revocations: Arc<dyn Revocations>,
    /// The shutdown.
    pub drain: Drain,
}

/// How long the start waits for Redis, before it goes on without.
const FIRST_CONNECTION: Duration = Duration::from_secs(1);

impl Shared {
    /// What a process begins with: in Redis what `[redis]` says is there, all else here.
    ///
    /// # Errors
    /// What in the configuration cannot be used.
    pub async fn start(
        config: &Config,
        metrics: Arc<Metrics>,
        open: Arc<OpenStreams>,
        drain: Drain,
    ) -> Result<Self, String> {
        let streams = Registry::new(config.streams.clone(), Arc::clone(&metrics), drain.clone());
        let standings = Arc::new(Standings::new(Arc::clone(&metrics)));
        let Some(redis) = &config.redis else {
            let limiter = Limiter::local(config.max_callers, Arc::clone(&metrics));
            let budgets = Budgets::local(config.max_callers);
            let cache = Keeper::new(config.cache.as_ref(), None);
            let revocations = Arc::new(InProcess::default());
            return Ok(Self { metrics, open, streams, limiter, budgets, standings, cache, revocations, drain });
        };
        let start = |serves| Link::start(redis, serves, Arc::clone(&metrics));
        let link = Arc::new(start("limits")?);
        let cached = config.cache.as_ref().map(|_| Ok::<_, String>((start("cache reads")?, start("cache writes")?)));
        let cached = cached.transpose()?;
        let links = std::iter::once(link.as_ref()).chain(cached.iter().flat_map(|(reads, writes)| [reads, writes]));
        join_all(links.map(|link| link.is_ready_within(FIRST_CONNECTION))).await;
        let cache = Keeper::new(config.cache.as_ref(), cached.map(|(reads, writes)| Remote::new(reads, writes)));
        let revocations = Everywhere::start(Arc::clone(&link), Arc::clone(&metrics));
        let share = redis.local_share;
        let budgets = Budgets::shared(config.max_callers, Arc::clone(&link), share);
        let limiter = Limiter::shared(config.max_callers, link, redis, Arc::clone(&metrics))?;
        Ok(Self { metrics, open, streams, limiter, budgets, standings, cache, revocations, drain })
    }
}

//! Configuration: reads a file and returns only usable values, or every error at once.
//!
//! Each directory declares and checks its section, in its own `settings.rs`. Here the sections are assembled, and checked
//! against each other. A [`Config`] that exists can be used as it is. docs/CONFIG.md and `tokenway.toml` are generated from
//! the declarations.

mod cors;
pub mod development;
mod file;
mod log;
mod prices;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::SystemTime;

use ::cors::policy::Policy;
use settings::{Env, Json, Mistake, Problems, Resolver, Table as _, document};

pub use log::Log;
pub use prices::{Priced, price_list};

use crate::auth::settings::Access;
use crate::cache::settings::Cache;
use crate::failover::settings::Fallback;
use crate::limits::policy::Rules;
use crate::models::Table;
use crate::redis::settings::Redis;
use crate::routing::auto::Auto;
use crate::server::settings::Server;
use crate::spend::settings::Costs;
use crate::stream::log::settings::Resume;
use crate::stream::settings::Stream;
use crate::upstream::settings::Upstream;
use crate::{models, upstream};
use file::File;

/// A checked configuration. Every value can be used as it is.
#[derive(Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[cors]`
    pub cors: Policy,
    /// `[stream]`
    pub stream: Stream,
    /// `[resume]`
    pub resume: Resume,
    /// `[[upstreams]]`, at least one
    pub upstreams: Vec<Upstream>,
    /// `[[models]]` and `[routing]`
    pub models: Table,
    /// `[fallback]`
    pub fallback: Fallback,
    /// `[routing.auto]`; `None` = there is no model `auto`.
    pub auto: Option<Auto>,
    /// `[access]`
    pub access: Access,
    /// `[limits]`
    pub limits: Rules,
    /// `limits.max_callers`: the number of callers that can be counted at the same time.
    pub max_callers: usize,
    /// `[cost]`
    pub costs: Costs,
    /// `[redis]`; `None` = each process counts for itself.
    pub redis: Option<Redis>,
    /// `[cache]`; `None` = nothing is cached, and no request is coalesced.
    pub cache: Option<Cache>,
    /// `[log]`
    pub log: Log,
    /// Warnings about settings that work but are probably not intended, one sentence each; shown at start and by `tokenway
    /// check`.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are relative to its own directory.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let reason = format!("the configuration file cannot be read: {error}");
            Problems::of_file(Mistake::new(reason, "name a readable UTF-8 TOML file with --config"))
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), env)
    }

    /// Checks the text of a configuration file; relative paths in it are relative to `base_dir`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(text: &str, base_dir: &Path, env: Env<'_>) -> Result<Self, Problems> {
        Self::parse_at(text, base_dir, env, SystemTime::now())
    }

    /// Checks the text as of the time `now`, at which certificates must be valid.
    fn parse_at(text: &str, base_dir: &Path, env: Env<'_>, now: SystemTime) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let Some(file) = document::<File>(text, &mut problems) else {
            problems.sort();
            return Err(problems);
        };
        let mut resolver = Resolver::new(base_dir, env, problems);
        let config = Self::resolve(&file, now, &mut resolver);
        let (problems, warnings) = resolver.finish();
        match config {
            Some(config) if problems.0.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(problems),
        }
    }

    /// Checks every section, even after a problem in another one. Returns `None` only if there is a problem.
    fn resolve(file: &File, now: SystemTime, resolver: &mut Resolver<'_>) -> Option<Self> {
        let upstream_names = upstream::settings::names(&file.upstreams);
        let model_names = models::settings::names(&file.models);
        let server = file.server.resolve(now, resolver);
        let cors = file.cors.resolve(resolver);
        let stream = file.stream.resolve();
        let resume = file.resume.resolve(resolver);
        let upstreams = upstream::settings::resolve(&file.upstreams, resolver);
        let default = file.routing.default(&model_names, resolver);
        let models = Table::new(models::settings::resolve(&file.models, &upstream_names, resolver), default);
        let auto = file.routing.auto(&model_names, resolver);
        let fallback = file.fallback.resolve(&file.models, &models, resolver);
        let access = file.access.resolve(cors.as_ref(), &models, resolver);
        let limits = file.limits.resolve(&model_names, resolver);
        let costs = file.cost.resolve(&model_names, &models, resolver);
        let redis = file.redis.resolve(resolver);
        let cache = file.cache.resolve(redis.is_some(), resolver);
        Some(Self {
            server,
            cors: cors?,
            stream,
            resume,
            upstreams,
            models,
            auto,
            fallback,
            access,
            limits,
            max_callers: file.limits.max_callers.value,
            costs,
            redis,
            cache,
            log: file.log.resolve(),
            warnings: Vec::new(),
        })
    }
}

/// Returns the JSON Schema of a configuration file.
pub fn schema() -> Json {
    settings::schema::schema("Tokenway configuration", File::DESCRIPTION)
}

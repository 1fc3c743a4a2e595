//! Where the configuration comes from, at the start and at each reload.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use tokenway::config::Config;
use tokenway::config::development::Development;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::redis::settings::Redis;
use tokenway::server::{Settings, descriptors, expiry};

use super::{AnyError, CERTS, PLAYGROUND};

/// Where the configuration comes from, at the start and at each reload.
pub(super) enum Source {
    File(PathBuf),
    /// The development default, whose demo upstream listens at this address.
    Development(SocketAddr),
}

impl Source {
    pub(super) fn load(&self) -> Result<Config, Wrong> {
        match self {
            Source::File(path) => {
                let loaded = Config::load(path, &|name| std::env::var(name).ok());
                loaded.map_err(|problems| Wrong(problems.in_file(path)))
            }
            Source::Development(demo) => {
                let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{}", PLAYGROUND.port()));
                let prepared = Development::prepare(Path::new(CERTS), *demo, &origins);
                prepared.map(|development| development.config).map_err(|problems| Wrong(problems.to_string()))
            }
        }
    }
}

/// A configuration that cannot be used: one line per problem, as `tokenway check` writes them.
#[derive(Debug)]
pub(super) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Reads the configuration again and applies all of it, or keeps the old one and logs the reason.
pub(super) fn reload(
    source: &Source,
    fixed: &Fixed,
    live: &Live,
    settings: &ArcSwap<Settings>,
    shared: &Shared,
    descriptor_limit: u64,
) {
    let loaded = source.load().map_err(AnyError::from).and_then(|config| {
        let mut warnings = [&config.warnings[..], &fixed.needs_restart(&config)].concat();
        warnings.extend(descriptors::warning(descriptor_limit, config.server.max_connections));
        let settings = Settings::new(&config.server)?.within(descriptor_limit);
        Ok((settings, Gateway::new(config, shared.clone())?, warnings))
    });
    let result = match loaded {
        Ok((new_settings, gateway, warnings)) => {
            settings.store(Arc::new(new_settings));
            expiry::publish(&shared.metrics, gateway.config.server.identity.as_ref());
            live.swap(gateway);
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            tracing::info!("configuration reloaded; open streams go on");
            "ok"
        }
        Err(error) => {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            "failed"
        }
    };
    shared.metrics.config_stale.set(i64::from(result == "failed"));
    shared.metrics.reloads.with_label_values(&[result]).inc();
}

/// The settings that only a restart can change, as they were at the start.
pub(super) struct Fixed {
    listen: SocketAddr,
    admin: SocketAddr,
    reuse_port: bool,
    workers: usize,
    max_callers: usize,
    redis: Option<Redis>,
    json_log: bool,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        let server = &config.server;
        Self {
            listen: server.listen,
            admin: server.admin,
            reuse_port: server.reuse_port,
            workers: server.workers,
            max_callers: config.max_callers,
            redis: config.redis.clone(),
            json_log: config.log.json,
        }
    }

    /// Returns the changes that a reload cannot make, one sentence each.
    fn needs_restart(&self, config: &Config) -> Vec<String> {
        let new = Fixed::of(config);
        let changed = [
            ("server.listen", self.listen != new.listen),
            ("server.admin", self.admin != new.admin),
            ("server.reuse_port", self.reuse_port != new.reuse_port),
            ("server.workers", self.workers != new.workers),
            ("limits.max_callers", self.max_callers != new.max_callers),
            ("[redis] of limits, budgets and logouts", self.redis != new.redis),
            ("log.format", self.json_log != new.json_log),
        ];
        let warn = |(key, _): &(&str, bool)| format!("{key} is not what it was at the start: restart to make it so");
        changed.iter().filter(|(_, changed)| *changed).map(warn).collect()
    }
}

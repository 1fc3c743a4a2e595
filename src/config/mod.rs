//! Configuration: raw input in, only usable values out, every error at once.
//!
//! `raw` mirrors the file (keys, types, defaults, bounds); `resolve` checks one key against another, reads the files and
//! variables that are named, and builds the values below. A [`Config`] that exists can be used as it stands.

mod base_url;
pub mod development;
mod fallback;
mod hosts;
mod identity;
mod local_ca;
mod prices;
mod problem;
mod raw;
mod raw_access;
mod raw_auto;
mod raw_cache;
mod raw_cost;
mod raw_fallback;
mod raw_limits;
mod resolve;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use base_url::BaseUrl;
pub use fallback::{Fallback, Hedge, HedgeAfter};
pub use hosts::Hosts;
pub use identity::Identity;
pub use prices::{Priced, price_list};
pub use problem::{Mistake, Problem, Problems};
pub use secret::Secret;
pub use values::{format_duration, format_size, parse_duration, parse_size};

use crate::auth::credentials::Accept;
use crate::auth::keyring::Keyring;
use crate::auth::session::Sessions;
use crate::auth::token::Tokens;
use crate::limits::policy::Rules;
use crate::models::Table;
use crate::percent::Percent;
use crate::price::{Cost, Prices};
use crate::routing::auto::Auto;
use cors::policy::Policy;

/// Reads environment variables: `std::env::var` in the program, a closure in tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A checked configuration. Every value can be used as it stands.
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
    /// `limits.max_callers`: so many callers are counted at once.
    pub max_callers: usize,
    /// `[cost]`
    pub costs: Costs,
    /// `[redis]`; `None` = each process counts for itself.
    pub redis: Option<Redis>,
    /// `[cache]`; `None` = nothing is kept, and nobody joins.
    pub cache: Option<Cache>,
    /// `[log]`
    pub log: Log,
    /// What works but is probably not meant, one sentence each; shown at start and by `tokenway check`.
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
        resolve::resolve(text, base_dir, env, SystemTime::now())
    }
}

/// `[server]`: the listeners and their bounds.
#[derive(Debug)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener, plaintext.
    pub admin: SocketAddr,
    /// Certificate and key; `None` where `plaintext = true`.
    pub identity: Option<Identity>,
    /// Accepted `Host` and `:authority` names.
    pub hosts: Hosts,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once from one address (IPv6: one /64); 0 = no limit.
    pub max_connections_per_ip: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From a connection's first byte, or the end of the last request, to the end of the request head.
    pub header_timeout: Duration,
    /// From the end of the request head to the end of the body.
    pub body_timeout: Duration,
    /// Most bytes of a request body.
    pub max_body: usize,
    /// A client that takes no byte for this long is cut off.
    pub write_timeout: Duration,
    /// How long open streams may go on after SIGTERM.
    pub drain: Duration,
    /// Networks whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
}

/// `[stream]`: deadlines and bounds of one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Silence after which a heartbeat is sent; `None` = off.
    pub heartbeat: Option<Duration>,
    /// Upstream silent before its first event.
    pub first_event_timeout: Duration,
    /// No output by then: the response head goes out.
    pub commit_after: Duration,
    /// Upstream silent between events.
    pub idle_timeout: Duration,
    /// The whole stream.
    pub max_duration: Duration,
    /// Most bytes of one event, and of all that is held before the commit point.
    pub max_event: usize,
}

/// `[resume]`: how long and how much of resumable streams is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// A stream that nobody reads for so long is stopped.
    pub grace: Duration,
    /// How long a stream that has ended can be read again.
    pub retention: Duration,
    /// Most bytes of memory of all streams together.
    pub max_bytes: usize,
    /// Most bytes of memory of one stream, or one event where that is larger.
    pub max_stream_bytes: usize,
    /// Most streams, running or ended.
    pub max_streams: usize,
}

/// `[[upstreams]]`: one provider.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in models, headers, logs and metrics.
    pub name: String,
    /// Where it is.
    pub base: BaseUrl,
    /// The provider's key, sent as `authorization: Bearer`; `None` for a server without keys.
    pub api_key: Option<Secret>,
    /// Trusted roots instead of the default ones.
    pub roots: Option<Arc<rustls::RootCertStore>>,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept for the next request.
    pub keep_alive: Duration,
}

/// `[access]`: who may call, with every key and secret that tells.
#[derive(Debug)]
pub struct Access {
    /// The kinds of credentials that are taken.
    pub accept: Accept,
    /// Gateway keys; none where they are not taken.
    pub keys: Keyring,
    /// Checks tokens; refuses all where neither they nor sessions are taken.
    pub tokens: Tokens,
    /// Seals and opens sessions, where they are taken.
    pub sessions: Option<Sessions>,
}

/// `[cost]`: what money is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Prices of the model that `auto` is compared with.
    pub baseline: Option<Prices>,
    /// What each caller may spend.
    pub budget: Budget,
}

/// What one caller may spend, and what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// In one day, UTC; zero = no bound.
    pub per_day: Cost,
    /// Beyond it the cheapest model answers; else nobody.
    pub cheapest_when_over: bool,
}

/// `[cache]`: which answers are kept, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// How long an answer is kept.
    pub ttl: Duration,
    /// Most bytes of all that is kept in this process, and as many again of what is in flight.
    pub max_bytes: usize,
    /// Most bytes of one answer; a larger one is neither kept nor shared.
    pub max_entry: usize,
    /// Callers get each other's answers.
    pub shared: bool,
    /// Kept answers come in the rhythm in which they once came.
    pub paced: bool,
    /// The longest that a first token waits for Redis.
    pub redis_timeout: Duration,
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// `[redis]`: what several instances share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// A cluster, of which this is one node.
    pub cluster: bool,
    /// TLS to it.
    pub tls: bool,
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The number of the database; 0 in a cluster.
    pub database: i64,
    /// The ACL user; `None` = `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// PEM of the authorities that replace the built-in ones.
    pub ca: Option<Vec<u8>>,
    /// How long one decision waits for it.
    pub timeout: Duration,
    /// What one instance lets pass by itself while it gives no answer.
    pub local_share: Percent,
    /// After this long the slots of streams are free again, if the instance that held them is gone.
    pub lease: Duration,
}

impl Redis {
    /// Host and port, as a URL has them.
    pub fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

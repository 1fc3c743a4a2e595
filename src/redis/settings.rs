//! `[redis]`, as it is written and checked: an address that can be reached, a password from elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use settings::{EnvName, Field, Json, Mistake, Resolver, Secret, Toml, Value, number};

use super::address::Address;
use crate::percent::Percent;

settings::section! {
    /// Redis: several instances share limits, budgets, logouts and cached answers. The cache follows a reload. For the rest, a
    /// change needs a restart.
    #[renamed(budget => timeout)]
    #[secret(password: "use password_env or password_file, and replace this password: every reader of the file has it")]
    pub struct Written {
        /// "redis://HOST:6379/0", or "rediss://…" with TLS. A cluster: "redis-cluster://…" or "rediss-cluster://…" with any node.
        /// Empty: no Redis. Each instance counts for itself.
        url: String = "";
        /// The ACL user.
        username: Option<String>, commented "tokenway";
        /// The environment variable with the password.
        password_env: Option<EnvName>, commented "REDIS_PASSWORD";
        /// Or a file that contains only the password.
        password_file: Option<PathBuf>, commented "/run/secrets/redis";
        /// A PEM file of certificate authorities, instead of the built-in ones. Empty: the built-in ones.
        ca_file: PathBuf = "";
        /// How long a request waits for Redis. After this time, and without a connection, the instance counts for itself.
        timeout: Duration = "50ms" in "1ms" ..= "5s";
        /// The part of every limit that one instance allows when it counts for itself: 0.5 for two instances.
        local_share: Percent = 0.5;
        /// If an instance dies, the permits of its streams (limits.concurrent_streams) expire after this time. Running
        /// instances renew theirs three times in this time.
        lease: Duration = "30s" in "1s" ..= "10m";
    }
}

/// The checked `[redis]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Whether the address is a node of a cluster.
    pub cluster: bool,
    /// Whether TLS is used.
    pub tls: bool,
    /// A host name or an IP address.
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
    /// The timeout of one decision.
    pub timeout: Duration,
    /// The part of every limit that one instance allows by itself while Redis does not reply.
    pub local_share: Percent,
    /// When the permits of streams expire, if the instance that held them has stopped.
    pub lease: Duration,
}

impl Redis {
    /// Returns host and port, as in a URL.
    pub fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Value for Percent {
    const TYPE: &'static str = "number from 0.01 to 1.0";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write a number from 0.01 to 1.0, such as 0.5";
        let number = number(value, mend)?;
        match (0.01..=1.0).contains(&number) {
            true => Ok(Self::new((number * 100.0).round() as u64)),
            false => Err(Mistake::new("is out of range", mend)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 0.01, "maximum": 1 })
    }
}

impl Written {
    /// Returns the checked section, or `None` if each instance counts for itself.
    pub fn resolve(&self, resolver: &mut Resolver<'_>) -> Option<Redis> {
        let password = self.password(resolver);
        if self.url.is_empty() {
            let unused = [
                (self.username.is_written(), &self.username.place),
                (self.password_env.is_written(), &self.password_env.place),
                (self.password_file.is_written(), &self.password_file.place),
            ];
            for (_, place) in unused.into_iter().filter(|(written, _)| *written) {
                let mistake = Mistake::new("is not used: redis.url is empty", "write redis.url, or remove this key");
                resolver.report(place, mistake);
            }
            return None;
        }
        let address = match Address::parse(&self.url) {
            Ok(address) => address,
            Err(mistake) => {
                resolver.report(&self.url.place, mistake);
                return None;
            }
        };
        if !address.tls && !address.is_loopback {
            let what = "is without TLS: use it only on a private network, or write rediss://";
            resolver.warn("redis.url", what);
        }
        Some(Redis {
            cluster: address.cluster,
            tls: address.tls,
            host: address.host,
            port: address.port,
            database: address.database,
            username: self.username.value.clone(),
            password,
            ca: self.roots(address.tls, resolver),
            timeout: self.timeout.value,
            local_share: self.local_share.value,
            lease: self.lease.value,
        })
    }

    fn password(&self, resolver: &mut Resolver<'_>) -> Option<Secret> {
        let mend = "put Redis's password there, alone on one line";
        let (place, content) = match (&self.password_env.value, &self.password_file.value) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let mistake = Mistake::new("cannot be used together with password_env", "keep one of the two");
                resolver.report(&self.password_file.place, mistake);
                return None;
            }
            (Some(name), None) => match resolver.variable(name) {
                Some(password) => (&self.password_env.place, password.into_bytes()),
                None => {
                    let mistake = Mistake::new("names a variable that is not set", mend);
                    resolver.report(&self.password_env.place, mistake);
                    return None;
                }
            },
            (None, Some(path)) => {
                let path = Field { value: path.clone(), place: self.password_file.place.clone() };
                let content = resolver.file(&path)?;
                resolver.warn_if_world_readable(&path);
                (&self.password_file.place, content)
            }
        };
        let refuse = |mistake: Mistake| {
            let reason = format!("names a place that {}", mistake.reason);
            resolver.report(place, Mistake::new(reason, mend));
        };
        Secret::parse(&content).map_err(refuse).ok()
    }

    fn roots(&self, tls: bool, resolver: &mut Resolver<'_>) -> Option<Vec<u8>> {
        let path = &self.ca_file;
        if path.as_os_str().is_empty() {
            return None;
        }
        if !tls {
            let mistake = Mistake::new("is not used: redis.url is without TLS", "write rediss://, or remove ca_file");
            resolver.report(&path.place, mistake);
            return None;
        }
        let content = resolver.file(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            let mistake = Mistake::new(
                "names a file that is not a valid list of certificates",
                "name a PEM file that holds only certificate authorities",
            );
            resolver.report(&path.place, mistake);
            return None;
        }
        Some(content)
    }
}

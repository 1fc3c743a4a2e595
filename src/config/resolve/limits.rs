//! `[limits]` and `[redis]`: models that there are, an address that can be reached, a password from elsewhere.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url};

use super::Resolver;
use crate::config::problem::{Field, Mistake};
use crate::config::raw_limits::{self, Scope};
use crate::config::{Redis, Secret, raw};
use crate::limits::policy::{Limits, Rules};

/// Redis's own port.
const PORT: u16 = 6379;
const URL: &str = "write \"redis://HOST:6379\", \"rediss://HOST:6379\" for TLS, or \"redis-cluster://HOST:6379\"";

impl Resolver<'_> {
    pub(super) fn limits(&mut self, limits: &raw_limits::Limits, models: &Field<Vec<raw::Model>>) -> Rules {
        let known = |name: &str| models.value.iter().any(|model| model.name.value.0 == name);
        let all_names_are_readable = models.is_readable() && models.value.iter().all(|model| model.name.is_readable());
        let mut rules = Rules {
            caller: scope(&limits.caller),
            models: Vec::new(),
            reserve_tokens: limits.reserve_tokens.value as u64,
        };
        for model in &limits.models.value {
            let name = &model.name;
            if name.is_readable() && all_names_are_readable && !known(name) {
                let mend = "write the name of one of [[models]], as clients ask for it";
                self.problems.report(&name.place, Mistake::new("names no model", mend));
            } else if rules.models.iter().any(|(other, _)| *other == name.value) {
                let mistake = Mistake::new("has its limits already", "write all limits of a model in one section");
                self.problems.report(&name.place, mistake);
            }
            rules.models.push((name.value.clone(), scope(&model.scope)));
        }
        rules
    }

    pub(super) fn redis(&mut self, redis: &raw_limits::Redis) -> Option<Redis> {
        let password = self.redis_password(redis);
        if redis.url.is_empty() {
            let unused = [
                (redis.username.is_written(), &redis.username.place),
                (redis.password_env.is_written(), &redis.password_env.place),
                (redis.password_file.is_written(), &redis.password_file.place),
            ];
            for (_, place) in unused.into_iter().filter(|(written, _)| *written) {
                let mistake = Mistake::new("is not used: redis.url is empty", "write redis.url, or remove this key");
                self.problems.report(place, mistake);
            }
            return None;
        }
        let address = match Address::parse(&redis.url) {
            Ok(address) => address,
            Err(mistake) => {
                self.problems.report(&redis.url.place, mistake);
                return None;
            }
        };
        if !address.tls && !address.is_loopback {
            let what = "is without TLS: let nobody else reach the network between, or write rediss://";
            self.warn("redis.url", what);
        }
        Some(Redis {
            cluster: address.cluster,
            tls: address.tls,
            host: address.host,
            port: address.port,
            database: address.database,
            username: redis.username.value.clone(),
            password,
            ca: self.redis_roots(redis, address.tls),
            timeout: redis.timeout.value,
            local_share: redis.local_share.value.0,
            lease: redis.lease.value,
        })
    }

    fn redis_password(&mut self, redis: &raw_limits::Redis) -> Option<Secret> {
        let mend = "put Redis's password there, alone on one line";
        let (place, content) = match (&redis.password_env.value, &redis.password_file.value) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let mistake = Mistake::new("stands beside password_env", "keep one of the two");
                self.problems.report(&redis.password_file.place, mistake);
                return None;
            }
            (Some(name), None) => match (self.env)(&name.0) {
                Some(password) => (&redis.password_env.place, password.into_bytes()),
                None => {
                    let mistake = Mistake::new("names a variable that is not set", mend);
                    self.problems.report(&redis.password_env.place, mistake);
                    return None;
                }
            },
            (None, Some(path)) => {
                let path = Field { value: path.clone(), place: redis.password_file.place.clone() };
                let content = self.file(&path)?;
                self.warn_if_world_readable(&path);
                (&redis.password_file.place, content)
            }
        };
        let refuse = |mistake: Mistake| {
            let reason = format!("names a place that {}", mistake.reason);
            self.problems.report(place, Mistake::new(reason, mend));
        };
        Secret::parse(&content).map_err(refuse).ok()
    }

    fn redis_roots(&mut self, redis: &raw_limits::Redis, tls: bool) -> Option<Vec<u8>> {
        let path = &redis.ca_file;
        if path.as_os_str().is_empty() {
            return None;
        }
        if !tls {
            let mistake = Mistake::new("is not used: redis.url is without TLS", "write rediss://, or remove ca_file");
            self.problems.report(&path.place, mistake);
            return None;
        }
        let content = self.file(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            let mistake = Mistake::new(
                "names a file that is no clean list of certificates",
                "name a PEM file that holds only certificate authorities",
            );
            self.problems.report(&path.place, mistake);
            return None;
        }
        Some(content)
    }
}

fn scope(scope: &Scope) -> Limits {
    Limits {
        requests_per_minute: scope.requests_per_minute.value as u64,
        burst: scope.burst.value as u64,
        tokens_per_minute: scope.tokens_per_minute.value as u64,
        concurrent_streams: scope.concurrent_streams.value as u64,
    }
}

/// Where Redis is.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    cluster: bool,
    tls: bool,
    host: String,
    port: u16,
    database: i64,
    is_loopback: bool,
}

impl Address {
    /// No message repeats what is written: it may hold a password.
    fn parse(written: &str) -> Result<Self, Mistake> {
        let url = Url::parse(written).map_err(|_| Mistake::new("is no URL", URL))?;
        let (cluster, tls) = match url.scheme() {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis-cluster" => (true, false),
            "rediss-cluster" => (true, true),
            _ => return Err(Mistake::new("has an unknown scheme", URL)),
        };
        if !url.username().is_empty() || url.password().is_some() {
            let mend = "write redis.username and redis.password_env instead, and replace the password";
            return Err(Mistake::new("holds credentials, and secrets never stand in the file", mend));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Mistake::new("has a query or a fragment", URL));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(Mistake::new("names no host", URL)),
        };
        // schemes that the URL standard does not know have opaque hosts: an IPv4 address is one, too
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().ok().filter(|number| (0..=9999).contains(number)).ok_or_else(|| {
                Mistake::new("has a path that is no number of a database", "write it as \"redis://HOST:6379/0\"")
            })?,
        };
        if cluster && database != 0 {
            return Err(Mistake::new("names a database, and a cluster has only one", "remove the path"));
        }
        Ok(Self { cluster, tls, host, port: url.port().unwrap_or(PORT), database, is_loopback })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_port_and_a_database() {
        let read = |written: &str| {
            let Address { cluster, tls, host, port, database, is_loopback } = Address::parse(written).unwrap();
            (cluster, tls, host, port, database, is_loopback)
        };
        assert_eq!(read("redis://127.0.0.1"), (false, false, "127.0.0.1".into(), 6379, 0, true));
        assert_eq!(read("rediss://cache.example:7000/3"), (false, true, "cache.example".into(), 7000, 3, false));
        assert_eq!(read("redis-cluster://[::1]:7001"), (true, false, "::1".into(), 7001, 0, true));
        assert_eq!(read("rediss-cluster://c.example/"), (true, true, "c.example".into(), 6379, 0, false));
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for bad in [
            "canary",
            "http://canary",
            "redis://",
            "redis:///canary",
            "redis://:canary@host",
            "redis://canary@host",
            "redis://host/canary",
            "redis://host/-1",
            "redis://host?password=canary",
            "redis-cluster://host/1",
            "redis://host:canary",
        ] {
            let mistake = Address::parse(bad).expect_err(bad);
            assert!(!format!("{mistake:?}").contains("canary"), "{mistake:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(redis(s)?(-cluster)?://)?\\PC{0,20}") {
            let _ = Address::parse(&text);
        }
    }
}

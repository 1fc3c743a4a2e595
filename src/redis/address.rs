//! The address of Redis, as `redis.url` writes it. Pure.

use settings::Mistake;
use url::{Host, Url};

/// The default port of Redis.
const PORT: u16 = 6379;
const URL: &str = "write \"redis://HOST:6379\", \"rediss://HOST:6379\" for TLS, or \"redis-cluster://HOST:6379\"";

/// The address of Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) cluster: bool,
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: i64,
    pub(super) is_loopback: bool,
}

impl Address {
    /// Parses `redis.url`. No message repeats the text, because it may hold a password.
    pub(super) fn parse(written: &str) -> Result<Self, Mistake> {
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
            return Err(Mistake::new("holds credentials, and the file must not contain secrets", mend));
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
        // schemes that are not in the URL standard have opaque hosts: an IPv4 address is one, too
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().ok().filter(|number| (0..=9999).contains(number)).ok_or_else(|| {
                Mistake::new("has a path that is not the number of a database", "write it as \"redis://HOST:6379/0\"")
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

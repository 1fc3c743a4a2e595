//! `[server]`, as it is written and checked: listeners that do not collide, a certificate that is in force, names that it covers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use settings::{Mistake, Resolver, Size, Strings, quoted};

use super::hosts::Hosts;
use super::identity::{Identity, IdentityError};

settings::section! {
    /// The listeners and their bounds.
    pub struct Written {
        /// The public address, with TLS, HTTP/2 and HTTP/1.1. "0.0.0.0:443": all IPv4 addresses. "[::]:443": IPv6 as well.
        listen: SocketAddr = "127.0.0.1:8443";
        /// The admin address, without TLS: metrics, health and the dashboard. Use loopback or a private network.
        admin: SocketAddr = "127.0.0.1:9443";
        /// The certificate chain as PEM, the server's own certificate first. `tokenway` without --config creates one for
        /// localhost.
        certificate: PathBuf = "certs/localhost.pem";
        /// The private key of the certificate, as PEM.
        private_key: PathBuf = "certs/localhost.key";
        /// The host names that requests may use: "api.example.com", "*.example.com", "192.0.2.1". Other names get 421.
        /// Empty: the names in the certificate.
        hosts: Strings = [];
        /// true: no TLS on `listen`, for a TLS proxy on the same machine. Remove certificate and private_key in this case.
        plaintext: bool = false;
        /// The maximum number of connections.
        max_connections: usize = 10000 in 1 ..= 10_000_000;
        /// The maximum number of connections from one address (with IPv6: from one /64). 0 = no limit.
        max_connections_per_ip: usize = 0 in 0 ..= 10_000_000;
        /// The time limit for the TLS handshake.
        handshake_timeout: Duration = "5s" in "1ms" ..= "24h";
        /// The time limit for the head of a request.
        header_timeout: Duration = "10s" in "1ms" ..= "24h";
        /// A connection without a request is closed after this time. It is longer than the idle time of load balancers.
        idle_timeout: Duration = "75s" in "1ms" ..= "24h";
        /// The time limit for the body of a request.
        body_timeout: Duration = "30s" in "1ms" ..= "24h";
        /// The largest request body. A larger body gets 413.
        max_body: Size = "20MiB" in "1B" ..= "1GiB";
        /// The memory of all request bodies together. While it is used up, further bodies get 503 with Retry-After.
        max_body_memory: Size = "256MiB" in "1B" ..= "1024GiB";
        /// A client that reads no byte of its answer for this time is disconnected.
        write_timeout: Duration = "30s" in "1ms" ..= "24h";
        /// After SIGTERM, /readyz reports "draining" at once, and Tokenway continues to accept connections for this time: the
        /// time in which load balancers notice.
        shutdown_delay: Duration = "0s" in "0s" ..= "24h";
        /// Drain: after SIGTERM and shutdown_delay, open streams may continue for this time.
        drain: Duration = "30s" in "0s" ..= "24h";
        /// The proxies in front of Tokenway, as networks or addresses: ["10.0.0.0/8"]. Tokenway trusts their X-Forwarded-For.
        trusted_proxies: Strings = [];
        /// true: a new process can listen on the same addresses before the old one has ended (SO_REUSEPORT).
        reuse_port: bool = false;
        /// The number of worker threads. 0 = one per core.
        workers: usize = 0 in 0 ..= 1024;
    }
}

/// The checked `[server]` section.
#[derive(Debug)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener, plaintext.
    pub admin: SocketAddr,
    /// Certificate and key; `None` with `plaintext = true`.
    pub identity: Option<Identity>,
    /// Accepted `Host` and `:authority` names.
    pub hosts: Hosts,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once from one address (IPv6: one /64); 0 = no limit.
    pub max_connections_per_ip: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From a connection's begin, or the first byte of a further request, to the end of the request head.
    pub header_timeout: Duration,
    /// From the end of a response to the first byte of the next request.
    pub idle_timeout: Duration,
    /// From the end of the request head to the end of the body.
    pub body_timeout: Duration,
    /// Most bytes of a request body.
    pub max_body: usize,
    /// Most bytes of all request bodies together.
    pub max_body_memory: usize,
    /// A client that takes no byte for this long is disconnected.
    pub write_timeout: Duration,
    /// How long connections are accepted after SIGTERM.
    pub shutdown_delay: Duration,
    /// How long open streams may continue after that.
    pub drain: Duration,
    /// Networks whose `x-forwarded-for` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether other processes may listen on the same addresses.
    pub reuse_port: bool,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
}

impl Written {
    /// Returns the checked section; the certificate must be valid at `now`.
    pub fn resolve(&self, now: SystemTime, resolver: &mut Resolver<'_>) -> Server {
        self.check_listeners(resolver);
        let identity = if self.plaintext.value { self.no_identity(resolver) } else { self.identity(now, resolver) };
        let hosts = self.hosts(identity.as_ref(), resolver);
        Server {
            listen: self.listen.value,
            admin: self.admin.value,
            identity,
            hosts,
            max_connections: self.max_connections.value,
            max_connections_per_ip: self.max_connections_per_ip.value,
            handshake_timeout: self.handshake_timeout.value,
            header_timeout: self.header_timeout.value,
            idle_timeout: self.idle_timeout.value,
            body_timeout: self.body_timeout.value,
            max_body: self.max_body.value.0,
            max_body_memory: self.max_body_memory.value.0,
            write_timeout: self.write_timeout.value,
            shutdown_delay: self.shutdown_delay.value,
            drain: self.drain.value,
            trusted_proxies: self.trusted_proxies(resolver),
            reuse_port: self.reuse_port.value,
            workers: self.workers.value,
        }
    }

    fn check_listeners(&self, resolver: &mut Resolver<'_>) {
        let (listen, admin) = (&self.listen, &self.admin);
        if self.max_body_memory.is_readable() && self.max_body_memory.value.0 < self.max_body.value.0 {
            let reason = "is less than server.max_body, the largest single body";
            resolver.report(&self.max_body_memory.place, Mistake::new(reason, "raise it, or lower server.max_body"));
        }
        if listen.is_readable() && admin.is_readable() && collide(listen.value, admin.value) {
            let reason = format!("is the same as server.listen, {}", listen.value);
            resolver.report(&admin.place, Mistake::new(reason, "give it a port of its own"));
        }
        if !admin.ip().to_canonical().is_loopback() {
            let what = format!(
                "is {}: every client that reaches that address sees metrics and dashboard, without TLS",
                admin.value
            );
            resolver.warn("server.admin", &what);
        }
        if self.plaintext.value && !listen.ip().to_canonical().is_loopback() {
            let what = format!("is {} without TLS: let nothing but a TLS terminator reach it", listen.value);
            resolver.warn("server.listen", &what);
        }
    }

    /// Checks `plaintext = true`: a certificate that is configured and not used is a contradiction.
    fn no_identity(&self, resolver: &mut Resolver<'_>) -> Option<Identity> {
        for path in [&self.certificate, &self.private_key] {
            if path.is_written() {
                let mistake = Mistake::new("is not used with plaintext = true", "remove this key, or plaintext");
                resolver.report(&path.place, mistake);
            }
        }
        None
    }

    fn identity(&self, now: SystemTime, resolver: &mut Resolver<'_>) -> Option<Identity> {
        let (certificate, key) = (resolver.file(&self.certificate), resolver.file(&self.private_key));
        resolver.warn_if_world_readable(&self.private_key);
        let errors = match Identity::parse(&certificate?, &key?, now) {
            Ok(identity) => {
                if let Some(what) = identity.expiry_warning(now) {
                    resolver.warn("server.certificate", &what);
                }
                return Some(identity);
            }
            Err(errors) => errors,
        };
        for error in errors {
            match error {
                IdentityError::Certificate(mistake) => resolver.report(&self.certificate.place, mistake),
                IdentityError::Key(mistake) => resolver.report(&self.private_key.place, mistake),
            }
        }
        None
    }

    fn hosts(&self, identity: Option<&Identity>, resolver: &mut Resolver<'_>) -> Hosts {
        let mut hosts = Hosts::default();
        for host in &self.hosts.value {
            if let Err(mistake) = hosts.add(host) {
                resolver.report(&host.place, mistake);
            } else if identity.is_some_and(|identity| !identity.covers(host)) {
                let what = format!("names {}, which the certificate does not: browsers will refuse it", host.value);
                resolver.warn(&host.place.key, &what);
            }
        }
        if !self.hosts.value.is_empty() {
            return hosts;
        }
        let Some(identity) = identity else {
            // Also if the certificate could not be read: that problem is already reported.
            return Hosts::any();
        };
        let names = identity.names();
        if names.is_empty() {
            let mistake = Mistake::new(
                "names no host: it has no subject alternative name, and browsers ignore the common name",
                "use a certificate with subject alternative names",
            );
            resolver.report(&self.certificate.place, mistake);
        }
        names
    }

    fn trusted_proxies(&self, resolver: &mut Resolver<'_>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for network in self.trusted_proxies.iter() {
            match parse_network(network) {
                Ok(parsed) => {
                    if parsed.prefix_len() == 0 {
                        resolver.warn(
                            &network.place.key,
                            "includes every address: any client can choose the address it is counted as",
                        );
                    }
                    networks.push(parsed);
                }
                Err(mistake) => resolver.report(&network.place, mistake),
            }
        }
        networks
    }
}

/// Reads a network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
fn parse_network(text: &str) -> Result<IpNet, Mistake> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        Mistake::new(format!("{} is not a network", quoted(text)), "write it as \"10.0.0.0/8\" or as one IP address")
    })?;
    if network != network.trunc() {
        let reason = format!("{} has bits set beyond its prefix", quoted(text));
        return Err(Mistake::new(reason, format!("write \"{}\"", network.trunc())));
    }
    Ok(network)
}

/// Whether the two addresses cannot be bound at the same time. Port 0 is a free port each time; `[::]` takes IPv4 as well.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |wide: SocketAddr, other: SocketAddr| wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listeners_collide_on_one_port_of_overlapping_addresses() {
        let collide = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collide("127.0.0.1:1", "127.0.0.1:1"));
        assert!(collide("0.0.0.0:1", "127.0.0.1:1"));
        assert!(collide("127.0.0.1:1", "[::]:1"));
        assert!(collide("[::1]:1", "[::]:1"));
        assert!(!collide("0.0.0.0:1", "[::1]:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn networks_are_written_with_their_own_bits_only() {
        assert_eq!(parse_network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(parse_network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse_network("10.0.0.1/8").unwrap_err().mend, "write \"10.0.0.0/8\"");
        for bad in ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/"] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_network_or_refused(text in "\\PC{0,12}|[0-9a-f.:]{0,12}/[0-9]{0,3}") {
            if let Ok(network) = parse_network(&text) {
                prop_assert_eq!(parse_network(&network.to_string()), Ok(network));
            }
        }
    }
}

//! `[server]`: listeners that do not collide, a certificate that is in force, names that it covers.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::Resolver;
use crate::config::identity::{Identity, IdentityError};
use crate::config::problem::{Field, Mistake};
use crate::config::values::parse_network;
use crate::config::{Hosts, Server, raw};

impl Resolver<'_> {
    pub(super) fn server(&mut self, server: raw::Server) -> Server {
        self.check_listeners(&server);
        let identity = if server.plaintext.value { self.no_identity(&server) } else { self.identity(&server) };
        let hosts = self.hosts(&server, identity.as_ref());
        Server {
            listen: server.listen.value,
            admin: server.admin.value,
            identity,
            hosts,
            max_connections: server.max_connections.value,
            max_connections_per_ip: server.max_connections_per_ip.value,
            handshake_timeout: server.handshake_timeout.value,
            header_timeout: server.header_timeout.value,
            body_timeout: server.body_timeout.value,
            max_body: server.max_body.value.0,
            write_timeout: server.write_timeout.value,
            drain: server.drain.value,
            trusted_proxies: self.trusted_proxies(&server.trusted_proxies),
            workers: server.workers.value,
        }
    }

    fn check_listeners(&mut self, server: &raw::Server) {
        let (listen, admin) = (&server.listen, &server.admin);
        if listen.is_readable() && admin.is_readable() && collide(listen.value, admin.value) {
            let reason = format!("is the same as server.listen, {}", listen.value);
            self.problems.report(&admin.place, Mistake::new(reason, "give it a port of its own"));
        }
        if !admin.ip().to_canonical().is_loopback() {
            let what =
                format!("is {}: whoever reaches that address sees metrics and dashboard, without TLS", admin.value);
            self.warn("server.admin", &what);
        }
        if server.plaintext.value && !listen.ip().to_canonical().is_loopback() {
            let what = format!("is {} without TLS: let nothing but a TLS terminator reach it", listen.value);
            self.warn("server.listen", &what);
        }
    }

    /// With `plaintext = true`: a certificate that is configured and not used is a contradiction.
    fn no_identity(&mut self, server: &raw::Server) -> Option<Identity> {
        for path in [&server.certificate, &server.private_key] {
            if path.is_written() {
                let mistake = Mistake::new("is not used with plaintext = true", "remove this key, or plaintext");
                self.problems.report(&path.place, mistake);
            }
        }
        None
    }

    fn identity(&mut self, server: &raw::Server) -> Option<Identity> {
        let (certificate, key) = (self.file(&server.certificate), self.file(&server.private_key));
        self.warn_if_world_readable(&server.private_key);
        let errors = match Identity::parse(&certificate?, &key?, self.now) {
            Ok(identity) => return Some(identity),
            Err(errors) => errors,
        };
        for error in errors {
            match error {
                IdentityError::Certificate(mistake) => self.problems.report(&server.certificate.place, mistake),
                IdentityError::Key(mistake) => self.problems.report(&server.private_key.place, mistake),
            }
        }
        None
    }

    fn hosts(&mut self, server: &raw::Server, identity: Option<&Identity>) -> Hosts {
        let mut hosts = Hosts::default();
        for host in &server.hosts.value {
            if let Err(mistake) = hosts.add(host) {
                self.problems.report(&host.place, mistake);
            } else if identity.is_some_and(|identity| !identity.covers(host)) {
                let what = format!("names {}, which the certificate does not: browsers will refuse it", host.value);
                self.warn(&host.place.key, &what);
            }
        }
        if !server.hosts.value.is_empty() {
            return hosts;
        }
        let Some(identity) = identity else {
            // Also where the certificate could not be read: it has its problem already.
            return Hosts::any();
        };
        let names = identity.names();
        if names.is_empty() {
            let mistake = Mistake::new(
                "names no host: it has no subject alternative name, and browsers ignore the common name",
                "use a certificate with subject alternative names",
            );
            self.problems.report(&server.certificate.place, mistake);
        }
        names
    }

    fn trusted_proxies(&mut self, written: &[Field<String>]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for network in written {
            match parse_network(network) {
                Ok(parsed) => {
                    if parsed.prefix_len() == 0 {
                        self.warn(
                            &network.place.key,
                            "is everybody: any client can choose the address it is counted as",
                        );
                    }
                    networks.push(parsed);
                }
                Err(mistake) => self.problems.report(&network.place, mistake),
            }
        }
        networks
    }
}

/// True where the two cannot be bound at once. Port 0 is a free port each time; `[::]` takes IPv4 as well.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |wide: SocketAddr, other: SocketAddr| wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

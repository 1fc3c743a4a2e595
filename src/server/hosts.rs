//! The host names of the gateway. Pure.

use std::net::{IpAddr, SocketAddr};

use settings::{Mistake, quoted};

use crate::upstream::base_url::is_dns_name;

/// The names that a request may be addressed to, from `server.hosts` or the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// Lower-case DNS names; a leading `*.` matches one label (RFC 6125 §6.4.3).
    pub names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether any name is accepted: `plaintext = true` without `hosts`.
    pub any: bool,
}

impl Hosts {
    /// Returns hosts that accept every name.
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Whether no name is accepted.
    pub fn is_empty(&self) -> bool {
        !self.any && self.names.is_empty() && self.addresses.is_empty()
    }

    /// Adds one name as it is written in `server.hosts`: `api.example.com`, `*.example.com`, `192.0.2.1`, `::1`.
    ///
    /// # Errors
    /// Describes what is wrong with it, and the fix.
    pub fn add(&mut self, written: &str) -> Result<(), Mistake> {
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
        if let Ok(address) = bare.parse::<IpAddr>() {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
            return Ok(());
        }
        if !is_dns_name(written.strip_prefix("*.").unwrap_or(written)) {
            return Err(mistake(written));
        }
        if !self.names.iter().any(|name| name == written) {
            self.names.push(written.to_owned());
        }
        Ok(())
    }
}

/// Returns why `written` is not a host, with a fitting fix.
fn mistake(written: &str) -> Mistake {
    let reason = format!("{} is not a host name", quoted(written));
    let lower = written.to_ascii_lowercase();
    let without_port = match lower.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip().to_string()),
        Err(_) => {
            lower.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host.to_owned())
        }
    };
    if let Some((_, host)) = written.split_once("://") {
        return Mistake::new(reason, format!("write the name alone, {}", quoted(host.trim_end_matches('/'))));
    }
    if let Some(host) = without_port {
        return Mistake::new(reason, format!("write it without the port, {}", quoted(&host)));
    }
    if lower == "*" {
        return Mistake::new(reason, "name the hosts: a gateway that answers to any name is open to DNS rebinding");
    }
    if !written.is_ascii() {
        return Mistake::new(reason, "write the name's ASCII form (`xn--…`)");
    }
    if is_dns_name(lower.trim_end_matches('.')) {
        return Mistake::new(reason, format!("write {}", quoted(lower.trim_end_matches('.'))));
    }
    Mistake::new(reason, "write a lower-case DNS name, `*.` and a DNS name, or an IP address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mend(written: &str) -> String {
        Hosts::default().add(written).expect_err(written).mend
    }

    #[test]
    fn names_wildcards_and_addresses_are_hosts() {
        let mut hosts = Hosts::default();
        for written in ["api.example.com", "*.example.com", "localhost", "192.0.2.1", "::1", "[::1]", "localhost"] {
            assert_eq!(hosts.add(written), Ok(()), "{written}");
        }
        assert_eq!(hosts.names, ["api.example.com", "*.example.com", "localhost"]);
        assert_eq!(hosts.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }

    #[test]
    fn each_slip_gets_the_mend_that_fits() {
        assert!(mend("example.com:8443").contains("`example.com`"));
        assert!(mend("[::1]:8443").contains("`::1`"));
        assert!(mend("192.0.2.1:80").contains("`192.0.2.1`"));
        assert!(mend("https://example.com/").contains("`example.com`"));
        assert!(mend("API.Example.com").contains("`api.example.com`"));
        assert!(mend("example.com.").contains("`example.com`"));
        assert!(mend("bücher.example").contains("xn--"));
        assert!(mend("*").contains("rebinding"));
        for bad in ["", "a b", "*.", "a.*.b", "**.a", "-a", "1.2.3.999", "a..b"] {
            assert!(mend(bad).contains("lower-case"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_lower_case_ascii_without_port(written in "\\PC{0,20}|[a-zA-Z0-9.*:-]{0,20}") {
            let mut hosts = Hosts::default();
            if hosts.add(&written).is_ok() {
                for name in &hosts.names {
                    prop_assert!(name.is_ascii() && !name.contains(':') && *name == name.to_ascii_lowercase());
                }
                prop_assert!(!hosts.is_empty() && !hosts.any);
            }
        }
    }
}

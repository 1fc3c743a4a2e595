//! A certificate chain with its private key: parsed, matched and checked for validity. No I/O: takes bytes and `now`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use settings::Mistake;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::hosts::Hosts;

/// How long before the expiry the warnings begin.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate chain with its private key, parsed and matched.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// Which of the two files is wrong, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdentityError {
    /// `server.certificate`
    Certificate(Mistake),
    /// `server.private_key`
    Key(Mistake),
}

impl Identity {
    /// Parses the content of both PEM files (RFC 7468) and checks that they belong together and are valid at `now`.
    ///
    /// # Errors
    /// Describes everything that is wrong. The messages contain nothing of the files: PEM errors would repeat their lines.
    pub(super) fn parse(certificate: &[u8], key: &[u8], now: SystemTime) -> Result<Self, Vec<IdentityError>> {
        let chain = read_chain(certificate).and_then(|chain| check_validity(&chain, now).map(|()| chain));
        let (chain, key) = match (chain, read_key(key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => {
                let certificate = chain.err().map(IdentityError::Certificate);
                return Err(certificate.into_iter().chain(key.err().map(IdentityError::Key)).collect());
            }
        };
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
            Ok(_) => Ok(Self { chain, key: Arc::new(key) }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(vec![IdentityError::Key(Mistake::new(
                "does not belong to the first certificate of server.certificate",
                "name the key that the certificate was made for; in a chain the server's own certificate comes first",
            ))]),
            Err(_) => Err(vec![IdentityError::Key(Mistake::new(
                "holds a key of a kind that TLS here cannot use",
                "use an ECDSA P-256, ECDSA P-384, Ed25519 or RSA key",
            ))]),
        }
    }

    /// Returns the names in the leaf certificate. The common name is ignored (RFC 9525 §2).
    pub fn names(&self) -> Hosts {
        let mut hosts = Hosts::default();
        let Some(Ok((_, leaf))) = self.chain.first().map(|leaf| X509Certificate::from_der(leaf)) else {
            return hosts;
        };
        let names = leaf.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.as_slice());
        for name in names.unwrap_or_default() {
            // A client cannot request a name that is not a usable host.
            let _unusable = match name {
                GeneralName::DNSName(name) => hosts.add(&name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => address(bytes).map_or(Ok(()), |ip| hosts.add(&ip.to_string())),
                _ => Ok(()),
            };
        }
        hosts
    }

    /// The first name that the leaf vouches for, as it is written there.
    pub fn first_name(&self) -> Option<String> {
        let (_, leaf) = X509Certificate::from_der(self.chain.first()?).ok()?;
        let names = leaf.subject_alternative_name().ok().flatten()?;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
            _ => None,
        })
    }

    /// When the leaf expires.
    pub fn expiry(&self) -> Option<SystemTime> {
        let (_, leaf) = X509Certificate::from_der(self.chain.first()?).ok()?;
        let seconds = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// What to tell the operator of a certificate that expires within 14 days of `now`; it begins with a verb.
    pub fn expiry_warning(&self, now: SystemTime) -> Option<String> {
        let days = days_left(self.expiry()?, now)?;
        let (_, leaf) = X509Certificate::from_der(self.chain.first()?).ok()?;
        Some(format!("expires in {days} days, on {}: renew it, then send SIGHUP", leaf.validity().not_after))
    }

    /// Whether a browser accepts this certificate for `host`, as it is written in `server.hosts`.
    pub(super) fn covers(&self, host: &str) -> bool {
        // A wildcard is covered if any label in its place is.
        let host = host.replacen('*', "any-label", 1);
        let (Some(leaf), Ok(name)) = (self.chain.first(), ServerName::try_from(host)) else { return false };
        ParsedCertificate::try_from(leaf).is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, &name).is_ok())
    }
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mend = "name a PEM file: the server's certificate first, then its intermediates";
    match chain {
        Ok(chain) if chain.is_empty() => Err(Mistake::new("holds no certificate", mend)),
        Ok(chain) => Ok(chain),
        Err(_) => Err(Mistake::new("is damaged: its PEM cannot be read", mend)),
    }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Mistake> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
            return Mistake::new(
                "is encrypted",
                "decrypt it: `openssl pkey -in KEY -out DECRYPTED`, and guard that file",
            );
        }
        Mistake::new("holds no private key", "name a PEM file with `BEGIN PRIVATE KEY`")
    })
}

/// RFC 5280 §4.1.2.5: both ends of the validity period are inclusive.
fn check_validity(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<(), Mistake> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    for (i, certificate) in chain.iter().enumerate() {
        let which = if i == 0 { "the certificate".to_owned() } else { format!("certificate {} of the chain", i + 1) };
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| {
            Mistake::new(
                format!("{which} is not an X.509 certificate"),
                "name a PEM file made by a certificate authority",
            )
        })?;
        let validity = parsed.validity();
        if validity.not_after.timestamp() < now {
            return Err(Mistake::new(format!("{which} expired on {}", validity.not_after), "renew it"));
        }
        if validity.not_before.timestamp() > now {
            let reason = format!("{which} is not valid before {}", validity.not_before);
            return Err(Mistake::new(reason, "wait, or set this machine's clock"));
        }
    }
    Ok(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether to warn at `now`, and then how many whole days are left.
fn days_left(expiry: SystemTime, now: SystemTime) -> Option<u64> {
    let left = expiry.duration_since(now).unwrap_or_default();
    (left <= SOON).then_some(left.as_secs() / (24 * 60 * 60))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).field("key", &"…").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    const IN_2030: u64 = 1_900_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    /// Returns a self-signed certificate for `names`, valid from 2020 to 2040, and its key.
    fn pair(names: &[&str]) -> (String, String) {
        let mut params = CertificateParams::new(names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn refusal(certificate: &str, key: &str, now: u64) -> String {
        let errors = Identity::parse(certificate.as_bytes(), key.as_bytes(), at(now)).expect_err("refused");
        format!("{errors:?}")
    }

    #[test]
    fn the_names_are_those_that_the_leaf_vouches_for() {
        let (certificate, key) = pair(&["LOCALHOST", "*.example.com", "127.0.0.1", "::1"]);
        let identity = Identity::parse(certificate.as_bytes(), key.as_bytes(), at(IN_2030)).unwrap();
        let names = identity.names();
        assert_eq!(names.names, ["localhost", "*.example.com"]);
        assert_eq!(identity.first_name().as_deref(), Some("LOCALHOST"));
        assert_eq!(names.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert!(["localhost", "a.example.com", "*.example.com", "::1"].into_iter().all(|host| identity.covers(host)));
        assert!(["example.com", "a.b.example.com", "*.b.example.com"].into_iter().all(|host| !identity.covers(host)));
    }

    #[test]
    fn certificate_and_key_may_stand_in_one_file() {
        let (certificate, key) = pair(&["localhost"]);
        let both = key + &certificate;
        assert!(Identity::parse(both.as_bytes(), both.as_bytes(), at(IN_2030)).is_ok());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((certificate, _), (_, key)) = (pair(&["localhost"]), pair(&["localhost"]));
        assert!(refusal(&certificate, &key, IN_2030).contains("does not belong"));
    }

    #[test]
    fn a_certificate_out_of_its_time_is_refused() {
        let (certificate, key) = pair(&["localhost"]);
        assert!(refusal(&certificate, &key, 1_500_000_000).contains("not valid before"));
        assert!(refusal(&certificate, &key, 2_500_000_000).contains("expired on"));
    }

    #[test]
    fn warnings_begin_fourteen_days_before_and_go_on_after_it() {
        let expiry = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let day = SOON / 14;
        assert_eq!(days_left(expiry, expiry - SOON - Duration::from_secs(1)), None);
        assert_eq!(days_left(expiry, expiry - SOON), Some(14));
        assert_eq!(days_left(expiry, expiry - day / 2), Some(0));
        assert_eq!(days_left(expiry, expiry + day), Some(0));
    }

    #[test]
    fn a_certificate_that_expires_soon_is_warned_of() {
        let (certificate, key) = pair(&["localhost"]);
        let identity = Identity::parse(certificate.as_bytes(), key.as_bytes(), at(IN_2030)).unwrap();
        // 2040-01-01
        let expiry = 2_208_988_800;
        assert_eq!(identity.expiry(), Some(at(expiry)));
        assert_eq!(identity.expiry_warning(at(expiry - 15 * 86_400)), None);
        let warning = identity.expiry_warning(at(expiry - 13 * 86_400)).unwrap();
        assert!(warning.starts_with("expires in 13 days, on Jan  1 00:00:00 2040"), "{warning}");
    }

    #[test]
    fn both_files_are_reported_at_once_and_nothing_of_them_is_shown() {
        let (certificate, key) = pair(&["localhost"]);
        let swapped = refusal(&key, &certificate, IN_2030);
        assert!(swapped.contains("holds no certificate") && swapped.contains("holds no private key"), "{swapped}");
        let damaged = refusal(&certificate.replacen('M', "canary!", 1), &key.replacen("PRIVATE", "canary", 2), IN_2030);
        assert!(damaged.contains("damaged") && !damaged.contains("canary"), "{damaged}");
        assert!(refusal(&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE"), IN_2030).contains("is encrypted"));
    }

    #[test]
    fn debug_shows_no_key() {
        let (certificate, key) = pair(&["localhost"]);
        let identity = Identity::parse(certificate.as_bytes(), key.as_bytes(), at(IN_2030)).unwrap();
        assert_eq!(format!("{identity:?}"), "Identity { chain: 1, key: \"…\" }");
    }
}

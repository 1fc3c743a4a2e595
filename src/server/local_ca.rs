//! A certificate authority for this machine alone, and its one certificate for `localhost`.
//!
//! The CA's key is discarded after it has signed: a key that does not exist cannot leak, and the CA that a developer adds to
//! a browser can never sign anything else. Its name constraints (RFC 5280 §4.2.1.10) restrict it a second time. The price is
//! a new CA to trust when the certificate expires. So both are valid for 800 days, which is within the 825 days that Apple's
//! systems allow for a CA that the user added; other browsers allow more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::identity::Identity;

const CA_NAME: &str = "Tokenway development CA";
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_hours(24);
const LIFETIME: Duration = DAY.saturating_mul(800);
/// The certificate is replaced when less than this is left, so that it does not expire during a day's work.
const MARGIN: Duration = DAY.saturating_mul(30);
/// How far the beginning is in the past, because clocks of virtual machines and containers can be late.
const BACKDATED: Duration = DAY;

/// The files in the directory.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalCertificate {
    /// `ca.pem`; `None` if the certificate was not made by Tokenway.
    pub ca: Option<PathBuf>,
    /// Whether the certificate was made by this call.
    pub made: bool,
}

/// Makes sure that `dir` contains `localhost.pem` and `localhost.key`. Files of another CA are used as they are and never
/// overwritten; Tokenway's own are replaced when they are damaged, do not match or expire soon.
///
/// # Errors
/// The directory cannot be used, or a file that Tokenway did not make is in the way.
pub fn ensure(dir: &Path, now: SystemTime) -> io::Result<LocalCertificate> {
    fs::create_dir_all(dir)?;
    // Two first starts at the same time: the second one waits, then finds the files of the first. Released when it is
    // dropped.
    let directory = File::open(dir)?;
    directory.lock()?;
    let ca = dir.join("ca.pem");
    let (leaf_is, ca_is) = (origin(&dir.join("localhost.pem"))?, origin(&ca)?);
    let blocked =
        |file: &str| Err(io::Error::other(format!("{file} is there and was not made by Tokenway; move it away")));
    match (leaf_is, ca_is) {
        (Origin::Foreign, _) => Ok(LocalCertificate { ca: None, made: false }),
        (_, Origin::Foreign) => blocked("ca.pem"),
        (Origin::Nowhere, Origin::Nowhere) if dir.join("localhost.key").exists() => blocked("localhost.key"),
        (Origin::Ours, Origin::Ours) if is_usable(dir, now)? => Ok(LocalCertificate { ca: Some(ca), made: false }),
        _ => {
            make(dir, now)?;
            Ok(LocalCertificate { ca: Some(ca), made: true })
        }
    }
}

/// The origin of a certificate file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Nowhere,
    Ours,
    Foreign,
}

fn origin(path: &Path) -> io::Result<Origin> {
    let pem = match fs::read(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Origin::Nowhere),
        Err(error) => return Err(error),
    };
    let is_ours = |name: &X509Name<'_>| {
        let mut common_names = name.iter_common_name();
        common_names.next().is_some_and(|name| name.as_str() == Ok(CA_NAME))
    };
    let ours = CertificateDer::from_pem_slice(&pem)
        .is_ok_and(|der| X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| is_ours(certificate.issuer())));
    Ok(if ours { Origin::Ours } else { Origin::Foreign })
}

/// Whether a client that trusts `ca.pem` accepts this certificate for all names, now and until the margin.
fn is_usable(dir: &Path, now: SystemTime) -> io::Result<bool> {
    let leaf = fs::read(dir.join("localhost.pem"))?;
    let key = match fs::read(dir.join("localhost.key")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        read => read?,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::from_pem_slice(&fs::read(dir.join("ca.pem"))?));
    let (Ok(identity), Ok(_)) = (Identity::parse(&leaf, &key, now), Identity::parse(&leaf, &key, now + MARGIN)) else {
        return Ok(false);
    };
    let Some(Ok(parsed)) = identity.chain.first().map(ParsedCertificate::try_from) else { return Ok(false) };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let at = UnixTime::since_unix_epoch(since_epoch(now + MARGIN));
    let verified =
        rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms.all).is_ok();
    Ok(verified && NAMES.iter().all(|name| identity.covers(name)))
}

fn make(dir: &Path, now: SystemTime) -> io::Result<()> {
    let ca_key = KeyPair::generate().map_err(io::Error::other)?;
    let ca = ca_params(now);
    let ca_pem = ca.self_signed(&ca_key).map_err(io::Error::other)?.pem();
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let leaf = leaf_params(now).map_err(io::Error::other)?;
    let leaf_pem = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(io::Error::other)?.pem();
    // The CA is written first: after a crash, the files are known to be Tokenway's, and are replaced.
    replace(dir, "ca.pem", 0o644, &ca_pem)?;
    replace(dir, "localhost.key", 0o600, &key.serialize_pem())?;
    replace(dir, "localhost.pem", 0o644, &leaf_pem)
}

fn ca_params(now: SystemTime) -> CertificateParams {
    let mut ca = params(now);
    ca.distinguished_name.push(DnType::CommonName, CA_NAME);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv4Addr::new(127, 0, 0, 0).into(), 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv6Addr::LOCALHOST.into(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    ca
}

fn leaf_params(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut leaf = params(now);
    leaf.subject_alt_names = CertificateParams::new(NAMES.map(str::to_owned))?.subject_alt_names;
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    Ok(leaf)
}

fn params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = epoch + since_epoch(now - BACKDATED);
    params.not_after = epoch + since_epoch(now - BACKDATED + LIFETIME);
    params
}

fn since_epoch(time: SystemTime) -> Duration {
    // Whole seconds: certificates have no fractions of a second.
    Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Replaces a file atomically: a reader sees the old one or the new one, and the key never has wide permissions.
fn replace(dir: &Path, name: &str, mode: u32, content: &str) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use tempfile::TempDir;

    fn read(dir: &TempDir) -> [String; 3] {
        ["ca.pem", "localhost.pem", "localhost.key"].map(|file| fs::read_to_string(dir.path().join(file)).unwrap())
    }

    fn ours(dir: &TempDir, made: bool) -> LocalCertificate {
        LocalCertificate { ca: Some(dir.path().join("ca.pem")), made }
    }

    #[test]
    fn the_first_start_makes_a_certificate_and_the_next_one_keeps_it() {
        let (dir, now) = (TempDir::new().unwrap(), SystemTime::now());
        assert_eq!(ensure(dir.path(), now).unwrap(), ours(&dir, true));
        let made = read(&dir);
        assert_eq!(ensure(dir.path(), now + DAY).unwrap(), ours(&dir, false));
        assert_eq!(read(&dir), made);
    }

    #[test]
    fn only_the_owner_reads_the_key_and_no_key_of_the_ca_is_left() {
        let dir = TempDir::new().unwrap();
        ensure(dir.path(), SystemTime::now()).unwrap();
        let mode = fs::metadata(dir.path().join("localhost.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["ca.pem", "localhost.key", "localhost.pem"]);
    }

    #[test]
    fn a_certificate_about_to_expire_is_remade() {
        let (dir, now) = (TempDir::new().unwrap(), SystemTime::now());
        ensure(dir.path(), now).unwrap();
        let made = read(&dir);
        assert_eq!(ensure(dir.path(), now + LIFETIME - MARGIN).unwrap(), ours(&dir, true));
        assert_ne!(read(&dir), made);
    }

    #[test]
    fn what_is_damaged_and_ours_is_remade() {
        let (dir, other, now) = (TempDir::new().unwrap(), TempDir::new().unwrap(), SystemTime::now());
        ensure(dir.path(), now).unwrap();
        ensure(other.path(), now).unwrap();
        for file in ["ca.pem", "localhost.pem", "localhost.key"] {
            fs::copy(other.path().join(file), dir.path().join(file)).unwrap();
            assert_eq!(ensure(dir.path(), now).unwrap(), ours(&dir, true), "{file} of another run");
            fs::remove_file(dir.path().join(file)).unwrap();
            assert_eq!(ensure(dir.path(), now).unwrap(), ours(&dir, true), "no {file}");
        }
        fs::write(dir.path().join("localhost.key"), "damaged").unwrap();
        assert_eq!(ensure(dir.path(), now).unwrap(), ours(&dir, true));
        assert_eq!(ensure(dir.path(), now).unwrap(), ours(&dir, false));
    }

    #[test]
    fn files_of_another_origin_are_never_overwritten() {
        let key = KeyPair::generate().unwrap();
        let foreign = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let (used, now) = (TempDir::new().unwrap(), SystemTime::now());
        fs::write(used.path().join("localhost.pem"), &foreign).unwrap();
        assert_eq!(ensure(used.path(), now).unwrap(), LocalCertificate { ca: None, made: false });
        for file in ["ca.pem", "localhost.key"] {
            let dir = TempDir::new().unwrap();
            fs::write(dir.path().join(file), &foreign).unwrap();
            assert!(ensure(dir.path(), now).unwrap_err().to_string().contains(file));
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), foreign);
        }
    }

    #[test]
    fn first_starts_at_once_agree_on_one_certificate() {
        let (dir, now) = (TempDir::new().unwrap(), SystemTime::now());
        let start = || ensure(dir.path(), now).unwrap().made;
        let made: Vec<bool> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
        assert!(is_usable(dir.path(), now).unwrap());
    }

    #[test]
    fn the_ca_cannot_vouch_for_a_name_beyond_this_machine() {
        let (dir, now) = (TempDir::new().unwrap(), SystemTime::now());
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ca = ca_params(now);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let accepted = |names: &[&str]| {
            let mut leaf = leaf_params(now).unwrap();
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            leaf.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
            replace(dir.path(), "ca.pem", 0o644, &ca_pem).unwrap();
            replace(dir.path(), "localhost.key", 0o600, &key.serialize_pem()).unwrap();
            replace(dir.path(), "localhost.pem", 0o644, &leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            is_usable(dir.path(), now).unwrap()
        };
        assert!(accepted(&NAMES));
        assert!(!accepted(&["localhost", "127.0.0.1", "::1", "bank.example"]));
        assert!(!accepted(&["localhost", "127.0.0.1", "::1", "10.0.0.1"]));
    }

    /// Most clients use openssl. If it is not installed, the test does nothing.
    #[test]
    fn openssl_accepts_the_chain_for_each_name() {
        let dir = TempDir::new().unwrap();
        ensure(dir.path(), SystemTime::now()).unwrap();
        for check in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]] {
            let mut openssl = Command::new("openssl");
            openssl.current_dir(dir.path()).args(["verify", "-x509_strict", "-purpose", "sslserver"]).args(check);
            let Ok(output) = openssl.args(["-CAfile", "ca.pem", "localhost.pem"]).output() else { return };
            assert!(output.status.success(), "{check:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

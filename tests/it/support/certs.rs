//! Certificates for `localhost` and 127.0.0.1, each signed by an authority of its own; in memory or in files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokenway::server::identity::Identity;

/// A certificate with its key, and the roots that trust it.
pub struct TestCertificate {
    pub identity: Identity,
    pub roots: Arc<RootCertStore>,
}

/// A certificate that lives in memory.
pub fn localhost() -> TestCertificate {
    let Issued { ca, leaf, key } = Issued::new();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let key = Arc::new(PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    TestCertificate { identity: Identity { chain: vec![leaf.der().clone()], key }, roots: Arc::new(roots) }
}

/// A certificate in files: `ca.pem`, `leaf.pem` and `leaf.key`.
pub fn write(directory: &Path) {
    let Issued { ca, leaf, key } = Issued::new();
    fs::write(directory.join("ca.pem"), ca.pem()).unwrap();
    fs::write(directory.join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(directory.join("leaf.key"), key.serialize_pem()).unwrap();
}

struct Issued {
    ca: Certificate,
    leaf: Certificate,
    /// The leaf's.
    key: KeyPair,
}

impl Issued {
    fn new() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        // a name of its own: a leaf whose issuer has its own name would count as self-signed
        ca.distinguished_name.push(DnType::CommonName, "Tokenway test authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];

        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        // Python's strict verification wants both (RFC 5280 §4.2.1.1, §4.2.1.3)
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
        Self { ca: ca.self_signed(&ca_key).unwrap(), leaf, key }
    }
}

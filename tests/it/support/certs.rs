//! A certificate for `localhost` that lives in memory.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokenway::config::Identity;

/// A certificate with its key, and the roots that trust it.
pub struct TestCertificate {
    pub identity: Identity,
    pub roots: Arc<RootCertStore>,
}

/// For `localhost` and 127.0.0.1, signed by itself.
pub fn localhost() -> TestCertificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    TestCertificate {
        identity: Identity { chain: vec![made.cert.der().clone()], key: Arc::new(key) },
        roots: Arc::new(roots),
    }
}

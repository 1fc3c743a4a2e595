//! TLS 1.2 and 1.3 for the public listener, with HTTP/2 and HTTP/1.1 by ALPN (RFC 7301).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;

use super::identity::Identity;

/// RFC 9113 §3.1
pub(super) const H2: &[u8] = b"h2";
/// The ALPN protocol of HTTP/1.1 (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The acceptor's configuration for one certificate.
///
/// Sessions resume by ticket (RFC 8446 §4.6.1), whose key rotates and ends with this value: nothing is stored per client. There is no
/// early data: a replayed completion would be paid twice (RFC 8470 §2).
///
/// # Errors
/// The key does not fit the certificate, or is of a kind that cannot sign.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

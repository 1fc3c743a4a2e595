//! Which certificates a client trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Error;
use crate::target::Versions;

/// The authorities whose certificates a client trusts.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Mozilla's list, compiled in: the same on every machine.
    #[default]
    PublicRoots,
    /// Only these.
    Roots(Arc<RootCertStore>),
    /// Every certificate. A machine in the middle can read and change everything, keys included.
    DangerouslyAnyone,
}

impl Trust {
    /// Reads `--ca FILE` and `--insecure`; without them, the public roots are trusted.
    ///
    /// # Errors
    /// As [`Trust::from_file`].
    pub fn from_flags(ca: Option<&Path>, insecure: bool) -> Result<Self, Error> {
        match ca {
            Some(file) => Self::from_file(file),
            None if insecure => Ok(Trust::DangerouslyAnyone),
            None => Ok(Trust::PublicRoots),
        }
    }

    /// The authorities of a PEM file, instead of the public ones.
    ///
    /// # Errors
    /// The file cannot be read, or contains no certificate, or an invalid one.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Authorities { file: path.display().to_string(), reason };
        let content = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("is not PEM".to_owned()))?;
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(certificates);
        match (added, ignored) {
            (0, 0) => Err(wrong("holds no certificate".to_owned())),
            (_, 0) => Ok(Trust::Roots(Arc::new(roots))),
            _ => Err(wrong("holds a certificate that cannot be read".to_owned())),
        }
    }

    /// A TLS configuration that trusts these authorities and offers these HTTP versions.
    pub(crate) fn client_config(&self, versions: Versions) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut config = match self {
            Trust::PublicRoots => {
                let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)).with_no_client_auth(),
            Trust::DangerouslyAnyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(DangerousAcceptAnyone(provider)))
                .with_no_client_auth(),
        };
        config.alpn_protocols = match versions {
            Versions::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Versions::Http1 => vec![b"http/1.1".to_vec()],
            Versions::Http2 => vec![b"h2".to_vec()],
        };
        Ok(config)
    }
}

/// Accepts every certificate. The signature is still checked, so that a broken server is noticed.
#[derive(Debug)]
struct DangerousAcceptAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for DangerousAcceptAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! The cryptography of JWTs: `jsonwebtoken`'s traits over ring, which TLS uses already. Only signing is not pure: some algorithms
//! take randomness from ring.
//!
//! One algorithm for each kind of key (RFC 8725 §3.1 and §3.2): a key is never used with another algorithm, so that a public key
//! cannot be used as a shared secret. There is no `none`.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{error, hmac};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Signing::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifying::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` use ring. Required before it signs or verifies; further calls change nothing.
pub(super) fn use_ring() {
    static INSTALLED: Once = Once::new();
    // this is the only line that installs a provider
    INSTALLED.call_once(|| {
        let _ = RING.install_default();
    });
}

/// The algorithm of this kind of key.
pub(super) fn algorithm_of(family: AlgorithmFamily) -> Algorithm {
    match family {
        AlgorithmFamily::Hmac => Algorithm::HS256,
        AlgorithmFamily::Rsa => Algorithm::RS256,
        AlgorithmFamily::Ec => Algorithm::ES256,
        AlgorithmFamily::Ed => Algorithm::EdDSA,
    }
}

struct Verifying {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifying {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        match algorithm == algorithm_of(key.family()) {
            true => Ok(Self { algorithm, key: key.clone() }),
            false => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                // in constant time
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            _ => Err(error::Unspecified),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

enum Signing {
    Hs256(hmac::Key),
    EdDsa(Ed25519KeyPair),
    Es256(Box<EcdsaKeyPair>, SystemRandom),
    Rs256(Box<RsaKeyPair>, SystemRandom),
}

impl Signing {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self> {
        if algorithm != algorithm_of(key.family()) {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let (bytes, random) = (key.as_bytes(), SystemRandom::new());
        let unusable = |_| ErrorKind::InvalidKeyFormat;
        Ok(match key.family() {
            AlgorithmFamily::Hmac => Self::Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
            // OpenSSL writes the private key without the public one (RFC 5958 version 1)
            AlgorithmFamily::Ed => Self::EdDsa(Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(unusable)?),
            AlgorithmFamily::Ec => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes, &random);
                Self::Es256(Box::new(pair.map_err(unusable)?), random)
            }
            AlgorithmFamily::Rsa => Self::Rs256(Box::new(RsaKeyPair::from_der(bytes).map_err(unusable)?), random),
        })
    }
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        match self {
            Self::Hs256(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Es256(pair, random) => {
                pair.sign(random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| Error::new())
            }
            Self::Rs256(pair, random) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature).map_err(|_| Error::new())?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::HS256,
            Self::EdDsa(_) => Algorithm::EdDSA,
            Self::Es256(..) => Algorithm::ES256,
            Self::Rs256(..) => Algorithm::RS256,
        }
    }
}

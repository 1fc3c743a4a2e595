//! The keys that verify tokens, from a shared secret, a PEM file or a JWKS file, and those that sign them. Pure.

use jsonwebtoken::errors::Error;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Header, encode};

use super::claims::Claims;
use super::jwt;

/// RFC 7518 §3.2: a key of at least the hash's size. A shorter one can be guessed offline from one token.
pub const MIN_SECRET: usize = 32;
/// The most keys of a JWKS file: each key that matches a token costs a signature check.
const MAX_KEYS: usize = 32;

/// One key that verifies tokens, bound to its one algorithm.
#[derive(Debug, Clone)]
pub struct TokenKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// One key that signs tokens.
pub struct SigningKey(EncodingKey);

impl TokenKey {
    /// Makes the key of HS256: the bytes of the secret, unchanged.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_secret(secret: &[u8]) -> Result<Self, String> {
        check_secret(secret)?;
        Self::new(None, DecodingKey::from_secret(secret))
    }

    /// Makes the key of EdDSA (Ed25519), ES256 (P-256) or RS256 (RSA of 2048 bits and more), from PEM text.
    ///
    /// # Errors
    /// The mistake, as a clause without a byte of the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        if contains(pem, b"PRIVATE KEY-----") {
            return Err("holds a private key: keep that with the backend, the gateway needs the public one".into());
        }
        let readers = [DecodingKey::from_ed_pem, DecodingKey::from_ec_pem, DecodingKey::from_rsa_pem];
        let key = readers.iter().find_map(|read| read(pem).ok());
        Self::new(None, key.ok_or("holds no public key in PEM form of Ed25519, P-256 or RSA")?)
    }

    /// Returns every signing key of a JWK set (RFC 7517 §5) that the gateway can use; others are skipped, as §5 requires.
    ///
    /// # Errors
    /// The mistake, as a clause without a byte of the key.
    pub fn from_jwks(json: &[u8]) -> Result<Vec<Self>, String> {
        let set: JwkSet = serde_json::from_slice(json)
            .map_err(|error| format!("is no JWK set, at line {} column {}", error.line(), error.column()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("holds more than {MAX_KEYS} keys"));
        }
        let is_secret = |jwk: &Jwk| matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        if set.keys.iter().any(is_secret) {
            return Err("holds a shared secret (`oct`): a JWKS file is for public keys".into());
        }
        let keys: Vec<Self> =
            set.keys.iter().filter(|jwk| is_usable(jwk)).map(Self::from_jwk).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("holds no signing key for EdDSA (Ed25519), ES256 or RS256".into());
        }
        Ok(keys)
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, String> {
        let unusable = |_: Error| "holds a key whose numbers cannot be read".to_owned();
        Self::new(jwk.common.key_id.clone(), DecodingKey::from_jwk(jwk).map_err(unusable)?)
    }

    fn new(id: Option<String>, key: DecodingKey) -> Result<Self, String> {
        jwt::use_ring();
        check_size(&key)?;
        Ok(Self { id, algorithm: jwt::algorithm_of(key.family()), key })
    }

    /// Whether this key may verify a token with this header: it has the key's algorithm, and no other key's id.
    pub(super) fn may_verify(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let same_id = match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        self.algorithm == algorithm && same_id
    }

    pub(super) fn key(&self) -> &DecodingKey {
        &self.key
    }

    /// The algorithm's name: `HS256`, `EdDSA`, `ES256` or `RS256`.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::EdDSA => "EdDSA",
            Algorithm::ES256 => "ES256",
            _ => "RS256",
        }
    }
}

impl SigningKey {
    /// Makes the signing key of HS256: the bytes of the secret, unchanged.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_secret(secret: &[u8]) -> Result<Self, String> {
        check_secret(secret)?;
        Ok(Self(EncodingKey::from_secret(secret)))
    }

    /// Makes the signing key of a private key in PKCS #8 PEM form: Ed25519, P-256 or RSA.
    ///
    /// # Errors
    /// The mistake, as a clause without a byte of the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let readers = [EncodingKey::from_ed_pem, EncodingKey::from_ec_pem, EncodingKey::from_rsa_pem];
        let key = readers.iter().find_map(|read| read(pem).ok());
        key.map(Self).ok_or_else(|| "holds no private key in PKCS #8 PEM form of Ed25519, P-256 or RSA".into())
    }

    /// Signs a token.
    ///
    /// # Errors
    /// The key cannot sign: it is of another curve, or too short.
    pub fn sign(&self, claims: &Claims) -> Result<String, String> {
        jwt::use_ring();
        let header = Header::new(jwt::algorithm_of(self.0.family()));
        encode(&header, claims, &self.0).map_err(|error| format!("cannot sign with this key: {error}"))
    }
}

fn check_secret(secret: &[u8]) -> Result<(), String> {
    match secret.len() {
        MIN_SECRET.. => Ok(()),
        _ => Err(format!(
            "holds fewer than {MIN_SECRET} bytes: HS256 needs as many; make one with `openssl rand -hex 32`"
        )),
    }
}

/// Checks the size. ring refuses other sizes when it verifies; this check reports them when the key is read.
fn check_size(key: &DecodingKey) -> Result<(), String> {
    let fits = match (key.family(), key.kind()) {
        // an uncompressed point (SEC 1 §2.3.3)
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= 2048 / 8,
        (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => der.len() >= 2048 / 8,
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err("holds a key of another curve than Ed25519 and P-256, or RSA of fewer than 2048 bits".into())
    }
}

/// Whether a key verifies signatures, by a supported algorithm.
fn is_usable(jwk: &Jwk) -> bool {
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let algorithm = jwk.common.key_algorithm;
    signs
        && match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => matches!(algorithm, None | Some(KeyAlgorithm::RS256)),
            AlgorithmParameters::EllipticCurve(key) => {
                key.curve == EllipticCurve::P256 && matches!(algorithm, None | Some(KeyAlgorithm::ES256))
            }
            AlgorithmParameters::OctetKeyPair(key) => {
                key.curve == EllipticCurve::Ed25519 && matches!(algorithm, None | Some(KeyAlgorithm::EdDSA))
            }
            _ => false,
        }
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    memchr::memmem::find(text, piece).is_some()
}

//! Why a credential is refused. The reason is in metrics and the log, not in the response. Pure.

use crate::error::{Code, Reject};

/// Why a credential is refused. A closed set: it is a label of `tokenway_credentials_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Credentials are required, and there are none.
    Missing,
    /// The credential has not the right form: another scheme than `Bearer`, a damaged key, not a JWT, not a cookie of this
    /// gateway.
    Malformed,
    /// More than one credential of a kind.
    Repeated,
    /// A kind that `access.accept` does not list.
    NotAccepted,
    /// Unknown key; for tokens, no key that can verify it.
    Unknown,
    /// The key was revoked, or the session logged out.
    Revoked,
    /// The credential has expired.
    Expired,
    /// The credential is not valid yet.
    NotYetValid,
    /// The token would be valid for longer than `access.token_max_age`.
    LivesTooLong,
    /// The signature or the seal is wrong.
    BadSignature,
    /// A claim is missing or malformed.
    BadClaims,
    /// The token is for another audience.
    WrongAudience,
    /// The token is for pages of another origin.
    WrongOrigin,
}

impl Refusal {
    /// Returns the label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Malformed => "malformed",
            Refusal::Repeated => "repeated",
            Refusal::NotAccepted => "not_accepted",
            Refusal::Unknown => "unknown",
            Refusal::Revoked => "revoked",
            Refusal::Expired => "expired",
            Refusal::NotYetValid => "not_yet_valid",
            Refusal::LivesTooLong => "lives_too_long",
            Refusal::BadSignature => "bad_signature",
            Refusal::BadClaims => "bad_claims",
            Refusal::WrongAudience => "wrong_audience",
            Refusal::WrongOrigin => "wrong_origin",
        }
    }

    /// Returns the response. It reveals whether there were credentials, and nothing else: a client must not distinguish
    /// unknown, expired and revoked credentials.
    pub fn reject(self) -> Reject {
        match self {
            Refusal::Missing => Reject::new(
                Code::MissingCredentials,
                "Credentials are needed: send `authorization: Bearer` with a gateway key or a token, or the session's cookie.",
            ),
            _ => Reject::new(
                Code::InvalidCredentials,
                "The credentials are not valid: get a new token, or ask the gateway's operator for a key.",
            ),
        }
    }
}

//! Why a credential is refused. Metrics and the log say it; the response does not. Pure.

use crate::error::{Code, Reject};

/// Why a credential is refused. A closed set: it is a label of `tokenway_credentials_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Credentials are required, and there are none.
    Missing,
    /// It has not the form of a credential: another scheme than `Bearer`, a damaged key, no JWT, no cookie of this gateway.
    Malformed,
    /// More than one credential of a kind.
    Repeated,
    /// A kind that `access.accept` does not list.
    NotAccepted,
    /// Unknown key; for tokens, no key that can verify it.
    Unknown,
    /// The key was revoked, or the session logged out.
    Revoked,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It would be valid for longer than `access.token_max_age`.
    LivesTooLong,
    /// The signature or the seal is wrong.
    BadSignature,
    /// A claim is missing or malformed.
    BadClaims,
    /// It is for another audience.
    WrongAudience,
    /// It is for pages of another origin.
    WrongOrigin,
}

impl Refusal {
    /// The label's value.
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

    /// The response: it says whether there were credentials, and nothing else. A client must not distinguish unknown, expired and
    /// revoked credentials.
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

//! Why a credential is refused: told to the operator, by metric and log, and never to the caller. Pure.

use crate::error::{Code, Reject};

/// Why a credential is refused. A closed set: it is a label of `tokenway_credentials_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Credentials are needed, and none is there.
    Missing,
    /// It has not the shape of any credential: another scheme than `Bearer`, a damaged key, no JWT, no cookie of ours.
    Malformed,
    /// More than one of a kind: which one is meant cannot be told.
    Repeated,
    /// A kind that `access.accept` does not list.
    NotAccepted,
    /// No such key; for tokens, no key that could verify it.
    Unknown,
    /// The key was revoked, or the session logged out.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It would be valid for longer than `access.token_max_age`.
    LivesTooLong,
    /// The signature or seal is not ours.
    BadSignature,
    /// A claim is missing, or is not what it must be.
    BadClaims,
    /// It was made for another audience.
    WrongAudience,
    /// It was made for pages of another origin.
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

    /// What the caller is told: whether credentials were there, and nothing else. Unknown, expired and revoked must not
    /// be told apart by whoever tries them.
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

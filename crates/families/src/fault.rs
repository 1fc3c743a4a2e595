//! The meaning of an upstream's error: a closed set. None of its text is stored. Pure.

/// Why an upstream failed or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Too many requests or tokens for now.
    RateLimited,
    /// The gateway's account has no credit or is unpaid.
    QuotaExhausted,
    /// The upstream has no capacity now.
    Overloaded,
    /// The upstream's own time limit is over.
    Timeout,
    /// The upstream refused the gateway's own credentials.
    Credentials,
    /// The upstream does not know the model or the path.
    NotFound,
    /// The prompt together with the requested answer is longer than the model's context.
    ContextLengthExceeded,
    /// The upstream's content policy forbids the request.
    ContentPolicy,
    /// The upstream does not support a parameter, or its value.
    Unsupported,
    /// The body is larger than the upstream accepts.
    TooLarge,
    /// The request is invalid in some other way.
    Invalid,
    /// Anything else.
    Other,
}

impl Fault {
    /// Returns the fault's name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::RateLimited => "rate_limited",
            Fault::QuotaExhausted => "quota_exhausted",
            Fault::Overloaded => "overloaded",
            Fault::Timeout => "timeout",
            Fault::Credentials => "credentials",
            Fault::NotFound => "not_found",
            Fault::ContextLengthExceeded => "context_length_exceeded",
            Fault::ContentPolicy => "content_policy",
            Fault::Unsupported => "unsupported",
            Fault::TooLarge => "too_large",
            Fault::Invalid => "invalid",
            Fault::Other => "other",
        }
    }

    /// Whether a fallback attempt is possible, as long as the client has seen no output.
    ///
    /// It is not possible for a fault of the request itself: every upstream would refuse it, or its author should see it.
    /// Wrong credentials and an unknown model concern only this upstream, and another upstream has others.
    pub fn is_retryable(self) -> bool {
        match self {
            Fault::RateLimited
            | Fault::QuotaExhausted
            | Fault::Overloaded
            | Fault::Timeout
            | Fault::Credentials
            | Fault::NotFound
            | Fault::Other => true,
            Fault::ContextLengthExceeded
            | Fault::ContentPolicy
            | Fault::Unsupported
            | Fault::TooLarge
            | Fault::Invalid => false,
        }
    }

    /// Returns the fault that an HTTP status names.
    pub(crate) fn from_status(status: u16) -> Self {
        match status {
            400 | 422 => Fault::Invalid,
            401 | 403 => Fault::Credentials,
            402 => Fault::QuotaExhausted,
            404 => Fault::NotFound,
            408 | 504 => Fault::Timeout,
            413 => Fault::TooLarge,
            429 => Fault::RateLimited,
            503 | 529 => Fault::Overloaded,
            _ => Fault::Other,
        }
    }
}

//! The meaning of an upstream's error: a closed set. None of its text is stored. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

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

/// The contents of an upstream's error object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorObject {
    /// Its meaning, if the object names one that is known.
    pub(crate) fault: Option<Fault>,
    /// The wrong parameter, if its name looks like one.
    pub(crate) param: Option<String>,
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

    /// Returns the fault that an error's `code`, `type` or `status` names, as OpenAI, Azure, Anthropic, DeepSeek,
    /// OpenRouter, vLLM and llama.cpp spell them.
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "rate_limit_exceeded"
            | "rate_limit_error"
            | "rate_limited"
            | "too_many_requests"
            | "RateLimitError"
            | "requests"
            | "tokens"
            | "RESOURCE_EXHAUSTED" => Fault::RateLimited,
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" | "insufficient_balance" => {
                Fault::QuotaExhausted
            }
            "overloaded"
            | "overloaded_error"
            | "server_overloaded"
            | "engine_overloaded"
            | "service_unavailable"
            | "unavailable_error"
            | "ServiceUnavailableError"
            | "UNAVAILABLE" => Fault::Overloaded,
            "timeout" | "timeout_error" | "request_timeout" | "DEADLINE_EXCEEDED" => Fault::Timeout,
            "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "UNAUTHENTICATED"
            | "PERMISSION_DENIED" => Fault::Credentials,
            "model_not_found" | "not_found_error" | "NotFoundError" | "NOT_FOUND" => Fault::NotFound,
            "context_length_exceeded" | "exceed_context_size_error" => Fault::ContextLengthExceeded,
            "content_filter" | "content_policy_violation" | "moderation_blocked" | "data_inspection_failed" => {
                Fault::ContentPolicy
            }
            "unsupported_parameter" | "unsupported_value" | "unknown_parameter" => Fault::Unsupported,
            "request_too_large" => Fault::TooLarge,
            "invalid_request_error" | "invalid_request" | "invalid_value" | "BadRequestError" | "INVALID_ARGUMENT" => {
                Fault::Invalid
            }
            _ => return None,
        })
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

/// An error object's members; any of them may have any type.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    param: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl ErrorObject {
    /// Reads an error object, or the `error` member of one. An unreadable one has neither fault nor parameter.
    pub(crate) fn read(json: &[u8]) -> Self {
        let Ok(outer) = serde_json::from_slice::<Members<'_>>(json) else {
            return Self::default();
        };
        let inner = outer.error.and_then(|error| serde_json::from_str(error.get()).ok());
        inner.unwrap_or(outer).meaning()
    }
}

impl Members<'_> {
    fn meaning(&self) -> ErrorObject {
        let word = |raw: Option<&RawValue>| Fault::from_word(&string(raw?)?);
        let number = |raw: Option<&RawValue>| {
            let raw = raw?.get();
            // OpenRouter and llama.cpp write the HTTP status as a number, others as a string of digits
            let status: u16 = raw.trim_matches('"').parse().ok()?;
            Some(Fault::from_status(status)).filter(|fault| *fault != Fault::Other)
        };
        // a word is more precise than a status, and a code more than a type
        let named = word(self.code).or_else(|| word(self.kind)).or_else(|| word(self.status));
        let fault = named.or_else(|| number(self.code)).or_else(|| number(self.status));
        let fault = match fault {
            // vLLM and similar servers have no other field for it
            None | Some(Fault::Invalid) if string(self.message).is_some_and(|message| is_about_context(&message)) => {
                Some(Fault::ContextLengthExceeded)
            }
            fault => fault,
        };
        ErrorObject { fault, param: string(self.param).filter(|name| is_parameter(name)).map(Cow::into_owned) }
    }
}

fn string<'a>(raw: impl Into<Option<&'a RawValue>>) -> Option<Cow<'a, str>> {
    let raw = raw.into()?.get();
    match serde_json::from_str::<&str>(raw) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

fn is_about_context(message: &str) -> bool {
    ["maximum context length", "context length exceeded", "context window", "context size"]
        .iter()
        .any(|phrase| message.contains(phrase))
}

/// Whether the text can only be the name of a request parameter: `^[a-z_.0-9\[\]]{1,64}$`.
fn is_parameter(name: &str) -> bool {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'[' | b']');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(json: &str) -> Option<Fault> {
        ErrorObject::read(json.as_bytes()).fault
    }

    #[test]
    fn each_provider_s_spelling_is_understood() {
        let spellings = [
            (
                r#"{"error":{"message":"…","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
                Fault::RateLimited,
            ),
            (r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#, Fault::QuotaExhausted),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Fault::Overloaded),
            (r#"{"error":{"code":400,"type":"exceed_context_size_error","n_ctx":4096}}"#, Fault::ContextLengthExceeded),
            (r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Fault::Overloaded),
            (r#"{"error":{"code":429,"message":"Provider returned error"}}"#, Fault::RateLimited),
            (r#"{"error":{"code":"content_filter","param":"prompt","status":400}}"#, Fault::ContentPolicy),
            (r#"{"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400}"#, Fault::Invalid),
            (
                r#"{"object":"error","message":"This model's maximum context length is 8192 tokens.","type":"BadRequestError","code":400}"#,
                Fault::ContextLengthExceeded,
            ),
            (
                r#"{"error":{"type":"invalid_request_error","code":"unsupported_value","param":"temperature"}}"#,
                Fault::Unsupported,
            ),
            (r#"{"error":{"code":"429"}}"#, Fault::RateLimited),
        ];
        for (json, meant) in spellings {
            assert_eq!(fault(json), Some(meant), "{json}");
        }
    }

    #[test]
    fn what_is_unknown_or_unreadable_says_nothing() {
        for json in [
            "",
            "no json",
            "[]",
            "{}",
            r#"{"error":"sk-secret"}"#,
            r#"{"error":{"code":{},"type":[7]}}"#,
            "{\"error\":\"\u{0}",
        ] {
            assert_eq!(ErrorObject::read(json.as_bytes()), ErrorObject::default(), "{json}");
        }
    }

    #[test]
    fn a_parameter_is_named_only_if_it_can_be_nothing_else() {
        let param = |name: &str| ErrorObject::read(format!(r#"{{"error":{{"param":{name}}}}}"#).as_bytes()).param;
        assert_eq!(param(r#""messages[1].content""#).as_deref(), Some("messages[1].content"));
        let long = format!("\"{}\"", "a".repeat(65));
        for name in [r#""sk-ABC""#, r#""""#, r#""a b""#, "null", "7", r#""a\n""#, &long] {
            assert_eq!(param(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let _ = ErrorObject::read(&bytes);
        }

        #[test]
        fn a_named_parameter_matches_its_pattern(name: String) {
            let json = serde_json::json!({ "error": { "param": name } }).to_string();
            if let Some(param) = ErrorObject::read(json.as_bytes()).param {
                prop_assert_eq!(&param, &name);
                prop_assert!(param.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz_.0123456789[]".contains(&byte)));
            }
        }
    }
}

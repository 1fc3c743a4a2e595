//! An upstream's error object, as providers and servers write it. None of its text is stored, except a parameter's name. Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::wording;

/// The contents of an upstream's error object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorObject {
    /// Its meaning, if the object names one that is known.
    pub(crate) fault: Option<Fault>,
    /// The wrong parameter, if its name looks like one.
    pub(crate) param: Option<String>,
    /// The time to wait, by Google's `RetryInfo`.
    pub(crate) retry_after: Option<Duration>,
}

/// An error object's members; any of them may have any type.
#[derive(Deserialize, Default)]
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
    /// A sentence, or a list of [`Detail`]: FastAPI's.
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    /// A list of [`Detail`]: Google's.
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
}

/// One element of a list of details.
#[derive(Deserialize)]
struct Detail<'a> {
    /// Google's `ErrorInfo`.
    #[serde(borrow, default)]
    reason: Option<&'a RawValue>,
    /// Google's `RetryInfo`: seconds, such as `"42.6s"`.
    #[serde(borrow, default, rename = "retryDelay")]
    retry_delay: Option<&'a RawValue>,
    /// FastAPI's place of a mistake, such as `["body", "stream_options"]`.
    #[serde(borrow, default)]
    loc: Option<&'a RawValue>,
    /// FastAPI's sentence.
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
}

impl ErrorObject {
    /// Reads an error object, the `error` member of one, or the first of a list of them. An unreadable one has no contents.
    pub(crate) fn read(json: &[u8]) -> Self {
        let list = || serde_json::from_slice::<Vec<&RawValue>>(json).ok()?.first().map(|first| first.get().as_bytes());
        let json = if json.trim_ascii_start().starts_with(b"[") { list().unwrap_or_default() } else { json };
        let Ok(outer) = serde_json::from_slice::<Members<'_>>(json) else {
            return Self::default();
        };
        match outer.error.map(|error| (error, serde_json::from_str(error.get()))) {
            Some((_, Ok(inner))) => inner,
            // xAI writes the sentence there
            Some((sentence, Err(_))) => Members { message: outer.message.or(Some(sentence)), ..outer },
            None => outer,
        }
        .meaning()
    }
}

impl Members<'_> {
    fn meaning(&self) -> ErrorObject {
        let details: Vec<Detail<'_>> = [self.details, self.detail]
            .into_iter()
            .flatten()
            .filter_map(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok())
            .flatten()
            .filter_map(|detail| serde_json::from_str(detail.get()).ok())
            .collect();
        let param = string(self.param).map(Cow::into_owned).or_else(|| details.iter().find_map(Detail::param));
        ErrorObject {
            fault: self.fault(&details),
            param: param.filter(|name| is_parameter(name)),
            retry_after: details.iter().find_map(Detail::retry_after),
        }
    }

    fn fault(&self, details: &[Detail<'_>]) -> Option<Fault> {
        let word = |raw: Option<&RawValue>| from_word(&string(raw)?);
        let number = |raw: Option<&RawValue>| {
            let raw = raw?.get();
            // OpenRouter and llama.cpp write the HTTP status as a number, others as a string of digits
            let status: u16 = raw.trim_matches('"').parse().ok()?;
            Some(Fault::from_status(status)).filter(|fault| *fault != Fault::Other)
        };
        // a word is more precise than a status, a reason than a code, and a code than a type
        let reason = details.iter().find_map(|detail| word(detail.reason));
        let named = reason.or_else(|| word(self.code)).or_else(|| word(self.kind)).or_else(|| word(self.status));
        let named = named.or_else(|| number(self.code)).or_else(|| number(self.status));
        let sentences = [self.message, self.detail].into_iter().chain(details.iter().map(|detail| detail.msg));
        let said = || sentences.filter_map(string).find_map(|sentence| wording::meaning(&sentence));
        match named {
            None | Some(Fault::Invalid) => said().or(named),
            // an account without credit is reported as any of these
            Some(Fault::RateLimited | Fault::Credentials) => {
                said().filter(|fault| *fault == Fault::QuotaExhausted).or(named)
            }
            named => named,
        }
    }
}

impl Detail<'_> {
    fn retry_after(&self) -> Option<Duration> {
        let seconds: f64 = string(self.retry_delay)?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }

    fn param(&self) -> Option<String> {
        let places: Vec<&RawValue> = serde_json::from_str(self.loc?.get()).ok()?;
        let places: Vec<&str> = places.iter().map(|place| place.get().trim_matches('"')).collect();
        Some(places.strip_prefix(&["body"])?.join(".")).filter(|name| !name.is_empty())
    }
}

/// Returns the fault that an error's `code`, `type`, `status` or `reason` names.
fn from_word(word: &str) -> Option<Fault> {
    Some(match word {
        // OpenAI, Anthropic, Google
        "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" | "RESOURCE_EXHAUSTED" | "RATE_LIMIT_EXCEEDED"
        // Mistral and others, vLLM, Moonshot
        | "rate_limited" | "too_many_requests" | "service_tier_capacity_exceeded" | "RateLimitError" | "rate_limit_reached_error"
        // Qwen, Bedrock
        | "limit_requests" | "limit_burst_rate" | "Throttling" | "Throttling.RateQuota" | "Throttling.AllocationQuota"
        | "Throttling.BurstRate" | "ThrottlingException" => Fault::RateLimited,
        // OpenAI, Anthropic, DeepSeek, Moonshot, Qwen, Google
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" | "billing_error" | "insufficient_balance"
        | "exceeded_current_quota_error" | "Arrearage" | "BILLING_DISABLED" => Fault::QuotaExhausted,
        // Anthropic, OpenAI, Moonshot, llama.cpp, vLLM, Google, Bedrock
        "overloaded" | "overloaded_error" | "server_overloaded" | "engine_overloaded" | "engine_overloaded_error"
        | "service_unavailable" | "unavailable_error" | "ServiceUnavailableError" | "UNAVAILABLE"
        | "ServiceUnavailableException" | "ModelNotReadyException" => Fault::Overloaded,
        "timeout" | "timeout_error" | "request_timeout" | "DEADLINE_EXCEEDED" => Fault::Timeout,
        // OpenAI, Anthropic, Moonshot, Qwen, Google, Bedrock
        "invalid_api_key" | "authentication_error" | "permission_error" | "unsupported_country_region_territory"
        | "invalid_authentication_error" | "incorrect_api_key_error" | "permission_denied_error" | "InvalidApiKey"
        | "AccessDenied.Unpurchased" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "API_KEY_INVALID"
        | "API_KEY_SERVICE_BLOCKED" | "API_KEY_HTTP_REFERRER_BLOCKED" | "API_KEY_IP_ADDRESS_BLOCKED"
        | "AccessDeniedException" => Fault::Credentials,
        // OpenAI, Anthropic, vLLM, Google, Moonshot, Groq, Azure
        "model_not_found" | "not_found_error" | "NotFoundError" | "NOT_FOUND" | "resource_not_found_error"
        | "model_decommissioned" | "DeploymentNotFound" => Fault::NotFound,
        // OpenAI, llama.cpp
        "context_length_exceeded" | "exceed_context_size_error" => Fault::ContextLengthExceeded,
        // Azure, OpenAI, Qwen
        "content_filter" | "content_policy_violation" | "moderation_blocked" | "data_inspection_failed"
        | "DataInspectionFailed" => Fault::ContentPolicy,
        "unsupported_parameter" | "unsupported_value" | "unknown_parameter" => Fault::Unsupported,
        "request_too_large" => Fault::TooLarge,
        "invalid_request_error" | "invalid_request" | "invalid_value" | "BadRequestError" | "INVALID_ARGUMENT"
        | "ValidationException" => Fault::Invalid,
        _ => return None,
    })
}

fn string<'a>(raw: impl Into<Option<&'a RawValue>>) -> Option<Cow<'a, str>> {
    let raw = raw.into()?.get();
    match serde_json::from_str::<&str>(raw) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
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
            (
                r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
                Fault::Credentials,
            ),
            (
                r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
                Fault::Credentials,
            ),
            (r#" [ {"error":{"code":503,"status":"UNAVAILABLE"}}, 7 ]"#, Fault::Overloaded),
            (
                r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***ey."}"#,
                Fault::Credentials,
            ),
            (
                r#"{"code":"permission-denied","error":"Your team 16f2 has either used all available credits or reached its monthly spending limit."}"#,
                Fault::QuotaExhausted,
            ),
            (
                r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Your prepayment credits are depleted."}}"#,
                Fault::QuotaExhausted,
            ),
            (r#"{"detail":"Insufficient credits"}"#, Fault::QuotaExhausted),
            (
                r#"{"detail":[{"type":"x","loc":["body"],"msg":"Value error, prompt is too long"}]}"#,
                Fault::ContextLengthExceeded,
            ),
            (r#"{"error":{"code":"1261","message":"Prompt exceeds max length"}}"#, Fault::ContextLengthExceeded),
            (r#"{"error":{"message":"…","type":"exceeded_current_quota_error"}}"#, Fault::QuotaExhausted),
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

    #[test]
    fn the_place_of_a_mistake_is_a_parameter_too() {
        let fastapi = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{}}]}"#;
        assert_eq!(ErrorObject::read(fastapi.as_bytes()).param.as_deref(), Some("stream_options"));
        let deep = r#"{"detail":[{"loc":["body","messages",0,"content"]}]}"#;
        assert_eq!(ErrorObject::read(deep.as_bytes()).param.as_deref(), Some("messages.0.content"));
        for other in [r#"["query","x"]"#, r#"["body"]"#, r#"["body","A b"]"#, "7"] {
            let json = format!(r#"{{"detail":[{{"loc":{other}}}]}}"#);
            assert_eq!(ErrorObject::read(json.as_bytes()).param, None, "{other}");
        }
    }

    #[test]
    fn the_time_to_wait_is_read_from_google_s_details() {
        let wait = |delay: &str| {
            let json = format!(r#"{{"error":{{"code":429,"details":[{{"reason":"x"}},{{"retryDelay":{delay}}}]}}}}"#);
            ErrorObject::read(json.as_bytes()).retry_after
        };
        assert_eq!(wait(r#""42.6s""#), Some(Duration::from_secs(43)));
        assert_eq!(wait(r#""7s""#), Some(Duration::from_secs(7)));
        for delay in ["7", r#""7""#, r#""-1s""#, r#""NaNs""#, r#""1e99s""#, "null"] {
            assert_eq!(wait(delay), None, "{delay}");
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

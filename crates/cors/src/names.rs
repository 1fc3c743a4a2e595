//! Header names: the built-in lists of allowed and exposed headers, and the names that browsers forbid. Pure.

/// The request headers that every page of a policy may send: those of clients of LLM APIs, with the `x-stainless-*` names of
/// openai-node 6 and openai-python 2, those of Anthropic's SDKs, the trace headers of OpenTelemetry and Sentry, and those of the gateway that this crate was made for. [`crate::policy::Spec`] adds further ones.
pub const ALLOWED: [&str; 34] = [
    "content-type",
    "authorization",
    "accept",
    "cache-control",
    "last-event-id",
    "user-agent",
    "x-request-id",
    "idempotency-key",
    "tokenway-resumable",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-api-key",
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-custom-event-handler",
    "x-stainless-custom-poll-interval",
    "x-stainless-helper",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-poll-helper",
    "x-stainless-raw-response",
    "x-stainless-read-timeout",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-stream-helper",
    "x-stainless-timeout",
];

/// The response headers that every page of a policy may read: those of LLM APIs, and of the gateway that this crate was made
/// for. [`crate::policy::Spec`] adds further ones.
pub const EXPOSED: [&str; 19] = [
    "x-request-id",
    "age",
    "retry-after",
    "x-should-retry",
    "server-timing",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "tokenway-model",
    "tokenway-upstream",
    "tokenway-cache",
    "tokenway-attempts",
    "tokenway-stream-id",
    "tokenway-route",
    "tokenway-cost",
    "tokenway-budget",
    "tokenway-logout",
];

/// Fetch §2.2.2, "forbidden request-header", steps 1 and 2. The name is in lower case.
pub fn is_forbidden_in_requests(name: &str) -> bool {
    const FORBIDDEN: [&str; 21] = [
        "accept-charset",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "connection",
        "content-length",
        "cookie",
        "cookie2",
        "date",
        "dnt",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "referer",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    FORBIDDEN.contains(&name) || name.starts_with("proxy-") || name.starts_with("sec-")
}

/// Fetch §2.2.2, "forbidden response-header name". The name is in lower case.
pub fn is_forbidden_in_responses(name: &str) -> bool {
    matches!(name, "set-cookie" | "set-cookie2")
}

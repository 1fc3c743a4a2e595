//! Chromium's names for CORS failures.

/// The members of `Network.CorsError` of the DevTools protocol that a response head can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Mode `same-origin` and a URL of another origin.
    DisallowedByMode,
    /// `Access-Control-Allow-Origin: *` for a request with credentials.
    WildcardOriginNotAllowed,
    /// No `Access-Control-Allow-Origin`.
    MissingAllowOriginHeader,
    /// `Access-Control-Allow-Origin` contains a comma or a space: two lines, or a list.
    MultipleAllowOriginValues,
    /// `Access-Control-Allow-Origin` is no URL.
    InvalidAllowOriginValue,
    /// `Access-Control-Allow-Origin` names another origin.
    AllowOriginMismatch,
    /// A request with credentials without `Access-Control-Allow-Credentials: true`.
    InvalidAllowCredentials,
    /// The URL's scheme is neither `http` nor `https`.
    CorsDisabledScheme,
    /// The status of the preflight response is not 200 to 299.
    PreflightInvalidStatus,
    /// The preflight was answered with a redirect.
    PreflightDisallowedRedirect,
    /// [`Code::WildcardOriginNotAllowed`] in the preflight's response.
    PreflightWildcardOriginNotAllowed,
    /// [`Code::MissingAllowOriginHeader`] in the preflight's response.
    PreflightMissingAllowOriginHeader,
    /// [`Code::MultipleAllowOriginValues`] in the preflight's response.
    PreflightMultipleAllowOriginValues,
    /// [`Code::InvalidAllowOriginValue`] in the preflight's response.
    PreflightInvalidAllowOriginValue,
    /// [`Code::AllowOriginMismatch`] in the preflight's response.
    PreflightAllowOriginMismatch,
    /// [`Code::InvalidAllowCredentials`] in the preflight's response.
    PreflightInvalidAllowCredentials,
    /// `Access-Control-Allow-Methods` is no list of methods.
    InvalidAllowMethodsPreflightResponse,
    /// `Access-Control-Allow-Headers` is no list of header names.
    InvalidAllowHeadersPreflightResponse,
    /// `Access-Control-Allow-Methods` does not contain the request's method.
    MethodDisallowedByPreflightResponse,
    /// `Access-Control-Allow-Headers` does not contain one of the request's headers.
    HeaderDisallowedByPreflightResponse,
    /// A redirect to a URL with a user name or password.
    RedirectContainsCredentials,
    /// Mode `no-cors` with a redirect mode other than `follow`.
    NoCorsRedirectModeNotFollow,
}

impl Code {
    /// All codes.
    pub const ALL: [Code; 22] = [
        Code::DisallowedByMode,
        Code::WildcardOriginNotAllowed,
        Code::MissingAllowOriginHeader,
        Code::MultipleAllowOriginValues,
        Code::InvalidAllowOriginValue,
        Code::AllowOriginMismatch,
        Code::InvalidAllowCredentials,
        Code::CorsDisabledScheme,
        Code::PreflightInvalidStatus,
        Code::PreflightDisallowedRedirect,
        Code::PreflightWildcardOriginNotAllowed,
        Code::PreflightMissingAllowOriginHeader,
        Code::PreflightMultipleAllowOriginValues,
        Code::PreflightInvalidAllowOriginValue,
        Code::PreflightAllowOriginMismatch,
        Code::PreflightInvalidAllowCredentials,
        Code::InvalidAllowMethodsPreflightResponse,
        Code::InvalidAllowHeadersPreflightResponse,
        Code::MethodDisallowedByPreflightResponse,
        Code::HeaderDisallowedByPreflightResponse,
        Code::RedirectContainsCredentials,
        Code::NoCorsRedirectModeNotFollow,
    ];

    /// The name in Chromium's console and in the DevTools protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::DisallowedByMode => "DisallowedByMode",
            Code::WildcardOriginNotAllowed => "WildcardOriginNotAllowed",
            Code::MissingAllowOriginHeader => "MissingAllowOriginHeader",
            Code::MultipleAllowOriginValues => "MultipleAllowOriginValues",
            Code::InvalidAllowOriginValue => "InvalidAllowOriginValue",
            Code::AllowOriginMismatch => "AllowOriginMismatch",
            Code::InvalidAllowCredentials => "InvalidAllowCredentials",
            Code::CorsDisabledScheme => "CorsDisabledScheme",
            Code::PreflightInvalidStatus => "PreflightInvalidStatus",
            Code::PreflightDisallowedRedirect => "PreflightDisallowedRedirect",
            Code::PreflightWildcardOriginNotAllowed => "PreflightWildcardOriginNotAllowed",
            Code::PreflightMissingAllowOriginHeader => "PreflightMissingAllowOriginHeader",
            Code::PreflightMultipleAllowOriginValues => "PreflightMultipleAllowOriginValues",
            Code::PreflightInvalidAllowOriginValue => "PreflightInvalidAllowOriginValue",
            Code::PreflightAllowOriginMismatch => "PreflightAllowOriginMismatch",
            Code::PreflightInvalidAllowCredentials => "PreflightInvalidAllowCredentials",
            Code::InvalidAllowMethodsPreflightResponse => "InvalidAllowMethodsPreflightResponse",
            Code::InvalidAllowHeadersPreflightResponse => "InvalidAllowHeadersPreflightResponse",
            Code::MethodDisallowedByPreflightResponse => "MethodDisallowedByPreflightResponse",
            Code::HeaderDisallowedByPreflightResponse => "HeaderDisallowedByPreflightResponse",
            Code::RedirectContainsCredentials => "RedirectContainsCredentials",
            Code::NoCorsRedirectModeNotFollow => "NoCorsRedirectModeNotFollow",
        }
    }

    /// The same failure of the CORS check, for a preflight response.
    pub(super) fn in_preflight(self) -> Self {
        match self {
            Code::WildcardOriginNotAllowed => Code::PreflightWildcardOriginNotAllowed,
            Code::MissingAllowOriginHeader => Code::PreflightMissingAllowOriginHeader,
            Code::MultipleAllowOriginValues => Code::PreflightMultipleAllowOriginValues,
            Code::InvalidAllowOriginValue => Code::PreflightInvalidAllowOriginValue,
            Code::AllowOriginMismatch => Code::PreflightAllowOriginMismatch,
            Code::InvalidAllowCredentials => Code::PreflightInvalidAllowCredentials,
            other => other,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

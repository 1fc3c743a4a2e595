//! Which cookies an answer would leave, and whether they would come back: RFC 6265bis, and how browsers treat third parties.

use std::fmt;

use url::Url;

use super::origin::PageOrigin;
use super::quirks::Browser;

/// One `Set-Cookie` line, as far as it decides anything. The value is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    /// The cookie's name.
    pub name: String,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Secure`
    pub secure: bool,
    /// `HttpOnly`
    pub http_only: bool,
    /// `Partitioned`
    pub partitioned: bool,
    /// `Domain`, in lower case and without a leading dot; `None` for a cookie of the host alone.
    pub domain: Option<String>,
    /// `Path`, where it begins with `/`.
    pub path: Option<String>,
}

/// The attribute `SameSite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`
    Strict,
    /// `Lax`
    Lax,
    /// `None`
    None,
    /// No attribute, or another value: Chromium takes it for `Lax`, Firefox and Safari send it to wherever it may go.
    Unset,
}

/// Where a cookie is set: who asks whom.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The URL that sets the cookie and would get it back.
    pub url: &'a Url,
    /// The page that calls; it is the tab's top page, too.
    pub page: &'a PageOrigin,
    /// Whether the request goes with credentials ([`super::request::Request::sends_credentials`]).
    pub credentials: bool,
    /// Whose rules decide.
    pub browser: Browser,
}

/// What becomes of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is stored, and the page's next request with credentials brings it back.
    Kept,
    /// The same, in a jar of its own for each site of a top page.
    Partitioned,
    /// It is not stored, or never sent from this page.
    Lost(Loss),
}

/// Why a cookie is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The request was made without credentials: `Set-Cookie` is ignored.
    WithoutCredentials,
    /// The line is empty or has control characters.
    Malformed,
    /// `Secure`, over plain HTTP.
    SecureOverHttp,
    /// `SameSite=None` without `Secure`.
    NoneWithoutSecure,
    /// `Partitioned` without `Secure`.
    PartitionedWithoutSecure,
    /// `SameSite=Strict`, `Lax` or the default, and the page is of another site.
    SameSite,
    /// `Domain` is not the host nor above it.
    ForeignDomain,
    /// `Domain` is a public suffix, such as `com` or `github.io`.
    PublicSuffix,
    /// The name begins with `__Secure-` or `__Host-`, and the attributes are not as it promises.
    Prefix,
    /// The browser blocks cookies of other sites, and this one is not `Partitioned`.
    ThirdParty,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::WithoutCredentials => "the request is made without credentials, so that Set-Cookie is ignored",
            Loss::Malformed => "the line is empty or holds control characters",
            Loss::SecureOverHttp => "it is Secure, and came over plain HTTP",
            Loss::NoneWithoutSecure => "SameSite=None needs Secure",
            Loss::PartitionedWithoutSecure => "Partitioned needs Secure",
            Loss::SameSite => "the page is of another site: it needs SameSite=None; Secure",
            Loss::ForeignDomain => "its Domain is neither the host nor a domain above it",
            Loss::PublicSuffix => "its Domain is a public suffix",
            Loss::Prefix => "its name begins with __Secure- or __Host-, and its attributes are not what that promises",
            Loss::ThirdParty => "the browser keeps no cookies of other sites unless they are Partitioned",
        })
    }
}

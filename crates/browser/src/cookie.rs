//! Whether a browser stores a cookie and sends it back: RFC 6265bis, and the browsers' rules for third-party cookies.

use std::fmt;

use url::{Host, Url};

use super::origin::PageOrigin;
use super::quirks::Browser;

/// The relevant parts of a `Set-Cookie` line. The value is not stored.
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
    /// `Domain`, in lower case and without a leading dot; `None` for a host-only cookie.
    pub domain: Option<String>,
    /// `Path`, if it begins with `/`.
    pub path: Option<String>,
    /// Whether the line removes the cookie: `Max-Age` of 0 or less, or `Expires` in the last century.
    pub expired: bool,
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
    /// No attribute, or another value: `Lax` in Chromium, `None` in Firefox and Safari.
    Unset,
}

/// The request whose response sets a cookie.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The URL that sets the cookie, and to which it would be sent back.
    pub url: &'a Url,
    /// The calling page, which is also the top-level page of the tab.
    pub page: &'a PageOrigin,
    /// Whether the request is made with credentials ([`super::request::Request::sends_credentials`]).
    pub credentials: bool,
    /// The browser whose rules decide.
    pub browser: Browser,
    /// Whether the user blocks third-party cookies, as in Chromium's incognito windows and by default in Debian's Chromium.
    /// Firefox and Safari have their own rules, which do not depend on this.
    pub third_parties_blocked: bool,
}

/// What a browser does with a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieOutcome {
    /// Stores it, and sends it with the page's next request with credentials.
    Stored,
    /// Stores it separately for each top-level site, and sends it from there.
    Partitioned,
    /// Removes it.
    Removed,
    /// Does not store it, or never sends it from this page.
    Rejected(Rejection),
}

/// Why a browser rejects a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The request was made without credentials: `Set-Cookie` is ignored.
    WithoutCredentials,
    /// The line is empty, too long, or has control characters.
    Malformed,
    /// `Secure`, over plain HTTP.
    SecureOverHttp,
    /// `SameSite=None` without `Secure`.
    NoneWithoutSecure,
    /// `Partitioned` without `Secure`.
    PartitionedWithoutSecure,
    /// `SameSite=Strict`, `Lax` or the default, and a page of another site.
    SameSite,
    /// `Domain` is neither the host nor a domain above it.
    ForeignDomain,
    /// `Domain` is a public suffix, such as `com` or `github.io`.
    PublicSuffix,
    /// The name begins with `__Secure-` or `__Host-`, and the attributes do not meet that prefix's conditions.
    Prefix,
    /// `Path` does not cover the URL.
    Path,
    /// The browser blocks third-party cookies, and this one is not `Partitioned`.
    ThirdParty,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::WithoutCredentials => "the request is made without credentials, so that Set-Cookie is ignored",
            Rejection::Malformed => "the line is empty, longer than 4096 bytes, or contains control characters",
            Rejection::SecureOverHttp => "it is Secure, and came over plain HTTP",
            Rejection::NoneWithoutSecure => "SameSite=None needs Secure",
            Rejection::PartitionedWithoutSecure => "Partitioned needs Secure",
            Rejection::SameSite => "the page is of another site: it needs SameSite=None; Secure",
            Rejection::ForeignDomain => "its Domain is neither the host nor a domain above it",
            Rejection::PublicSuffix => "its Domain is a public suffix",
            Rejection::Prefix => {
                "its name begins with __Secure- or __Host-, and its attributes do not meet that prefix's conditions"
            }
            Rejection::Path => "its Path does not cover the URL",
            Rejection::ThirdParty => "the browser blocks third-party cookies unless they are Partitioned",
        })
    }
}

/// RFC 6265bis §5.6: the most bytes of name and value, and of an attribute's value.
const LONGEST_PAIR: usize = 4096;
const LONGEST_ATTRIBUTE: usize = 1024;

impl SetCookie {
    /// Parses a `Set-Cookie` line (RFC 6265bis §5.6); `None` if browsers ignore the line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return None;
        }
        let line = String::from_utf8_lossy(line);
        let mut parts = line.split(';');
        let pair = parts.next().unwrap_or_default();
        // without `=`, the pair is the value of a cookie without a name
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() && value.is_empty() || name.len() + value.len() > LONGEST_PAIR {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            same_site: SameSite::Unset,
            secure: false,
            http_only: false,
            partitioned: false,
            domain: None,
            path: None,
            expired: false,
        };
        let mut max_age = None;
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (name.trim(), value.trim());
            if value.len() <= LONGEST_ATTRIBUTE {
                cookie.set(name, value, &mut max_age);
            }
        }
        // `Max-Age` has precedence over `Expires`
        cookie.expired = max_age.unwrap_or(cookie.expired);
        Some(cookie)
    }

    /// Applies an attribute. The last attribute of a name counts.
    fn set(&mut self, name: &str, value: &str, max_age: &mut Option<bool>) {
        match name.to_ascii_lowercase().as_str() {
            "secure" => self.secure = true,
            "httponly" => self.http_only = true,
            "partitioned" => self.partitioned = true,
            "samesite" => {
                self.same_site = match value.to_ascii_lowercase().as_str() {
                    "strict" => SameSite::Strict,
                    "lax" => SameSite::Lax,
                    "none" => SameSite::None,
                    _ => SameSite::Unset,
                }
            }
            "domain" => {
                let domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                self.domain = (!domain.is_empty()).then_some(domain);
            }
            "path" => self.path = value.starts_with('/').then(|| value.to_owned()),
            "max-age" => {
                let digits = value.strip_prefix('-').unwrap_or(value);
                let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                // RFC 6265bis §5.6.2 ignores a malformed one; in Chromium it still overrides an earlier one
                *max_age = valid.then(|| value.starts_with('-') || digits.bytes().all(|b| b == b'0'));
            }
            "expires" => self.expired = is_last_century(value),
            _ => {}
        }
    }

    /// Whether the browser stores the cookie and sends it with the page's next request.
    pub fn outcome(&self, context: &Context<'_>) -> CookieOutcome {
        match self.rejection(context) {
            Some(rejection) => CookieOutcome::Rejected(rejection),
            None if self.expired => CookieOutcome::Removed,
            None if self.partitioned || context.partitions() => CookieOutcome::Partitioned,
            None => CookieOutcome::Stored,
        }
    }

    /// RFC 6265bis §5.7, "Storage Model", in its order; then §5.8.3, whether it would be sent.
    fn rejection(&self, context: &Context<'_>) -> Option<Rejection> {
        if !context.credentials {
            return Some(Rejection::WithoutCredentials);
        }
        if let Some(rejection) = self.domain_flaw(context.url) {
            return Some(rejection);
        }
        let cross_site = !is_same_site(context.page, context.url);
        let none = match self.same_site {
            SameSite::None => true,
            SameSite::Unset => !context.browser.defaults_to_lax(),
            SameSite::Strict | SameSite::Lax => false,
        };
        if self.secure && !context.is_secure() {
            Some(Rejection::SecureOverHttp)
        } else if cross_site && !none {
            Some(Rejection::SameSite)
        } else if self.same_site == SameSite::None && !self.secure {
            Some(Rejection::NoneWithoutSecure)
        } else if self.partitioned && !self.secure {
            Some(Rejection::PartitionedWithoutSecure)
        } else if !self.meets_its_prefix() {
            Some(Rejection::Prefix)
        } else if cross_site && !self.partitioned && context.blocks_third_parties() {
            Some(Rejection::ThirdParty)
        } else if !self.path.as_deref().is_none_or(|path| covers(path, context.url.path())) {
            Some(Rejection::Path)
        } else {
            None
        }
    }

    fn domain_flaw(&self, url: &Url) -> Option<Rejection> {
        let domain = self.domain.as_deref()?;
        let host = url.host_str()?;
        if domain == host {
            return None;
        }
        // §5.1.3: only names have domains above them
        let is_name = matches!(url.host(), Some(Host::Domain(_)));
        let is_above = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if psl::suffix_str(domain) == Some(domain) {
            Some(Rejection::PublicSuffix)
        } else {
            (!is_name || !is_above).then_some(Rejection::ForeignDomain)
        }
    }

    /// §4.1.3; names are compared case-insensitively.
    fn meets_its_prefix(&self) -> bool {
        let begins =
            |prefix: &str| self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if begins("__Host-") {
            self.secure && self.domain.is_none() && self.path.as_deref() == Some("/")
        } else {
            !begins("__Secure-") || self.secure
        }
    }
}

impl Context<'_> {
    /// Whether the URL counts as secure. Chromium and Firefox treat loopback addresses as secure.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https" || self.browser != Browser::Safari && super::fetch::is_trustworthy(self.url)
    }

    fn blocks_third_parties(&self) -> bool {
        match self.browser {
            Browser::Safari => true,
            // it stores them separately for each top-level site
            Browser::Firefox => false,
            Browser::Chromium | Browser::Standard => self.third_parties_blocked,
        }
    }

    fn partitions(&self) -> bool {
        self.browser == Browser::Firefox && !is_same_site(self.page, self.url)
    }
}

/// HTML §7.1.1.1, "same site": the same scheme, and the same registrable domain or else the same host, with any ports.
pub fn is_same_site(page: &PageOrigin, url: &Url) -> bool {
    let Ok(page) = Url::parse(page.as_str()) else { return false };
    let (Some(page_host), Some(host)) = (page.host_str(), url.host_str()) else { return false };
    let registrable = |url: &Url, host: &str| match url.host() {
        Some(Host::Domain(_)) => psl::domain_str(host).map(str::to_owned),
        _ => None,
    };
    let same_host = match (registrable(&page, page_host), registrable(url, host)) {
        (Some(page), Some(own)) => page == own,
        (None, None) => page_host == host,
        _ => false,
    };
    page.scheme() == url.scheme() && same_host
}

/// RFC 6265bis §5.1.4, "path-match".
fn covers(path: &str, of_url: &str) -> bool {
    of_url.strip_prefix(path).is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

/// Whether a date removes a cookie, decided without a clock: servers write 1970.
fn is_last_century(date: &str) -> bool {
    let mut numbers = date.split(|c: char| !c.is_ascii_digit());
    numbers.any(|number| number.len() == 4 && number < "2000")
}

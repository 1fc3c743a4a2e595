//! Which cookies an answer would leave, and whether they would come back: RFC 6265bis, and how browsers treat third parties.

use std::fmt;

use url::{Host, Url};

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
    /// Whether the user has cookies of other sites blocked, as in Chromium's incognito windows and by default
    /// in Debian's. Firefox and Safari treat them apart whatever this says.
    pub third_parties_blocked: bool,
}

/// What becomes of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is stored, and the page's next request with credentials brings it back.
    Kept,
    /// The same, in a jar of its own for each site of a top page.
    Partitioned,
    /// It is removed.
    Removed,
    /// It is not stored, or never sent from this page.
    Lost(Loss),
}

/// Why a cookie is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
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
    /// `SameSite=Strict`, `Lax` or the default, and the page is of another site.
    SameSite,
    /// `Domain` is not the host nor above it.
    ForeignDomain,
    /// `Domain` is a public suffix, such as `com` or `github.io`.
    PublicSuffix,
    /// The name begins with `__Secure-` or `__Host-`, and the attributes are not as it promises.
    Prefix,
    /// `Path` does not cover the URL.
    Path,
    /// The browser blocks cookies of other sites, and this one is not `Partitioned`.
    ThirdParty,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::WithoutCredentials => "the request is made without credentials, so that Set-Cookie is ignored",
            Loss::Malformed => "the line is empty, longer than 4096 bytes, or holds control characters",
            Loss::SecureOverHttp => "it is Secure, and came over plain HTTP",
            Loss::NoneWithoutSecure => "SameSite=None needs Secure",
            Loss::PartitionedWithoutSecure => "Partitioned needs Secure",
            Loss::SameSite => "the page is of another site: it needs SameSite=None; Secure",
            Loss::ForeignDomain => "its Domain is neither the host nor a domain above it",
            Loss::PublicSuffix => "its Domain is a public suffix",
            Loss::Prefix => "its name begins with __Secure- or __Host-, and its attributes are not what that promises",
            Loss::Path => "its Path does not cover the URL",
            Loss::ThirdParty => "the browser keeps no cookies of other sites unless they are Partitioned",
        })
    }
}

/// RFC 6265bis §5.6: most bytes of name and value, and of an attribute's value.
const LONGEST_PAIR: usize = 4096;
const LONGEST_ATTRIBUTE: usize = 1024;

impl SetCookie {
    /// Reads a `Set-Cookie` line: RFC 6265bis §5.6. `None` where browsers ignore it as a whole.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return None;
        }
        let line = String::from_utf8_lossy(line);
        let mut parts = line.split(';');
        let pair = parts.next().unwrap_or_default();
        // without `=`, the whole is the value of a cookie without a name
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
        // `Max-Age` is stronger than `Expires`
        cookie.expired = max_age.unwrap_or(cookie.expired);
        Some(cookie)
    }

    /// The last of several attributes of a name counts.
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
                // RFC 6265bis §5.6.2 ignores a malformed one; in Chromium it still hides the one before it
                *max_age = valid.then(|| value.starts_with('-') || digits.bytes().all(|b| b == b'0'));
            }
            "expires" => self.expired = is_last_century(value),
            _ => {}
        }
    }

    /// Whether the browser keeps the cookie and sends it back with the page's next request.
    pub fn fate(&self, context: &Context<'_>) -> Fate {
        match self.loss(context) {
            Some(loss) => Fate::Lost(loss),
            None if self.expired => Fate::Removed,
            None if self.partitioned || context.partitions() => Fate::Partitioned,
            None => Fate::Kept,
        }
    }

    /// RFC 6265bis §5.7, "Storage Model", in its order; then §5.8.3, whether it would be sent.
    fn loss(&self, context: &Context<'_>) -> Option<Loss> {
        if !context.credentials {
            return Some(Loss::WithoutCredentials);
        }
        if let Some(loss) = self.domain_flaw(context.url) {
            return Some(loss);
        }
        let cross_site = !is_same_site(context.page, context.url);
        let none = match self.same_site {
            SameSite::None => true,
            SameSite::Unset => !context.browser.defaults_to_lax(),
            SameSite::Strict | SameSite::Lax => false,
        };
        if self.secure && !context.is_secure() {
            Some(Loss::SecureOverHttp)
        } else if cross_site && !none {
            Some(Loss::SameSite)
        } else if self.same_site == SameSite::None && !self.secure {
            Some(Loss::NoneWithoutSecure)
        } else if self.partitioned && !self.secure {
            Some(Loss::PartitionedWithoutSecure)
        } else if !self.keeps_its_prefix() {
            Some(Loss::Prefix)
        } else if cross_site && !self.partitioned && context.blocks_third_parties() {
            Some(Loss::ThirdParty)
        } else if !self.path.as_deref().is_none_or(|path| covers(path, context.url.path())) {
            Some(Loss::Path)
        } else {
            None
        }
    }

    fn domain_flaw(&self, url: &Url) -> Option<Loss> {
        let domain = self.domain.as_deref()?;
        let host = url.host_str()?;
        if domain == host {
            return None;
        }
        // §5.1.3: only names have domains above them
        let is_name = matches!(url.host(), Some(Host::Domain(_)));
        let is_above = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if psl::suffix_str(domain) == Some(domain) {
            Some(Loss::PublicSuffix)
        } else {
            (!is_name || !is_above).then_some(Loss::ForeignDomain)
        }
    }

    /// §4.1.3; names are compared without case.
    fn keeps_its_prefix(&self) -> bool {
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
    /// Chromium and Firefox trust this machine without TLS.
    fn is_secure(&self) -> bool {
        self.url.scheme() == "https" || self.browser != Browser::Safari && super::fetch::is_trustworthy(self.url)
    }

    fn blocks_third_parties(&self) -> bool {
        match self.browser {
            Browser::Safari => true,
            // it keeps them, in a jar for each site
            Browser::Firefox => false,
            Browser::Chromium | Browser::Standard => self.third_parties_blocked,
        }
    }

    fn partitions(&self) -> bool {
        self.browser == Browser::Firefox && !is_same_site(self.page, self.url)
    }
}

/// HTML §7.1.1.1, "same site": the same scheme, and the same registrable domain or else the same host. Ports don't matter.
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

/// A date is read without a clock: who removes a cookie writes 1970.
fn is_last_century(date: &str) -> bool {
    let mut numbers = date.split(|c: char| !c.is_ascii_digit());
    numbers.any(|number| number.len() == 4 && number < "2000")
}

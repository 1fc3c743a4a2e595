//! The origin of the calling page. Pure.

use std::fmt;

use url::Url;

use cors::origin::Origin;

/// The origin of a page, as browsers serialise it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageOrigin(Box<str>);

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoOrigin;

impl PageOrigin {
    /// Parses an origin, or the URL of a page: `https://app.example.com`, `https://App.Example.com:443/chat`, `null`,
    /// `chrome-extension://abc`.
    ///
    /// # Errors
    /// [`NoOrigin`] if the text is no URL with an origin. Pages of `file:` and `data:` URLs have the origin `null`.
    pub fn parse(text: &str) -> Result<Self, NoOrigin> {
        if text == "null" {
            return Ok(Self::null());
        }
        let url = Url::parse(text).map_err(|_| NoOrigin)?;
        match url.scheme() {
            "http" | "https" => Ok(Self::of(&url)),
            "file" | "data" => Ok(Self::null()),
            // the URL standard has no origin for other schemes, but browsers serialise those of extensions
            _ => match Origin::parse(text.trim_end_matches('/').as_bytes()) {
                Ok(Origin::Foreign(text)) => Ok(Self(text.into())),
                _ => Err(NoOrigin),
            },
        }
    }

    /// The opaque origin of sandboxed frames, local files, and requests that were redirected between origins.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The origin of a URL.
    pub fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization().into())
    }

    /// The value of the header `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the origin is opaque.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Whether a URL has this origin. An opaque origin equals no origin, not even itself.
    pub fn is_same_origin(&self, url: &Url) -> bool {
        !self.is_null() && *self == Self::of(url)
    }

    /// Whether a page of this origin was loaded over TLS, so that its requests need TLS, too.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for PageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

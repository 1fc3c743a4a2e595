//! A simulated page: the preflight that its browser sends before a stream, and whether it may read the response. Pure.

use http::{HeaderMap, Method};
use url::Url;

use browser::block::Block;
use browser::check::cors_check;
use browser::head::ResponseHead;
use browser::origin::PageOrigin;
use browser::preflight::{self, Preflight};
use browser::quirks::Browser;
use browser::request::{Body, Credentials, Kind, Mode, PageRequest, RedirectMode, Request};

/// A page that sends requests to one server.
#[derive(Debug, Clone)]
pub struct Page {
    origin: PageOrigin,
    request: Request,
}

impl Page {
    /// A page of this origin that posts to this URL with these headers, without cookies.
    ///
    /// # Errors
    /// The step of the standard that forbids such a request.
    pub fn new(origin: PageOrigin, url: &Url, headers: &HeaderMap) -> Result<Self, Box<Block>> {
        let page = PageRequest {
            url: url.clone(),
            origin: origin.clone(),
            method: Method::POST.to_string(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
            credentials: Credentials::SameOrigin,
            mode: Mode::Cors,
            redirect: RedirectMode::Follow,
            body: Body::Text,
            upload_listener: false,
            kind: Kind::Fetch,
            browser: Browser::Chromium,
        };
        Ok(Self { origin, request: Request::new(&page).map_err(Box::new)? })
    }

    /// The value of `origin`.
    pub fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// The preflight, if the request needs one.
    pub fn preflight(&self) -> Option<Preflight> {
        (!preflight::needed(&self.request).is_empty()).then(|| Preflight::of(&self.request))
    }

    /// Checks whether the request may be sent after this response to the preflight.
    ///
    /// # Errors
    /// The step of the standard that fails.
    pub fn check_preflight(&self, response: &ResponseHead) -> Result<(), Box<Block>> {
        preflight::check(&self.request, response).map(drop).map_err(Box::new)
    }

    /// Checks whether the page may read this response.
    ///
    /// # Errors
    /// The step of the standard that fails.
    pub fn check(&self, response: &ResponseHead) -> Result<(), Box<Block>> {
        if self.origin.is_same_origin(self.request.url()) {
            return Ok(());
        }
        cors_check(&self.request, response).map_err(Box::new)
    }
}

//! The state machine of one request, for a caller that does the I/O: Fetch §4.1 "main fetch" and §4.4 "HTTP fetch". Pure.
//!
//! ```text
//! Fetch::new ─┬─ preflight() ── preflight_answered() ─┬─ outgoing() ── answered() ─┬─ Progress::Done
//!             └───────────────────────────────────────┘◀─ Progress::Redirected ────┘
//! ```

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::block::{Block, Stage, Step};
use super::check::cors_check;
use super::code::Code;
use super::event_source;
use super::head::ResponseHead;
use super::preflight::{self, Allowed, Preflight, Reason};
use super::redirect::{self, Change};
use super::request::{Kind, Mode, PageRequest, RedirectMode, Request, Tainting};
use super::response::{Readable, readable};

/// A request that waits for its preflight response or for its response.
#[derive(Debug, Clone)]
pub struct Fetch {
    request: Request,
    reasons: Vec<Reason>,
}

/// A request as a browser sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The page's headers, and the relevant ones of the browser: `origin`, `accept`, `cache-control` and `pragma`.
    pub headers: HeaderMap,
    /// Whether credentials, such as cookies, are sent.
    pub credentials: bool,
    /// Whether the body is sent: a redirect can remove it.
    pub body: bool,
}

/// The result of a response.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The page gets the response.
    Done(Readable),
    /// A redirect is followed: the request continues, perhaps with a preflight first.
    Redirected(Box<Fetch>, Vec<Change>),
    /// The page used `redirect: "manual"` and gets an opaque response.
    OpaqueRedirect,
}

impl Fetch {
    /// Starts a page's request.
    ///
    /// # Errors
    /// The step that fails before anything is sent.
    pub fn new(page: &PageRequest) -> Result<Self, Block> {
        Self::started(Request::new(page)?)
    }

    /// Main fetch, steps 7 to 12: refuses requests, and decides how much of the response the page may see.
    fn started(mut request: Request) -> Result<Self, Block> {
        if let Some(port) = request.url.port().filter(|port| is_bad_port(*port)) {
            let reason = format!("No browser connects to port {port}, which belongs to another protocol.");
            return Err(refused(None, Step::PORT_BLOCKING, reason, "another port"));
        }
        if request.origin.is_https() && request.url.scheme() == "http" && !is_trustworthy(&request.url) {
            let reason = "The page is served over TLS, and the URL is not: browsers block mixed content.".to_owned();
            return Err(refused(None, Step::main_fetch("7"), reason, "an https URL"));
        }
        if preflight::is_same_origin(&request) {
            return Ok(Self { request, reasons: Vec::new() });
        }
        match request.mode {
            Mode::SameOrigin => {
                let reason = "The request's mode is same-origin, and the URL is of another origin.".to_owned();
                // Chromium has a name for the first URL only
                let code = (request.redirects == 0).then_some(Code::DisallowedByMode);
                Err(refused(code, Step::main_fetch("12"), reason, "mode: \"cors\""))
            }
            Mode::NoCors if request.redirect != RedirectMode::Follow => {
                let reason = "A request of mode no-cors must follow redirects.".to_owned();
                let step = Step::main_fetch("12");
                Err(refused(Some(Code::NoCorsRedirectModeNotFollow), step, reason, "redirect: \"follow\""))
            }
            Mode::NoCors => {
                request.tainting = Tainting::Opaque;
                Ok(Self { request, reasons: Vec::new() })
            }
            Mode::Cors if !matches!(request.url.scheme(), "http" | "https") => {
                let reason = format!("`{}:` URLs cannot be requested from another origin.", request.url.scheme());
                let step = Step::main_fetch("12");
                Err(refused(Some(Code::CorsDisabledScheme), step, reason, "an http or https URL"))
            }
            Mode::Cors => {
                let reasons = preflight::needed(&request);
                request.tainting = Tainting::Cors;
                Ok(Self { request, reasons })
            }
        }
    }

    /// The current state of the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Why a preflight is needed; empty if none is.
    pub fn preflight_reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The preflight, if one is needed.
    pub fn preflight(&self) -> Option<Preflight> {
        (!self.reasons.is_empty()).then(|| Preflight::of(&self.request))
    }

    /// Checks the preflight response. If it passes, [`Fetch::outgoing`] is sent next.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn preflight_answered(&self, response: &ResponseHead) -> Result<Allowed, Block> {
        preflight::check(&self.request, response)
    }

    /// The request to send.
    pub fn outgoing(&self) -> Outgoing {
        let request = &self.request;
        let mut headers = request.headers.clone();
        let accept = if request.kind == Kind::EventSource { "text/event-stream" } else { "*/*" };
        set_default(&mut headers, header::ACCEPT, accept);
        if request.kind == Kind::EventSource {
            // HTML §9.2.2: the cache mode `no-store`, which Fetch §4.6, step 8.18, makes these
            set_default(&mut headers, header::CACHE_CONTROL, "no-cache");
            set_default(&mut headers, header::PRAGMA, "no-cache");
        }
        if self.sends_origin() {
            let origin = HeaderValue::from_str(request.serialized_origin());
            headers.insert(header::ORIGIN, origin.expect("a serialised origin is visible ASCII"));
        }
        Outgoing {
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            credentials: request.sends_credentials(),
            body: request.body != super::request::Body::None,
        }
    }

    /// Fetch §3.2, "append a request `Origin` header".
    fn sends_origin(&self) -> bool {
        let safe = matches!(self.request.method, Method::GET | Method::HEAD);
        self.request.tainting == Tainting::Cors || !safe
    }

    /// Checks the response to the request itself.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn answered(&self, response: &ResponseHead) -> Result<Progress, Block> {
        let request = &self.request;
        if request.browser.reads_location_first() {
            redirect::location(request, response)?;
        }
        // §4.4, step 4.4, before redirects are handled
        if request.tainting == Tainting::Cors {
            cors_check(request, response)?;
        }
        if !redirect::is_redirect(response.status) {
            return self.done(response);
        }
        match request.redirect {
            RedirectMode::Error => self.redirected_in_error(response),
            RedirectMode::Manual => Ok(Progress::OpaqueRedirect),
            RedirectMode::Follow => match redirect::follow(request, response)? {
                None => self.done(response),
                Some((next, changes)) => Ok(Progress::Redirected(Box::new(Self::started(next)?), changes)),
            },
        }
    }

    /// The page gets the response, unless `EventSource` refuses it.
    fn done(&self, response: &ResponseHead) -> Result<Progress, Block> {
        if self.request.kind == Kind::EventSource {
            event_source::check(response, self.request.browser)?;
        }
        Ok(Progress::Done(readable(&self.request, response)))
    }

    fn redirected_in_error(&self, response: &ResponseHead) -> Result<Progress, Block> {
        if self.request.browser.reads_location_first() && redirect::follow(&self.request, response)?.is_none() {
            return Ok(Progress::Done(readable(&self.request, response)));
        }
        let reason = "The response is a redirect, and the page asked for redirect: \"error\".".to_owned();
        let block = refused(None, Step::http_fetch("6.3"), reason, "redirect: \"follow\"");
        Err(Block { stage: Stage::Redirect, ..block })
    }
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

fn refused(code: Option<Code>, step: Step, reason: String, needed: &str) -> Block {
    Block { code, stage: Stage::Page, step, reason, received: Vec::new(), needed: needed.to_owned() }
}

/// Secure Contexts §3.1, "is origin potentially trustworthy", for an `http` URL: loopback only.
pub(super) fn is_trustworthy(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Fetch §2.9, "bad port".
fn is_bad_port(port: u16) -> bool {
    const BAD: [u16; 83] = [
        0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
        109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526,
        530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045,
        4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    ];
    BAD.contains(&port)
}

//! A page's call, and the request that its browser makes of it: Fetch §5.4, `new Request()`. Pure.

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::block::{Block, Stage, Step};
use super::head::trimmed;
use super::origin::PageOrigin;
use super::quirks::Browser;
use super::safelist::is_no_cors_safelisted;
use cors::names::is_forbidden_in_requests;

/// A call in the page's code: `fetch(url, {method, headers, …})`, `new EventSource(url)`.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The absolute URL.
    pub url: Url,
    /// The page's origin.
    pub origin: PageOrigin,
    /// The method as written, such as `patch`.
    pub method: String,
    /// The headers as written, in order; a name may occur several times.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The option `credentials`; the default of fetch is `same-origin`.
    pub credentials: Credentials,
    /// The option `mode`; the default of fetch is `cors`.
    pub mode: Mode,
    /// The option `redirect`; the default of fetch is `follow`.
    pub redirect: RedirectMode,
    /// The kind of body.
    pub body: Body,
    /// Whether `XMLHttpRequest.upload` has a listener. Only [`Kind::Xhr`] with a body uses this.
    pub upload_listener: bool,
    /// The interface.
    pub kind: Kind,
    /// The browser whose rules decide.
    pub browser: Browser,
}

/// The credentials mode: when cookies, HTTP authentication and client certificates are sent, and whether the response must
/// allow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Never.
    Omit,
    /// To the page's own origin only.
    SameOrigin,
    /// To every origin; the response must have `access-control-allow-credentials: true`.
    Include,
}

/// The request mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Requests to other origins use the CORS protocol.
    Cors,
    /// Requests to other origins do not use it, and the page cannot read the response.
    NoCors,
    /// Requests to other origins fail.
    SameOrigin,
}

/// The redirect mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedirectMode {
    /// At most 20 redirects are followed.
    Follow,
    /// A redirect is an error.
    Error,
    /// The page gets an opaque response for a redirect.
    Manual,
}

/// The kind of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Body {
    /// No body.
    None,
    /// A string, with the content type `text/plain;charset=UTF-8` unless the page sets one.
    Text,
    /// Bytes without a content type of their own.
    Bytes,
    /// A `ReadableStream`: always preflighted, and never sent again.
    Stream,
}

/// The interface that the page uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `fetch()`.
    Fetch,
    /// `XMLHttpRequest`.
    Xhr,
    /// `EventSource`: a GET without own headers, never preflighted.
    EventSource,
}

impl PageRequest {
    /// `fetch(url)`, in Chromium.
    pub fn get(url: Url, origin: PageOrigin) -> Self {
        Self {
            url,
            origin,
            method: "GET".to_owned(),
            headers: Vec::new(),
            credentials: Credentials::SameOrigin,
            mode: Mode::Cors,
            redirect: RedirectMode::Follow,
            body: Body::None,
            upload_listener: false,
            kind: Kind::Fetch,
            browser: Browser::default(),
        }
    }

    /// `new EventSource(url, {withCredentials})`, in Chromium.
    pub fn event_source(url: Url, origin: PageOrigin, with_credentials: bool) -> Self {
        Self {
            // HTML §9.2.2: "create a potential-CORS request" with `anonymous` or `use-credentials`
            credentials: if with_credentials { Credentials::Include } else { Credentials::SameOrigin },
            kind: Kind::EventSource,
            ..Self::get(url, origin)
        }
    }
}

/// A checked request in the standard's sense, with its state after redirects.
#[derive(Debug, Clone)]
pub struct Request {
    /// The current URL, without user name and password.
    pub(super) url: Url,
    pub(super) origin: PageOrigin,
    /// The normalised method, never a forbidden one.
    pub(super) method: Method,
    /// The headers of the page that are sent, without those that pages may not set.
    pub(super) headers: HeaderMap,
    pub(super) credentials: Credentials,
    pub(super) mode: Mode,
    pub(super) redirect: RedirectMode,
    pub(super) body: Body,
    /// Whether an upload listener sets the use-CORS-preflight flag. A redirect that removes the body does not unset it.
    pub(super) listens_to_upload: bool,
    pub(super) streams_body: bool,
    pub(super) kind: Kind,
    pub(super) browser: Browser,
    pub(super) tainting: Tainting,
    /// Fetch §2.2.5, "redirect-taint" other than `same-origin`: the origin is serialised as `null`.
    pub(super) tainted_origin: bool,
    pub(super) redirects: u8,
    pub(super) ignored: Vec<HeaderName>,
}

/// The response tainting: how much of a response the page may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tainting {
    /// Same origin: everything but cookies.
    Basic,
    /// Another origin: what it allows.
    Cors,
    /// Another origin without CORS: nothing.
    Opaque,
}

impl Request {
    /// Checks a page's call as its browser does.
    ///
    /// # Errors
    /// The step at which `fetch()` throws a `TypeError` before anything is sent. Headers that pages may not set are no error:
    /// they are dropped, see [`Request::ignored`].
    pub fn new(page: &PageRequest) -> Result<Self, Block> {
        let method = method(&page.method)?;
        if page.mode == Mode::NoCors && !is_safelisted_method(&method) {
            let words = format!("A request of mode no-cors must be GET, HEAD or POST, not {method}.");
            return Err(thrown(Step::request_constructor("32.1"), words, "another mode"));
        }
        if page.body != Body::None && matches!(method, Method::GET | Method::HEAD) {
            let words = format!("A {method} request cannot have a body.");
            return Err(thrown(Step::request_constructor("35"), words, "method POST, or no body"));
        }
        if page.body == Body::Stream && page.mode == Mode::NoCors {
            let words = "A request of mode no-cors cannot have a stream as its body.".to_owned();
            return Err(thrown(Step::request_constructor("39.2"), words, "another mode, or a body that is no stream"));
        }
        if page.url.has_authority() && (!page.url.username().is_empty() || page.url.password().is_some()) {
            let words = "The URL contains a user name or password, which fetch() refuses.".to_owned();
            return Err(thrown(Step::request_constructor("5.3"), words, "the URL without them; send a header"));
        }
        let (mut headers, ignored) = headers(page)?;
        if page.kind == Kind::EventSource {
            headers.clear();
        } else if page.body == Body::Text && !headers.contains_key(header::CONTENT_TYPE) {
            // §5.3, "extract a body": a string has this type (§5.4, step 37.4)
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        }
        let mut request = Self {
            url: page.url.clone(),
            origin: page.origin.clone(),
            method: if page.kind == Kind::EventSource { Method::GET } else { method },
            headers,
            credentials: page.credentials,
            mode: page.mode,
            redirect: page.redirect,
            body: page.body,
            listens_to_upload: page.upload_listener && page.kind == Kind::Xhr && page.body != Body::None,
            streams_body: page.body == Body::Stream,
            kind: page.kind,
            browser: page.browser,
            tainting: Tainting::Basic,
            tainted_origin: false,
            redirects: 0,
            ignored,
        };
        request.url.set_fragment(None);
        Ok(request)
    }

    /// The current URL, without fragment.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The method, normalised.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The page's headers that are sent. The browser adds others: see [`super::fetch::Fetch::outgoing`].
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The page's headers that its browser drops silently.
    pub fn ignored(&self) -> &[HeaderName] {
        &self.ignored
    }

    /// The credentials mode.
    pub fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// The interface that the page uses.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The body's kind.
    pub fn body(&self) -> Body {
        self.body
    }

    /// The browser whose rules decide.
    pub fn browser(&self) -> Browser {
        self.browser
    }

    /// The page's origin, which [`Request::serialized_origin`] may replace with `null`.
    pub fn page_origin(&self) -> &PageOrigin {
        &self.origin
    }

    /// How much of the response the page may see.
    pub fn tainting(&self) -> Tainting {
        self.tainting
    }

    /// The number of redirects so far.
    pub fn redirects(&self) -> u8 {
        self.redirects
    }

    /// Fetch §2.2.5, "byte-serializing a request origin": `null` after a redirect from an origin other than the page's.
    pub fn serialized_origin(&self) -> &str {
        if self.tainted_origin { "null" } else { self.origin.as_str() }
    }

    /// Whether the response must allow credentials.
    pub(super) fn includes_credentials(&self) -> bool {
        self.credentials == Credentials::Include
    }

    /// Fetch §4.6, step 8.3: whether credentials are sent.
    pub fn sends_credentials(&self) -> bool {
        match self.credentials {
            Credentials::Omit => false,
            Credentials::SameOrigin => self.tainting == Tainting::Basic,
            Credentials::Include => true,
        }
    }
}

impl Credentials {
    /// `omit`, `same-origin` or `include`.
    pub fn as_str(self) -> &'static str {
        match self {
            Credentials::Omit => "omit",
            Credentials::SameOrigin => "same-origin",
            Credentials::Include => "include",
        }
    }
}

/// Fetch §2.2.1, "CORS-safelisted method".
pub(super) fn is_safelisted_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

/// Fetch §2.2.1, "normalize": these six in upper case, all others unchanged.
pub fn normalized_method(written: &str) -> String {
    const NORMALIZED: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
    let known = NORMALIZED.into_iter().find(|name| name.eq_ignore_ascii_case(written));
    known.unwrap_or(written).to_owned()
}

/// Fetch §2.2.1, "forbidden method".
fn is_forbidden_method(written: &[u8]) -> bool {
    ["CONNECT", "TRACE", "TRACK"].iter().any(|name| name.as_bytes().eq_ignore_ascii_case(written))
}

fn method(written: &str) -> Result<Method, Block> {
    if is_forbidden_method(written.as_bytes()) {
        let words = format!("`{written}` is a forbidden method: no page can send it.");
        return Err(thrown(Step::request_constructor("25.2"), words, "another method"));
    }
    Method::from_bytes(normalized_method(written).as_bytes()).map_err(|_| {
        let words = format!("`{written}` is no method: it must be a token of letters, digits and some marks.");
        thrown(Step::request_constructor("25.2"), words, "a method such as GET or POST")
    })
}

/// Fetch §5.1, "append" with the guard `request`: the headers that are sent, and the names of those that are dropped.
fn headers(page: &PageRequest) -> Result<(HeaderMap, Vec<HeaderName>), Block> {
    let (mut headers, mut ignored) = (HeaderMap::new(), Vec::new());
    for (name, value) in &page.headers {
        let (name, value) = header(name, value)?;
        if is_ignored(page, &name, value.as_bytes()) || !is_allowed_in_mode(page.mode, &headers, &name, &value) {
            ignored.push(name);
        } else {
            headers.append(name, value);
        }
    }
    Ok((headers, ignored))
}

fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), Block> {
    let step = Step::HEADERS_VALIDATE;
    let Ok(known) = HeaderName::from_bytes(name.as_bytes()) else {
        let words =
            format!("`{}` is no header name: it must be a token of letters, digits and hyphens.", name.escape_debug());
        return Err(thrown(step, words, "a name without spaces, colons and other marks"));
    };
    // §2.2.2, "normalize": tabs, spaces and line ends around a value are not part of it
    let value = value.trim_ascii();
    let Ok(value) = HeaderValue::from_bytes(value) else {
        let words = format!("The value of `{known}` contains a line end or a control character.");
        return Err(thrown(step, words, "a value on one line"));
    };
    Ok((known, value))
}

fn is_ignored(page: &PageRequest, name: &HeaderName, value: &[u8]) -> bool {
    // EventSource sends no headers of the page
    page.kind == Kind::EventSource
        || is_forbidden_header(name, value)
        || page.browser.drops_user_agent() && *name == header::USER_AGENT
}

/// The guard `request-no-cors`: the lines of a name must be safe together.
fn is_allowed_in_mode(mode: Mode, headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> bool {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().chain([value]).map(HeaderValue::as_bytes).collect();
    mode != Mode::NoCors || is_no_cors_safelisted(name, &lines.join(&b", "[..]))
}

/// Fetch §2.2.2, "forbidden request-header".
pub(super) fn is_forbidden_header(name: &HeaderName, value: &[u8]) -> bool {
    let overrides_method = matches!(name.as_str(), "x-http-method" | "x-http-method-override" | "x-method-override");
    is_forbidden_in_requests(name.as_str())
        || overrides_method && value.split(|b| *b == b',').any(|method| is_forbidden_method(trimmed(method)))
}

fn thrown(step: Step, reason: String, needed: &str) -> Block {
    Block { code: None, stage: Stage::Page, step, reason, received: Vec::new(), needed: needed.to_owned() }
}

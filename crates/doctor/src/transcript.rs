//! Sends what a browser would send, in its order, and records the exchanges: the I/O around [`Fetch`].

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use url::Url;

use super::body::ObservedBody;
use super::client::{Client, HttpRequest, HttpResponse, Unreachable};
use super::jar::Jar;
use super::plan::Plan;
use super::redact;
use browser::block::Block;
use browser::cookie::Context;
use browser::fetch::{Fetch, Progress};
use browser::head::ResponseHead;
use browser::preflight::{Allowed, Preflight, Reason};
use browser::redirect::Change;
use browser::request::Request;
use browser::response::Readable;

/// A browser's `user-agent`, with the name of this tool for servers that read it.
const USER_AGENT: &str = concat!("Mozilla/5.0 (compatible; tokenway-doctor/", env!("CARGO_PKG_VERSION"), ")");
/// The encodings that browsers accept.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// What the doctor sends to another origin in place of a secret that a browser would send there.
const PLACEHOLDER: &str = "withheld-by-tokenway-doctor";

/// Everything that a page's request caused.
#[derive(Debug)]
pub struct Transcript {
    /// The events in order.
    pub events: Vec<Event>,
    /// The end.
    pub end: End,
}

/// One event of a transcript.
#[derive(Debug)]
pub enum Event {
    /// The browser needs a preflight; without reasons, it needs none.
    Preflight {
        /// Why.
        reasons: Vec<Reason>,
        /// The request that needs it.
        request: Request,
    },
    /// A preflight and its response.
    Preflighted(Exchange),
    /// What the preflight response allows.
    Allowed(Allowed),
    /// The request and its response.
    Answered(Exchange),
    /// The response passed, and is a redirect that the browser follows.
    Redirected(Url, Vec<Change>, Secrets),
}

/// What happens to the user's secrets at a redirect. A browser removes `authorization` at another origin, and sends all other headers of
/// the page. The doctor sends secrets to the origin of its URL only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// Headers that a browser sends to the new URL, and for which the doctor sends a placeholder.
    pub withheld: Vec<HeaderName>,
    /// Cookies that neither a browser nor the doctor sends to the new URL.
    pub cookies: Vec<String>,
}

/// A request and the head of its response.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The head of the response.
    pub response: ResponseHead,
    /// The HTTP version.
    pub version: Version,
    /// The time to the head of the response.
    pub after: Duration,
}

/// The end of a transcript.
#[derive(Debug)]
pub enum End {
    /// The page gets a response.
    Delivered {
        /// The request in its final state.
        request: Box<Request>,
        /// What the page can read.
        readable: Readable,
        /// The body.
        body: ObservedBody,
    },
    /// The page gets an error.
    Blocked(Block),
}

impl Transcript {
    /// Runs a page's request to its end.
    ///
    /// # Errors
    /// A server cannot be reached.
    pub async fn record(plan: &Plan, client: &mut Client) -> Result<Self, Unreachable> {
        let mut events = Vec::new();
        let end = match Fetch::new(&plan.page) {
            Ok(fetch) => run(fetch, plan, client, &mut events).await?,
            Err(block) => End::Blocked(block),
        };
        Ok(Self { events, end })
    }

    /// All exchanges in order.
    pub fn exchanges(&self) -> impl DoubleEndedIterator<Item = &Exchange> {
        self.events.iter().filter_map(|event| match event {
            Event::Preflighted(exchange) | Event::Answered(exchange) => Some(exchange),
            _ => None,
        })
    }

    /// The last exchange of the request itself.
    pub fn answered(&self) -> Option<&Exchange> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Answered(exchange) => Some(exchange),
            _ => None,
        })
    }

    /// The first preflight.
    pub fn preflighted(&self) -> Option<&Exchange> {
        self.events.iter().find_map(|event| match event {
            Event::Preflighted(exchange) => Some(exchange),
            _ => None,
        })
    }
}

async fn run(mut fetch: Fetch, plan: &Plan, client: &mut Client, events: &mut Vec<Event>) -> Result<End, Unreachable> {
    let mut jar = Jar::of(plan.cookie.as_ref(), &plan.page.url);
    loop {
        let request = fetch.request().clone();
        events.push(Event::Preflight { reasons: fetch.preflight_reasons().to_vec(), request: request.clone() });
        if let Some(preflight) = fetch.preflight() {
            let (exchange, _) = send(client, preflight_request(&preflight, &request)).await?;
            let checked = fetch.preflight_answered(&exchange.response);
            events.push(Event::Preflighted(exchange));
            match checked {
                Ok(allowed) => events.push(Event::Allowed(allowed)),
                Err(block) => return Ok(End::Blocked(block)),
            }
        }
        let (exchange, response) = send(client, page_request(&fetch, plan, &jar)).await?;
        let progress = fetch.answered(&exchange.response);
        jar.store(&exchange.response, &cookie_context(&request));
        events.push(Event::Answered(exchange));
        match progress {
            Err(block) => return Ok(End::Blocked(block)),
            Ok(Progress::Done(readable)) => {
                let body = ObservedBody::read(response.body, client.timeout()).await;
                return Ok(End::Delivered { request: Box::new(request), readable, body });
            }
            Ok(Progress::OpaqueRedirect) => unreachable!("the doctor's pages follow redirects"),
            Ok(Progress::Redirected(next, changes)) => {
                let next_request = next.request();
                let secrets = Secrets {
                    withheld: withheld(next_request, plan),
                    cookies: jar.withheld(&cookie_context(next_request)),
                };
                events.push(Event::Redirected(next_request.url().clone(), changes, secrets));
                fetch = *next;
            }
        }
    }
}

async fn send(client: &mut Client, request: HttpRequest) -> Result<(Exchange, HttpResponse), Unreachable> {
    let response = client.send(&request).await?;
    let HttpRequest { url, method, headers, .. } = request;
    let (version, after) = (response.version, response.after);
    Ok((Exchange { method, url, headers, response: response.head.clone(), version, after }, response))
}

/// A preflight, with the headers that browsers add.
pub fn preflight_request(preflight: &Preflight, request: &Request) -> HttpRequest {
    let headers = with_browser_headers(preflight.headers.clone(), request);
    HttpRequest { url: preflight.url.clone(), method: Method::OPTIONS, headers, body: Bytes::new() }
}

/// The page's request, with the headers that browsers add, and with its cookies where a browser sends them. At another origin
/// than the plan's, the page's secrets are replaced by a placeholder.
pub fn page_request(fetch: &Fetch, plan: &Plan, jar: &Jar) -> HttpRequest {
    let outgoing = fetch.outgoing();
    let mut headers = with_browser_headers(outgoing.headers, fetch.request());
    for name in withheld(fetch.request(), plan) {
        headers.insert(name, HeaderValue::from_static(PLACEHOLDER));
    }
    if let Some(cookie) = jar.header(&cookie_context(fetch.request())) {
        headers.insert(header::COOKIE, cookie);
    }
    let body = if outgoing.body { plan.body.clone() } else { Bytes::new() };
    HttpRequest { url: outgoing.url, method: outgoing.method, headers, body }
}

/// The secrets among the page's headers that a browser sends with this request, but the doctor does not: the request goes to another origin
/// than the plan's.
fn withheld(request: &Request, plan: &Plan) -> Vec<HeaderName> {
    if request.url().origin() == plan.page.url.origin() {
        return Vec::new();
    }
    request.headers().keys().filter(|name| redact::is_secret(name.as_str())).cloned().collect()
}

/// The context of the cookies of a request.
fn cookie_context(request: &Request) -> Context<'_> {
    Context {
        url: request.url(),
        page: request.page_origin(),
        credentials: request.sends_credentials(),
        browser: request.browser(),
        third_parties_blocked: false,
    }
}

/// Adds the headers of every browser request, unless they are set.
fn with_browser_headers(mut headers: HeaderMap, request: &Request) -> HeaderMap {
    let site = if request.page_origin().is_same_origin(request.url()) { "same-origin" } else { "cross-site" };
    let defaults = [
        (header::ACCEPT_ENCODING, ENCODINGS),
        (header::USER_AGENT, USER_AGENT),
        (HeaderName::from_static("sec-fetch-mode"), "cors"),
        (HeaderName::from_static("sec-fetch-site"), site),
        (HeaderName::from_static("sec-fetch-dest"), "empty"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers
}

//! Sends what a browser would send, in its order, and keeps what came: the I/O around [`Fetch`].

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use url::Url;

use super::exchange::{Ask, Client, Got, Unreachable};
use super::plan::Plan;
use super::watch::Watched;
use browser::answer::Answer;
use browser::block::Block;
use browser::fetch::{Fetch, Progress};
use browser::preflight::{Allowed, Preflight, Reason};
use browser::redirect::Change;
use browser::request::Request;
use browser::response::Readable;

/// What a browser would call itself. Servers that look at it see who asks.
const USER_AGENT: &str = concat!("Mozilla/5.0 (compatible; tokenway-doctor/", env!("CARGO_PKG_VERSION"), ")");
/// What browsers can unpack.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// A request's whole course.
#[derive(Debug)]
pub struct Course {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How it ended.
    pub end: End,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// The browser must ask first, or need not where there is no reason.
    Preflight {
        /// Why.
        reasons: Vec<Reason>,
        /// The request that it is about.
        request: Request,
    },
    /// A preflight was answered.
    Preflighted(Sent),
    /// The preflight's answer allows this.
    Allowed(Allowed),
    /// The request was answered.
    Answered(Sent),
    /// The answer passed, and is a redirect that is followed.
    Redirected(Url, Vec<Change>),
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// What was sent.
    pub headers: HeaderMap,
    /// What came.
    pub answer: Answer,
    /// By which version.
    pub version: Version,
    /// After how long the head of the answer came.
    pub after: Duration,
}

/// How a course ended.
#[derive(Debug)]
pub enum End {
    /// The page gets an answer.
    Delivered {
        /// The request as it was in the end.
        request: Box<Request>,
        /// What the page can read.
        readable: Readable,
        /// The body, as it arrived.
        watched: Watched,
    },
    /// The page gets an error.
    Blocked(Block),
}

impl Course {
    /// Runs a page's request to its end.
    ///
    /// # Errors
    /// A server could not be asked.
    pub async fn run(plan: &Plan, client: &mut Client) -> Result<Self, Unreachable> {
        let mut events = Vec::new();
        let end = match Fetch::new(&plan.page) {
            Ok(fetch) => go(fetch, plan, client, &mut events).await?,
            Err(block) => End::Blocked(block),
        };
        Ok(Self { events, end })
    }

    /// Every answer, in order.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = &Sent> {
        self.events.iter().filter_map(|event| match event {
            Event::Preflighted(sent) | Event::Answered(sent) => Some(sent),
            _ => None,
        })
    }

    /// The last answer to the request itself.
    pub fn answered(&self) -> Option<&Sent> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Answered(sent) => Some(sent),
            _ => None,
        })
    }

    /// The first preflight.
    pub fn preflighted(&self) -> Option<&Sent> {
        self.events.iter().find_map(|event| match event {
            Event::Preflighted(sent) => Some(sent),
            _ => None,
        })
    }
}

async fn go(mut fetch: Fetch, plan: &Plan, client: &mut Client, events: &mut Vec<Event>) -> Result<End, Unreachable> {
    loop {
        let request = fetch.request().clone();
        events.push(Event::Preflight { reasons: fetch.preflight_reasons().to_vec(), request: request.clone() });
        if let Some(preflight) = fetch.preflight() {
            let (sent, _) = send(client, preflight_ask(&preflight, &request)).await?;
            let checked = fetch.preflight_answered(&sent.answer);
            events.push(Event::Preflighted(sent));
            match checked {
                Ok(allowed) => events.push(Event::Allowed(allowed)),
                Err(block) => return Ok(End::Blocked(block)),
            }
        }
        let (sent, got) = send(client, request_ask(&fetch, plan)).await?;
        let progress = fetch.answered(&sent.answer);
        events.push(Event::Answered(sent));
        match progress {
            Err(block) => return Ok(End::Blocked(block)),
            Ok(Progress::Done(readable)) => {
                let watched = Watched::body(got.body, client.timeout()).await;
                return Ok(End::Delivered { request: Box::new(request), readable, watched });
            }
            Ok(Progress::OpaqueRedirect) => unreachable!("the doctor's pages follow redirects"),
            Ok(Progress::Redirected(next, changes)) => {
                events.push(Event::Redirected(next.request().url().clone(), changes));
                fetch = *next;
            }
        }
    }
}

async fn send(client: &mut Client, ask: Ask) -> Result<(Sent, Got), Unreachable> {
    let got = client.ask(&ask).await?;
    let (answer, version, after) = (got.answer.clone(), got.version, got.after);
    Ok((Sent { method: ask.method, url: ask.url, headers: ask.headers, answer, version, after }, got))
}

/// A preflight with what browsers add of themselves.
pub fn preflight_ask(preflight: &Preflight, request: &Request) -> Ask {
    let headers = as_a_browser(preflight.headers.clone(), request);
    Ask { url: preflight.url.clone(), method: Method::OPTIONS, headers, body: Bytes::new() }
}

/// The request itself, with what browsers add of themselves, and the cookies where they go along.
pub fn request_ask(fetch: &Fetch, plan: &Plan) -> Ask {
    let outgoing = fetch.outgoing();
    let mut headers = as_a_browser(outgoing.headers, fetch.request());
    if let Some(cookie) = plan.cookie.as_ref().filter(|_| outgoing.credentials) {
        headers.insert(header::COOKIE, cookie.clone());
    }
    let body = if outgoing.body { plan.body.clone() } else { Bytes::new() };
    Ask { url: outgoing.url, method: outgoing.method, headers, body }
}

/// The headers of every request of a browser, where nothing stands yet.
pub fn as_a_browser(mut headers: HeaderMap, request: &Request) -> HeaderMap {
    let site = if request.page_origin().is_same_origin(request.url()) { "same-origin" } else { "cross-site" };
    let own = [
        (header::ACCEPT_ENCODING, ENCODINGS),
        (header::USER_AGENT, USER_AGENT),
        (HeaderName::from_static("sec-fetch-mode"), "cors"),
        (HeaderName::from_static("sec-fetch-site"), site),
        (HeaderName::from_static("sec-fetch-dest"), "empty"),
    ];
    for (name, value) in own {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers
}

//! Parses a pasted request, and separates the page's headers from the browser's. Pure.
//!
//! Developer tools copy requests as they were sent, with the headers that the browser adds. No page can set those and no
//! preflight names them, so they are removed here.

pub mod curl;
pub mod har;
pub mod words;

use bytes::Bytes;

use cors::names::is_forbidden_in_requests;

/// A pasted request, as a page could make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pasted {
    /// The absolute URL as written.
    pub url: String,
    /// The method as written; `None` if it follows from the rest.
    pub method: Option<String>,
    /// The headers as written, in order, without those that only the browser sets.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
    /// The page's origin, from `origin` or `referer`.
    pub origin: Option<String>,
    /// Whether it has cookies or a user name.
    pub with_credentials: bool,
    /// The header `cookie`. It is sent where browsers send cookies, and never shown.
    pub cookie: Option<String>,
    /// Whether it is a request of `EventSource`: `accept: text/event-stream` and no header of the page.
    pub event_source: bool,
    /// What was left out and why, one sentence each.
    pub notes: Vec<String>,
}

/// Removes the headers that a page did not set from `pasted.headers`.
///
/// These are the ones that the Fetch standard forbids pages to set (§2.2.2) and, in a request of a browser (which has
/// `sec-fetch-mode`), the ones that the browser adds.
fn only_page_headers(mut pasted: Pasted) -> Pasted {
    let all = std::mem::take(&mut pasted.headers);
    let value = |wanted: &str| all.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let from_a_browser = value("sec-fetch-mode").is_some();
    let no_cache = value("pragma").is_some_and(|value| value == "no-cache");
    pasted.origin = match value("origin") {
        Some(origin) => Some(origin.clone()),
        None => value("referer")
            .and_then(|referer| url::Url::parse(referer).ok())
            .map(|page| page.origin().ascii_serialization()),
    };
    pasted.cookie = value("cookie").filter(|cookie| cookie.contains('=')).cloned();
    pasted.with_credentials |= value("cookie").is_some();
    let streams = value("accept").is_some_and(|accept| accept == "text/event-stream");
    let mut dropped = Vec::new();
    for (name, value) in &all {
        let lower = name.to_ascii_lowercase();
        // developer tools with a disabled cache add both; a page that sets only one of them does so itself
        let of_the_tools = matches!(lower.as_str(), "pragma" | "cache-control") && no_cache && value == "no-cache";
        let of_the_browser =
            matches!(lower.as_str(), "user-agent" | "priority" | "upgrade-insecure-requests") || of_the_tools;
        // the defaults of browsers; both are safelisted and change no verdict
        let by_default = matches!(lower.as_str(), "accept-language") || lower == "accept" && value == "*/*";
        if lower == "cookie" {
            continue;
        } else if lower.starts_with(':') || is_forbidden_in_requests(&lower) {
            // these are sent as a browser sends them
            let known = ["origin", "referer", "content-length", "accept-encoding", "connection"];
            if !known.contains(&lower.as_str()) && !lower.starts_with(':') {
                dropped.push(lower);
            }
        } else if !(from_a_browser && (of_the_browser || by_default)) {
            pasted.headers.push((name.clone(), value.clone()));
        }
    }
    pasted.event_source = from_a_browser && streams && pasted.headers.len() == 1 && pasted.body.is_none();
    if !from_a_browser && !dropped.is_empty() {
        dropped.sort();
        dropped.dedup();
        pasted.notes.push(format!("left out, for no page can set them: {}", dropped.join(", ")));
    }
    pasted
}

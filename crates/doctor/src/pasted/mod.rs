//! A request that someone pastes in, and what of it a page could have written itself. Pure.
//!
//! Developer tools copy requests as they went over the wire: with the headers that the browser adds, which no page can set and
//! no preflight names. Those are told apart here. Left in, they would blame the page for what the browser did.

pub mod curl;
pub mod har;
pub mod words;

use bytes::Bytes;

use cors::names::is_forbidden_in_requests;

/// A pasted request, as a page could make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pasted {
    /// Absolute, as it was written.
    pub url: String,
    /// As it was written; `None` where the line leaves it to the rest of it.
    pub method: Option<String>,
    /// Names as they were written, in order, without those that only the browser sets.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
    /// From `origin`, or from `referer`.
    pub origin: Option<String>,
    /// Cookies or a user came with it.
    pub with_credentials: bool,
    /// `cookie`, as the browser's jar had it. It is sent where cookies are, and never shown.
    pub cookie: Option<String>,
    /// It asked for `text/event-stream` as `EventSource` does: with `accept` and nothing of its own.
    pub event_source: bool,
    /// What was left out and why, one sentence each.
    pub notes: Vec<String>,
}

/// Sorts the headers of a pasted request into the page's own and the browser's.
///
/// `pasted.headers` holds all of them. Those which the Fetch standard forbids pages to set (§2.2.2) go. In a request that a browser
/// made (it has `sec-fetch-mode`), those which the browser adds by itself go too.
fn keep_what_a_page_sets(mut pasted: Pasted) -> Pasted {
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
        // Developer tools that are told to disable the cache add both; a page that sets only one of them does so itself.
        let of_the_tools = matches!(lower.as_str(), "pragma" | "cache-control") && no_cache && value == "no-cache";
        let of_the_browser =
            matches!(lower.as_str(), "user-agent" | "priority" | "upgrade-insecure-requests") || of_the_tools;
        // `accept` and `accept-language` as browsers write them by themselves; safelisted, so nothing changes but the story.
        let by_default = matches!(lower.as_str(), "accept-language") || lower == "accept" && value == "*/*";
        if lower == "cookie" {
            continue;
        } else if lower.starts_with(':') || is_forbidden_in_requests(&lower) {
            // the doctor sends these as a browser does
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

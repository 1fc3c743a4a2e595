//! The verdicts by the rules of other browsers, from the same responses. A preflight that differs is sent as well.

use super::client::Client;
use super::plan::Plan;
use super::report::{OtherBrowser, Verdict};
use super::transcript::{End, Event, Transcript, preflight_request};
use browser::block::Block;
use browser::fetch::{Fetch, Progress};
use browser::quirks::Browser;
use browser::request::PageRequest;

/// The browsers whose verdict differs.
pub async fn compare(plan: &Plan, transcript: &Transcript, client: &mut Client) -> Vec<OtherBrowser> {
    let own = match &transcript.end {
        End::Delivered { .. } => None,
        End::Blocked(block) => Some(block),
    };
    let mut others = Vec::new();
    for browser in Browser::ALL.into_iter().filter(|browser| *browser != plan.page.browser) {
        let page = PageRequest { browser, ..plan.page.clone() };
        match (own, replay(&page, transcript, client).await) {
            (None, Some(Err(block))) => others.push(OtherBrowser {
                browser: browser.as_str(),
                verdict: Verdict::Blocked,
                code: block.code,
                reason: block.reason,
            }),
            (Some(own), Some(Ok(()))) => others.push(OtherBrowser {
                browser: browser.as_str(),
                verdict: Verdict::Allowed,
                code: None,
                reason: format!("It passes {}, at which {} stops.", own.step, plan.page.browser),
            }),
            _ => {}
        }
    }
    others
}

/// Repeats the request by the rules of another browser, as far as the responses are known; `None` if one is missing.
async fn replay(page: &PageRequest, transcript: &Transcript, client: &mut Client) -> Option<Result<(), Block>> {
    let mut fetch = match Fetch::new(page) {
        Ok(fetch) => fetch,
        Err(block) => return Some(Err(block)),
    };
    loop {
        let url = fetch.request().url().clone();
        if let Some(preflight) = fetch.preflight() {
            let request = preflight_request(&preflight, fetch.request());
            let known = transcript.events.iter().find_map(|event| match event {
                Event::Preflighted(exchange) if exchange.url == request.url && exchange.headers == request.headers => {
                    Some(&exchange.response)
                }
                _ => None,
            });
            let response = match known {
                Some(response) => response.clone(),
                None => client.head(&request).await.ok()?,
            };
            if let Err(block) = fetch.preflight_answered(&response) {
                return Some(Err(block));
            }
        }
        // the request itself is not sent again: it may have a cost
        let response = transcript.events.iter().find_map(|event| match event {
            Event::Answered(exchange) if exchange.url == url => Some(&exchange.response),
            _ => None,
        });
        match response.map(|response| fetch.answered(response)) {
            // the preflight passes, which it did not in the transcript
            None => return Some(Ok(())),
            Some(Err(block)) => return Some(Err(block)),
            Some(Ok(Progress::Redirected(next, _))) => fetch = *next,
            Some(Ok(Progress::Done(_) | Progress::OpaqueRedirect)) => return Some(Ok(())),
        }
    }
}

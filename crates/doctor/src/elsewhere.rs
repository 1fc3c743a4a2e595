//! The verdict by other browsers' rules, from the same answers; where another browser asks differently, it is asked so.

use super::course::{Course, End, Event, preflight_ask};
use super::exchange::Client;
use super::plan::Plan;
use super::report::{Elsewhere, Verdict};
use browser::block::Block;
use browser::fetch::{Fetch, Progress};
use browser::quirks::Browser;
use browser::request::PageRequest;

/// Browsers whose verdict is another one.
pub async fn look(plan: &Plan, course: &Course, client: &mut Client) -> Vec<Elsewhere> {
    let own = match &course.end {
        End::Delivered { .. } => None,
        End::Blocked(block) => Some(block),
    };
    let mut others = Vec::new();
    for browser in Browser::ALL.into_iter().filter(|browser| *browser != plan.page.browser) {
        let page = PageRequest { browser, ..plan.page.clone() };
        match (own, replay(&page, course, client).await) {
            (None, Some(Err(block))) => others.push(Elsewhere {
                browser: browser.as_str(),
                verdict: Verdict::Blocked,
                code: block.code,
                reason: block.reason,
            }),
            (Some(own), Some(Ok(()))) => others.push(Elsewhere {
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

/// The course once more by these rules, as far as answers are known; `None` where they are not.
async fn replay(page: &PageRequest, course: &Course, client: &mut Client) -> Option<Result<(), Block>> {
    let mut fetch = match Fetch::new(page) {
        Ok(fetch) => fetch,
        Err(block) => return Some(Err(block)),
    };
    loop {
        let url = fetch.request().url().clone();
        if let Some(preflight) = fetch.preflight() {
            let ask = preflight_ask(&preflight, fetch.request());
            let known = course.events.iter().find_map(|event| match event {
                Event::Preflighted(sent) if sent.url == ask.url && sent.headers == ask.headers => Some(&sent.answer),
                _ => None,
            });
            let answer = match known {
                Some(answer) => answer.clone(),
                None => client.head(&ask).await.ok()?,
            };
            if let Err(block) = fetch.preflight_answered(&answer) {
                return Some(Err(block));
            }
        }
        // the request itself is not sent again: it may cost something
        let answer = course.events.iter().find_map(|event| match event {
            Event::Answered(sent) if sent.url == url => Some(&sent.answer),
            _ => None,
        });
        match answer.map(|answer| fetch.answered(answer)) {
            // the preflight passed, which it did not before
            None => return Some(Ok(())),
            Some(Err(block)) => return Some(Err(block)),
            Some(Ok(Progress::Redirected(next, _))) => fetch = *next,
            Some(Ok(Progress::Done(_) | Progress::OpaqueRedirect)) => return Some(Ok(())),
        }
    }
}

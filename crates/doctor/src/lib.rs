//! `tokenway doctor`: what would a browser do with this request, and why? For any server.
//!
//! [`plan`] makes a page's request of what was asked for, [`course`] sends what a browser would send, [`story`] tells it, [`advice`]
//! and [`mend`] say what to change, [`probe`] looks for tomorrow's trouble, [`elsewhere`] asks other browsers' rules. What a browser decides is
//! [`browser`]'s.

pub mod advice;
pub mod course;
pub mod elsewhere;
pub mod exchange;
pub mod mend;
pub mod pasted;
pub mod plan;
pub mod probe;
pub mod report;
pub mod secret;
pub mod story;
pub mod text;
pub mod watch;

use std::collections::BTreeSet;

use browser::block::Block;
use browser::quirks::Browser;
use browser::request::{Credentials, Kind, PageRequest, Request, normalized_method};
use browser::safelist::unsafe_names;

use course::{Course, End};
use exchange::{Client, Unreachable};
use mend::{Needs, Target};
use plan::Plan;
use probe::heads;
use report::{Blocked, Paste, Report, Summary, Verdict};

/// Examines a request: sends it as a browser would, and looks around, unless probes are not wanted.
///
/// # Errors
/// A server could not be asked.
pub async fn examine(plan: &Plan, mut client: Client, with_probes: bool) -> Result<Report, Unreachable> {
    let course = Course::run(plan, &mut client).await?;
    let steps = story::tell(plan, &course);
    let elsewhere = elsewhere::look(plan, &course, &mut client).await;
    let probed = match with_probes {
        true => probe::run(plan, &course, &mut client).await,
        false => probe::Probed::default(),
    };
    let block = match &course.end {
        End::Delivered { .. } => None,
        End::Blocked(block) => Some(block),
    };
    Ok(Report {
        request: summary(plan),
        verdict: if block.is_some() { Verdict::Blocked } else { Verdict::Allowed },
        code: block.and_then(|block| block.code),
        block: block.map(|block| blocked(plan, &course, block)),
        steps,
        elsewhere,
        findings: probed.findings,
        probed: probed.ids,
        notes: plan.notes.clone(),
    })
}

fn summary(plan: &Plan) -> Summary {
    let page = &plan.page;
    Summary {
        url: secret::shown_url(&page.url),
        origin: page.origin.as_str().to_owned(),
        method: normalized_method(&page.method),
        credentials: page.credentials.as_str(),
        interface: match page.kind {
            Kind::Fetch => "fetch",
            Kind::Xhr => "XMLHttpRequest",
            Kind::EventSource => "eventsource",
        },
        browser: page.browser.as_str(),
    }
}

fn blocked(plan: &Plan, course: &Course, block: &Block) -> Blocked {
    let last = course.answers().next_back();
    let location = last.and_then(|sent| {
        let location = sent.answer.headers.get(http::header::LOCATION)?.to_str().ok()?;
        sent.url.join(location).ok()
    });
    let location = location.map(|location| secret::shown_url(&location));
    let status = last.map(|sent| sent.answer.status.as_u16());
    let advice = advice::on(block, status, location.as_deref());
    let needs = needs(plan, course).filter(|_| advice.by_policy);
    let paste = |target: Target, needs: &Needs| match target.mend(needs) {
        Ok(text) => Paste { target, text: Some(text), reason: None },
        Err(reason) => Paste { target, text: None, reason: Some(reason) },
    };
    Blocked {
        stage: block.stage.as_str(),
        reason: block.reason.clone(),
        standard: block.step.to_string(),
        standard_url: block.step.url(),
        received: block.received.clone(),
        needed: block.needed.clone(),
        advice: advice.text,
        server: last.and_then(|sent| Target::guess(&sent.answer.headers)).map(Target::as_str),
        mends: needs.map_or_else(Vec::new, |needs| Target::ALL.map(|target| paste(target, &needs)).into()),
    }
}

/// What a policy must allow; `None` where the request cannot even be made.
fn needs(plan: &Plan, course: &Course) -> Option<Needs> {
    let request = Request::new(&plan.page).ok()?;
    let expose = course.answered().map(|sent| &sent.answer.headers);
    let expose = expose.map_or_else(Vec::new, |headers| headers.keys().map(|name| name.as_str().to_owned()).collect());
    let credentials = request.credentials() == Credentials::Include;
    Some(Needs {
        // after two redirects it may be `null`, which no mend should allow
        origin: plan.page.origin.as_str().to_owned(),
        method: request.method().to_string(),
        headers: asked_headers(plan),
        expose: expose.into_iter().filter(|name| heads::is_wanted(name)).collect(),
        credentials,
        preflight: course.preflighted().is_some(),
    })
}

/// What preflights name, of whichever browser: the page's visitors have all of them.
fn asked_headers(plan: &Plan) -> Vec<String> {
    let of = |browser| Request::new(&PageRequest { browser, ..plan.page.clone() }).ok();
    let requests = Browser::ALL.into_iter().filter_map(of);
    let names: BTreeSet<String> =
        requests.flat_map(|own| unsafe_names(own.headers(), own.browser()).into_keys()).collect();
    names.into_iter().collect()
}

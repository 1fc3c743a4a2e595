#![doc = include_str!("../README.md")]

pub mod advice;
pub mod body;
pub mod client;
pub mod command;
pub mod jar;
pub mod mend;
pub mod other_browsers;
pub mod pasted;
pub mod plan;
pub mod probe;
pub mod redact;
pub mod report;
pub mod steps;
pub mod text;
pub mod transcript;

use std::collections::BTreeSet;

use browser::block::Block;
use browser::quirks::Browser;
use browser::request::{Credentials, Kind, PageRequest, Request, normalized_method};
use browser::safelist::unsafe_names;

use client::{Client, Unreachable};
use mend::{Needs, Target};
use plan::Plan;
use probe::heads;
use report::{Blocked, Mend, Report, Summary, Verdict};
use transcript::{End, Transcript};

/// Examines a request: sends it as a browser would, explains the result, and runs the probes if `with_probes`.
///
/// # Errors
/// A server cannot be reached.
pub async fn examine(plan: &Plan, mut client: Client, with_probes: bool) -> Result<Report, Unreachable> {
    let transcript = Transcript::record(plan, &mut client).await?;
    let steps = steps::describe(plan, &transcript);
    let other_browsers = other_browsers::compare(plan, &transcript, &mut client).await;
    let probes = match with_probes {
        true => probe::run(plan, &transcript, &mut client).await,
        false => probe::ProbeResults::default(),
    };
    let block = match &transcript.end {
        End::Delivered { .. } => None,
        End::Blocked(block) => Some(block),
    };
    Ok(Report {
        request: summary(plan),
        verdict: if block.is_some() { Verdict::Blocked } else { Verdict::Allowed },
        code: block.and_then(|block| block.code),
        block: block.map(|block| blocked(plan, &transcript, block)),
        steps,
        other_browsers,
        findings: probes.findings,
        probed: probes.ids,
        notes: plan.notes.clone(),
    })
}

fn summary(plan: &Plan) -> Summary {
    let page = &plan.page;
    Summary {
        url: redact::url(&page.url),
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

fn blocked(plan: &Plan, transcript: &Transcript, block: &Block) -> Blocked {
    let last = transcript.exchanges().next_back();
    let location = last.and_then(|exchange| {
        let location = exchange.response.headers.get(http::header::LOCATION)?.to_str().ok()?;
        exchange.url.join(location).ok()
    });
    let location = location.map(|location| redact::url(&location));
    let status = last.map(|exchange| exchange.response.status.as_u16());
    let advice = advice::on(block, status, location.as_deref());
    let needs = needs(plan, transcript).filter(|_| advice.by_policy);
    let mend = |target: Target, needs: &Needs| match target.mend(needs) {
        Ok(text) => Mend { target, text: Some(text), reason: None },
        Err(reason) => Mend { target, text: None, reason: Some(reason) },
    };
    Blocked {
        stage: block.stage.as_str(),
        reason: block.reason.clone(),
        standard: block.step.to_string(),
        standard_url: block.step.url(),
        received: block.received.clone(),
        needed: block.needed.clone(),
        advice: advice.text,
        server: last.and_then(|exchange| Target::guess(&exchange.response.headers)).map(Target::as_str),
        mends: needs.map_or_else(Vec::new, |needs| Target::ALL.map(|target| mend(target, &needs)).into()),
    }
}

/// What a policy must allow; `None` if browsers refuse the request itself.
fn needs(plan: &Plan, transcript: &Transcript) -> Option<Needs> {
    let request = Request::new(&plan.page).ok()?;
    let expose = transcript.answered().map(|exchange| &exchange.response.headers);
    let expose = expose.map_or_else(Vec::new, |headers| headers.keys().map(|name| name.as_str().to_owned()).collect());
    let credentials = request.credentials() == Credentials::Include;
    Some(Needs {
        // after two redirects it may be `null`, which no policy should allow
        origin: plan.page.origin.as_str().to_owned(),
        method: request.method().to_string(),
        headers: requested_headers(plan),
        expose: expose.into_iter().filter(|name| heads::is_useful(name)).collect(),
        credentials,
        preflight: transcript.preflighted().is_some(),
    })
}

/// The headers that the preflights of all browsers name, because the page's visitors use all of them.
fn requested_headers(plan: &Plan) -> Vec<String> {
    let of = |browser| Request::new(&PageRequest { browser, ..plan.page.clone() }).ok();
    let requests = Browser::ALL.into_iter().filter_map(of);
    let names: BTreeSet<String> =
        requests.flat_map(|own| unsafe_names(own.headers(), own.browser()).into_keys()).collect();
    names.into_iter().collect()
}

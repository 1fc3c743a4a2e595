//! Probes look for problems that the page's own request does not show. Each sends few requests, changes nothing, and sends the
//! page's credential only where an error is behind authentication.

pub mod burst;
pub mod errors;
pub mod heads;
pub mod lookalikes;
pub mod origins;
pub mod stream;

use std::time::Duration;

use super::client::{Client, HttpRequest};
use super::jar::Jar;
use super::plan::Plan;
use super::report::{Finding, Severity};
use super::transcript::{End, Event, Transcript, page_request};
use browser::block::Step;
use browser::fetch::Fetch;
use browser::mime;
use browser::request::{Kind, Request, Tainting};

/// The time limit of a probe's response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit of all probes together.
const IN_ALL: Duration = Duration::from_secs(30);

/// The context of the probes.
pub struct Context<'a> {
    /// The examined request.
    pub plan: &'a Plan,
    /// The page's request before any redirect.
    pub request: Request,
    /// The client.
    pub client: &'a mut Client,
    fetch: Fetch,
}

/// The results of the probes.
#[derive(Debug, Default)]
pub struct ProbeResults {
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
    /// The ids of all findings that were looked for.
    pub ids: Vec<&'static str>,
}

impl ProbeResults {
    fn record(&mut self, id: &'static str, finding: Option<Finding>) {
        self.ids.push(id);
        self.findings.extend(finding);
    }
}

impl Context<'_> {
    /// The page's request as it is sent.
    fn page_request(&self) -> HttpRequest {
        page_request(&self.fetch, self.plan, &Jar::of(self.plan.cookie.as_ref(), &self.plan.page.url))
    }
}

/// Runs all probes that apply to the request.
pub async fn run(plan: &Plan, transcript: &Transcript, client: &mut Client) -> ProbeResults {
    let mut results = ProbeResults::default();
    client.limit(TIMEOUT, IN_ALL);
    check_transcript(plan, transcript, &mut results);
    let Ok(fetch) = Fetch::new(&plan.page) else { return results };
    let request = fetch.request().clone();
    let is_redirected = transcript.events.iter().any(|event| matches!(event, Event::Redirected(..)));
    if request.tainting() != Tainting::Cors || is_redirected {
        // the page's own origin needs no CORS, and a redirect leads to another server
        return sorted(results);
    }
    let mut context = Context { plan, request, client, fetch };

    let attempts = origins::attempt(&mut context).await;
    results.record("origin-reflected", origins::finding(&plan.page, &attempts));
    if let Some(own) = transcript.answered() {
        let is_cacheable = own.method == http::Method::GET;
        let other = origins::response_to_other_origin(&attempts);
        results.record("vary-origin-missing", heads::vary(&own.response, other, is_cacheable));
    }
    // the errors of a blocked page are blocked, too
    if matches!(transcript.end, End::Delivered { .. }) {
        let errors = errors::cause(&mut context).await;
        results.record("errors-without-cors", errors::without_cors(&context.request, &errors));
        results.record("errors-as-html", errors::as_html(&errors));
        if context.request.kind() == Kind::Fetch {
            let responses = burst::run(&mut context).await;
            results.record("preflight-rate-limited", burst::finding(&context.request, &responses));
        }
    }
    if context.client.is_out_of_time() {
        results.findings.push(unfinished());
    }
    sorted(results)
}

/// The findings that need no further request.
fn check_transcript(plan: &Plan, transcript: &Transcript, results: &mut ProbeResults) {
    let responses = transcript.exchanges().map(|exchange| &exchange.response);
    results.record("cors-headers-doubled", heads::doubled(responses));
    for event in &transcript.events {
        if let Event::Allowed(allowed) = event {
            results.record("max-age", heads::max_age(allowed));
        }
    }
    let Some(exchange) = transcript.answered() else { return };
    let response = &exchange.response;
    let is_tls = exchange.url.scheme() == "https";
    results.record("http1-only", heads::protocol(exchange.version, is_tls, plan.wants_stream));
    let (request, readable, body) = match &transcript.end {
        End::Delivered { request, readable, body } => (request, readable, body),
        End::Blocked(block) => {
            if block.step == Step::EVENT_SOURCE {
                results.record(stream::GIVES_UP, stream::gives_up(response, plan.page.browser));
            }
            return;
        }
    };
    results.record("headers-hidden", heads::hidden(readable));
    results.record("answer-is-an-error", error_response(response.status, plan.wants_stream));
    if !plan.wants_stream {
        let asks_json = plan.page.headers.iter().any(|(_, value)| value.starts_with(b"application/json"));
        let kind = response.get("content-type").as_deref().and_then(mime::essence);
        let is_html = kind.as_deref() == Some("text/html");
        results.record("answer-is-html", (asks_json && is_html).then(html));
        return;
    }
    let stream = stream::Stream {
        response,
        body,
        head_after: exchange.after,
        by_event_source: request.kind() == Kind::EventSource,
        browser: request.browser(),
    };
    results.ids.extend(stream::IDS.iter().filter(|id| stream.by_event_source || **id != stream::GIVES_UP));
    results.findings.extend(stream::findings(stream));
}

fn error_response(status: http::StatusCode, wants_stream: bool) -> Option<Finding> {
    let is_error = status.is_client_error() || status.is_server_error();
    is_error.then(|| Finding {
        id: "answer-is-an-error",
        severity: Severity::Note,
        title: match wants_stream {
            true => "The page can read the response, but it is an error, so the stream could not be observed.",
            false => "The page can read the response, but it is an error.",
        },
        seen: vec![status.to_string()],
        mend: "Give what the server needs, such as --header 'authorization: Bearer …' and --data, and run the doctor again.".into(),
    })
}

fn unfinished() -> Finding {
    Finding {
        id: "probes-unfinished",
        severity: Severity::Note,
        title: "The server answers too slowly for all probes: some were skipped.",
        seen: vec![format!("the time limit of {} s was reached", IN_ALL.as_secs())],
        mend: "Run the doctor again when the server is less busy.".into(),
    }
}

fn html() -> Finding {
    Finding {
        id: "answer-is-html",
        severity: Severity::Warning,
        title: "The response is HTML instead of JSON: a login page, a proxy's page, or the catch-all route of an application.",
        seen: vec!["content-type: text/html".to_owned()],
        mend: "Check the URL; let the API's paths reach the API before any catch-all route.".into(),
    }
}

fn sorted(mut results: ProbeResults) -> ProbeResults {
    results.findings.sort_by_key(|finding| finding.severity);
    results
}

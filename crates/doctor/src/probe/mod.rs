//! Probes: what goes wrong tomorrow, or for the next page. Each sends little, changes nothing, and carries the page's credential only where
//! an error must get past authentication.

pub mod burst;
pub mod errors;
pub mod heads;
pub mod origins;
pub mod stream;
pub mod tricks;

use std::time::Duration;

use super::course::{Course, End, Event, request_ask};
use super::exchange::{Ask, Client};
use super::plan::Plan;
use super::report::{Finding, Severity};
use browser::fetch::Fetch;
use browser::mime;
use browser::request::{Kind, Request, Tainting};

/// A probe that gets no answer within this is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// All of them together have this long.
const IN_ALL: Duration = Duration::from_secs(30);

/// What probes have to go by.
pub struct Scene<'a> {
    /// What is examined.
    pub plan: &'a Plan,
    /// The page's request, before any redirect.
    pub request: Request,
    /// Whom it asks.
    pub client: &'a mut Client,
    fetch: Fetch,
}

/// What the probes saw.
#[derive(Debug, Default)]
pub struct Probed {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// The ids of all findings that there could have been.
    pub ids: Vec<&'static str>,
}

impl Probed {
    fn look(&mut self, id: &'static str, finding: Option<Finding>) {
        self.ids.push(id);
        self.findings.extend(finding);
    }
}

impl Scene<'_> {
    /// The page's request as it is sent.
    fn ask(&self) -> Ask {
        request_ask(&self.fetch, self.plan)
    }
}

/// Runs every probe that says something here.
pub async fn run(plan: &Plan, course: &Course, client: &mut Client) -> Probed {
    let mut probed = Probed::default();
    client.hurry(PATIENCE, IN_ALL);
    from_heads(plan, course, &mut probed);
    let Ok(fetch) = Fetch::new(&plan.page) else { return probed };
    let request = fetch.request().clone();
    if request.tainting() != Tainting::Cors || course.events.iter().any(|event| matches!(event, Event::Redirected(..)))
    {
        // the page's own origin needs no CORS; and where a redirect leads is another server's business
        return finished(probed);
    }
    let mut scene = Scene { plan, request, client, fetch };

    let tried = origins::attempt(&mut scene).await;
    probed.look("origin-reflected", origins::judge(&plan.page, &tried));
    if let Some(own) = course.answered() {
        let is_cacheable = own.method == http::Method::GET;
        let stranger = origins::strangers_get(&tried);
        probed.look("vary-origin-missing", heads::vary(&own.answer, stranger, is_cacheable));
    }
    // as long as the page is blocked, so are its errors
    if matches!(course.end, End::Delivered { .. }) {
        let provoked = errors::provoke(&mut scene).await;
        probed.look("errors-without-cors", errors::without_cors(&scene.request, &provoked));
        probed.look("errors-as-html", errors::as_html(&provoked));
        if scene.request.kind() == Kind::Fetch {
            let answers = burst::run(&mut scene).await;
            probed.look("preflight-rate-limited", burst::judge(&scene.request, &answers));
        }
    }
    if scene.client.is_late() {
        probed.findings.push(unfinished());
    }
    finished(probed)
}

/// What needs no further request.
fn from_heads(plan: &Plan, course: &Course, probed: &mut Probed) {
    probed.look("cors-headers-doubled", heads::doubled(course.answers().map(|sent| &sent.answer)));
    for event in &course.events {
        if let Event::Allowed(allowed) = event {
            probed.look("max-age", heads::max_age(allowed));
        }
    }
    let Some(sent) = course.answered() else { return };
    let is_tls = sent.url.scheme() == "https";
    probed.look("http1-only", heads::protocol(sent.version, is_tls, plan.wants_stream));
    let End::Delivered { request, readable, watched } = &course.end else { return };
    probed.look("headers-hidden", heads::hidden(readable));
    probed.look("answer-is-an-error", error_answer(sent.answer.status, plan.wants_stream));
    if !plan.wants_stream {
        let asks_json = plan.page.headers.iter().any(|(_, value)| value.starts_with(b"application/json"));
        let kind = sent.answer.get("content-type").as_deref().and_then(mime::essence);
        let is_html = kind.as_deref() == Some("text/html");
        probed.look("answer-is-html", (asks_json && is_html).then(html));
        return;
    }
    let seen = stream::Seen {
        answer: &sent.answer,
        watched,
        head_after: sent.after,
        by_event_source: request.kind() == Kind::EventSource,
        browser: request.browser(),
    };
    probed.ids.extend(stream::IDS.iter().filter(|id| seen.by_event_source || **id != "event-source-gives-up"));
    probed.findings.extend(stream::judge(seen));
}

fn error_answer(status: http::StatusCode, wants_stream: bool) -> Option<Finding> {
    let is_error = status.is_client_error() || status.is_server_error();
    is_error.then(|| Finding {
        id: "answer-is-an-error",
        severity: Severity::Note,
        title: match wants_stream {
            true => "The page can read the answer, but it is an error: of the stream nothing could be seen.".to_owned(),
            false => "The page can read the answer, but it is an error.".to_owned(),
        },
        seen: vec![status.to_string()],
        mend: "Give what the server wants, such as --header 'authorization: Bearer …' and --data, and look again."
            .to_owned(),
    })
}

fn unfinished() -> Finding {
    Finding {
        id: "probes-unfinished",
        severity: Severity::Note,
        title: "The server answers too slowly for all probes: some were left out.".to_owned(),
        seen: vec![format!("{} s were over", IN_ALL.as_secs())],
        mend: "Look again when the server is less busy.".to_owned(),
    }
}

fn html() -> Finding {
    Finding {
        id: "answer-is-html",
        severity: Severity::Warning,
        title: "HTML came instead of JSON: a login page, a proxy's page, or a single-page application's catch-all."
            .to_owned(),
        seen: vec!["content-type: text/html".to_owned()],
        mend: "Check the URL; let the API's paths reach the API before any catch-all.".to_owned(),
    }
}

fn finished(mut probed: Probed) -> Probed {
    probed.findings.sort_by_key(|finding| finding.severity);
    probed
}

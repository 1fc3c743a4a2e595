//! Are the CORS headers on errors, too? Provokes them, without doing harm, and looks.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::Scene;
use crate::exchange::Ask;
use crate::report::{Finding, Severity};
use browser::answer::Answer;
use browser::check::cors_check;
use browser::mime;
use browser::request::Request;

/// Over nginx's 1 MiB and Tokenway's 4 MiB; a page could send it.
const BIG: usize = 8 * 1024 * 1024;
/// A path that no server has.
const UNKNOWN: &str = "tokenway-doctor-asks-for-what-is-not-there";

/// An error that was provoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provoked {
    /// How, such as `an unknown path`.
    pub how: &'static str,
    /// What came.
    pub answer: Answer,
}

/// Provokes errors. What gives no answer is left out: that is no question of CORS.
pub(super) async fn provoke(scene: &mut Scene<'_>) -> Vec<Provoked> {
    let mut provoked = Vec::new();
    for (how, ask) in asks(scene) {
        if let Ok(answer) = scene.client.head(&ask).await {
            provoked.push(Provoked { how, answer });
        }
    }
    provoked
}

/// None of them can change anything: bodies are broken, and methods that delete go where nothing is.
fn asks(scene: &Scene<'_>) -> Vec<(&'static str, Ask)> {
    let own = scene.ask();
    let with_body = !matches!(own.method, Method::GET | Method::HEAD);
    let unknown = {
        let mut url = own.url.clone();
        url.set_query(None);
        url.join(UNKNOWN).unwrap_or(url)
    };
    let broken = Bytes::from_static(b"{");
    let bodiless = |mut headers: HeaderMap| {
        headers.remove(header::CONTENT_TYPE);
        headers
    };
    let anonymous = without_credentials(own.headers.clone());
    let mut asks = vec![
        (
            "an unknown path",
            Ask {
                url: unknown.clone(),
                method: Method::GET,
                headers: bodiless(own.headers.clone()),
                body: Bytes::new(),
            },
        ),
        (
            "DELETE of an unknown path",
            Ask { url: unknown, method: Method::DELETE, headers: bodiless(own.headers.clone()), body: Bytes::new() },
        ),
    ];
    if with_body {
        let ask = |headers: HeaderMap, body| Ask { url: own.url.clone(), method: own.method.clone(), headers, body };
        asks.extend([
            ("GET", Ask { method: Method::GET, ..ask(bodiless(own.headers.clone()), Bytes::new()) }),
            ("no credential", ask(anonymous, broken.clone())),
            ("malformed JSON", ask(as_json(own.headers.clone()), broken)),
            ("a body of 8 MiB", ask(as_json(own.headers.clone()), Bytes::from(vec![b' '; BIG]))),
        ]);
    } else if !scene.plan.wants_stream {
        asks.push(("no credential", Ask { headers: anonymous, ..own }));
    }
    asks
}

fn as_json(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

fn is_credential(name: &str) -> bool {
    matches!(name, "authorization" | "cookie") || name.contains("key") || name.contains("token")
}

fn without_credentials(mut headers: HeaderMap) -> HeaderMap {
    let credentials: Vec<_> = headers.keys().filter(|name| is_credential(name.as_str())).cloned().collect();
    for name in credentials {
        headers.remove(name);
    }
    headers
}

/// Errors that the page cannot read.
pub fn without_cors(request: &Request, provoked: &[Provoked]) -> Option<Finding> {
    let is_error = |status: StatusCode| status.is_client_error() || status.is_server_error();
    let unreadable = provoked.iter().filter(|provoked| is_error(provoked.answer.status));
    let unreadable = unreadable.filter_map(|provoked| Some((provoked, cors_check(request, &provoked.answer).err()?)));
    let mut seen: Vec<String> = unreadable
        .map(|(provoked, block)| {
            let code = block.code.map_or(String::new(), |code| format!(" ({code})"));
            format!("{} for {}{code}", provoked.answer.status, provoked.how)
        })
        .collect();
    seen.sort();
    (!seen.is_empty()).then(|| Finding {
        id: "errors-without-cors",
        severity: Severity::Error,
        title: "On these errors the CORS headers are missing: the page sees `TypeError: Failed to fetch` instead of the status.".to_owned(),
        seen,
        mend: "Put CORS outermost, around authentication, limits, the router and error pages; in nginx: add_header … always;".to_owned(),
    })
}

/// Errors that are pages for people.
pub fn as_html(provoked: &[Provoked]) -> Option<Finding> {
    let is_html = |answer: &Answer| {
        answer.get(header::CONTENT_TYPE).as_deref().and_then(mime::essence).as_deref() == Some("text/html")
    };
    let pages = provoked.iter().filter(|provoked| is_html(&provoked.answer));
    let seen: Vec<String> = pages.map(|provoked| format!("{} for {}", provoked.answer.status, provoked.how)).collect();
    (!seen.is_empty()).then(|| Finding {
        id: "errors-as-html",
        severity: Severity::Note,
        title: "These errors come as HTML, which `response.json()` cannot read.".to_owned(),
        seen,
        mend: "Answer errors of an API as JSON, such as {\"error\":{\"message\":…,\"code\":…}}.".to_owned(),
    })
}

//! Checks whether errors have CORS headers: causes errors, without side effects, and checks the responses.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::Context;
use crate::client::HttpRequest;
use crate::report::{Finding, Severity};
use browser::check::cors_check;
use browser::head::ResponseHead;
use browser::mime;
use browser::request::Request;

/// A large body that exceeds usual limits, such as nginx's 1 MiB; a page can send it.
const LARGE: usize = 8 * 1024 * 1024;
/// A path that no server has.
const UNKNOWN: &str = "tokenway-doctor-requests-an-unknown-path";

/// An error that the doctor caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausedError {
    /// The cause, such as `an unknown path`.
    pub cause: &'static str,
    /// The response.
    pub response: ResponseHead,
}

/// Causes errors. Requests without a response are left out, because they do not concern CORS.
pub(super) async fn cause(context: &mut Context<'_>) -> Vec<CausedError> {
    let mut errors = Vec::new();
    for (cause, request) in requests(context) {
        if let Ok(response) = context.client.head(&request).await {
            errors.push(CausedError { cause, response });
        }
    }
    errors
}

/// The requests that cause errors. None of them has a side effect: bodies are malformed, and DELETE goes to an unknown path.
fn requests(context: &Context<'_>) -> Vec<(&'static str, HttpRequest)> {
    let own = context.page_request();
    let with_body = !matches!(own.method, Method::GET | Method::HEAD);
    let unknown = {
        let mut url = own.url.clone();
        url.set_query(None);
        url.join(UNKNOWN).unwrap_or(url)
    };
    let malformed = Bytes::from_static(b"{");
    let bodiless = |mut headers: HeaderMap| {
        headers.remove(header::CONTENT_TYPE);
        headers
    };
    let anonymous = without_credentials(own.headers.clone());
    let mut requests = vec![
        (
            "an unknown path",
            HttpRequest {
                url: unknown.clone(),
                method: Method::GET,
                headers: bodiless(own.headers.clone()),
                body: Bytes::new(),
            },
        ),
        (
            "DELETE of an unknown path",
            HttpRequest {
                url: unknown,
                method: Method::DELETE,
                headers: bodiless(own.headers.clone()),
                body: Bytes::new(),
            },
        ),
    ];
    if with_body {
        let with = |headers: HeaderMap, body| {
            let (url, method) = (own.url.clone(), own.method.clone());
            HttpRequest { url, method, headers, body }
        };
        requests.extend([
            ("GET", HttpRequest { method: Method::GET, ..with(bodiless(own.headers.clone()), Bytes::new()) }),
            ("no credential", with(anonymous, malformed.clone())),
            ("malformed JSON", with(as_json(own.headers.clone()), malformed)),
            ("a body of 8 MiB", with(as_json(own.headers.clone()), Bytes::from(vec![b' '; LARGE]))),
        ]);
    } else if !context.plan.wants_stream {
        requests.push(("no credential", HttpRequest { headers: anonymous, ..own }));
    }
    requests
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
pub fn without_cors(request: &Request, errors: &[CausedError]) -> Option<Finding> {
    let is_error = |status: StatusCode| status.is_client_error() || status.is_server_error();
    let unreadable = errors.iter().filter(|error| is_error(error.response.status));
    let unreadable = unreadable.filter_map(|error| Some((error, cors_check(request, &error.response).err()?)));
    let mut seen: Vec<String> = unreadable
        .map(|(error, block)| {
            let code = block.code.map_or(String::new(), |code| format!(" ({code})"));
            format!("{} for {}{code}", error.response.status, error.cause)
        })
        .collect();
    seen.sort();
    (!seen.is_empty()).then(|| Finding {
        id: "errors-without-cors",
        severity: Severity::Error,
        title: "These errors have no CORS headers: the page sees `TypeError: Failed to fetch` instead of the status.",
        seen,
        mend: "Apply CORS outermost, around authentication, limits, the router and error pages; in nginx: add_header … always;".into(),
    })
}

/// Errors that are HTML pages.
pub fn as_html(errors: &[CausedError]) -> Option<Finding> {
    let is_html = |response: &ResponseHead| {
        response.get(header::CONTENT_TYPE).as_deref().and_then(mime::essence).as_deref() == Some("text/html")
    };
    let pages = errors.iter().filter(|error| is_html(&error.response));
    let seen: Vec<String> = pages.map(|error| format!("{} for {}", error.response.status, error.cause)).collect();
    (!seen.is_empty()).then(|| Finding {
        id: "errors-as-html",
        severity: Severity::Note,
        title: "These errors are HTML, which `response.json()` cannot parse.",
        seen,
        mend: "Send errors of an API as JSON, such as {\"error\":{\"message\":…,\"code\":…}}.".into(),
    })
}

//! Checks which other origins the server allows.

use http::Method;

use super::Context;
use super::lookalikes::{self, Lookalike};
use crate::client::HttpRequest;
use crate::report::{Finding, Severity};
use crate::transcript::preflight_request;
use browser::check::cors_check;
use browser::head::ResponseHead;
use browser::origin::PageOrigin;
use browser::preflight::Preflight;
use browser::request::{Credentials, PageRequest, Request};

/// The responses to one other origin.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The origin.
    pub lookalike: Lookalike,
    /// The response to its preflight.
    pub preflight: Option<ResponseHead>,
    /// The response to its GET.
    pub get: Option<ResponseHead>,
}

/// Sends a preflight and a GET without credentials from each other origin.
pub(super) async fn attempt(context: &mut Context<'_>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for (number, lookalike) in lookalikes::of(context.plan.page.origin.as_str()).into_iter().enumerate() {
        let Some(request) = request_of(&context.plan.page, &lookalike, Credentials::Omit) else { continue };
        let preflight_request = preflight_request(&Preflight::of(&request), &request);
        let preflight = context.client.head(&preflight_request).await.ok();
        // a stream has a cost, so it is requested once
        let get = if number == 0 || !context.plan.wants_stream || *request.method() != Method::GET {
            let mut headers = preflight_request.headers;
            headers.remove("access-control-request-method");
            headers.remove("access-control-request-headers");
            context.client.head(&HttpRequest { method: Method::GET, headers, ..preflight_request }).await.ok()
        } else {
            None
        };
        attempts.push(Attempt { lookalike, preflight, get });
    }
    attempts
}

/// The page's request from another origin.
fn request_of(page: &PageRequest, lookalike: &Lookalike, credentials: Credentials) -> Option<Request> {
    let origin = PageOrigin::parse(&lookalike.origin).ok()?;
    Request::new(&PageRequest { origin, credentials, ..page.clone() }).ok()
}

/// What the server allows an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Refused,
    /// `*`: every origin.
    Any,
    /// This origin by name, without credentials.
    Named,
    /// This origin by name, with the visitor's cookies.
    WithCredentials,
}

fn access(page: &PageRequest, attempt: &Attempt) -> Access {
    let passes = |credentials, response: &ResponseHead| {
        request_of(page, &attempt.lookalike, credentials).is_some_and(|request| cors_check(&request, response).is_ok())
    };
    let of = |response: &ResponseHead| match response.get("access-control-allow-origin") {
        _ if passes(Credentials::Include, response) => Access::WithCredentials,
        Some(allowed) if allowed == b"*" => Access::Any,
        _ if passes(Credentials::Omit, response) => Access::Named,
        _ => Access::Refused,
    };
    [&attempt.preflight, &attempt.get].into_iter().flatten().map(of).max().unwrap_or(Access::Refused)
}

/// The origins that the server should not allow.
pub fn finding(page: &PageRequest, attempts: &[Attempt]) -> Option<Finding> {
    let allowed: Vec<(Access, &Lookalike)> =
        attempts.iter().map(|attempt| (access(page, attempt), &attempt.lookalike)).collect();
    let worst = allowed.iter().map(|(access, _)| *access).max()?;
    let (id, severity, title) = match worst {
        Access::Refused => return None,
        Access::Any => (
            "any-origin",
            Severity::Note,
            "Every page of the web may call. That is right for a public API, and wrong for one on an internal network.",
        ),
        Access::Named => ("origin-reflected", Severity::Warning, "The server allows origins that it should not allow."),
        Access::WithCredentials => (
            "origin-reflected",
            Severity::Error,
            "Pages of other origins can act with the visitor's cookies and read the responses.",
        ),
    };
    let unrelated = |lookalike: &Lookalike| lookalike.origin == "https://evil.example";
    let reflects_all = allowed.iter().any(|(access, lookalike)| *access >= Access::Named && unrelated(lookalike));
    let seen = allowed.iter().filter(|(access, lookalike)| match worst {
        Access::Any => unrelated(lookalike),
        // a server that allows any origin allows the similar ones, too
        _ => *access >= Access::Named && (!reflects_all || unrelated(lookalike) || lookalike.origin == "null"),
    });
    let seen: Vec<String> =
        seen.map(|(_, lookalike)| format!("{}: {}", lookalike.origin, lookalike.description)).collect();
    Some(Finding {
        id,
        severity,
        title,
        seen: if seen.is_empty() { vec!["access-control-allow-origin: *".to_owned()] } else { seen },
        mend: match worst {
            Access::Any => "Name the origins if not every page may call.".into(),
            _ => {
                "Compare the whole origin with a list; no prefixes, suffixes or regular expressions, and never `null`."
                    .into()
            }
        },
    })
}

/// The response to the GET from an unrelated origin.
pub fn response_to_other_origin(attempts: &[Attempt]) -> Option<&ResponseHead> {
    attempts.first()?.get.as_ref()
}

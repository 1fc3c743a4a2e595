//! Which other origins are allowed?

use http::Method;

use super::Scene;
use super::tricks::{self, Trick};
use crate::course::preflight_ask;
use crate::exchange::Ask;
use crate::report::{Finding, Severity};
use browser::answer::Answer;
use browser::check::cors_check;
use browser::origin::PageOrigin;
use browser::preflight::Preflight;
use browser::request::{Credentials, PageRequest, Request};

/// What a trick got.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The trick.
    pub trick: Trick,
    /// The answer to its preflight.
    pub preflight: Option<Answer>,
    /// The answer to its GET, which changes nothing.
    pub get: Option<Answer>,
}

/// Tries each trick: with a preflight, and with a GET without credentials.
pub(super) async fn attempt(scene: &mut Scene<'_>) -> Vec<Tried> {
    let mut tried = Vec::new();
    for (place, trick) in tricks::on(scene.plan.page.origin.as_str()).into_iter().enumerate() {
        let Some(request) = request_of(&scene.plan.page, &trick, Credentials::Omit) else { continue };
        let ask = preflight_ask(&Preflight::of(&request), &request);
        let preflight = scene.client.head(&ask).await.ok();
        // a stream costs something: one is enough
        let get = if place == 0 || !scene.plan.wants_stream || *request.method() != Method::GET {
            let mut headers = ask.headers;
            headers.remove("access-control-request-method");
            headers.remove("access-control-request-headers");
            scene.client.head(&Ask { method: Method::GET, headers, ..ask }).await.ok()
        } else {
            None
        };
        tried.push(Tried { trick, preflight, get });
    }
    tried
}

/// The page's request as the trick's page would make it.
fn request_of(page: &PageRequest, trick: &Trick, credentials: Credentials) -> Option<Request> {
    let origin = PageOrigin::parse(&trick.origin).ok()?;
    Request::new(&PageRequest { origin, credentials, ..page.clone() }).ok()
}

/// How far a trick gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Refused,
    /// `*`: everyone is allowed, and it says so.
    Anyone,
    /// Named, without credentials.
    Named,
    /// Named, with the visitor's cookies.
    WithCredentials,
}

fn reach(page: &PageRequest, tried: &Tried) -> Reach {
    let passes = |credentials, answer: &Answer| {
        request_of(page, &tried.trick, credentials).is_some_and(|request| cors_check(&request, answer).is_ok())
    };
    let of = |answer: &Answer| match answer.get("access-control-allow-origin") {
        _ if passes(Credentials::Include, answer) => Reach::WithCredentials,
        Some(allowed) if allowed == b"*" => Reach::Anyone,
        _ if passes(Credentials::Omit, answer) => Reach::Named,
        _ => Reach::Refused,
    };
    [&tried.preflight, &tried.get].into_iter().flatten().map(of).max().unwrap_or(Reach::Refused)
}

/// Origins that are allowed and should not be.
pub fn judge(page: &PageRequest, tried: &[Tried]) -> Option<Finding> {
    let reached: Vec<(Reach, &Trick)> = tried.iter().map(|tried| (reach(page, tried), &tried.trick)).collect();
    let worst = reached.iter().map(|(reach, _)| *reach).max()?;
    let (id, severity, title) = match worst {
        Reach::Refused => return None,
        Reach::Anyone => (
            "any-origin",
            Severity::Note,
            "Every page of the web may call. That is right for a public API, and wrong for one on an inner network.",
        ),
        Reach::Named => ("origin-reflected", Severity::Warning, "The server allows origins that it should not know."),
        Reach::WithCredentials => (
            "origin-reflected",
            Severity::Error,
            "Foreign pages may act with the visitor's cookies and read the answers.",
        ),
    };
    let evil = |trick: &Trick| trick.origin == "https://evil.example";
    let reflects_all = reached.iter().any(|(reach, trick)| *reach >= Reach::Named && evil(trick));
    let seen = reached.iter().filter(|(reach, trick)| match worst {
        Reach::Anyone => evil(trick),
        // whoever takes any origin takes those that look alike
        _ => *reach >= Reach::Named && (!reflects_all || evil(trick) || trick.origin == "null"),
    });
    let seen: Vec<String> = seen.map(|(_, trick)| format!("{}: {}", trick.origin, trick.words)).collect();
    Some(Finding {
        id,
        severity,
        title: title.to_owned(),
        seen: if seen.is_empty() { vec!["access-control-allow-origin: *".to_owned()] } else { seen },
        mend: match worst {
            Reach::Anyone => "If not every page should: name the origins, whole.".to_owned(),
            _ => {
                "Compare the whole origin with a list; no prefixes, suffixes or regular expressions, and never `null`."
                    .to_owned()
            }
        },
    })
}

/// The answer to the GET of a page that nobody knows.
pub fn strangers_get(tried: &[Tried]) -> Option<&Answer> {
    tried.first()?.get.as_ref()
}

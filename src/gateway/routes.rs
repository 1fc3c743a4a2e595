//! The public routes: which path is which, and what methods it has. Pure.

use crate::error::{Code, Reject};
use families::family::{Endpoint, Family, Form};

/// A public route.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// A path on which a family takes requests.
    Completion(&'static dyn Family, &'static Endpoint),
    /// `/v1/streams/{id}`
    Stream,
    /// `/v1/session`
    Session,
    /// `/v1/models`
    Models,
    /// `/v1/models/{id}`
    Model,
    /// `/healthz`
    Healthz,
    /// Any other path.
    Other,
}

impl Route {
    /// The route of a path; exact, as at OpenAI's own server: a path that is nearly right is a mistake that should be seen.
    pub fn of(path: &str, families: &'static [&'static dyn Family]) -> Self {
        match path {
            "/v1/session" => Route::Session,
            "/v1/models" => Route::Models,
            "/healthz" => Route::Healthz,
            _ if stream_id(path).is_some() => Route::Stream,
            _ if model_id(path).is_some() => Route::Model,
            _ => {
                let endpoint = |family: &'static dyn Family| Some((family, family.endpoint(path)?));
                let found = families.iter().find_map(|family| endpoint(*family));
                found.map_or(Route::Other, |(family, endpoint)| Route::Completion(family, endpoint))
            }
        }
    }

    /// The label `route` of the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Completion(_, endpoint) => endpoint.label,
            Route::Stream => "stream",
            Route::Session => "session",
            Route::Models => "models",
            Route::Model => "model",
            Route::Healthz => "healthz",
            Route::Other => "other",
        }
    }

    /// Its methods, as `allow` and `access-control-allow-methods` list them. A path that is no route gets every
    /// method, so that a page may read its 404.
    pub fn methods(self) -> &'static str {
        match self {
            Route::Completion(..) => "POST, OPTIONS",
            Route::Stream => "GET, DELETE, OPTIONS",
            Route::Session => "POST, DELETE, OPTIONS",
            Route::Models | Route::Model | Route::Healthz => "GET, HEAD, OPTIONS",
            Route::Other => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }
    }

    /// The form of the route's requests and answers.
    pub fn form(self) -> Form {
        match self {
            Route::Completion(_, endpoint) => endpoint.form,
            _ => Form::default(),
        }
    }

    /// The family of the route's requests, answers and errors.
    pub fn family(self) -> &'static dyn Family {
        match self {
            Route::Completion(family, _) => family,
            _ => families::DEFAULT,
        }
    }
}

/// The text of the id in `/v1/streams/{id}`, of whatever shape; `None` for another path.
pub fn stream_id(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/streams/").filter(|id| !id.is_empty() && !id.contains('/'))
}

/// The name in `/v1/models/{id}`, still percent-encoded; it may hold slashes. `None` for another path.
pub fn model_id(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/models/").filter(|id| !id.is_empty())
}

/// 404: no such route. It names the route that was probably meant: with a doubled or a trailing slash, or without `/v1`.
pub fn no_such_route(path: &str, families: &'static [&'static dyn Family]) -> Reject {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let candidates = [format!("/{}", parts.join("/")), format!("/v1/{}", parts.join("/"))];
    let is_route = |meant: &&String| **meant != path && !matches!(Route::of(meant, families), Route::Other);
    if let Some(meant) = candidates.iter().find(is_route) {
        return Reject::new(Code::NotFound, format!("No such route: did you mean {meant}?"));
    }
    let message = "No such route. There are POST /v1/chat/completions, POST /v1/chat, POST /v1/streams, \
                   GET and DELETE /v1/streams/{id}, GET /v1/models, GET /v1/models/{id} and GET /healthz; and, where sessions are taken, \
                   POST and DELETE /v1/session.";
    Reject::new(Code::NotFound, message)
}

/// 405: the route has other methods.
pub fn no_such_method(route: Route) -> Reject {
    let allow = route.methods();
    Reject { allow: Some(allow), ..Reject::new(Code::MethodNotAllowed, format!("This route takes {allow}.")) }
}

//! The public routes: their paths and their methods. Pure.

use crate::error::{Code, Reject};

/// A public route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/chat`
    Chat,
    /// `/v1/streams`
    Streams,
    /// `/v1/streams/{id}`
    Stream,
    /// `/v1/session`
    Session,
    /// `/v1/models`
    Models,
    /// `/healthz`
    Healthz,
    /// Any other path.
    Other,
}

impl Route {
    /// The route of exactly this path: a mistake in a path must be seen.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Route::ChatCompletions,
            "/v1/chat" => Route::Chat,
            "/v1/streams" => Route::Streams,
            "/v1/session" => Route::Session,
            "/v1/models" => Route::Models,
            "/healthz" => Route::Healthz,
            _ if stream_id(path).is_some() => Route::Stream,
            _ => Route::Other,
        }
    }

    /// The label `route` of the metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Route::ChatCompletions => "chat_completions",
            Route::Chat => "chat",
            Route::Streams => "streams",
            Route::Stream => "stream",
            Route::Session => "session",
            Route::Models => "models",
            Route::Healthz => "healthz",
            Route::Other => "other",
        }
    }

    /// The methods, as `allow` and `access-control-allow-methods` list them. A path that is no route gets every method, so
    /// that a page may read its 404.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Route::ChatCompletions | Route::Chat | Route::Streams => "POST, OPTIONS",
            Route::Stream => "GET, DELETE, OPTIONS",
            Route::Session => "POST, DELETE, OPTIONS",
            Route::Models | Route::Healthz => "GET, HEAD, OPTIONS",
            Route::Other => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }
    }
}

/// 404: no such route.
pub(super) fn no_such_route() -> Reject {
    let message = "No such route. There are POST /v1/chat/completions, POST /v1/chat, POST /v1/streams, \
                   GET and DELETE /v1/streams/{id}, GET /v1/models and GET /healthz; and, where sessions are taken, \
                   POST and DELETE /v1/session.";
    Reject::new(Code::NotFound, message)
}

/// 405: the route has other methods.
pub(super) fn no_such_method(route: Route) -> Reject {
    let allow = route.methods();
    Reject { allow: Some(allow), ..Reject::new(Code::MethodNotAllowed, format!("This route takes {allow}.")) }
}

/// The text of the id in `/v1/streams/{id}`, in any form; `None` for another path.
pub(super) fn stream_id(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/streams/").filter(|id| !id.is_empty() && !id.contains('/'))
}

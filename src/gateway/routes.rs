//! The public routes: which path is which, and what methods it has. Pure.

/// A public route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
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
    /// The route of a path; exact, for a path that is nearly right is a mistake that should be seen.
    pub fn of(path: &str) -> Self {
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
    pub fn as_str(self) -> &'static str {
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

    /// Its methods, as `allow` and `access-control-allow-methods` list them. A path that is no route gets every
    /// method, so that a page may read its 404.
    pub fn methods(self) -> &'static str {
        match self {
            Route::ChatCompletions | Route::Chat | Route::Streams => "POST, OPTIONS",
            Route::Stream => "GET, DELETE, OPTIONS",
            Route::Session => "POST, DELETE, OPTIONS",
            Route::Models | Route::Healthz => "GET, HEAD, OPTIONS",
            Route::Other => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }
    }
}

/// The text of the id in `/v1/streams/{id}`, of whatever shape; `None` for another path.
pub fn stream_id(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/streams/").filter(|id| !id.is_empty() && !id.contains('/'))
}

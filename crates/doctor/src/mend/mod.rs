//! Mends, ready to paste: the CORS policy that would have let this page's request through, for each kind of server. Pure.
//!
//! Each allows exactly what the page needs: its origin, its method, its headers. All of them answer preflights before
//! authentication, put the headers on errors too, and say `Vary: Origin`.

mod snippets;

#[cfg(test)]
mod tests;

use clap::ValueEnum;

/// What can be told how to allow a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// Tokenway's `tokenway.toml`.
    Tokenway,
    /// nginx, before an application.
    Nginx,
    /// Express with the package `cors`.
    Express,
    /// FastAPI, and everything on Starlette.
    Fastapi,
    /// Flask with the package `flask-cors`.
    Flask,
    /// Caddy 2, before an application.
    Caddy,
}

/// What the page's request needs of a policy. Names and values are well-formed: they passed a browser's own checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The page's origin, as `Origin` carries it.
    pub origin: String,
    /// The request's method, normalised.
    pub method: String,
    /// Request headers that a preflight names, in lower case.
    pub headers: Vec<String>,
    /// Response headers that the page will want to read, in lower case.
    pub expose: Vec<String>,
    /// The request goes with cookies or another credential of the browser's.
    pub credentials: bool,
    /// A preflight is needed. Without one, methods and headers need no list.
    pub preflight: bool,
}

/// How long a mend lets browsers keep a preflight's answer: Chromium's cap. In seconds.
pub const MAX_AGE: u32 = 7200;

impl Target {
    /// All of them, in the order in which they are told.
    pub const ALL: [Target; 6] =
        [Target::Tokenway, Target::Nginx, Target::Express, Target::Fastapi, Target::Flask, Target::Caddy];

    /// As the command line and the JSON report write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Tokenway => "tokenway",
            Target::Nginx => "nginx",
            Target::Express => "express",
            Target::Fastapi => "fastapi",
            Target::Flask => "flask",
            Target::Caddy => "caddy",
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Tokenway => "Tokenway",
            Target::Nginx => "nginx",
            Target::Express => "Express",
            Target::Fastapi => "FastAPI",
            Target::Flask => "Flask",
            Target::Caddy => "Caddy",
        }
    }

    /// The policy as this server is told it.
    ///
    /// # Errors
    /// Why this server cannot be told so, as a sentence.
    pub fn mend(self, needs: &Needs) -> Result<String, String> {
        match self {
            Target::Tokenway => snippets::tokenway(needs),
            Target::Nginx => snippets::nginx(needs),
            Target::Express => Ok(snippets::express(needs)),
            Target::Fastapi => Ok(snippets::fastapi(needs)),
            Target::Flask => Ok(snippets::flask(needs)),
            Target::Caddy => snippets::caddy(needs),
        }
    }

    /// What a server gives away of itself: what stands nearest to the browser, for that is where CORS belongs.
    pub fn guess(headers: &http::HeaderMap) -> Option<Self> {
        if headers.keys().any(|name| name.as_str().starts_with("tokenway-")) {
            return Some(Target::Tokenway);
        }
        let value = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
        };
        let (server, powered, via) = (value("server"), value("x-powered-by"), value("via"));
        match () {
            () if server.starts_with("nginx") || server.starts_with("openresty") => Some(Target::Nginx),
            () if server.starts_with("caddy") || via.contains("caddy") => Some(Target::Caddy),
            () if powered.starts_with("express") => Some(Target::Express),
            () if server.starts_with("uvicorn") || server.starts_with("hypercorn") => Some(Target::Fastapi),
            () if server.starts_with("werkzeug") || server.starts_with("gunicorn") => Some(Target::Flask),
            () => None,
        }
    }
}

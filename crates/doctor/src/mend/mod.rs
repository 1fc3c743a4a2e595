//! The fixes (`--mend`): for each kind of server, the CORS policy that allows this page's request, ready to paste. Pure.
//!
//! Each allows exactly what the page needs: its origin, its method, its headers. All of them answer preflights before
//! authentication, add the headers to errors, and send `Vary: Origin`.

mod snippets;

#[cfg(test)]
mod tests;

use clap::ValueEnum;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// Tokenway's `tokenway.toml`.
    Tokenway,
    /// nginx, in front of an application.
    Nginx,
    /// Express with the package `cors`.
    Express,
    /// FastAPI, and everything on Starlette.
    Fastapi,
    /// Flask with the package `flask-cors`.
    Flask,
    /// Caddy 2, in front of an application.
    Caddy,
}

/// What a policy must allow for the page's request. Names and values have passed the checks of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The page's origin, as in the header `Origin`.
    pub origin: String,
    /// The normalised method.
    pub method: String,
    /// The request headers that a preflight names, in lower case.
    pub headers: Vec<String>,
    /// The response headers that the page needs to read, in lower case.
    pub expose: Vec<String>,
    /// Whether the request has cookies or other credentials of the browser.
    pub credentials: bool,
    /// Whether a preflight is needed. Without one, methods and headers need no list.
    pub preflight: bool,
}

/// The seconds for which the fixes let browsers cache a preflight response: Chromium's limit.
pub const MAX_AGE: u32 = 7200;

impl Target {
    /// All of them, in the order of the report.
    pub const ALL: [Target; 6] =
        [Target::Tokenway, Target::Nginx, Target::Express, Target::Fastapi, Target::Flask, Target::Caddy];

    /// The name on the command line and in the JSON report.
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

    /// The product name.
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

    /// The policy in this server's configuration or code.
    ///
    /// # Errors
    /// Why this server cannot express the policy, as a sentence.
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

    /// Guesses the server by the response headers: the one nearest to the browser, which should handle CORS.
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

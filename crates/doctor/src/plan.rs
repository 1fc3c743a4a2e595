//! From what was asked for to a request that a browser can be imitated with. Pure.

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderName, HeaderValue};
use url::Url;

use super::pasted::Pasted;
use browser::origin::PageOrigin;
use browser::quirks::Browser;
use browser::request::{Body, Credentials, Kind, PageRequest};

/// The page where none is named.
const ASSUMED_ORIGIN: &str = "https://app.example.com";
/// Where an OpenAI client's `baseURL` ends, and what it appends.
const BASE_PATH: &str = "/v1";
const COMPLETIONS: &str = "/chat/completions";
/// A completion without a model: enough for CORS, and nobody pays for it.
const GREETING: &str = r#"{"messages":[{"role":"user","content":"Say hello."}],"stream":true}"#;

/// What calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// `fetch()`, as the other flags say.
    Fetch,
    /// `new EventSource(url)`: a GET without headers of its own.
    Eventsource,
    /// The OpenAI SDK for JavaScript in a page: its x-stainless-* headers, POST of JSON.
    OpenaiJs,
    /// The request of --from-curl or --from-har.
    Page,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where to.
    pub url: Option<String>,
    /// The page's origin, or the URL of the page.
    pub origin: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// Lines of `name: value`.
    pub headers: Vec<String>,
    /// The body.
    pub data: Option<String>,
    /// `credentials` of the page's call.
    pub credentials: Option<Credentials>,
    /// What calls.
    pub preset: Option<Preset>,
    /// The request that was pasted.
    pub pasted: Option<Pasted>,
    /// Whose rules decide.
    pub browser: Browser,
}

/// A request, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The page's call.
    pub page: PageRequest,
    /// Its body.
    pub body: Bytes,
    /// What the browser's jar holds for this server. It is never shown.
    pub cookie: Option<HeaderValue>,
    /// Whether it asks for a stream.
    pub wants_stream: bool,
    /// What was assumed or left out, one sentence each.
    pub notes: Vec<String>,
}

impl Plan {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// The first thing that cannot be, in one line, with the mend.
    pub fn new(wanted: Wanted) -> Result<Self, String> {
        let Wanted { url, origin, method, headers, data, credentials, preset, pasted, browser } = wanted;
        if preset == Some(Preset::Page) && pasted.is_none() {
            return Err("--as page wants a request: give --from-curl or --from-har".to_owned());
        }
        let is_pasted = pasted.is_some();
        let mut pasted = pasted.unwrap_or_default();
        let mut notes = std::mem::take(&mut pasted.notes);
        let preset = match preset {
            Some(Preset::Page) | None if pasted.event_source => Preset::Eventsource,
            preset => preset.unwrap_or(Preset::Fetch),
        };

        let url =
            url.or_else(|| is_pasted.then(|| pasted.url.clone())).ok_or("no URL: name the one that the page calls")?;
        let mut url = parse_url(&url)?;
        let origin = origin.or(pasted.origin).unwrap_or_else(|| {
            notes.push(format!("no --origin: a page of {ASSUMED_ORIGIN} is assumed"));
            ASSUMED_ORIGIN.to_owned()
        });
        let origin = PageOrigin::parse(&origin).map_err(|_| {
            format!("--origin {origin:?} is no origin: write scheme, host and port of the page, such as https://app.example.com")
        })?;

        let mut cookie = pasted.cookie.take();
        for line in &headers {
            let (name, value) = header(line)?;
            if name == "cookie" {
                cookie = Some(value);
                continue;
            }
            pasted.headers.retain(|(pasted, _)| !pasted.eq_ignore_ascii_case(&name));
        }
        let own = headers.iter().filter_map(|line| header(line).ok()).filter(|(name, _)| name != "cookie");
        pasted.headers.extend(own);
        let cookie =
            cookie.map(|cookie| HeaderValue::try_from(cookie).map_err(|_| "the cookie holds a control character"));
        let mut cookie = cookie.transpose()?;
        if let Some(cookie) = &mut cookie {
            cookie.set_sensitive(true);
        }

        let mut body = data.map(Bytes::from).or(pasted.body);
        let mut method = method.or(pasted.method);
        match preset {
            Preset::Eventsource => not_for_event_source(&pasted.headers, method.as_deref(), body.as_ref(), is_pasted)?,
            Preset::OpenaiJs => {
                if url.path().trim_end_matches('/').ends_with(BASE_PATH) {
                    url.set_path(&format!("{}{COMPLETIONS}", url.path().trim_end_matches('/')));
                    notes.push(format!("a base URL: the client calls {}", url.path()));
                }
                if body.is_none() {
                    notes.push("no --data: a greeting without a model is sent, which CORS does not mind; name a model to see its stream".to_owned());
                    body = Some(Bytes::from_static(GREETING.as_bytes()));
                }
                method.get_or_insert_with(|| "POST".to_owned());
                add_openai_headers(&mut pasted.headers, browser);
            }
            Preset::Fetch | Preset::Page => {}
        }
        let default_method = if body.is_some() { "POST" } else { "GET" };
        let with_jar = pasted.with_credentials || cookie.is_some();
        let credentials = credentials.unwrap_or(if with_jar { Credentials::Include } else { Credentials::SameOrigin });
        if cookie.is_some() && credentials != Credentials::Include {
            notes.push(
                "the cookie stays in its jar: with these credentials the browser does not send it to another origin"
                    .to_owned(),
            );
        }
        let kind = if preset == Preset::Eventsource { Kind::EventSource } else { Kind::Fetch };
        let wants_stream = kind == Kind::EventSource || wants_stream(&pasted.headers, body.as_deref());
        let page = PageRequest {
            method: method.unwrap_or_else(|| default_method.to_owned()),
            headers: pasted.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            credentials,
            body: if body.is_some() { Body::Text } else { Body::None },
            kind,
            browser,
            ..PageRequest::get(url, origin)
        };
        Ok(Self { page, body: body.unwrap_or_default(), cookie, wants_stream, notes })
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| match text.contains("://") {
        true => format!("{text:?} is no URL: write scheme, host and path, such as https://api.example.com/v1/models"),
        false => format!("{text:?} is no URL: begin it with https:// or http://"),
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("{text:?} is neither an http nor an https URL: begin it with https:// or http://")),
    }
}

/// `name: value`, with the name in lower case.
fn header(line: &str) -> Result<(String, String), String> {
    // what stands behind the colon may be a secret, and without a colon anything may be
    let (name, value) = line
        .split_once(':')
        .ok_or("a --header has no colon: write 'name: value', such as 'content-type: application/json'")?;
    let known = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| {
        format!("--header {name:?}: this is no header name; write 'name: value' without blanks in the name")
    })?;
    HeaderValue::from_str(value.trim()).map_err(|_| {
        format!("--header {name}: its value holds a line end or control character; write it on one line")
    })?;
    Ok((known.as_str().to_owned(), value.trim().to_owned()))
}

fn not_for_event_source(
    headers: &[(String, String)],
    method: Option<&str>,
    body: Option<&Bytes>,
    is_pasted: bool,
) -> Result<(), String> {
    let instead = "take it off, or look at --as fetch";
    if let Some((name, _)) = headers.first().filter(|_| !is_pasted) {
        return Err(format!("EventSource sends no headers of the page, such as {name}: {instead}"));
    }
    match method {
        Some(method) if !method.eq_ignore_ascii_case("GET") => {
            Err(format!("EventSource sends GET alone, not {method}: {instead}"))
        }
        _ if body.is_some() => Err(format!("EventSource sends no body: {instead}")),
        _ => Ok(()),
    }
}

/// What openai-node 6 adds in a page, unless the page sets it.
fn add_openai_headers(headers: &mut Vec<(String, String)>, browser: Browser) {
    let runtime = match browser {
        Browser::Firefox => "browser:firefox",
        Browser::Safari => "browser:safari",
        Browser::Chromium | Browser::Standard => "browser:chrome",
    };
    let defaults = [
        ("accept", "application/json"),
        ("authorization", "Bearer none"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/JS 6.0.0"),
        ("x-stainless-arch", "unknown"),
        ("x-stainless-lang", "js"),
        ("x-stainless-os", "Unknown"),
        ("x-stainless-package-version", "6.0.0"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-runtime", runtime),
        ("x-stainless-runtime-version", "156.0.0"),
        ("x-stainless-timeout", "600"),
    ];
    for (name, value) in defaults {
        if !headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// `"stream": true` in the body, or a stream in `accept`.
fn wants_stream(headers: &[(String, String)], body: Option<&[u8]>) -> bool {
    let accepts =
        |(name, value): &(String, String)| name.eq_ignore_ascii_case("accept") && value.contains("text/event-stream");
    let asks = body.and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    headers.iter().any(accepts) || asks.is_some_and(|body| body["stream"] == true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(url: &str) -> Wanted {
        Wanted { url: Some(url.to_owned()), origin: Some("https://app.example".to_owned()), ..Wanted::default() }
    }

    #[test]
    fn what_is_not_said_is_what_fetch_does() {
        let plan = Plan::new(wanted("https://api.example/v1")).unwrap();
        assert_eq!((plan.page.method.as_str(), plan.page.credentials), ("GET", Credentials::SameOrigin));
        assert!(plan.notes.is_empty() && plan.body.is_empty() && !plan.wants_stream);
        let plan =
            Plan::new(Wanted { data: Some("{\"stream\":true}".into()), ..wanted("https://api.example/v1") }).unwrap();
        assert_eq!((plan.page.method.as_str(), plan.page.body), ("POST", Body::Text));
        assert!(plan.wants_stream);
        let plan = Plan::new(Wanted { origin: None, ..wanted("https://api.example/v1") }).unwrap();
        assert_eq!(plan.notes, ["no --origin: a page of https://app.example.com is assumed"]);
    }

    #[test]
    fn flags_win_over_what_was_pasted() {
        let pasted = Pasted {
            url: "https://api.example/old".into(),
            method: Some("POST".into()),
            headers: vec![("X-Team".into(), "a".into()), ("accept".into(), "text/event-stream".into())],
            origin: Some("https://old.example".into()),
            cookie: Some("session=canary".into()),
            with_credentials: true,
            ..Pasted::default()
        };
        let plan = Plan::new(Wanted {
            url: None,
            method: Some("PUT".into()),
            headers: vec!["x-team: b".into()],
            pasted: Some(pasted),
            ..wanted("")
        })
        .unwrap();
        assert_eq!((plan.page.url.as_str(), plan.page.method.as_str()), ("https://api.example/old", "PUT"));
        assert_eq!(plan.page.origin.as_str(), "https://app.example");
        let headers: Vec<_> = plan.page.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(headers, [("accept", &b"text/event-stream"[..]), ("x-team", b"b")]);
        assert_eq!(plan.page.credentials, Credentials::Include);
        assert!(plan.cookie.as_ref().unwrap().is_sensitive() && plan.wants_stream);
        assert!(!format!("{plan:?}").contains("canary"));
    }

    #[test]
    fn an_openai_client_sends_its_own_headers_to_the_completions_below_its_base() {
        let plan = Plan::new(Wanted {
            preset: Some(Preset::OpenaiJs),
            headers: vec!["authorization: Bearer sk-1".into()],
            ..wanted("https://api.example/v1/")
        })
        .unwrap();
        assert_eq!(plan.page.url.path(), "/v1/chat/completions");
        assert_eq!(plan.page.method, "POST");
        let value = |name: &str| plan.page.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &value[..]);
        assert_eq!(value("authorization"), Some(&b"Bearer sk-1"[..]));
        assert_eq!(value("x-stainless-lang"), Some(&b"js"[..]));
        assert!(plan.wants_stream && plan.notes.len() == 2, "{:?}", plan.notes);
    }

    #[test]
    fn what_cannot_be_is_said_in_one_line_without_secrets() {
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = wanted("https://api.example");
            change(&mut wanted);
            Plan::new(wanted).unwrap_err()
        };
        for (said, error) in [
            ("no URL", with(|wanted| wanted.url = None)),
            ("begin it with https://", with(|wanted| wanted.url = Some("api.example/v1".into()))),
            ("is no URL", with(|wanted| wanted.url = Some("https://".into()))),
            ("neither an http nor an https URL", with(|wanted| wanted.url = Some("ftp://a".into()))),
            ("is no origin", with(|wanted| wanted.origin = Some("app.example".into()))),
            ("has no colon", with(|wanted| wanted.headers = vec!["canary".into()])),
            ("no header name", with(|wanted| wanted.headers = vec!["a b: canary".into()])),
            ("line end", with(|wanted| wanted.headers = vec!["a: canary\nb: c".into()])),
            ("--from-curl", with(|wanted| wanted.preset = Some(Preset::Page))),
            (
                "EventSource sends GET alone",
                with(|wanted| {
                    wanted.preset = Some(Preset::Eventsource);
                    wanted.method = Some("POST".into());
                }),
            ),
            (
                "EventSource sends no headers",
                with(|wanted| {
                    wanted.preset = Some(Preset::Eventsource);
                    wanted.headers = vec!["authorization: canary".into()];
                }),
            ),
            (
                "EventSource sends no body",
                with(|wanted| {
                    wanted.preset = Some(Preset::Eventsource);
                    wanted.data = Some("canary".into());
                }),
            ),
        ] {
            assert!(error.contains(said) && !error.contains('\n') && !error.contains("canary"), "{said}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_asked_for_panics(url in "\\PC{0,30}", origin in "\\PC{0,30}", line in "\\PC{0,30}") {
            let wanted = Wanted { url: Some(url), origin: Some(origin), headers: vec![line], ..Wanted::default() };
            let _ = Plan::new(wanted);
        }
    }
}

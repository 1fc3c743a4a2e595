//! Turns the input into a page's request. Pure.

use bytes::Bytes;
use clap::ValueEnum;
use clap::builder::TypedValueParser;
use http::{HeaderName, HeaderValue};
use url::Url;

use super::pasted::Pasted;
use browser::origin::PageOrigin;
use browser::quirks::Browser;
use browser::request::{Body, Credentials, Kind, PageRequest};
use flags::choice;

/// The page's origin if none is given.
const ASSUMED_ORIGIN: &str = "https://app.example.com";
/// The end of an OpenAI client's `baseURL`, and the path that the client appends.
const BASE_PATH: &str = "/v1";
const COMPLETIONS: &str = "/chat/completions";
/// A completion without a model: enough for CORS, and without a cost.
const GREETING: &str = r#"{"messages":[{"role":"user","content":"Say hello."}],"stream":true}"#;

/// The interface that sends the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// `fetch()`, as the other flags describe it.
    Fetch,
    /// `new EventSource(url)`: a GET without headers of the page.
    Eventsource,
    /// The OpenAI SDK for JavaScript in a page: its x-stainless-* headers, POST of JSON.
    OpenaiJs,
    /// The request of --from-curl or --from-har.
    Page,
}

/// The unchecked input; `--help` shows the comments of the fields.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Input {
    /// The URL that the page calls; not needed with --from-curl or --from-har
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// The page's origin, or its URL
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// The method; the default is POST with --data, else GET
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub method: Option<String>,
    /// A header that the page sets; may be repeated. `cookie` sets the browser's cookies for the host of URL
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The body
    #[arg(long, short = 'd', value_name = "TEXT", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// `credentials` of the page's call: are cookies sent? The default is same-origin, or include with a cookie
    #[arg(long, value_parser = credentials(), value_name = "MODE")]
    pub credentials: Option<Credentials>,
    /// The caller: fetch(), EventSource, the OpenAI SDK in a page, or the page of a pasted request
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub preset: Option<Preset>,
    /// The request that was pasted.
    #[arg(skip)]
    pub pasted: Option<Pasted>,
    /// The browser whose rules decide.
    #[arg(skip)]
    pub browser: Browser,
}

/// A checked request.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The page's call.
    pub page: PageRequest,
    /// Its body.
    pub body: Bytes,
    /// The browser's cookies for this server. They are never shown.
    pub cookie: Option<HeaderValue>,
    /// Whether it requests a stream.
    pub wants_stream: bool,
    /// What was assumed or left out, one sentence each.
    pub notes: Vec<String>,
}

impl Plan {
    /// Checks the input.
    ///
    /// # Errors
    /// The first mistake and its fix, in one line.
    pub fn new(input: Input) -> Result<Self, String> {
        let Input { url, origin, method, headers, data, credentials, preset, pasted, browser } = input;
        if preset == Some(Preset::Page) && pasted.is_none() {
            return Err("--as page needs a request: give --from-curl or --from-har".to_owned());
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
            cookie.map(|cookie| HeaderValue::try_from(cookie).map_err(|_| "the cookie contains a control character"));
        let mut cookie = cookie.transpose()?;
        if let Some(cookie) = &mut cookie {
            cookie.set_sensitive(true);
        }

        let mut body = data.map(Bytes::from).or(pasted.body);
        let mut method = method.or(pasted.method);
        match preset {
            Preset::Eventsource => check_event_source(&pasted.headers, method.as_deref(), body.as_ref(), is_pasted)?,
            Preset::OpenaiJs => {
                if url.path().trim_end_matches('/').ends_with(BASE_PATH) {
                    url.set_path(&format!("{}{COMPLETIONS}", url.path().trim_end_matches('/')));
                    notes.push(format!("a base URL: the client calls {}", url.path()));
                }
                if body.is_none() {
                    notes.push("no --data: a greeting without a model is sent, which is enough for CORS; name a model to see its stream".to_owned());
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
                "the cookie is not sent: with these credentials, browsers send no cookies to another origin".to_owned(),
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

fn credentials() -> impl TypedValueParser<Value = Credentials> {
    choice([
        (Credentials::Omit, Credentials::Omit.as_str(), "Never"),
        (Credentials::SameOrigin, Credentials::SameOrigin.as_str(), "To the page's own origin"),
        (Credentials::Include, Credentials::Include.as_str(), "To every origin; the response must allow it"),
    ])
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
    // the value may be a secret, and a line without a colon, too
    let (name, value) = line
        .split_once(':')
        .ok_or("a --header has no colon: write 'name: value', such as 'content-type: application/json'")?;
    let known = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| {
        format!("--header {name:?}: this is no header name; write 'name: value' without spaces in the name")
    })?;
    HeaderValue::from_str(value.trim()).map_err(|_| {
        format!("--header {name}: its value contains a line end or control character; write it on one line")
    })?;
    Ok((known.as_str().to_owned(), value.trim().to_owned()))
}

fn check_event_source(
    headers: &[(String, String)],
    method: Option<&str>,
    body: Option<&Bytes>,
    is_pasted: bool,
) -> Result<(), String> {
    let instead = "remove it, or use --as fetch";
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

/// Adds the headers of openai-node 6 in a page, unless they are set.
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

/// Whether the body has `"stream": true`, or `accept` an event stream.
fn wants_stream(headers: &[(String, String)], body: Option<&[u8]>) -> bool {
    let accepts =
        |(name, value): &(String, String)| name.eq_ignore_ascii_case("accept") && value.contains("text/event-stream");
    let body = body.and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    headers.iter().any(accepts) || body.is_some_and(|body| body["stream"] == true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(url: &str) -> Input {
        Input { url: Some(url.to_owned()), origin: Some("https://app.example".to_owned()), ..Input::default() }
    }

    #[test]
    fn the_defaults_are_those_of_fetch() {
        let plan = Plan::new(input("https://api.example/v1")).unwrap();
        assert_eq!((plan.page.method.as_str(), plan.page.credentials), ("GET", Credentials::SameOrigin));
        assert!(plan.notes.is_empty() && plan.body.is_empty() && !plan.wants_stream);
        let plan =
            Plan::new(Input { data: Some("{\"stream\":true}".into()), ..input("https://api.example/v1") }).unwrap();
        assert_eq!((plan.page.method.as_str(), plan.page.body), ("POST", Body::Text));
        assert!(plan.wants_stream);
        let plan = Plan::new(Input { origin: None, ..input("https://api.example/v1") }).unwrap();
        assert_eq!(plan.notes, ["no --origin: a page of https://app.example.com is assumed"]);
    }

    #[test]
    fn flags_override_a_pasted_request() {
        let pasted = Pasted {
            url: "https://api.example/old".into(),
            method: Some("POST".into()),
            headers: vec![("X-Team".into(), "a".into()), ("accept".into(), "text/event-stream".into())],
            origin: Some("https://old.example".into()),
            cookie: Some("session=canary".into()),
            with_credentials: true,
            ..Pasted::default()
        };
        let plan = Plan::new(Input {
            url: None,
            method: Some("PUT".into()),
            headers: vec!["x-team: b".into()],
            pasted: Some(pasted),
            ..input("")
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
    fn an_openai_client_sends_its_headers_to_the_completions_below_its_base_url() {
        let plan = Plan::new(Input {
            preset: Some(Preset::OpenaiJs),
            headers: vec!["authorization: Bearer sk-1".into()],
            ..input("https://api.example/v1/")
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
    fn each_mistake_is_one_line_without_secrets() {
        let with = |change: fn(&mut Input)| {
            let mut input = input("https://api.example");
            change(&mut input);
            Plan::new(input).unwrap_err()
        };
        for (said, error) in [
            ("no URL", with(|input| input.url = None)),
            ("begin it with https://", with(|input| input.url = Some("api.example/v1".into()))),
            ("is no URL", with(|input| input.url = Some("https://".into()))),
            ("neither an http nor an https URL", with(|input| input.url = Some("ftp://a".into()))),
            ("is no origin", with(|input| input.origin = Some("app.example".into()))),
            ("has no colon", with(|input| input.headers = vec!["canary".into()])),
            ("no header name", with(|input| input.headers = vec!["a b: canary".into()])),
            ("line end", with(|input| input.headers = vec!["a: canary\nb: c".into()])),
            ("--from-curl", with(|input| input.preset = Some(Preset::Page))),
            (
                "EventSource sends GET alone",
                with(|input| {
                    input.preset = Some(Preset::Eventsource);
                    input.method = Some("POST".into());
                }),
            ),
            (
                "EventSource sends no headers",
                with(|input| {
                    input.preset = Some(Preset::Eventsource);
                    input.headers = vec!["authorization: canary".into()];
                }),
            ),
            (
                "EventSource sends no body",
                with(|input| {
                    input.preset = Some(Preset::Eventsource);
                    input.data = Some("canary".into());
                }),
            ),
        ] {
            assert!(error.contains(said) && !error.contains('\n') && !error.contains("canary"), "{said}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(url in "\\PC{0,30}", origin in "\\PC{0,30}", line in "\\PC{0,30}") {
            let input = Input { url: Some(url), origin: Some(origin), headers: vec![line], ..Input::default() };
            let _ = Plan::new(input);
        }
    }
}

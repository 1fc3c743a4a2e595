//! `[[upstreams]]`: providers with their keys and roots, as they are written and checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dial::proxy::{self, Proxy};
use http::header::{self, HeaderName, HeaderValue};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use settings::{Entries, EnvName, Field, Mistake, Place, Resolver, Secret, Strings};

use super::base_url::BaseUrl;
use crate::models::names::{Name, Names, check_unique};

settings::section! {
    /// A provider with an OpenAI-compatible API. Repeat this section for each provider.
    #[secret(api_key: "use api_key_env or api_key_file, and replace this key: every reader of the file has it")]
    pub struct Written {
        /// The name that the models below use.
        name: Name, required "give the upstream a name that models refer to", example "global";
        /// The part of the URL before /chat/completions. http:// is allowed only for a server on this machine or without a key.
        base_url: BaseUrl, required "write the provider's address, such as \"https://global-apis.com/v1\"",
            example "https://global-apis.com/v1";
        /// The environment variable with the provider's API key. Without this line and the next one, no key is sent.
        api_key_env: Option<EnvName>, example "GLOBAL_API_KEY";
        /// Or a file that contains only the API key.
        api_key_file: Option<PathBuf>, commented "/run/secrets/global";
        /// Or several environment variables with one API key each. A key that the provider refuses, or limits, rests for
        /// fallback.cool_down, and the same request goes on with the next key.
        api_keys_env: Strings = [], commented ["KEY_A", "KEY_B"];
        /// The header with the API key. Default: authorization, with "Bearer" before the key.
        api_key_header: Option<String>, commented "api-key";
        /// Headers that are sent with each request.
        headers: Entries = {}, commented { "http-referer" = "https://app.example.com" };
        /// Query parameters that are sent with each request.
        query: Entries = {}, commented { "api-version" = "2026-05-01" };
        /// Ask each stream for its usage (stream_options.include_usage). Tokenway stops this by itself for a model that refuses
        /// it. Without usage, tokens are estimated.
        stream_usage: bool = true;
        /// A PEM file of certificate authorities, instead of the built-in ones for this upstream. Empty: the built-in ones.
        ca_file: PathBuf = "";
        /// An HTTP proxy that makes a tunnel (CONNECT) to the provider, also for an http base_url. Default: HTTPS_PROXY and NO_PROXY
        /// of the environment, for an https base_url to another machine. "": none.
        proxy: Option<String>, commented "http://proxy.internal:3128";
        /// The time limit for TCP and TLS together.
        connect_timeout: Duration = "5s" in "1ms" ..= "24h";
        /// How long an unused connection to the provider stays open for the next request. "0s": it is closed at once.
        keep_alive: Duration = "30s" in "0s" ..= "24h";
        /// The maximum age of a connection to the provider: an older one gets no further request, so that the provider's name is
        /// resolved again.
        max_connection_age: Duration = "10m" in "1s" ..= "24h";
        /// Top-level members of a request that are refused with 400, in whatever case: those with which this provider takes
        /// another model than the one that is billed, such as OpenRouter's "models".
        refuse_members: Strings = [];
    }
}

/// One provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in models, headers, logs and metrics.
    pub name: String,
    /// Its address.
    pub base: BaseUrl,
    /// The provider's keys, of which each request sends one; empty for a server without keys.
    pub api_keys: Vec<Secret>,
    /// The header with the key. In `authorization`, `Bearer` is before it.
    pub api_key_header: HeaderName,
    /// Headers of each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Query parameters of each request, not encoded.
    pub query: Vec<(String, String)>,
    /// Whether streams are asked for their usage.
    pub stream_usage: bool,
    /// Trusted certificate authorities instead of the default ones.
    pub roots: Option<Roots>,
    /// The proxy that makes tunnels to it.
    pub proxy: Option<Proxy>,
    /// The timeout of TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection stays open for the next request.
    pub keep_alive: Duration,
    /// The age from which a connection gets no further request.
    pub max_connection_age: Duration,
    /// Top-level members of a request that are refused, in whatever case.
    pub refuse_members: Vec<String>,
}

/// Trusted certificate authorities. They are equal if their certificates are.
#[derive(Debug, Clone)]
pub struct Roots(pub Arc<RootCertStore>);

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

/// Returns the providers, in the order of the file.
pub fn resolve(upstreams: &Field<Vec<Written>>, resolver: &mut Resolver<'_>) -> Vec<Upstream> {
    if upstreams.value.is_empty() {
        let mistake = Mistake::new("is missing", "add [[upstreams]] with at least a name and a base_url");
        resolver.report(&upstreams.place, mistake);
    }
    check_unique(upstreams.value.iter().map(|upstream| &upstream.name), resolver);
    upstreams.value.iter().map(|upstream| upstream.resolve(resolver)).collect()
}

/// Returns the names of these providers.
pub fn names(upstreams: &Field<Vec<Written>>) -> Names<'_> {
    Names::new("upstream", upstreams, |upstream| &upstream.name)
}

impl Written {
    fn resolve(&self, resolver: &mut Resolver<'_>) -> Upstream {
        let api_keys = self.api_keys(resolver);
        let api_key_header = self.api_key_header(resolver);
        self.check_clear_text(resolver);
        Upstream {
            roots: self.roots(resolver),
            proxy: self.proxy(resolver),
            name: self.name.value.0.clone(),
            base: self.base_url.value.clone(),
            api_keys,
            headers: self.headers(&api_key_header, resolver),
            api_key_header,
            query: self.query.value.0.iter().map(|(name, field)| (name.clone(), field.value.clone())).collect(),
            stream_usage: self.stream_usage.value,
            connect_timeout: self.connect_timeout.value,
            keep_alive: self.keep_alive.value,
            max_connection_age: self.max_connection_age.value,
            refuse_members: self.refuse_members.value.iter().map(|name| name.value.clone()).collect(),
        }
    }

    /// Checks what would be sent in clear text to another machine: a key is an error, prompts are a warning.
    fn check_clear_text(&self, resolver: &mut Resolver<'_>) {
        let url = &self.base_url;
        if url.tls || url.is_loopback() || !url.is_readable() {
            return;
        }
        if self.key_places().next().is_some() {
            let mistake = Mistake::new("would send the provider's key in clear text", "write https, or remove the key");
            resolver.report(&url.place, mistake);
        } else {
            resolver.warn(&url.place.key, "is http to another machine: prompts and answers travel in clear text");
        }
    }

    /// Returns the keys that name an API key and are written.
    fn key_places(&self) -> impl Iterator<Item = &Place> {
        let written = |is_written, place| Some(place).filter(|_| is_written);
        [
            written(self.api_key_env.is_written(), &self.api_key_env.place),
            written(self.api_key_file.is_written(), &self.api_key_file.place),
            written(self.api_keys_env.is_written(), &self.api_keys_env.place),
        ]
        .into_iter()
        .flatten()
    }

    fn api_keys(&self, resolver: &mut Resolver<'_>) -> Vec<Secret> {
        let mut places = self.key_places();
        if let (Some(first), Some(second)) = (places.next(), places.next()) {
            let first = first.key.rsplit('.').next().unwrap_or_default();
            let reason = format!("cannot be used together with {first}");
            resolver.report(second, Mistake::new(reason, "keep one of the two"));
            return Vec::new();
        }
        if let Some(name) = &self.api_key_env.value {
            return key_from_env(name, &self.api_key_env.place, resolver).into_iter().collect();
        }
        if let Some(path) = &self.api_key_file.value {
            let path = Field { value: path.clone(), place: self.api_key_file.place.clone() };
            return key_from_file(&path, resolver).into_iter().collect();
        }
        if self.api_keys_env.is_written() && self.api_keys_env.is_readable() && self.api_keys_env.value.is_empty() {
            let mistake = Mistake::new("is empty", "name an environment variable for each key, or remove the line");
            resolver.report(&self.api_keys_env.place, mistake);
        }
        let read = |name: &Field<String>| key_from_env(&EnvName(name.value.clone()), &name.place, resolver);
        self.api_keys_env.value.iter().filter(|name| name.is_readable()).filter_map(read).collect()
    }

    fn api_key_header(&self, resolver: &mut Resolver<'_>) -> HeaderName {
        let Some(written) = &self.api_key_header.value else { return header::AUTHORIZATION };
        let name = HeaderName::try_from(written.as_str()).ok();
        let fault = match &name {
            None => Some("is no header name"),
            Some(name) if OWN_HEADERS.contains(&name.as_str()) => Some("is a header that Tokenway writes itself"),
            Some(_) => None,
        };
        if let Some(reason) = fault {
            let mend = "write the name of the provider's header for keys, such as \"api-key\" or \"x-api-key\"";
            resolver.report(&self.api_key_header.place, Mistake::new(reason, mend));
        }
        name.unwrap_or(header::AUTHORIZATION)
    }

    fn headers(&self, api_key_header: &HeaderName, resolver: &mut Resolver<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (written, field) in &self.headers.value.0 {
            let mut refuse = |reason: &str, mend: &str| resolver.report(&field.place, Mistake::new(reason, mend));
            let Ok(name) = HeaderName::try_from(written.as_str()) else {
                refuse("is no header name", "write a name of letters, digits and hyphens");
                continue;
            };
            if OWN_HEADERS.contains(&name.as_str()) {
                refuse("is a header that Tokenway writes itself", "remove it");
            } else if name == *api_key_header || SECRET_HEADERS.contains(&name.as_str()) {
                refuse("would put a key into the file", "name it with api_key_env, and its header with api_key_header");
            } else if headers.iter().any(|(other, _)| *other == name) {
                refuse("is written twice, with other capitals", "keep one of the two");
            } else if let Ok(value) = HeaderValue::try_from(field.value.as_str()) {
                headers.push((name, value));
            } else {
                refuse("has a value that a header cannot have", "write one line of visible characters");
            }
        }
        headers
    }

    fn proxy(&self, resolver: &mut Resolver<'_>) -> Option<Proxy> {
        let Some(written) = &self.proxy.value else { return self.proxy_of_environment(resolver) };
        if written.is_empty() {
            return None;
        }
        let proxy = Proxy::parse(written);
        let fault = match &proxy {
            None => Some(("is no proxy", "write http://host:port; only http proxies are supported")),
            Some(proxy) if proxy.has_credentials() => Some((
                "holds credentials",
                "put the URL into the environment variable HTTPS_PROXY, and remove this line",
            )),
            Some(_) => None,
        };
        if let Some((reason, mend)) = fault {
            resolver.report(&self.proxy.place, Mistake::new(reason, mend));
        }
        proxy
    }

    /// Returns the proxy of the usual variables, of which the lower-case ones come first, as in curl.
    fn proxy_of_environment(&self, resolver: &mut Resolver<'_>) -> Option<Proxy> {
        let url = &self.base_url;
        let variable = |name: [&str; 2], resolver: &Resolver<'_>| {
            name.iter()
                .find_map(|name| resolver.variable(&EnvName((*name).to_owned())).filter(|value| !value.is_empty()))
        };
        let written = variable(["https_proxy", "HTTPS_PROXY"], resolver)?;
        let excluded = variable(["no_proxy", "NO_PROXY"], resolver).unwrap_or_default();
        if !url.tls || url.is_loopback() || proxy::is_excluded(&excluded, &url.host) {
            return None;
        }
        let proxy = Proxy::parse(&written);
        if proxy.is_none() {
            let reason = "would be reached through HTTPS_PROXY of the environment, which is no http://host:port";
            resolver.report(&url.place, Mistake::new(reason, "correct the variable, or write proxy = \"\" for none"));
        }
        proxy
    }

    fn roots(&self, resolver: &mut Resolver<'_>) -> Option<Roots> {
        let path = &self.ca_file;
        if path.as_os_str().is_empty() {
            return None;
        }
        let url = &self.base_url;
        if url.is_readable() && !url.tls {
            let mistake = Mistake::new("is not used: base_url is http", "write https there, or remove ca_file");
            resolver.report(&path.place, mistake);
            return None;
        }
        let content = resolver.file(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(certificates.unwrap_or_default());
        if added == 0 || ignored > 0 {
            let reason = "names a file that is not a valid list of certificates";
            let mend = "name a PEM file that holds only certificate authorities";
            resolver.report(&path.place, Mistake::new(reason, mend));
            return None;
        }
        Some(Roots(Arc::new(roots)))
    }
}

/// Headers that Tokenway writes itself, or that concern only its connection (RFC 9110 §7.6.1).
const OWN_HEADERS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Headers whose values are keys.
const SECRET_HEADERS: [&str; 6] =
    ["api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key"];

fn key_from_env(name: &EnvName, place: &Place, resolver: &mut Resolver<'_>) -> Option<Secret> {
    let shown = name.shown();
    let key = match resolver.variable(name) {
        None => Err(Mistake::new(format!("{shown} is not set"), "set it to the provider's key before starting")),
        Some(key) => Secret::parse(key.as_bytes())
            .map_err(|mistake| Mistake { reason: format!("{shown} {}", mistake.reason), ..mistake }),
    };
    key.map_err(|mistake| resolver.report(place, mistake)).ok()
}

fn key_from_file(path: &Field<PathBuf>, resolver: &mut Resolver<'_>) -> Option<Secret> {
    let content = resolver.file(path)?;
    resolver.warn_if_world_readable(path);
    let key = Secret::parse(&content).map_err(|mistake| {
        let reason = format!("names a file that {}", mistake.reason);
        resolver.report(&path.place, Mistake { reason, ..mistake });
    });
    key.ok()
}

impl Default for Upstream {
    /// Makes an upstream without a name and an address.
    fn default() -> Self {
        Self {
            name: String::new(),
            base: BaseUrl::default(),
            api_keys: Vec::new(),
            api_key_header: header::AUTHORIZATION,
            headers: Vec::new(),
            query: Vec::new(),
            stream_usage: true,
            refuse_members: Vec::new(),
            roots: None,
            proxy: None,
            connect_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(30),
            max_connection_age: Duration::from_secs(600),
        }
    }
}

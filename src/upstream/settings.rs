//! `[[upstreams]]`: providers with their keys and roots, as they are written and checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use settings::{EnvName, Field, Mistake, Resolver, Secret, Strings};

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
        /// A PEM file of certificate authorities, instead of the built-in ones for this upstream. Empty: the built-in ones.
        ca_file: PathBuf = "";
        /// The time limit for TCP and TLS together.
        connect_timeout: Duration = "5s" in "1ms" ..= "24h";
        /// How long an unused connection to the provider stays open for the next request. "0s": it is closed at once.
        keep_alive: Duration = "30s" in "0s" ..= "24h";
        /// Top-level members of a request that are refused with 400, in whatever case: those with which this provider takes
        /// another model than the one that is billed, such as OpenRouter's "models".
        refuse_members: Strings = [];
    }
}

/// One provider.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in models, headers, logs and metrics.
    pub name: String,
    /// Its address.
    pub base: BaseUrl,
    /// The provider's key, sent as `authorization: Bearer`; `None` for a server without keys.
    pub api_key: Option<Secret>,
    /// Trusted certificate authorities instead of the default ones.
    pub roots: Option<Arc<RootCertStore>>,
    /// The timeout of TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection stays open for the next request.
    pub keep_alive: Duration,
    /// Top-level members of a request that are refused, in whatever case.
    pub refuse_members: Vec<String>,
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
        let api_key = self.api_key(resolver);
        self.check_clear_text(resolver);
        Upstream {
            roots: self.roots(resolver),
            name: self.name.value.0.clone(),
            base: self.base_url.value.clone(),
            api_key,
            connect_timeout: self.connect_timeout.value,
            keep_alive: self.keep_alive.value,
            refuse_members: self.refuse_members.value.iter().map(|name| name.value.clone()).collect(),
        }
    }

    /// Checks what would be sent in clear text to another machine: a key is an error, prompts are a warning.
    fn check_clear_text(&self, resolver: &mut Resolver<'_>) {
        let url = &self.base_url;
        if url.tls || url.is_loopback() || !url.is_readable() {
            return;
        }
        if self.api_key_env.is_written() || self.api_key_file.is_written() {
            let mistake = Mistake::new("would send the provider's key in clear text", "write https, or remove the key");
            resolver.report(&url.place, mistake);
        } else {
            resolver.warn(&url.place.key, "is http to another machine: prompts and answers travel in clear text");
        }
    }

    fn api_key(&self, resolver: &mut Resolver<'_>) -> Option<Secret> {
        match (&self.api_key_env.value, &self.api_key_file.value) {
            (None, None) => None,
            (Some(name), None) => self.key_from_env(name, resolver),
            (None, Some(path)) => {
                let path = Field { value: path.clone(), place: self.api_key_file.place.clone() };
                key_from_file(&path, resolver)
            }
            (Some(_), Some(_)) => {
                let mistake = Mistake::new("cannot be used together with api_key_env", "keep one of the two");
                resolver.report(&self.api_key_file.place, mistake);
                None
            }
        }
    }

    fn key_from_env(&self, name: &EnvName, resolver: &mut Resolver<'_>) -> Option<Secret> {
        let shown = name.shown();
        let key = match resolver.variable(name) {
            None => Err(Mistake::new(format!("{shown} is not set"), "set it to the provider's key before starting")),
            Some(key) => Secret::parse(key.as_bytes())
                .map_err(|mistake| Mistake { reason: format!("{shown} {}", mistake.reason), ..mistake }),
        };
        key.map_err(|mistake| resolver.report(&self.api_key_env.place, mistake)).ok()
    }

    fn roots(&self, resolver: &mut Resolver<'_>) -> Option<Arc<RootCertStore>> {
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
        Some(Arc::new(roots))
    }
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

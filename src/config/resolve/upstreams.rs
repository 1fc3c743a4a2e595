//! `[[upstreams]]`: providers with their keys and roots.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Resolver;
use crate::config::problem::{Field, Mistake};
use crate::config::values::{EnvName, Name};
use crate::config::{Secret, Upstream, raw};

impl Resolver<'_> {
    pub(super) fn upstreams(&mut self, upstreams: &Field<Vec<raw::Upstream>>) -> Vec<Upstream> {
        if upstreams.value.is_empty() {
            let mistake = Mistake::new("is missing", "add [[upstreams]] with at least a name and a base_url");
            self.problems.report(&upstreams.place, mistake);
        }
        self.check_unique(upstreams.value.iter().map(|upstream| &upstream.name));
        upstreams.value.iter().map(|upstream| self.upstream(upstream)).collect()
    }

    fn upstream(&mut self, upstream: &raw::Upstream) -> Upstream {
        let api_key = self.api_key(upstream);
        let has_key = upstream.api_key_env.is_written() || upstream.api_key_file.is_written();
        self.check_clear_text(upstream, has_key);
        Upstream {
            roots: self.roots(upstream),
            name: upstream.name.value.0.clone(),
            base: upstream.base_url.value.clone(),
            api_key,
            connect_timeout: upstream.connect_timeout.value,
            keep_alive: upstream.keep_alive.value,
        }
    }

    /// What would travel in clear text beyond this machine: a key is refused, prompts are warned of.
    fn check_clear_text(&mut self, upstream: &raw::Upstream, has_key: bool) {
        let url = &upstream.base_url;
        if url.tls || url.is_loopback() || !url.is_readable() {
            return;
        }
        if has_key {
            let mistake = Mistake::new("would send the provider's key in clear text", "write https, or remove the key");
            self.problems.report(&url.place, mistake);
        } else {
            self.warn(&url.place.key, "is http to another machine: prompts and answers travel in clear text");
        }
    }

    fn api_key(&mut self, upstream: &raw::Upstream) -> Option<Secret> {
        match (&upstream.api_key_env.value, &upstream.api_key_file.value) {
            (None, None) => None,
            (Some(name), None) => self.key_from_env(&upstream.api_key_env, name),
            (None, Some(path)) => {
                let path = Field { value: path.clone(), place: upstream.api_key_file.place.clone() };
                self.key_from_file(&path)
            }
            (Some(_), Some(_)) => {
                let mistake = Mistake::new("stands beside api_key_env", "keep one of the two");
                self.problems.report(&upstream.api_key_file.place, mistake);
                None
            }
        }
    }

    fn key_from_env(&mut self, field: &Field<Option<EnvName>>, name: &EnvName) -> Option<Secret> {
        let shown = name.shown();
        let key = match (self.env)(&name.0) {
            None => Err(Mistake::new(format!("{shown} is not set"), "set it to the provider's key before starting")),
            Some(key) => Secret::parse(key.as_bytes())
                .map_err(|mistake| Mistake { reason: format!("{shown} {}", mistake.reason), ..mistake }),
        };
        key.map_err(|mistake| self.problems.report(&field.place, mistake)).ok()
    }

    fn key_from_file(&mut self, path: &Field<PathBuf>) -> Option<Secret> {
        let content = self.file(path)?;
        self.warn_if_world_readable(path);
        let key = Secret::parse(&content).map_err(|mistake| {
            let reason = format!("names a file that {}", mistake.reason);
            self.problems.report(&path.place, Mistake { reason, ..mistake });
        });
        key.ok()
    }

    fn roots(&mut self, upstream: &raw::Upstream) -> Option<Arc<RootCertStore>> {
        let path = &upstream.ca_file;
        if path.as_os_str().is_empty() {
            return None;
        }
        let url = &upstream.base_url;
        if url.is_readable() && !url.tls {
            let mistake = Mistake::new("is not used: base_url is http", "write https there, or remove ca_file");
            self.problems.report(&path.place, mistake);
            return None;
        }
        let content = self.file(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(certificates.unwrap_or_default());
        if added == 0 || ignored > 0 {
            let reason = "names a file that is no clean list of certificates";
            let mend = "name a PEM file that holds only certificate authorities";
            self.problems.report(&path.place, Mistake::new(reason, mend));
            return None;
        }
        Some(Arc::new(roots))
    }

    /// Reports each name that stands at an earlier place already.
    pub(super) fn check_unique<'n>(&mut self, names: impl Iterator<Item = &'n Field<Name>>) {
        let mut seen: HashMap<&str, Option<usize>> = HashMap::new();
        for name in names.filter(|name| name.is_readable()) {
            if let Some(line) = seen.insert(&name.value.0, name.place.line) {
                let first = line.map_or(String::new(), |line| format!(" (line {line})"));
                let reason = format!("`{}` is taken{first}", name.value.0);
                self.problems.report(&name.place, Mistake::new(reason, "choose another name"));
            }
        }
    }
}

impl EnvName {
    /// How a message names the variable. Only capitals are shown (POSIX.1-2017 §8.1: what portable names are made of):
    /// anything else may be the key itself, pasted in the wrong place.
    pub(super) fn shown(&self) -> String {
        match self.0.bytes().any(|b| b.is_ascii_lowercase()) {
            true => "the variable that it names".to_owned(),
            false => format!("the variable {}", self.0),
        }
    }
}

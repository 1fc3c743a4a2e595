//! `[access]`: keys, secrets and key files read, and nothing taken that could not be checked.

use std::path::PathBuf;

use super::Resolver;
use crate::auth::credentials::Accept;
use crate::auth::key_file;
use crate::auth::keyring::Keyring;
use crate::auth::session::{Sessions, check_secret};
use crate::auth::token::Tokens;
use crate::auth::token_key::TokenKey;
use crate::config::problem::{Field, Mistake, nearest, quoted};
use crate::config::raw_access::Access as Raw;
use crate::config::values::EnvName;
use crate::config::{Access, Secret};
use crate::models::Table;
use cors::policy::Policy;

/// The words of `access.accept`.
const KINDS: [&str; 3] = ["key", "token", "session"];

impl Resolver<'_> {
    pub(super) fn access(&mut self, access: &Raw, cors: Option<&Policy>, models: &Table) -> Access {
        let accept = self.accept(&access.accept);
        let keys = if accept.key { self.keys(&access.keys_file, models) } else { Keyring::default() };
        // a session begins with a token
        let token_keys = if accept.token || accept.session { self.token_keys(access) } else { Vec::new() };
        let audience = Some(access.token_audience.value.clone()).filter(|audience| !audience.is_empty());
        let tokens = Tokens::new(token_keys, access.token_max_age.value, audience);
        let sessions = if accept.session { self.sessions(access, cors) } else { None };
        Access { accept, keys, tokens, sessions }
    }

    fn accept(&mut self, written: &Field<Vec<Field<String>>>) -> Accept {
        let mut accept = Accept::default();
        for kind in written.iter().filter(|kind| kind.is_readable()) {
            let taken = match kind.value.as_str() {
                "key" => &mut accept.key,
                "token" => &mut accept.token,
                "session" => &mut accept.session,
                other => {
                    let mend = match nearest(other, KINDS) {
                        Some(meant) => format!("write \"{meant}\""),
                        None => "write \"key\", \"token\" or \"session\"".to_owned(),
                    };
                    let reason = format!("{} is no kind of credential", quoted(other));
                    self.problems.report(&kind.place, Mistake::new(reason, mend));
                    continue;
                }
            };
            if std::mem::replace(taken, true) {
                self.problems.report(&kind.place, Mistake::new("stands there twice", "keep one of the two"));
            }
        }
        accept
    }

    fn keys(&mut self, path: &Field<PathBuf>, models: &Table) -> Keyring {
        let mend = "make it with `tokenway key new NAME --keys-file FILE`, or name one that is readable";
        let Some(content) = self.file_or(path, mend) else { return Keyring::default() };
        let parsed = match std::str::from_utf8(&content) {
            Ok(text) => key_file::parse(text),
            Err(_) => {
                let mistake = Mistake::new("names a file that is not UTF-8", "name a file of `tokenway key new`");
                self.problems.report(&path.place, mistake);
                return Keyring::default();
            }
        };
        match parsed {
            Ok(records) => {
                for record in &records {
                    let unknown = record.terms.models.iter().flat_map(|models| models.iter());
                    for model in unknown.filter(|model| models.find(Some(model)).is_none()) {
                        let what =
                            format!("lets the key {} use {}, which is no model here", record.name, quoted(model));
                        self.warn(&path.place.key, &what);
                    }
                }
                Keyring::new(records)
            }
            Err(flaws) => {
                for flaw in flaws {
                    let reason = format!("line {} of that file: {}", flaw.line, flaw.reason);
                    self.problems.report(&path.place, Mistake::new(reason, flaw.mend));
                }
                Keyring::default()
            }
        }
    }

    /// The shared secret, unless public keys are named and it is not; and every public key.
    fn token_keys(&mut self, access: &Raw) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        let named = |path: &Field<PathBuf>| !path.as_os_str().is_empty();
        let (pem, jwks) = (&access.token_public_key_file, &access.token_jwks_file);
        let secret = &access.token_secret_env;
        if secret.is_written() || !named(pem) && !named(jwks) {
            keys.extend(self.secret(secret, &secret.value, TokenKey::from_secret));
        }
        if named(pem) {
            keys.extend(self.key_file(pem, TokenKey::from_pem));
        }
        if named(jwks) {
            keys.extend(self.key_file(jwks, TokenKey::from_jwks).into_iter().flatten());
            if access.token_audience.is_empty() {
                self.warn(
                    &jwks.place.key,
                    "is used without access.token_audience: a token that its issuer made for another service, and that names \
                     no audience, is taken here as well",
                );
            }
        }
        keys
    }

    fn sessions(&mut self, access: &Raw, cors: Option<&Policy>) -> Option<Sessions> {
        if cors.is_some_and(|cors| !cors.credentials()) {
            let reason =
                "takes sessions, but cors.credentials is false: browsers would neither keep nor send the cookie";
            let mend = "set cors.credentials = true, or remove \"session\"";
            self.problems.report(&access.accept.place, Mistake::new(reason, mend));
        }
        let current = &access.session_secret_env;
        let previous = &access.session_secret_previous_env;
        let bytes = |secret: &[u8]| check_secret(secret).map(|()| secret.to_vec());
        let current_secret = self.secret(current, &current.value, bytes);
        let previous_secret = match &previous.value {
            Some(name) => Some(self.secret(previous, name, bytes)?),
            None => None,
        };
        let (ttl, same_site) = (access.session_ttl.value, access.same_site.value);
        let sessions = Sessions::new(&current_secret?, previous_secret.as_deref(), ttl, same_site);
        let report = |reason: String| {
            let reason = format!("names a variable that {reason}");
            self.problems.report(&current.place, Mistake::new(reason, "set another secret before starting"));
        };
        sessions.map_err(report).ok()
    }

    /// What `make` makes of the value of a variable.
    fn secret<T, F>(
        &mut self,
        field: &Field<F>,
        name: &EnvName,
        make: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let shown = name.shown();
        let made = match (self.env)(&name.0) {
            None => Err(Mistake::new(
                format!("{shown} is not set"),
                "set it to a secret before starting; `openssl rand -hex 32` makes one",
            )),
            Some(value) => match Secret::parse(value.as_bytes()) {
                Ok(secret) => make(secret.expose().as_bytes())
                    .map_err(|reason| Mistake::new(format!("{shown} {reason}"), "set another secret before starting")),
                Err(mistake) => Err(Mistake::new(
                    format!("{shown} {}", mistake.reason),
                    "set it to a secret of visible ASCII without spaces; `openssl rand -hex 32` makes one",
                )),
            },
        };
        made.map_err(|mistake| self.problems.report(&field.place, mistake)).ok()
    }

    fn key_file<T>(&mut self, path: &Field<PathBuf>, make: impl FnOnce(&[u8]) -> Result<T, String>) -> Option<T> {
        let content = self.file(path)?;
        let report = |reason: String| {
            let mend = "name a file that holds the public key, and nothing else";
            self.problems.report(&path.place, Mistake::new(format!("names a file that {reason}"), mend));
        };
        make(&content).map_err(report).ok()
    }
}

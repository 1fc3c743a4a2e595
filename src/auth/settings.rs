//! `[access]`, as it is written and checked: keys, secrets and key files are read, and no credential is accepted that could not
//! be checked.

use std::path::PathBuf;
use std::time::Duration;

use cors::policy::Policy;
use settings::{EnvName, Field, Mistake, Resolver, Secret, Strings, nearest, quoted};

use super::cookie::SameSite;
use super::credentials::Accept;
use super::key_file;
use super::keyring::Keyring;
use super::session::{Sessions, check_secret};
use super::token::Tokens;
use super::token_key::TokenKey;
use crate::models::Table;

settings::section! {
    /// Who may call. See docs/ACCESS.md.
    #[secret(token_secret: "name a variable with token_secret_env or session_secret_env, and replace this secret: every \
                            reader of the file has it")]
    #[secret(session_secret: "name a variable with token_secret_env or session_secret_env, and replace this secret: every \
                              reader of the file has it")]
    pub struct Written {
        /// The accepted credentials: "key", "token", "session". docs/ACCESS.md explains which one to use.
        /// Empty: access is open. Pages of every allowed origin, and every program that reaches Tokenway, may call.
        accept: Strings = [];
        /// "key": gateway keys for servers and scripts. `tokenway key new NAME --keys-file FILE` creates one. The file contains
        /// only its hash.
        keys_file: PathBuf = "keys.toml";
        /// "token": short-lived JWTs that the app's own backend signs for its pages. This variable contains the secret for HS256,
        /// at least 32 bytes. If a public key is named below, the variable is read only if this line is written.
        token_secret_env: EnvName = "TOKENWAY_TOKEN_SECRET";
        /// For EdDSA (Ed25519), ES256 or RS256: a public key as PEM. Empty: none.
        token_public_key_file: PathBuf = "";
        /// The same as a JWK set. Empty: none.
        token_jwks_file: PathBuf = "";
        /// The audience that the claim `aud` must contain. Empty: tokens must not have an audience.
        token_audience: String = "";
        /// A token's `exp` may be at most this far in the future.
        token_max_age: Duration = "15m" in "1s" ..= "24h";
        /// "session": POST /v1/session exchanges a token for a cookie. This needs cors.credentials = true. The variable contains
        /// the secret that encrypts the cookie, at least 32 bytes. Use the same secret for all instances.
        session_secret_env: EnvName = "TOKENWAY_SESSION_SECRET";
        /// During a change of the secret: the variable with the old secret. Cookies of the old secret are still accepted.
        session_secret_previous_env: Option<EnvName>, commented "TOKENWAY_SESSION_SECRET_PREVIOUS";
        /// The duration of a session.
        session_ttl: Duration = "1h" in "1s" ..= "720h";
        /// "none": the page is on another site than the gateway (SameSite=None; Partitioned). "lax": both are subdomains of one
        /// site.
        same_site: SameSite = "none";
    }
}

settings::words!(
    SameSite { None = "none", Lax = "lax" },
    "write \"lax\" where pages and gateway are subdomains of one site, else \"none\""
);

/// The checked `[access]` section, with every key and secret.
#[derive(Debug)]
pub struct Access {
    /// The kinds of credentials that are accepted.
    pub accept: Accept,
    /// Gateway keys; none if they are not accepted.
    pub keys: Keyring,
    /// Verifies tokens; refuses all if neither tokens nor sessions are accepted.
    pub tokens: Tokens,
    /// Seals and opens sessions, if they are accepted.
    pub sessions: Option<Sessions>,
}

/// The words of `access.accept`.
const KINDS: [&str; 3] = ["key", "token", "session"];

impl Written {
    /// Returns the checked section. Without `cors`, its own mistakes are reported elsewhere.
    pub fn resolve(&self, cors: Option<&Policy>, models: &Table, resolver: &mut Resolver<'_>) -> Access {
        let accept = accept(&self.accept, resolver);
        let keys = if accept.key { keys(&self.keys_file, models, resolver) } else { Keyring::default() };
        // a session begins with a token
        let token_keys = if accept.token || accept.session { self.token_keys(resolver) } else { Vec::new() };
        let audience = Some(self.token_audience.value.clone()).filter(|audience| !audience.is_empty());
        let tokens = Tokens::new(token_keys, self.token_max_age.value, audience);
        let sessions = if accept.session { self.sessions(cors, resolver) } else { None };
        Access { accept, keys, tokens, sessions }
    }

    /// Returns the shared secret, unless public keys are named and it is not, and every public key.
    fn token_keys(&self, resolver: &mut Resolver<'_>) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        let named = |path: &Field<PathBuf>| !path.as_os_str().is_empty();
        let (pem, jwks) = (&self.token_public_key_file, &self.token_jwks_file);
        let secret = &self.token_secret_env;
        if secret.is_written() || !named(pem) && !named(jwks) {
            keys.extend(read_secret(secret, &secret.value, TokenKey::from_secret, resolver));
        }
        if named(pem) {
            keys.extend(read_key_file(pem, TokenKey::from_pem, resolver));
        }
        if named(jwks) {
            keys.extend(read_key_file(jwks, TokenKey::from_jwks, resolver).into_iter().flatten());
            if self.token_audience.is_empty() {
                resolver.warn(
                    &jwks.place.key,
                    "is used without access.token_audience: a token that its issuer made for another service, and that names \
                     no audience, is taken here as well",
                );
            }
        }
        keys
    }

    fn sessions(&self, cors: Option<&Policy>, resolver: &mut Resolver<'_>) -> Option<Sessions> {
        if cors.is_some_and(|cors| !cors.credentials()) {
            let reason =
                "accepts sessions, but cors.credentials is false: browsers would neither store nor send the cookie";
            let mend = "set cors.credentials = true, or remove \"session\"";
            resolver.report(&self.accept.place, Mistake::new(reason, mend));
        }
        let current = &self.session_secret_env;
        let previous = &self.session_secret_previous_env;
        let bytes = |secret: &[u8]| check_secret(secret).map(|()| secret.to_vec());
        let current_secret = read_secret(current, &current.value, bytes, resolver);
        let previous_secret = match &previous.value {
            Some(name) => Some(read_secret(previous, name, bytes, resolver)?),
            None => None,
        };
        let (ttl, same_site) = (self.session_ttl.value, self.same_site.value);
        let sessions = Sessions::new(&current_secret?, previous_secret.as_deref(), ttl, same_site);
        let report = |reason: String| {
            let reason = format!("names a variable that {reason}");
            resolver.report(&current.place, Mistake::new(reason, "set another secret before starting"));
        };
        sessions.map_err(report).ok()
    }
}

fn accept(written: &Field<Strings>, resolver: &mut Resolver<'_>) -> Accept {
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
                let reason = format!("{} is not a kind of credential", quoted(other));
                resolver.report(&kind.place, Mistake::new(reason, mend));
                continue;
            }
        };
        if std::mem::replace(taken, true) {
            resolver.report(&kind.place, Mistake::new("is listed twice", "keep one of the two"));
        }
    }
    accept
}

fn keys(path: &Field<PathBuf>, models: &Table, resolver: &mut Resolver<'_>) -> Keyring {
    let mend = "make it with `tokenway key new NAME --keys-file FILE`, or name one that is readable";
    let Some(content) = resolver.file_or(path, mend) else { return Keyring::default() };
    let parsed = match std::str::from_utf8(&content) {
        Ok(text) => key_file::parse(text),
        Err(_) => {
            let mistake = Mistake::new("names a file that is not UTF-8", "name a file of `tokenway key new`");
            resolver.report(&path.place, mistake);
            return Keyring::default();
        }
    };
    match parsed {
        Ok(records) => {
            for record in &records {
                let unknown = record.terms.models.iter().flat_map(|models| models.iter());
                for model in unknown.filter(|model| models.find(Some(model)).is_none()) {
                    let what = format!(
                        "allows the key {} to use {}, which is not a configured model",
                        record.name,
                        quoted(model)
                    );
                    resolver.warn(&path.place.key, &what);
                }
            }
            Keyring::new(records)
        }
        Err(flaws) => {
            for flaw in flaws {
                let reason = format!("line {} of that file: {}", flaw.line, flaw.reason);
                resolver.report(&path.place, Mistake::new(reason, flaw.mend));
            }
            Keyring::default()
        }
    }
}

/// Returns what `make` makes of the value of a variable.
fn read_secret<T, F>(
    field: &Field<F>,
    name: &EnvName,
    make: impl FnOnce(&[u8]) -> Result<T, String>,
    resolver: &mut Resolver<'_>,
) -> Option<T> {
    let shown = name.shown();
    let made = match resolver.variable(name) {
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
    made.map_err(|mistake| resolver.report(&field.place, mistake)).ok()
}

fn read_key_file<T>(
    path: &Field<PathBuf>,
    make: impl FnOnce(&[u8]) -> Result<T, String>,
    resolver: &mut Resolver<'_>,
) -> Option<T> {
    let content = resolver.file(path)?;
    let report = |reason: String| {
        let mend = "name a file that holds the public key, and nothing else";
        resolver.report(&path.place, Mistake::new(format!("names a file that {reason}"), mend));
    };
    make(&content).map_err(report).ok()
}

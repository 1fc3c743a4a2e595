//! From the raw file to usable values: one key checked against another, files and variables read, names looked up.

mod access;
mod auto;
mod cache;
mod cost;
mod fallback;
mod limits;
mod models;
mod server;
mod upstreams;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::problem::{Field, Mistake, Place, Problems};
use super::raw::{self, Raw};
use super::{Config, Env, Log, Resume, Stream, format_size};
use cors::policy::{Policy, Spec};

/// No certificate chain, root bundle or key is larger. The bound keeps a path such as `/dev/zero` harmless.
const LARGEST_FILE: u64 = 4 << 20;

/// Checks a whole configuration at the time `now`.
pub(super) fn resolve(text: &str, base_dir: &Path, env: Env<'_>, now: SystemTime) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let Some(raw) = Raw::parse(text, &mut problems) else {
        problems.sort();
        return Err(problems);
    };
    let mut resolver = Resolver { base_dir, env, now, problems, warnings: Vec::new() };
    let config = resolver.config(raw);
    let Resolver { mut problems, warnings, .. } = resolver;
    match config {
        Some(config) if problems.0.is_empty() => Ok(Config { warnings, ..config }),
        _ => {
            problems.sort();
            Err(problems)
        }
    }
}

/// What the checks of all sections share.
struct Resolver<'a> {
    base_dir: &'a Path,
    env: Env<'a>,
    now: SystemTime,
    problems: Problems,
    warnings: Vec<String>,
}

impl Resolver<'_> {
    /// Every section is checked, whatever is wrong with those before it. `None` only where there is a problem.
    fn config(&mut self, raw: Raw) -> Option<Config> {
        let server = self.server(raw.server);
        let cors = self.cors(&raw.cors);
        let stream = stream(&raw.stream);
        let resume = self.resume(&raw.resume);
        let upstreams = self.upstreams(&raw.upstreams);
        let models = self.models(&raw.upstreams, &raw.models, &raw.routing);
        let auto = self.auto(&raw.routing, &raw.models);
        let fallback = self.fallback_rules(&raw.fallback, &raw.models, &models);
        let access = self.access(&raw.access, cors.as_ref(), &models);
        let limits = self.limits(&raw.limits, &raw.models);
        let max_callers = raw.limits.max_callers.value;
        let costs = self.costs(&raw.cost, &raw.models, &models);
        let redis = self.redis(&raw.redis);
        let cache = self.cache(&raw.cache);
        let log = Log { json: raw.log.value == raw::LogFormat::Json };
        Some(Config {
            server,
            cors: cors?,
            stream,
            resume,
            upstreams,
            models,
            auto,
            fallback,
            access,
            limits,
            max_callers,
            costs,
            redis,
            cache,
            log,
            warnings: Vec::new(),
        })
    }

    fn cors(&mut self, cors: &raw::Cors) -> Option<Policy> {
        let spec = Spec {
            origins: strings(&cors.origins),
            credentials: cors.credentials.value,
            allow_headers: strings(&cors.allow_headers),
            expose_headers: strings(&cors.expose_headers),
            max_age: cors.max_age.value,
        };
        if spec.origins.is_empty() {
            self.warn("cors.origins", "is empty: every cross-origin page is refused");
        }
        let lists = [&cors.origins, &cors.allow_headers, &cors.expose_headers];
        let items = lists.iter().flat_map(|list| list.iter().map(|item| &item.place));
        let whole = lists.iter().map(|list| &list.place).chain([&cors.credentials.place, &cors.max_age.place]);
        let places: Vec<&Place> = items.chain(whole).collect();
        let errors = match Policy::new(&spec) {
            Ok(policy) => return Some(policy),
            Err(errors) => errors,
        };
        for error in errors {
            let key = format!("cors.{}", error.key);
            let place = places.iter().find(|place| place.key == key).copied().unwrap_or(&cors.origins.place);
            let place = Place { key, ..place.clone() };
            self.problems.report(&place, Mistake::new(error.reason, error.mend));
        }
        None
    }

    fn resume(&mut self, resume: &raw::Resume) -> Resume {
        let (all, one) = (resume.max_bytes.value.0, resume.max_stream_bytes.value.0);
        if one > all {
            // at the key that is written; where both are, either mend will do
            let place = [&resume.max_bytes, &resume.max_stream_bytes].map(|field| &field.place);
            let place = if resume.max_bytes.is_written() { place[0] } else { place[1] };
            let (all, one) = (format_size(all), format_size(one));
            let reason =
                format!("contradicts its neighbour: resume.max_stream_bytes ({one}) is over resume.max_bytes ({all})");
            self.problems.report(place, Mistake::new(reason, "raise max_bytes, or lower max_stream_bytes"));
        }
        Resume {
            grace: resume.grace.value,
            retention: resume.retention.value,
            max_bytes: all,
            max_stream_bytes: one,
            max_streams: resume.max_streams.value,
        }
    }

    /// The content of a file that the configuration names; what cannot be read is reported.
    fn file(&mut self, path: &Field<PathBuf>) -> Option<Vec<u8>> {
        self.file_or(path, "name a readable file; a relative path starts at the configuration file's directory")
    }

    /// The same with another mend.
    fn file_or(&mut self, path: &Field<PathBuf>, mend: &str) -> Option<Vec<u8>> {
        match read_bounded(&self.base_dir.join(&path.value)) {
            Ok(content) => Some(content),
            Err(error) => {
                let full = self.base_dir.join(&path.value);
                let reason = match is_shown(&path.value) {
                    true => format!("names {}, which cannot be read: {error}", full.display()),
                    false => format!("names a file that cannot be read: {error}"),
                };
                self.problems.report(&path.place, Mistake::new(reason, mend));
                None
            }
        }
    }

    /// Warns where everybody on this machine may read a file that holds a secret.
    fn warn_if_world_readable(&mut self, path: &Field<PathBuf>) {
        use std::os::unix::fs::PermissionsExt;

        let metadata = std::fs::metadata(self.base_dir.join(&path.value));
        if metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
            self.warn(&path.place.key, "names a file that every user of this machine can read: `chmod 600` it");
        }
    }

    fn warn(&mut self, key: &str, what: &str) {
        self.warnings.push(format!("{key} {what}"));
    }
}

/// No pair of these contradicts the other: each that is longer than another one merely never comes to act. For example
/// `commit_after` beyond `first_event_timeout` keeps the status open until the upstream has answered or failed.
fn stream(stream: &raw::Stream) -> Stream {
    Stream {
        heartbeat: Some(stream.heartbeat.value).filter(|heartbeat| !heartbeat.is_zero()),
        first_event_timeout: stream.first_event_timeout.value,
        commit_after: stream.commit_after.value,
        idle_timeout: stream.idle_timeout.value,
        max_duration: stream.max_duration.value,
        max_event: stream.max_event.value.0,
    }
}

fn strings(list: &[Field<String>]) -> Vec<String> {
    list.iter().map(|field| field.value.clone()).collect()
}

/// Whether a message may show what is written as a path. A key, pasted in the wrong place, looks otherwise: it has neither
/// a short extension nor, but for one in a million, slashes and no capital letter.
fn is_shown(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let has_extension = (2..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_plain = text.contains('/') && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    !text.contains(char::is_control) && text.len() <= 255 && (has_extension || is_plain)
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other("it is larger than 4 MiB"));
    }
    Ok(content)
}

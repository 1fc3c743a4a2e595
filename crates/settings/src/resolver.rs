//! What a configuration names and does not hold: files and environment variables; with the problems and warnings that are found.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::field::{Field, Place};
use crate::problem::{Mistake, Problems};
use crate::value::EnvName;

/// No certificate chain, root bundle or key is larger. The bound keeps a path such as `/dev/zero` harmless.
const LARGEST_FILE: u64 = 4 << 20;

/// Reads environment variables: `std::env::var` in the program, a closure in tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the checks of all tables share.
pub struct Resolver<'a> {
    base_dir: &'a Path,
    env: Env<'a>,
    problems: Problems,
    warnings: Vec<String>,
}

impl<'a> Resolver<'a> {
    /// Relative paths are relative to `base_dir`; `problems` are those that the reader found.
    pub fn new(base_dir: &'a Path, env: Env<'a>, problems: Problems) -> Self {
        Self { base_dir, env, problems, warnings: Vec::new() }
    }

    /// Records a mistake at its place, unless the value there could not be read, which is reported already.
    pub fn report(&mut self, place: &Place, mistake: Mistake) {
        self.problems.report(place, mistake);
    }

    /// Records what works but is probably not meant.
    pub fn warn(&mut self, key: &str, what: &str) {
        self.warnings.push(format!("{key} {what}"));
    }

    /// All problems in the order of the file, and all warnings.
    pub fn finish(self) -> (Problems, Vec<String>) {
        let Self { mut problems, warnings, .. } = self;
        problems.sort();
        (problems, warnings)
    }

    /// The value of a variable; `None` where it is not set.
    pub fn variable(&self, name: &EnvName) -> Option<String> {
        (self.env)(&name.0)
    }

    /// The content of a file that the configuration names; what cannot be read is reported.
    pub fn file(&mut self, path: &Field<PathBuf>) -> Option<Vec<u8>> {
        self.file_or(path, "name a readable file; a relative path starts at the configuration file's directory")
    }

    /// The same with another mend.
    pub fn file_or(&mut self, path: &Field<PathBuf>, mend: &str) -> Option<Vec<u8>> {
        let full = self.base_dir.join(&path.value);
        match read_bounded(&full) {
            Ok(content) => Some(content),
            Err(error) => {
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
    pub fn warn_if_world_readable(&mut self, path: &Field<PathBuf>) {
        use std::os::unix::fs::PermissionsExt;

        let metadata = std::fs::metadata(self.base_dir.join(&path.value));
        if metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
            self.warn(&path.place.key, "names a file that every user of this machine can read: `chmod 600` it");
        }
    }
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

//! Where the results go: the table to stdout, the documents to files.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::args::Args;
use crate::cli::failure::Failure;
use bench::report::document::Document;
use bench::report::terminal::Style;
use settings::Env;

/// The files that were asked for, open before anything is measured: an hour's results must not be lost to a typing error.
pub(super) struct Output {
    json: Option<Place>,
    html: Option<Place>,
    style: Style,
}

enum Place {
    Stdout,
    File(PathBuf, File),
}

impl Output {
    /// # Errors
    /// One line: a file that cannot be written.
    pub(super) fn open(args: &Args, env: Env<'_>) -> Result<Self, String> {
        let open = |flag: &str, path: &Option<PathBuf>| path.as_deref().map(|path| Place::open(flag, path)).transpose();
        if args.wants_json() && args.html.as_deref() == Some(Path::new("-")) {
            return Err("--html -: stdout is taken by --json -; name a file for one of the two".to_owned());
        }
        Ok(Self { json: open("--json", &args.json)?, html: open("--html", &args.html)?, style: style(env) })
    }

    /// Writes all of it, and gives back what has failed, the run itself first. A failed run has no table: there is nothing to
    /// put in it. The JSON document comes last and says what failed before it.
    pub(super) fn write(self, document: &Document, run: Option<Failure>) -> Vec<Failure> {
        let stdout_is_taken = [&self.json, &self.html].into_iter().any(|place| matches!(place, Some(Place::Stdout)));
        let table = (run.is_none() && !stdout_is_taken).then_some(Place::Stdout);
        let mut failures = Vec::from_iter(run);
        failures.extend(table.and_then(|place| place.write(&document.terminal(self.style)).err()));
        failures.extend(self.html.and_then(|place| place.write(&document.html()).err()));
        let document = json(document, failures.first());
        failures.extend(self.json.and_then(|place| place.write(&document).err()));
        failures
    }
}

/// The document, and beside its members the `error` of a run that failed.
fn json(document: &Document, failure: Option<&Failure>) -> String {
    #[derive(Serialize)]
    struct Failed<'a> {
        error: Value,
        #[serde(flatten)]
        document: &'a Document,
    }
    match failure {
        None => document.json(),
        // every value is a number, a string or a list of them
        Some(failure) => {
            serde_json::to_string(&Failed { error: failure.as_json(), document }).unwrap_or_default() + "\n"
        }
    }
}

/// As wide as the shell says, in colour on a terminal unless NO_COLOR is set (no-color.org).
fn style(env: Env<'_>) -> Style {
    let usual = Style::default();
    let width = env("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(usual.width);
    let plain = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style { width, colour: !plain && io::stdout().is_terminal() }
}

impl Place {
    fn open(flag: &str, path: &Path) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Place::Stdout);
        }
        let file = File::create(path);
        let file =
            file.map_err(|error| format!("{flag} {}: {error}; name a file that can be written", path.display()))?;
        Ok(Place::File(path.to_owned(), file))
    }

    fn write(self, text: &str) -> Result<(), Failure> {
        let (name, written) = match self {
            Place::Stdout => ("standard output".to_owned(), io::stdout().write_all(text.as_bytes())),
            Place::File(path, mut file) => (path.display().to_string(), file.write_all(text.as_bytes())),
        };
        written.map_err(|error| Failure::failed(format!("{name}: {error}")))
    }
}

//! Writes the results: the table to stdout, the documents to files.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::options::Options;
use crate::report::document::Document;
use crate::report::terminal::Style;
use settings::Env;

/// The destinations of the results. Files are opened before the run, so that a wrong path loses no results.
pub(super) struct Output {
    json: Option<Destination>,
    html: Option<Destination>,
    style: Style,
}

enum Destination {
    Stdout,
    File(PathBuf, File),
}

impl Output {
    /// # Errors
    /// One line: a file that cannot be written.
    pub(super) fn open(options: &Options, env: Env<'_>) -> Result<Self, String> {
        let open =
            |flag: &str, path: &Option<PathBuf>| path.as_deref().map(|path| Destination::open(flag, path)).transpose();
        if options.wants_json() && options.html.as_deref() == Some(Path::new("-")) {
            return Err("--html -: stdout is taken by --json -; name a file for one of the two".to_owned());
        }
        Ok(Self { json: open("--json", &options.json)?, html: open("--html", &options.html)?, style: style(env) })
    }

    /// Writes all results, and returns the failures: first `failed`, why the run failed, then each output that was not
    /// written. A failed run has no table. The JSON document is written last and contains the first failure.
    pub(super) fn write(self, document: &Document, failed: Option<String>) -> Vec<String> {
        let stdout_is_taken =
            [&self.json, &self.html].into_iter().any(|output| matches!(output, Some(Destination::Stdout)));
        let table = (failed.is_none() && !stdout_is_taken).then_some(Destination::Stdout);
        let mut failures = Vec::from_iter(failed);
        failures.extend(table.and_then(|output| output.write(&document.terminal(self.style)).err()));
        failures.extend(self.html.and_then(|output| output.write(&document.html()).err()));
        let document = json(document, failures.first());
        failures.extend(self.json.and_then(|output| output.write(&document).err()));
        failures
    }
}

/// The document, with a member `error` if something failed.
fn json(document: &Document, failure: Option<&String>) -> String {
    #[derive(Serialize)]
    struct Failed<'a> {
        error: Value,
        #[serde(flatten)]
        document: &'a Document,
    }
    match failure {
        None => document.json(),
        Some(message) => {
            let error = json!({ "code": "failed", "message": message });
            // every value is a number, a string or a list of these
            serde_json::to_string(&Failed { error, document }).unwrap_or_default() + "\n"
        }
    }
}

/// The width of the shell, and colours on a terminal unless NO_COLOR is set (no-color.org).
fn style(env: Env<'_>) -> Style {
    let default = Style::default();
    let width = env("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(default.width);
    let plain = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style { width, colour: !plain && io::stdout().is_terminal() }
}

impl Destination {
    fn open(flag: &str, path: &Path) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Destination::Stdout);
        }
        match File::create(path) {
            Ok(file) => Ok(Destination::File(path.to_owned(), file)),
            Err(error) => Err(format!("{flag} {}: {error}; name a file that can be written", path.display())),
        }
    }

    fn write(self, text: &str) -> Result<(), String> {
        let (name, written) = match self {
            Destination::Stdout => ("standard output".to_owned(), io::stdout().write_all(text.as_bytes())),
            Destination::File(path, mut file) => (path.display().to_string(), file.write_all(text.as_bytes())),
        };
        written.map_err(|error| format!("{name}: {error}"))
    }
}
